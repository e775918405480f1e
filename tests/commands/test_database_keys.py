"""Databases under a database encryption key: nowhere in clear, and backed up and restored like any other."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from tdsproxy.catalog import certificates
from tdsproxy.commands.context import Context
from tdsproxy.commands.doctor import examine
from tdsproxy.commands.extraction import ExtractionError, extract
from tdsproxy.commands.key_sources import store_keys
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.request import NativeRequest
from tdsproxy.store import key_wrapping
from tdsproxy.store.file_keys import connect, salt_of
from tdsproxy.tsql.replies import Rows
from tests.commands.support import ADMIN, Workshop, messages, table

MARKER = "the marker of this test"
MASTER_KEY = "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'"
CERTIFICATE = "CREATE CERTIFICATE c WITH SUBJECT = 'Databases'"
EXPORT = (
    "BACKUP CERTIFICATE c TO FILE = '/tmp/c.cer'"
    " WITH PRIVATE KEY (FILE = '/tmp/c.pvk', ENCRYPTION BY PASSWORD = 'Pass-word2')"
)
IMPORT = (
    "CREATE CERTIFICATE c FROM FILE = '/tmp/c.cer'"
    " WITH PRIVATE KEY (FILE = '/tmp/c.pvk', DECRYPTION BY PASSWORD = 'Pass-word2')"
)
KEY = "CREATE DATABASE ENCRYPTION KEY WITH ALGORITHM = AES_256 ENCRYPTION BY SERVER CERTIFICATE c"
ON, OFF = "ALTER DATABASE shop SET ENCRYPTION ON", "ALTER DATABASE shop SET ENCRYPTION OFF"


@pytest.fixture(scope="module")
def pool() -> list[rsa.RSAPrivateKey]:
    return [certificates.new_private_key() for _ in range(2)]


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch, pool: list[rsa.RSAPrivateKey]) -> None:
    """What is made slow on purpose would be most of the time of these tests."""
    monkeypatch.setattr(key_wrapping, "_COST", 10)
    keys = itertools.cycle(pool)
    monkeypatch.setattr(certificates, "new_private_key", lambda bits=2048: next(keys))


def numbers(shop: Workshop, text: str, database: str = "master") -> list[int]:
    return [reply.number for reply in messages(shop.run(text, session=ADMIN, database=database))]


def execute(shop: Workshop, sql: str, database: str = "shop") -> list[tuple[object, ...]]:
    connection = connect(shop.store / f"{database}.db")
    try:
        # As the engine's connections: the log is the keeper's.
        connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
        connection.set_busy_timeout(10_000)
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


@pytest.fixture
def keyed(logged: Workshop) -> Workshop:
    """A store with a certificate and an encrypted database in FULL that holds the marker."""
    for text in (MASTER_KEY, CERTIFICATE, EXPORT, "CREATE DATABASE shop"):
        assert numbers(logged, text) == []
    assert numbers(logged, KEY, "shop") == []
    assert numbers(logged, ON) == []
    numbers(logged, "ALTER DATABASE shop SET RECOVERY FULL")
    execute(logged, f"CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, '{MARKER}')")
    execute(logged, f'CREATE TABLE "{MARKER}" (id INTEGER)')
    return logged


@pytest.fixture
def second(tmp_path: Path) -> Iterator[Workshop]:
    """Another store that sees the same media, and has a master key of its own."""
    directory = tmp_path / "second"
    directory.mkdir()
    workshop = Workshop(directory, logged=True)
    workshop.media.rmdir()
    workshop.media.symlink_to(tmp_path / "media")
    workshop.run(MASTER_KEY)
    yield workshop
    workshop.close()


def in_clear(*directories: Path) -> list[str]:
    """The files that show the marker."""
    found = []
    for path in itertools.chain.from_iterable(directory.rglob("*") for directory in directories):
        if path.is_file():
            data = path.read_bytes()
            if MARKER.encode() in data or MARKER.encode("utf-16-le") in data:
                found.append(path.name)
    return found


def back_up_chain(shop: Workshop) -> None:
    assert numbers(shop, "BACKUP DATABASE shop TO DISK = '/tmp/f.bak' WITH COMPRESSION")[-1] == 3014
    execute(shop, f"INSERT INTO t VALUES (2, '{MARKER}')")
    assert numbers(shop, "BACKUP DATABASE shop TO DISK = '/tmp/d.bak' WITH DIFFERENTIAL")[-1] == 3014
    execute(shop, f"INSERT INTO t VALUES (3, '{MARKER}'); UPDATE t SET v = v || '!' WHERE id = 1")
    assert numbers(shop, "BACKUP LOG shop TO DISK = '/tmp/l.trn'")[-1] == 3014


RESTORE = (
    "RESTORE DATABASE shop FROM DISK = '/tmp/f.bak' WITH NORECOVERY",
    "RESTORE DATABASE shop FROM DISK = '/tmp/d.bak' WITH NORECOVERY",
    "RESTORE LOG shop FROM DISK = '/tmp/l.trn'",
)
ROWS = [(1, f"{MARKER}!"), (2, MARKER), (3, MARKER)]


def test_the_marker_is_nowhere_in_clear(keyed: Workshop, second: Workshop) -> None:
    back_up_chain(keyed)
    assert in_clear(keyed.store, keyed.media) == []
    (row, log) = table(keyed.run("RESTORE FILELISTONLY FROM DISK = '/tmp/f.bak'"))
    certificate = keyed.catalog.keys.certificate("c")
    assert certificate is not None
    assert row["TDEThumbprint"] == log["TDEThumbprint"] == certificate.thumbprint
    for text in RESTORE:
        assert numbers(second, text) == [33111, 3013] or "LOG" in text or "d.bak" in text
    assert second.catalog.databases.find("shop") is None
    assert numbers(second, "RESTORE FILELISTONLY FROM DISK = '/tmp/f.bak'") == [33111, 3013]
    assert numbers(second, IMPORT) == []
    for text in RESTORE:
        assert numbers(second, text)[-1] == 3014
    assert execute(second, "SELECT id, v FROM t", "shop") == ROWS
    execute(second, f"INSERT INTO t VALUES (9, '{MARKER}')")
    assert numbers(second, "BACKUP LOG shop TO DISK = '/tmp/m.trn'")[-1] in (3014, 3013)
    assert in_clear(second.store, keyed.media) == []
    assert salt_of(second.store / "shop.db") == salt_of(keyed.store / "shop.db")


def test_restoring_over_the_database_and_to_another_name(keyed: Workshop) -> None:
    back_up_chain(keyed)
    assert numbers(keyed, "RESTORE DATABASE shop FROM DISK = '/tmp/f.bak' WITH REPLACE")[-1] == 3014
    assert execute(keyed, "SELECT id, v FROM t") == [(1, MARKER)]
    moves = "MOVE 'shop' TO '/var/opt/mssql/data/copy.mdf', MOVE 'shop_log' TO '/var/opt/mssql/data/copy.ldf'"
    assert numbers(keyed, f"RESTORE DATABASE copy FROM DISK = '/tmp/f.bak' WITH {moves}")[-1] == 3014
    assert execute(keyed, "SELECT id, v FROM t", "copy") == [(1, MARKER)]
    assert in_clear(keyed.store, keyed.media) == []
    # The key stays as long as a file is under it, and so does the certificate.
    assert numbers(keyed, "DROP DATABASE shop") == []
    assert numbers(keyed, "DROP CERTIFICATE c") == [3716]
    assert execute(keyed, "SELECT id, v FROM t", "copy") == [(1, MARKER)]
    assert numbers(keyed, "DROP DATABASE copy") == []
    assert list((keyed.store / ".keys").iterdir()) == []
    assert numbers(keyed, "DROP CERTIFICATE c") == []


def test_what_is_under_another_key_is_not_mixed(keyed: Workshop) -> None:
    back_up_chain(keyed)
    keyed.run("CREATE DATABASE plain")
    keyed.fill("plain", "CREATE TABLE own (id INTEGER)")
    moves = "MOVE 'shop' TO '/var/opt/mssql/data/plain.mdf', MOVE 'shop_log' TO '/var/opt/mssql/data/p.ldf'"
    found = numbers(keyed, f"RESTORE DATABASE plain FROM DISK = '/tmp/f.bak' WITH REPLACE, {moves}")
    assert found == [3169, 3013]
    assert keyed.rows("plain", "SELECT count(*) FROM own") == [[0]]
    assert numbers(keyed, OFF) == []
    assert salt_of(keyed.store / "shop.db") is None
    assert numbers(keyed, "RESTORE DATABASE shop FROM DISK = '/tmp/f.bak' WITH REPLACE") == [3169, 3013]
    assert execute(keyed, "SELECT id, v FROM t") == ROWS


def test_switching_begins_a_new_chain(keyed: Workshop) -> None:
    back_up_chain(keyed)
    for text in (OFF, ON):
        assert numbers(keyed, text) == []
        assert execute(keyed, "PRAGMA journal_mode") == [("wal",)]
        assert numbers(keyed, "BACKUP LOG shop TO DISK = '/tmp/x.trn'") == [4214, 3013]
        assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/x.bak' WITH DIFFERENTIAL") == [3035, 3013]
        assert execute(keyed, "SELECT id, v FROM t") == ROWS
    assert in_clear(keyed.store, keyed.media) == []
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/g.bak'")[-1] == 3014
    execute(keyed, "DELETE FROM t WHERE id = 1")
    assert numbers(keyed, "BACKUP LOG shop TO DISK = '/tmp/h.trn'")[-1] == 3014
    keyed.run("DROP DATABASE shop")
    for text in (
        "RESTORE DATABASE shop FROM DISK = '/tmp/g.bak' WITH NORECOVERY",
        "RESTORE LOG shop FROM DISK = '/tmp/h.trn'",
    ):
        assert numbers(keyed, text)[-1] == 3014
    assert execute(keyed, "SELECT id, v FROM t") == ROWS[1:]


def test_what_is_refused(keyed: Workshop) -> None:
    assert numbers(keyed, KEY) == [33102]
    assert numbers(keyed, KEY, "shop") == [33103]
    assert numbers(keyed, "DROP DATABASE ENCRYPTION KEY", "shop") == [33105]
    keyed.run("CREATE DATABASE other")
    assert numbers(keyed, "ALTER DATABASE other SET ENCRYPTION ON") == [33106, 5069]
    assert numbers(keyed, "ALTER DATABASE model SET ENCRYPTION ON") == [33102, 5069]
    assert numbers(keyed, "DROP DATABASE ENCRYPTION KEY", "other") == [33104]
    assert numbers(keyed, KEY.replace("AES_256", "AES_128"), "other") == [40510]
    assert numbers(keyed, KEY.replace("CERTIFICATE c", "CERTIFICATE nobody"), "other") == [15151]
    assert numbers(keyed, "DROP CERTIFICATE c") == [3716]
    assert numbers(keyed, f"{OFF}, READ_ONLY") == [5062, 5069]
    keyed.sessions.databases[60] = "shop"
    assert numbers(keyed, OFF) == [5070, 5069]
    del keyed.sessions.databases[60]
    assert numbers(keyed, OFF) == []
    assert numbers(keyed, "DROP DATABASE ENCRYPTION KEY", "shop") == []
    assert execute(keyed, "SELECT id, v FROM t") == [(1, MARKER)]


def test_a_damaged_key_file_is_not_passed_over(keyed: Workshop) -> None:
    """Its certificate leads to the key in the backups; a new service master key would not open it."""
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/k.bak'")[-1] == 3014
    (file,) = (keyed.store / ".keys").iterdir()
    sound = file.read_bytes()
    file.write_bytes(sound[:40])
    assert numbers(keyed, "DROP CERTIFICATE c") == [3716]
    assert numbers(keyed, "ALTER SERVICE MASTER KEY REGENERATE") == [15320]
    context = Context(keyed.env, NativeRequest("EXEC sp_doctor", ADMIN), Operands({}), 0)
    assert "encryption key is damaged" in str(examine(context, quick=False))
    file.unlink()
    assert numbers(keyed, "DROP CERTIFICATE c") == [3716]
    assert numbers(keyed, "RESTORE DATABASE shop FROM DISK = '/tmp/k.bak' WITH REPLACE")[-1] == 3014
    assert execute(keyed, "SELECT id, v FROM t") == [(1, MARKER)]


def test_the_key_outlives_its_certificate_and_the_service_master_key(
    keyed: Workshop, second: Workshop
) -> None:
    assert numbers(keyed, "ALTER SERVICE MASTER KEY REGENERATE") == []
    assert execute(keyed, "SELECT id, v FROM t") == [(1, MARKER)]
    assert numbers(keyed, "CREATE CERTIFICATE e WITH SUBJECT = 's'") == []
    change = "ALTER DATABASE ENCRYPTION KEY ENCRYPTION BY SERVER CERTIFICATE e"
    assert numbers(keyed, change, "shop") == [33091]
    assert numbers(keyed, "DROP CERTIFICATE c") == []
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/e.bak'")[-1] == 3014
    second.run(IMPORT)
    assert numbers(second, "RESTORE DATABASE shop FROM DISK = '/tmp/e.bak'") == [33111, 3013]


def test_a_restore_is_verified_and_a_snapshot_taken(keyed: Workshop, second: Workshop) -> None:
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/f.bak'")[-1] == 3014
    second.run(IMPORT)
    for shop in (keyed, second):
        replies = shop.run("EXEC sp_verify_restore @a1", variables={"@a1": "/tmp/f.bak"})
        found = [row for reply in replies if isinstance(reply, Rows) for row in reply.rows]
        assert [row[0] for row in found] == ["sound"]
    file = "(NAME = shop, FILENAME = '/var/opt/mssql/data/moment.ss')"
    assert numbers(keyed, f"CREATE DATABASE moment ON {file} AS SNAPSHOT OF shop") == []
    execute(keyed, "DELETE FROM t")
    assert numbers(keyed, "RESTORE DATABASE shop FROM DATABASE_SNAPSHOT = 'moment'")[-1:] in ([], [3014])
    assert execute(keyed, "SELECT id, v FROM t") == [(1, MARKER)]
    assert in_clear(keyed.store, second.store, keyed.media) == []


def test_pages_standby_and_names(keyed: Workshop) -> None:
    rows = "WITH RECURSIVE n (i) AS (SELECT 2 UNION ALL SELECT i + 1 FROM n WHERE i < 500)"
    execute(keyed, f"{rows} INSERT INTO t SELECT i, '{MARKER}' FROM n")
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/f.bak'")[-1] == 3014
    execute(keyed, "UPDATE t SET v = 'x' WHERE id = 3")
    assert numbers(keyed, "BACKUP LOG shop TO DISK = '/tmp/l.trn'")[-1] == 3014
    moves = "MOVE 'shop' TO '/var/opt/mssql/data/copy.mdf', MOVE 'shop_log' TO '/var/opt/mssql/data/copy.ldf'"
    standby = "STANDBY = '/var/opt/mssql/data/copy.undo'"
    for text in (
        "RESTORE DATABASE shop PAGE = '1:3' FROM DISK = '/tmp/f.bak' WITH NORECOVERY",
        "RESTORE LOG shop FROM DISK = '/tmp/l.trn' WITH NORECOVERY",
        "BACKUP LOG shop TO DISK = '/tmp/m.trn'",
        "RESTORE LOG shop FROM DISK = '/tmp/m.trn' WITH RECOVERY",
        f"RESTORE DATABASE copy FROM DISK = '/tmp/f.bak' WITH {moves}, {standby}",
    ):
        assert numbers(keyed, text)[-1] == 3014, text
    assert execute(keyed, "SELECT count(*), sum(v = 'x') FROM t", "copy") == [(500, 0)]
    assert numbers(keyed, "RESTORE LOG copy FROM DISK = '/tmp/l.trn' WITH RECOVERY")[-1] == 3014
    for text in ("OFFLINE", "ONLINE"):
        assert numbers(keyed, f"ALTER DATABASE copy SET {text}") == []
    assert numbers(keyed, "ALTER DATABASE copy MODIFY NAME = renamed") == [5021]
    for name in ("shop", "renamed"):
        assert execute(keyed, "SELECT count(*), sum(v = 'x') FROM t", name) == [(500, 1)]
        assert execute(keyed, "PRAGMA integrity_check", name) == [("ok",)]
    assert in_clear(keyed.store, keyed.media) == []


def test_a_file_without_its_key_is_not_touched(keyed: Workshop) -> None:
    (file,) = (keyed.store / ".keys").iterdir()
    kept = file.read_bytes()
    file.unlink()
    before = (keyed.store / "shop.db").read_bytes()
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/f.bak'")[-1] == 3013
    assert (keyed.store / "shop.db").read_bytes() == before
    file.write_bytes(kept)
    assert numbers(keyed, "BACKUP DATABASE shop TO DISK = '/tmp/f.bak'")[-1] == 3014


def test_it_is_extracted_in_clear_by_who_has_the_key(keyed: Workshop, tmp_path: Path) -> None:
    back_up_chain(keyed)
    media = [keyed.media / name for name in ("f.bak", "d.bak", "l.trn")]
    with pytest.raises(ExtractionError, match="Cannot find server certificate"):
        extract(media, tmp_path / "out.db")
    assert not (tmp_path / "out.db").exists()
    with store_keys(keyed.store) as keys:
        extract(media, tmp_path / "out.db", keys=keys)
    connection = apsw.Connection(str(tmp_path / "out.db"))
    assert connection.execute("SELECT id, v FROM t").fetchall() == ROWS
    connection.close()


@pytest.mark.parametrize(("page_size", "wal"), [(1024, True), (65536, False)])
def test_files_of_any_kind_are_encrypted(shop: Workshop, page_size: int, wal: bool) -> None:
    connection = apsw.Connection(str(shop.store / "shop.db"))
    connection.execute(f"PRAGMA page_size = {page_size}; PRAGMA journal_mode = {'WAL' if wal else 'DELETE'};")
    connection.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT)")
    with connection:
        for number in range(50):
            connection.execute("INSERT INTO t VALUES (?, ?)", (number, MARKER * 40))
    connection.close()
    for text in (MASTER_KEY, CERTIFICATE):
        numbers(shop, text)
    assert numbers(shop, KEY, "shop") == [33091]
    assert numbers(shop, ON) == []
    assert in_clear(shop.store) == []
    assert numbers(shop, "BACKUP DATABASE shop TO DISK = '/tmp/f.bak' WITH CHECKSUM")[-1] == 3014
    assert numbers(shop, "DROP DATABASE shop") == []
    assert numbers(shop, "RESTORE DATABASE shop FROM DISK = '/tmp/f.bak'")[-1] == 3014
    assert execute(shop, "SELECT count(*) FROM t WHERE v LIKE 'the marker%'") == [(50,)]
    assert execute(shop, "PRAGMA journal_mode") == [("wal" if wal else "delete",)]
    assert execute(shop, "PRAGMA page_size") == [(page_size,)]
    assert in_clear(shop.store, shop.media) == []


def test_pages_that_are_too_small_are_refused(shop: Workshop) -> None:
    connection = apsw.Connection(str(shop.store / "shop.db"))
    connection.execute("PRAGMA page_size = 512; CREATE TABLE t (id INTEGER)")
    connection.close()
    for text in (MASTER_KEY, CERTIFICATE):
        numbers(shop, text)
    numbers(shop, KEY, "shop")
    assert numbers(shop, ON) == [0, 5069]
    assert salt_of(shop.store / "shop.db") is None
    assert execute(shop, "SELECT count(*) FROM t") == [(0,)]
