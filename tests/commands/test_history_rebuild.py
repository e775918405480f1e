"""msdb's history from the media alone: it equals what was written when the backups were made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsproxy.catalog.catalog import MSDB
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import open_bucket
from tdsproxy.objects.url import parse_url
from tests.commands.support import Workshop, messages, numbers, table
from tests.objects.s3_server import IDENTITY, KEY, SECRET, s3_server

UNKNOWN = {
    "backupset": {"backup_set_id", "media_set_id"},
    "backupmediaset": {"media_set_id"},
    "backupmediafamily": {"media_set_id", "logical_device_name", "device_type", "physical_device_name"},
    "backupfile": {"backup_set_id"},
    "backupfilegroup": {"backup_set_id"},
}
"""What cannot be known again: the ids, which tie rows together, and how a device was named."""


def history(shop: Workshop) -> dict[str, list[dict[str, object]]]:
    found = {}
    for name in UNKNOWN:
        columns = [str(row[0]) for row in shop.history(f"SELECT name FROM pragma_table_info('{name}')")]
        rows = shop.history(f"SELECT * FROM {name} ORDER BY 1, 2")
        found[name] = [dict(zip(columns, row, strict=True)) for row in rows]
    return found


def known(rows: dict[str, list[dict[str, object]]]) -> dict[str, list[dict[str, object]]]:
    return {
        name: [{key: value for key, value in row.items() if key not in UNKNOWN[name]} for row in table_]
        for name, table_ in rows.items()
    }


def forget(shop: Workshop) -> None:
    """As if msdb had been lost."""
    for name in (*UNKNOWN, "restorehistory", "restorefile", "restorefilegroup"):
        with shop.catalog._msdb.write() as msdb:
            msdb.read(f"DELETE FROM {name}")
            msdb.read("DELETE FROM sqlite_sequence WHERE name = ?", (name,))


@pytest.fixture
def made(tmp_path: Path) -> Workshop:
    """Backups of all kinds, interleaved over several media."""
    shop = Workshop(tmp_path, logged=True)
    for text in (
        "CREATE DATABASE a",
        "CREATE DATABASE b",
        "BACKUP DATABASE a TO DISK = 'a.bak' WITH NAME = 'first', DESCRIPTION = 'of a', CHECKSUM",
        "BACKUP DATABASE b TO DISK = 'b1.bak', DISK = 'b2.bak' WITH COMPRESSION, MEDIANAME = 'two'",
        "BACKUP LOG a TO DISK = 'a.bak'",
        "BACKUP DATABASE a TO DISK = 'sub/a.dif' WITH DIFFERENTIAL, RETAINDAYS = 3",
        "BACKUP DATABASE b TO DISK = 'm1.bak' MIRROR TO DISK = '/tmp/m2.bak' WITH FORMAT, COPY_ONLY",
        "BACKUP LOG b TO DISK = 'b1.bak', DISK = 'b2.bak'",
    ):
        if "sub/" in text:
            (shop.store / "backup" / "sub").mkdir()
        assert not [m for m in messages(shop.run(text)) if m.severity > 10], text
    return shop


def rebuild(shop: Workshop, *places: str) -> list[tuple[object, ...]]:
    names = [f"@a{number}" for number in range(1, len(places) + 1)]
    text = f"EXEC sp_rebuild_history {', '.join(names)}"
    replies = shop.run(text, variables=dict(zip(names, places, strict=True)))
    assert numbers(replies) == []
    return [tuple(row.values()) for row in table(replies)]


def test_the_history_equals_the_one_that_was_lost(made: Workshop) -> None:
    before = history(made)
    assert len(before["backupset"]) == 6
    assert [row[5] for row in rebuild(made)] == [0] * 6
    assert history(made) == before
    forget(made)
    rows = rebuild(made)
    assert [(row[0], row[1], row[4], row[5]) for row in rows] == [
        ("a", "D", 1, 1),
        ("b", "D", 1, 1),
        ("a", "L", 2, 1),
        ("a", "I", 1, 1),
        ("b", "D", 1, 1),
        ("b", "L", 2, 1),
    ]
    after = history(made)
    assert known(after) == known(before)
    ids = [(row["backup_set_id"], row["media_set_id"]) for row in after["backupset"]]
    assert ids == [(row["backup_set_id"], row["media_set_id"]) for row in before["backupset"]]
    families = [
        (row["media_set_id"], row["mirror"], Path(str(row["physical_device_name"])).name)
        for row in after["backupmediafamily"]
    ]
    assert families == [
        (row["media_set_id"], row["mirror"], Path(str(row["physical_device_name"])).name)
        for row in before["backupmediafamily"]
    ]
    assert [row[5] for row in rebuild(made)] == [0] * 6
    # A restore to a moment finds its way by what was rebuilt.
    assert 3014 in numbers(
        made.run(
            f"RESTORE DATABASE c FROM DISK = '{rows[0][3]}' WITH MOVE 'a' TO 'c.mdf', MOVE 'a_log' TO 'c.ldf'"
        )
    )
    made.close()


def test_an_old_or_damaged_copy_hides_nothing(tmp_path: Path) -> None:
    """A copy that comes first by its name, and a first mirror that is cut off."""
    shop = Workshop(tmp_path)
    backup = shop.store / "backup"
    assert not [m for m in messages(shop.run("CREATE DATABASE a")) if m.severity > 10]
    shop.run("BACKUP DATABASE a TO DISK = 'x.bak'")
    (backup / "old.bak").write_bytes((backup / "x.bak").read_bytes())
    shop.run("BACKUP DATABASE a TO DISK = 'x.bak'")
    cut = (backup / "x.bak").read_bytes()
    (backup / "cut.bak").write_bytes(cut[: len(cut) // 3])
    shop.run("BACKUP DATABASE a TO DISK = 'm1.bak' MIRROR TO DISK = 'm2.bak' WITH FORMAT")
    mirror = (backup / "m1.bak").read_bytes()
    (backup / "m1.bak").write_bytes(mirror[: len(mirror) // 3])
    before = {str(row[0]) for row in shop.history("SELECT backup_set_uuid FROM backupset")}
    forget(shop)
    rows = rebuild(shop)
    assert [(Path(str(row[3])).name, row[4]) for row in rows] == [("x.bak", 1), ("x.bak", 2), ("m2.bak", 1)]
    assert {str(row[0]) for row in shop.history("SELECT backup_set_uuid FROM backupset")} == before
    shop.close()


def test_what_is_striped_is_known_again_with_all_its_media(made: Workshop) -> None:
    backup = made.store / "backup"
    (backup / "b2.bak").rename(made.store / "b2.bak")
    forget(made)
    assert [row[0] for row in rebuild(made)] == ["a", "a", "a", "b"]
    assert made.history(
        "SELECT count(*) FROM backupmediafamily WHERE physical_device_name LIKE '%b1.bak'"
    ) == [(0,)]
    # The other stripe is found later.
    (made.store / "b2.bak").rename(backup / "b2.bak")
    assert [row[5] for row in rebuild(made) if row[0] == "b"] == [1, 0, 1]
    assert made.history(
        "SELECT count(*) FROM backupmediafamily WHERE physical_device_name LIKE '%b_.bak'"
    ) == [(2,)]
    made.close()


@pytest.mark.slow
def test_media_in_an_object_store_are_known_again(tmp_path: Path) -> None:
    """All that was known, also what kind of device it was and its URL: nothing of that is on a disk."""
    with s3_server() as s3:
        shop = Workshop(tmp_path, logged=True)
        url, other = s3.bucket("media"), s3.bucket("other")
        secret = f"WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'"
        for text in (
            f"CREATE CREDENTIAL [{url}] {secret}",
            f"CREATE CREDENTIAL [{other}/below] {secret}",
            "CREATE DATABASE a",
            f"BACKUP DATABASE a TO URL = '{url}/a/full.bak' WITH NAME = 'first', COMPRESSION, FORMAT",
            "BACKUP LOG a TO DISK = 'a.trn'",
            f"BACKUP DATABASE a TO URL = '{other}/below/1', URL = '{other}/below/2'"
            " WITH DIFFERENTIAL, FORMAT",
            f"BACKUP LOG a TO URL = '{url}/a/log.trn' WITH FORMAT",
        ):
            assert not [m for m in messages(shop.run(text)) if m.severity > 10], text
        bucket = open_bucket(
            parse_url(url, object_needed=False), Secret(IDENTITY, f"{KEY}:{SECRET}"), Reaching()
        )
        bucket.write("notes.txt", b"no medium at all, but long enough to be looked at")
        bucket.write("one/files/000001-0/backup/copy.bak", b"".join(bucket.pieces("a/full.bak")))
        before = history(shop)
        forget(shop)
        rows = rebuild(shop)
        assert [(row[1], row[5]) for row in rows] == [("D", 1), ("L", 1), ("I", 1), ("L", 1)]
        after = history(shop)
        assert known(after) == known(before)
        for name in ("logical_device_name", "device_type", "physical_device_name"):
            assert [row[name] for row in after["backupmediafamily"]] == [
                row[name] for row in before["backupmediafamily"]
            ]
        forget(shop)
        assert [row[1] for row in rebuild(shop, f"{other}/below/", f"{url}/a/log.trn")] == ["I", "L"]
        # A store that refuses is passed over, unless it is asked for.
        with s3.fault(lambda environ: (403, "AccessDenied")):
            assert [row[1] for row in rebuild(shop)] == ["L"]
            refused = shop.run("EXEC sp_rebuild_history @a1", variables={"@a1": url})
            assert numbers(refused) == [3201]
        shop.close()


def test_places(made: Workshop, tmp_path: Path) -> None:
    forget(made)
    assert len(rebuild(made, "a.bak")) == 2
    assert len(rebuild(made, "/tmp", "sub")) == 2
    refused = made.run("EXEC sp_rebuild_history @a1", variables={"@a1": "/etc"})
    assert numbers(refused) == [3201]
    assert numbers(made.run("EXEC sp_rebuild_history", server_roles=frozenset())) == [229]
    made.close()


def test_what_is_no_medium_or_broken_is_left_out(made: Workshop) -> None:
    backups = made.store / "backup"
    (backups / "text.bak").write_text("no medium")
    broken = bytearray((backups / "a.bak").read_bytes())
    broken[40] ^= 0xFF
    (backups / "broken.bak").write_bytes(broken)
    (backups / "copy.bak").write_bytes((backups / "m1.bak").read_bytes())
    forget(made)
    assert len(rebuild(made)) == 6
    made.close()


def test_a_lost_msdb_is_made_anew(made: Workshop) -> None:
    made.close()
    for path in made.store.glob(f"{MSDB}*"):
        path.unlink()
    found = Workshop.__new__(Workshop)
    found.__dict__.update(made.__dict__)
    from dataclasses import replace

    from tdsproxy.catalog.catalog import initialise

    found.catalog = initialise(made.store)
    found.env = replace(made.env, catalog=found.catalog, logs=None)
    assert len(rebuild(found)) == 6
    found.catalog.close()
