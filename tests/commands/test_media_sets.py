"""Stripes and mirrors, as statements see them."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tdsproxy.store import crashpoints
from tdsproxy.tsql.replies import Message
from tests.commands.support import Workshop, messages, numbers, table

STRIPES = "DISK='/tmp/a.bak', DISK='/tmp/b.bak', DISK='/tmp/c.bak'"
MIRRORED = "DISK='/tmp/m1.bak', DISK='/tmp/m2.bak' MIRROR TO DISK='/tmp/n1.bak', DISK='/tmp/n2.bak'"
MOVED = "MOVE 'foo' TO '/data/bar.mdf', MOVE 'foo_log' TO '/data/bar.ldf'"


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A database ``foo`` of some megabytes, and nothing on any medium."""
    workshop = Workshop(tmp_path_factory.mktemp("sets"))
    workshop.run("CREATE DATABASE foo")
    workshop.fill("foo", "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)")
    workshop.fill(
        "foo",
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1200) "
        "INSERT INTO t SELECT i, randomblob(300) || zeroblob(300) FROM n",
    )
    yield workshop
    workshop.close()


@pytest.fixture(autouse=True)
def clean(shop: Workshop) -> Iterator[None]:
    yield
    for path in shop.media.iterdir():
        path.unlink()
    shop.run("DROP DATABASE bar")


def errors(shop: Workshop, statement: str) -> list[Message]:
    """What a statement fails with; the line that says which statement it was is left out."""
    found = [m for m in messages(shop.run(statement)) if m.severity > 10]
    assert found[-1].number == 3013, found
    return found[:-1]


def content(shop: Workshop, database: str) -> list[list[object]]:
    return shop.rows(database, "SELECT count(*), sum(length(body)), sum(id), hex(max(body)) FROM t")


def test_stripes_come_back_in_any_order(shop: Workshop) -> None:
    runs = "MAXTRANSFERSIZE = 65536"
    replies = shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH STATS = 50, COMPRESSION, {runs}")
    assert numbers(replies) == [3211, 3211, 4035, 4035, 3014]
    shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH NAME = 'second', {runs}")
    sizes = [path.stat().st_size for path in sorted(shop.media.iterdir())]
    assert len(sizes) == 3
    # Each holds about a third.
    assert max(sizes) < 2 * min(sizes)
    for order in ("cab", "bca", "abc"):
        devices = ", ".join(f"DISK='/tmp/{letter}.bak'" for letter in order)
        for position in (1, 2):
            replies = shop.run(
                f"RESTORE DATABASE bar FROM {devices} WITH REPLACE, FILE = {position}, {MOVED}"
            )
            assert numbers(replies)[-1] == 3014, messages(replies)
            assert content(shop, "bar") == content(shop, "foo")
    assert numbers(shop.run(f"RESTORE VERIFYONLY FROM {STRIPES} WITH FILE = 2")) == [3262]


def test_what_each_stripe_says(shop: Workshop) -> None:
    shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH MEDIANAME = 'tapes', MEDIADESCRIPTION = 'three'")
    labels = table(shop.run(f"RESTORE LABELONLY FROM {STRIPES}"))
    assert [row["FamilySequenceNumber"] for row in labels] == [1, 2, 3]
    assert {row["FamilyCount"] for row in labels} == {3}
    assert {row["MirrorCount"] for row in labels} == {1}
    assert {(row["MediaName"], row["MediaDescription"]) for row in labels} == {("tapes", "three")}
    assert len({row["MediaSetId"] for row in labels}) == 1
    assert len({row["MediaFamilyId"] for row in labels}) == 3
    one = table(shop.run("RESTORE HEADERONLY FROM DISK='/tmp/b.bak'"))
    assert one == table(shop.run(f"RESTORE HEADERONLY FROM {STRIPES}"))
    assert one[0]["BackupSize"] == (shop.store / "foo.db").stat().st_size
    whole = sum(path.stat().st_size for path in shop.media.iterdir())
    assert one[0]["BackupSize"] < one[0]["CompressedBackupSize"] < whole  # type: ignore[operator]
    assert len(table(shop.run("RESTORE FILELISTONLY FROM DISK='/tmp/c.bak'"))) == 2


