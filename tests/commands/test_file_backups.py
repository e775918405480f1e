"""FILE, FILEGROUP, READ_WRITE_FILEGROUPS and PARTIAL, for databases of one data file."""

from __future__ import annotations

import pytest

from tdsproxy.catalog.databases import DatabaseState
from tests.commands.support import Workshop, messages, numbers, table

MOVE = "MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"


@pytest.fixture
def shop(logged: Workshop) -> Workshop:
    logged.run("CREATE DATABASE a")
    logged.fill("a", "CREATE TABLE t (x); INSERT INTO t VALUES (1)")
    return logged


def content(shop: Workshop, name: str = "a") -> list[object]:
    return [row[0] for row in shop.rows(name, "SELECT x FROM t ORDER BY x")]


def backed_up(shop: Workshop, text: str) -> str:
    replies = shop.run(f"BACKUP DATABASE a {text}")
    assert numbers(replies)[-1] == 3014
    return messages(replies)[-1].text.split(" successfully")[0]


KINDS = (
    ("FILE = 'a'", 4, 6, "FG", "BACKUP DATABASE...FILE=<a>"),
    ("FILEGROUP = 'primary'", 4, 6, "FG", "BACKUP DATABASE...FILE=<a>"),
    ("READ_WRITE_FILEGROUPS", 7, 8, "PQ", "BACKUP DATABASE"),
)


def test_kinds(shop: Workshop) -> None:
    for value, (selection, full, differential, letters, name) in enumerate(KINDS, 2):
        assert backed_up(shop, f"{selection} TO DISK = '/tmp/f.bak' WITH INIT") == name
        shop.fill("a", f"INSERT INTO t VALUES ({value})")
        again = backed_up(shop, f"{selection} TO DISK = '/tmp/d.bak' WITH DIFFERENTIAL, INIT")
        assert again == f"{name} WITH DIFFERENTIAL"
        headers = [table(shop.run(f"RESTORE HEADERONLY FROM DISK = '/tmp/{m}.bak'"))[0] for m in "fd"]
        assert [row["BackupType"] for row in headers] == [full, differential]
        types = shop.history("SELECT type FROM backupset ORDER BY backup_set_id")
        assert "".join(str(row[0]) for row in types[-2:]) == letters
        options = "PARTIAL, REPLACE" if full == 7 else "REPLACE"
        text = f"RESTORE DATABASE b FROM DISK = '/tmp/f.bak' WITH {options}, NORECOVERY, {MOVE}"
        assert numbers(shop.run(text))[-1] == 3014
        assert numbers(shop.run("RESTORE DATABASE b FROM DISK = '/tmp/d.bak'"))[-1] == 3014
        assert content(shop, "b") == list(range(1, value + 1))


def test_a_file_alone_waits_for_its_log(shop: Workshop) -> None:
    backed_up(shop, "FILE = 'a' TO DISK = '/tmp/f.bak'")
    shop.fill("a", "INSERT INTO t VALUES (2)")
    restore = "RESTORE DATABASE a FILE = 'a' FROM DISK = '/tmp/f.bak'"
    assert numbers(shop.run(restore)) == [3159, 3013]
    shop.run("BACKUP LOG a TO DISK = '/tmp/tail.trn' WITH NORECOVERY")
    replies = shop.run(restore)
    assert numbers(replies) == [4035, 4035, 4303, 4339, 3014]
    assert messages(replies)[-1].text.startswith("RESTORE DATABASE ... FILE=<a> successfully")
    found = shop.catalog.databases.find("a")
    assert found is not None
    assert found.state is DatabaseState.RESTORING
    assert numbers(shop.run("RESTORE LOG a FILE = 'a' FROM DISK = '/tmp/tail.trn'"))[-1] == 3014
    assert content(shop) == [1, 2]
    assert shop.history("SELECT restore_type, recovery FROM restorehistory") == [("F", 0), ("L", 1)]


def test_a_file_that_needs_no_log_is_recovered_at_once(shop: Workshop) -> None:
    backed_up(shop, "FILE = 'a' TO DISK = '/tmp/f.bak'")
    replies = shop.run("RESTORE DATABASE a FILE = 'a' FROM DISK = '/tmp/f.bak' WITH REPLACE")
    assert numbers(replies) == [4035, 4035, 3014]
    assert content(shop) == [1]


WITHOUT_BASE = "BACKUP DATABASE a FILE = 'a' TO DISK = '/tmp/x.bak' WITH DIFFERENTIAL"
REFUSED = [
    ("BACKUP DATABASE a FILE = 'other' TO DISK = '/tmp/x.bak'", 3235),
    ("BACKUP DATABASE a FILEGROUP = 'other' TO DISK = '/tmp/x.bak'", 3027),
    ("BACKUP DATABASE master FILE = 'master' TO DISK = '/tmp/x.bak'", 3024),
    ("BACKUP LOG a FILE = 'a' TO DISK = '/tmp/x.bak'", 3032),
    ("BACKUP DATABASE simple FILE = 'simple' TO DISK = '/tmp/x.bak'", 3004),
    ("RESTORE DATABASE b FILE = 'other' FROM DISK = '/tmp/full.bak'", 3234),
    ("RESTORE DATABASE b FILE = 'a_log' FROM DISK = '/tmp/full.bak'", 3144),
    ("RESTORE DATABASE b FILEGROUP = 'other' FROM DISK = '/tmp/full.bak'", 3190),
    ("RESTORE DATABASE b FROM DISK = '/tmp/diff.bak' WITH PARTIAL", 3103),
    ("RESTORE DATABASE b FROM DISK = '/tmp/partial.bak'", 3103),
    ("RESTORE LOG b FROM DISK = '/tmp/full.bak' WITH PARTIAL", 3032),
]


def test_refusals(shop: Workshop) -> None:
    shop.run("CREATE DATABASE simple")
    shop.run("ALTER DATABASE simple SET RECOVERY SIMPLE")
    assert numbers(shop.run(WITHOUT_BASE)) == [3039, 3013]
    backed_up(shop, "TO DISK = '/tmp/full.bak'")
    backed_up(shop, "TO DISK = '/tmp/diff.bak' WITH DIFFERENTIAL")
    backed_up(shop, "READ_WRITE_FILEGROUPS TO DISK = '/tmp/partial.bak'")
    for text, expected in REFUSED:
        assert numbers(shop.run(text)) == [expected, 3013], text