def test_msdb_has_a_row_for_each_stripe_and_mirror(shop: Workshop) -> None:
    shop.run(f"BACKUP DATABASE foo TO {MIRRORED} WITH FORMAT")
    (media,) = shop.history("SELECT max(media_set_id) FROM backupmediaset")
    rows = shop.history(
        "SELECT family_sequence_number, mirror, physical_device_name FROM backupmediafamily"
        f" WHERE media_set_id = {media[0]} ORDER BY mirror, family_sequence_number"
    )
    assert rows == [
        (1, 0, "/tmp/m1.bak"),
        (2, 0, "/tmp/m2.bak"),
        (1, 1, "/tmp/n1.bak"),
        (2, 1, "/tmp/n2.bak"),
    ]
    sets = shop.history(
        f"SELECT media_family_count, mirror_count FROM backupmediaset WHERE media_set_id = {media[0]}"
    )
    assert sets == [(2, 2)]
    last = shop.history("SELECT last_family_number FROM backupset ORDER BY backup_set_id DESC LIMIT 1")
    assert last == [(2,)]


def test_any_mirror_of_a_family_serves(shop: Workshop) -> None:
    shop.run(f"BACKUP DATABASE foo TO {MIRRORED} WITH FORMAT, COMPRESSION")
    shop.run(f"BACKUP DATABASE foo TO {MIRRORED}")
    sound = (shop.media / "m1.bak").read_bytes()
    damaged = bytearray(sound)
    damaged[len(sound) // 3] ^= 1
    (shop.media / "m1.bak").write_bytes(damaged)
    (shop.media / "n2.bak").unlink()
    assert errors(shop, "RESTORE VERIFYONLY FROM DISK='/tmp/m1.bak', DISK='/tmp/m2.bak'")
    for first in ("n1", "m2"):
        second = "m2" if first == "n1" else "n1"
        devices = f"DISK='/tmp/{first}.bak', DISK='/tmp/{second}.bak'"
        assert numbers(shop.run(f"RESTORE VERIFYONLY FROM {devices} WITH FILE = 2")) == [3262]
    replies = shop.run(f"RESTORE DATABASE bar FROM {devices} WITH FILE = 2, {MOVED}")
    assert numbers(replies)[-1] == 3014
    assert content(shop, "bar") == content(shop, "foo")


@pytest.mark.parametrize(
    ("before", "statement", "number"),
    [
        # Other numbers of families
        (STRIPES, "BACKUP DATABASE foo TO DISK='/tmp/a.bak', DISK='/tmp/b.bak'", 3132),
        (STRIPES, "BACKUP DATABASE foo TO DISK='/tmp/c.bak'", 3132),
        (STRIPES, "BACKUP DATABASE foo TO DISK='/tmp/c.bak' WITH INIT", 3132),
        ("DISK='/tmp/a.bak'", "BACKUP DATABASE foo TO DISK='/tmp/a.bak', DISK='/tmp/b.bak'", 3231),
        ("DISK='/tmp/a.bak'", "BACKUP DATABASE foo TO DISK='/tmp/a.bak', DISK='/tmp/b.bak' WITH INIT", 3231),
        (STRIPES, "RESTORE VERIFYONLY FROM DISK='/tmp/a.bak', DISK='/tmp/b.bak'", 3132),
        (STRIPES, "RESTORE DATABASE bar FROM DISK='/tmp/b.bak'", 3132),
        ("DISK='/tmp/a.bak'", "RESTORE DATABASE bar FROM DISK='/tmp/a.bak', DISK='/tmp/a.bak'", 3231),
        # The wrong media
        (STRIPES, "BACKUP DATABASE foo TO DISK='/tmp/a.bak', DISK='/tmp/b.bak', DISK='/tmp/new.bak'", 3258),
        (STRIPES, "RESTORE DATABASE bar FROM DISK='/tmp/a.bak', DISK='/tmp/b.bak', DISK='/tmp/b.bak'", 3227),
        ("DISK='/tmp/a.bak'", "BACKUP DATABASE foo TO DISK='/tmp/x.bak', DISK='/tmp/x.bak'", 3201),
        # Mirrors
        (f"{MIRRORED} WITH FORMAT", "BACKUP DATABASE foo TO DISK='/tmp/m1.bak', DISK='/tmp/m2.bak'", 3240),
        (
            f"{MIRRORED} WITH FORMAT",
            "RESTORE VERIFYONLY FROM DISK='/tmp/m1.bak', DISK='/tmp/n1.bak'",
            3227,
        ),
        ("DISK='/tmp/a.bak'", f"BACKUP DATABASE foo TO {MIRRORED}", 3215),
        (
            "DISK='/tmp/a.bak'",
            "BACKUP DATABASE foo TO DISK='/tmp/a.bak' MIRROR TO DISK='/tmp/z.bak'",
            3215,
        ),
        (
            "DISK='/tmp/a.bak'",
            "BACKUP DATABASE foo TO DISK='x.bak' MIRROR TO DISK='y.bak', DISK='z.bak' WITH FORMAT",
            3010,
        ),
        (
            "DISK='/tmp/a.bak'",
            "BACKUP DATABASE foo TO DISK='/tmp/x.bak' "
            + " ".join(f"MIRROR TO DISK='/tmp/x{n}.bak'" for n in range(4))
            + " WITH FORMAT",
            3214,
        ),
        # What a media set has in common
        (f"{STRIPES} WITH COMPRESSION", f"BACKUP DATABASE foo TO {STRIPES} WITH NO_COMPRESSION", 3098),
        (STRIPES, f"BACKUP DATABASE foo TO {STRIPES} WITH COMPRESSION", 3098),
        (f"{STRIPES} WITH MEDIANAME = 'x'", f"BACKUP DATABASE foo TO {STRIPES} WITH MEDIANAME = 'y'", 4037),
        (f"{STRIPES} WITH RETAINDAYS = 9", f"BACKUP DATABASE foo TO {STRIPES} WITH INIT", 4030),
        (f"{STRIPES}", f"RESTORE DATABASE bar FROM {STRIPES} WITH MEDIANAME = 'y'", 4037),
        # Sizes
        (
            "DISK='/tmp/a.bak'",
            "BACKUP DATABASE foo TO DISK='/tmp/a.bak' WITH MAXTRANSFERSIZE = 8388608",
            3250,
        ),
        ("DISK='/tmp/a.bak'", "BACKUP DATABASE foo TO DISK='/tmp/a.bak' WITH MAXTRANSFERSIZE = 65537", 3250),
        ("DISK='/tmp/a.bak'", "BACKUP DATABASE foo TO DISK='/tmp/a.bak' WITH BUFFERCOUNT = 0", 3250),
        ("DISK='/tmp/a.bak'", "BACKUP DATABASE foo TO DISK='/tmp/a.bak' WITH BLOCKSIZE = 513", 3253),
    ],
)
def test_refusals(shop: Workshop, before: str, statement: str, number: int) -> None:
    assert 3014 in numbers(shop.run(f"BACKUP DATABASE foo TO {before}"))
    media = {path.name: path.read_bytes() for path in shop.media.iterdir()}
    found = errors(shop, statement)
    assert [m.number for m in found] == [number], found
    assert {path.name: path.read_bytes() for path in shop.media.iterdir()} == media
    assert "%" not in found[0].text
    assert "{" not in found[0].text


@pytest.mark.parametrize(
    "option",
    ["INIT, SKIP", "FORMAT", "FORMAT, MEDIANAME = 'y'", "NOINIT, SKIP, MEDIANAME = 'y'"],
)
def test_what_overrides_expiry_and_names(shop: Workshop, option: str) -> None:
    shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH MEDIANAME = 'x', EXPIREDATE = '2999-01-01'")
    labels = table(shop.run(f"RESTORE LABELONLY FROM {STRIPES}"))
    assert 3014 in numbers(shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH {option}"))
    after = table(shop.run(f"RESTORE LABELONLY FROM {STRIPES}"))
    formatted = option.startswith("FORMAT")
    assert (after[0]["MediaSetId"] != labels[0]["MediaSetId"]) == formatted
    sets = table(shop.run(f"RESTORE HEADERONLY FROM {STRIPES}"))
    assert len(sets) == (2 if option.startswith("NOINIT") else 1)
    if formatted:
        assert after[0]["MediaName"] == ("y" if "MEDIANAME" in option else None)
    else:
        assert after[0]["MediaName"] == "x"


def test_a_family_of_another_time_is_refused(shop: Workshop) -> None:
    """A stripe that was kept from before, or that was not written with the others."""
    shop.run(f"BACKUP DATABASE foo TO {STRIPES}")
    shutil.copy(shop.media / "b.bak", shop.media / "old")
    shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH INIT")
    (shop.media / "old").replace(shop.media / "b.bak")
    for statement in (
        f"RESTORE DATABASE bar FROM {STRIPES} WITH {MOVED}",
        f"RESTORE VERIFYONLY FROM {STRIPES}",
        f"BACKUP DATABASE foo TO {STRIPES}",
    ):
        before = {path.name: path.read_bytes() for path in shop.media.iterdir()}
        (only,) = errors(shop, statement)
        assert only.number == 3232, statement
        assert {path.name: path.read_bytes() for path in shop.media.iterdir()} == before
    assert 3014 in numbers(shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH FORMAT"))


def test_a_family_of_another_media_set_is_refused(shop: Workshop) -> None:
    shop.run(f"BACKUP DATABASE foo TO {STRIPES}")
    other = shop.media / "b.bak"
    kept = other.read_bytes()
    shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH FORMAT")
    other.write_bytes(kept)
    (only,) = errors(shop, f"RESTORE DATABASE bar FROM {STRIPES} WITH {MOVED}")
    assert only.number == 3258
    (only,) = errors(shop, f"BACKUP DATABASE foo TO {STRIPES}")
    assert only.number == 3258


@pytest.mark.parametrize("algorithm", ["ZSTD", "GZIP", "BZIP2", "XZ", "MS_XPRESS"])
def test_algorithms(shop: Workshop, algorithm: str) -> None:
    with_ = f"COMPRESSION (ALGORITHM = {algorithm}), MAXTRANSFERSIZE = 131072"
    replies = shop.run(f"BACKUP DATABASE foo TO DISK='/tmp/x.bak' WITH {with_}")
    shown = "ZSTD" if algorithm == "MS_XPRESS" else algorithm
    told = [m.text for m in messages(replies) if m.number == 0]
    assert told == (["COMPRESSION (ALGORITHM = MS_XPRESS) is stored as ZSTD."] if shown != algorithm else [])
    (row,) = table(shop.run("RESTORE HEADERONLY FROM DISK='/tmp/x.bak'"))
    assert row["CompressionAlgorithm"] == shown
    assert row["Compressed"] == 1
    size = (shop.media / "x.bak").stat().st_size
    assert size * 0.9 < row["CompressedBackupSize"] < size < row["BackupSize"]  # type: ignore[operator]
    (kept,) = shop.history(
        "SELECT compression_algorithm, backup_size, compressed_backup_size FROM backupset"
        " ORDER BY backup_set_id DESC LIMIT 1"
    )
    assert (kept[0], int(str(kept[1])), int(str(kept[2]))) == (
        shown,
        row["BackupSize"],
        row["CompressedBackupSize"],
    )
    assert 3014 in numbers(shop.run(f"RESTORE DATABASE bar FROM DISK='/tmp/x.bak' WITH {MOVED}"))
    assert content(shop, "bar") == content(shop, "foo")


def test_an_encrypted_set_lies_on_new_media_only(shop: Workshop, tmp_path: Path) -> None:
    shop.run("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pa55 with some length'")
    shop.run("CREATE CERTIFICATE backups WITH SUBJECT = 'backups'")
    sealed = "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = backups)"
    assert 3014 in numbers(shop.run(f"BACKUP DATABASE foo TO {STRIPES} WITH COMPRESSION, {sealed}"))
    (only,) = errors(shop, f"BACKUP DATABASE foo TO {STRIPES} WITH {sealed}")
    assert only.number == 3095
    (only,) = errors(shop, f"BACKUP DATABASE foo TO {STRIPES}")
    assert only.number == 3097
    assert 3014 in numbers(shop.run(f"RESTORE DATABASE bar FROM {STRIPES} WITH {MOVED}"))
    assert content(shop, "bar") == content(shop, "foo")
    shop.run("DROP CERTIFICATE backups")
    for statement in (
        f"RESTORE DATABASE bar FROM {STRIPES} WITH REPLACE, {MOVED}",
        f"RESTORE VERIFYONLY FROM {STRIPES}",
        "RESTORE FILELISTONLY FROM DISK='/tmp/a.bak'",
    ):
        (only,) = errors(shop, statement)
        assert only.number == 33111, statement
    assert content(shop, "bar") == content(shop, "foo")
    assert len(table(shop.run("RESTORE HEADERONLY FROM DISK='/tmp/a.bak'"))) == 1
    shop.run("DROP MASTER KEY")


def damage(path: Path, marker: bytes) -> int:
    """Flip a bit behind the last occurrence of ``marker``; where that is."""
    content = bytearray(path.read_bytes())
    at = content.rindex(marker) + len(marker)
    content[at] ^= 4
    path.write_bytes(content)
    return at


def test_damaged_pages_are_named_and_left_out_where_that_is_asked_for(shop: Workshop) -> None:
    shop.run("CREATE DATABASE small")
    shop.fill("small", "CREATE TABLE t(id INTEGER PRIMARY KEY, body TEXT)")
    rows = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300)"
    shop.fill("small", f"{rows} INSERT INTO t SELECT i, 'row ' || i || hex(zeroblob(700)) FROM n")
    media = "DISK='/tmp/a.bak', DISK='/tmp/b.bak'"
    shop.run(f"BACKUP DATABASE small TO {media} WITH MAXTRANSFERSIZE = 65536")
    at = next(
        damage(path, b"row 299")
        for path in (shop.media / "a.bak", shop.media / "b.bak")
        if b"row 299" in path.read_bytes()
    )
    found = messages(shop.run(f"RESTORE VERIFYONLY FROM {media}"))
    assert [m.number for m in found] == [0, 3183, 3189, 3013]
    assert "The pages at byte " in found[0].text
    assert int(found[0].text.split("byte ")[1].split()[0]) < at
    assert 'in database "small" as read from the backup set.' in found[1].text
    assert numbers(shop.run(f"RESTORE VERIFYONLY FROM {media} WITH STOP_ON_ERROR")) == [0, 3183, 3013]
    moves = "MOVE 'small' TO '/data/bar.mdf', MOVE 'small_log' TO '/data/bar.ldf'"
    assert numbers(shop.run(f"RESTORE DATABASE bar FROM {media} WITH {moves}")) == [0, 3183, 3013]
    assert shop.catalog.databases.find("bar") is None
    replies = shop.run(f"RESTORE DATABASE bar FROM {media} WITH CONTINUE_AFTER_ERROR, {moves}")
    assert numbers(replies) == [4035, 4035, 0, 3184, 3014]
    assert shop.rows("bar", "SELECT id FROM t WHERE id = 10") == [[10]]
    shop.run("DROP DATABASE small")


def test_a_medium_that_is_cut_off(shop: Workshop) -> None:
    shop.run("BACKUP DATABASE foo TO DISK='/tmp/a.bak'")
    path = shop.media / "a.bak"
    path.write_bytes(path.read_bytes()[:-5000])
    for statement in ("RESTORE VERIFYONLY FROM", "RESTORE HEADERONLY FROM", "RESTORE DATABASE bar FROM"):
        found = messages(shop.run(f"{statement} DISK='/tmp/a.bak'"))
        assert [m.number for m in found] == [0, 3203, 3013], statement
        assert found[1].text == 'Read on "/tmp/a.bak" failed: 38(Reached the end of the file.)'


def test_databases_are_backed_up_side_by_side(shop: Workshop) -> None:
    """Each waits for the other at its first page: only two that run at once get further."""
    barrier = threading.Barrier(2)
    waited = threading.local()

    def meet(name: str) -> None:
        if name == "backup.header-written" and not getattr(waited, "done", False):
            waited.done = True
            barrier.wait(60)

    shop.run("CREATE DATABASE other")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(crashpoints, "reach", meet)
        with ThreadPoolExecutor(2) as pool:
            found = list(
                pool.map(
                    lambda name: numbers(shop.run(f"BACKUP DATABASE {name} TO DISK='/tmp/{name}.bak'")),
                    ("foo", "other"),
                )
            )
    assert [each[-1] for each in found] == [3014, 3014]
    shop.run("DROP DATABASE other")
