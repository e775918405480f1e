"""RESTORE ... PAGE: damaged pages of a database in use come back as they should be now."""

from __future__ import annotations

import apsw
import pytest

from tests.commands.pages import check, content, damage, insert, leaf, make
from tests.commands.support import Workshop, messages, numbers


@pytest.fixture
def damaged(logged: Workshop) -> tuple[Workshop, int, list[list[object]]]:
    """A database with a full backup, two log backups' worth of changes, and a page that was overwritten."""
    shop = logged
    make(shop)
    shop.fill("a", "UPDATE t SET v = 'changed' || v WHERE k <= 50")
    assert 3013 not in numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/1.trn'"))
    insert(shop, 401, 420)
    before = content(shop)
    page = leaf(shop, 200)
    damage(shop, page)
    assert check(shop) != [["ok"]]
    return shop, page, before


def test_a_page_comes_back_by_the_documented_sequence(
    damaged: tuple[Workshop, int, list[list[object]]],
) -> None:
    shop, page, before = damaged
    first = shop.run(f"RESTORE DATABASE a PAGE = '1:{page}' FROM DISK = '/tmp/full.bak' WITH NORECOVERY")
    assert numbers(first) == [4035, 4303, 3014]
    texts = [m.text for m in messages(first)]
    assert texts[0] == "Processed 1 pages for database 'a', file 'a' on file 1."
    assert texts[2].startswith("RESTORE DATABASE ... FILE=<a> successfully processed 1 pages in ")
    second = shop.run("RESTORE LOG a FROM DISK = '/tmp/1.trn' WITH NORECOVERY")
    assert numbers(second) == [4035, 4303, 3014]
    refused = shop.run("BACKUP DATABASE a TO DISK = '/tmp/during.bak'")
    assert numbers(refused) == [3016, 3013]
    assert messages(refused)[0].text.startswith("Backup of file 'a' is not permitted because it contains")
    # Rows that lie elsewhere are written while the page is still damaged.
    shop.fill("a", "UPDATE t SET v = 'late' WHERE k = 420")
    before[-1] = [420, "late"]
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/2.trn'"))[-1] == 3014
    last = shop.run("RESTORE LOG a FROM DISK = '/tmp/2.trn' WITH RECOVERY")
    assert numbers(last) == [4035, 3014]
    assert check(shop) == [["ok"]]
    assert content(shop) == before
    database = shop.catalog.databases.find("a")
    assert database is not None
    assert database.pages is None
    assert list((shop.store / ".redo").iterdir()) == []
    assert numbers(shop.run("BACKUP DATABASE a TO DISK = '/tmp/after.bak' WITH COPY_ONLY"))[-1] == 3014
    types = shop.history("SELECT restore_type FROM restorehistory ORDER BY restore_history_id")
    assert [row[0] for row in types][-3:] == ["F", "L", "L"]
    # The chain goes on.
    insert(shop, 421, 425)
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/3.trn'"))[-1] == 3014
    for text in (
        "DATABASE b FROM DISK = '/tmp/full.bak' WITH NORECOVERY, MOVE 'a' TO '/x/b.mdf',"
        " MOVE 'a_log' TO '/x/b.ldf'",
        "LOG b FROM DISK = '/tmp/1.trn' WITH NORECOVERY",
        "LOG b FROM DISK = '/tmp/2.trn' WITH NORECOVERY",
        "LOG b FROM DISK = '/tmp/3.trn'",
    ):
        assert numbers(shop.run("RESTORE " + text))[-1] == 3014
    assert shop.rows("b", "SELECT * FROM t ORDER BY k") == shop.rows("a", "SELECT * FROM t ORDER BY k")


def test_a_differential_leads_nearer(logged: Workshop) -> None:
    shop = logged
    make(shop)
    page = leaf(shop, 200)
    shop.fill("a", "UPDATE t SET v = 'late' WHERE k = 200")
    shop.run("BACKUP DATABASE a TO DISK = '/tmp/d.bak' WITH DIFFERENTIAL")
    shop.fill("a", "UPDATE t SET v = 'latest' WHERE k = 1")
    shop.run("BACKUP LOG a TO DISK = '/tmp/1.trn'")
    restore = "RESTORE DATABASE a {} FROM DISK = '/tmp/{}' WITH NORECOVERY"
    assert numbers(shop.run(restore.format(f"PAGE = '1:{page}'", "full.bak"))) == [4035, 4303, 3014]
    assert numbers(shop.run(restore.format("", "d.bak"))) == [4035, 4303, 3014]
    assert numbers(shop.run("RESTORE LOG a FROM DISK = '/tmp/1.trn'")) == [4035, 3014]
    assert shop.rows("a", "SELECT v FROM t WHERE k IN (1, 200) ORDER BY k") == [["latest"], ["late"]]
    assert check(shop) == [["ok"]]


def test_one_statement_finds_the_log_by_itself(damaged: tuple[Workshop, int, list[list[object]]]) -> None:
    shop, page, before = damaged
    # A reader whose snapshot is older keeps seeing it.
    reader = apsw.Connection(str(shop.store / "a.db"))
    reader.execute("BEGIN")
    assert next(iter(reader.execute("SELECT count(*) FROM t WHERE k = 1"))) == (1,)
    shop.fill("a", "DELETE FROM t WHERE k = 1")
    replies = shop.run(f"RESTORE DATABASE a PAGE = '1:{page}, 1:{page}' FROM DISK = '/tmp/full.bak'")
    assert numbers(replies) == [4035, 3014]
    assert [list(row) for row in reader.execute("SELECT k, substr(v, 1, 12) FROM t ORDER BY k")] == before
    reader.close()
    assert check(shop) == [["ok"]]
    assert content(shop) == before[1:]


def test_a_page_that_the_wal_holds_is_left_to_it(logged: Workshop) -> None:
    shop = logged
    make(shop)
    page = leaf(shop, 100)
    damage(shop, page)
    pinned = apsw.Connection(str(shop.store / "a.db"))
    pinned.execute("BEGIN")
    next(iter(pinned.execute("SELECT count(*) FROM sqlite_schema")))
    # Rows on other pages only: the damaged one is not read.
    shop.fill("a", "UPDATE t SET v = 'x' || v WHERE k > 390")
    replies = shop.run(f"RESTORE DATABASE a PAGE = '1:{page}' FROM DISK = '/tmp/full.bak'")
    assert numbers(replies) == [4035, 3014]
    pinned.close()
    assert check(shop) == [["ok"]]
    assert len(content(shop)) == 400


REFUSED = [
    ("1:1", 3111),
    ("1:0", 3111),
    ("1:99999", 3194),
    ("2:5", 4350),
    ("1:5,", 4350),
    ("x", 4350),
    (", ".join(f"1:{n}" for n in range(2, 1005)), 3105),
]


def test_refusals(logged: Workshop) -> None:
    shop = logged
    make(shop)
    for listed, expected in REFUSED:
        replies = shop.run(f"RESTORE DATABASE a PAGE = '{listed}' FROM DISK = '/tmp/full.bak'")
        assert numbers(replies) == [expected, 3013], listed
    text = "RESTORE DATABASE a PAGE = '1:2' FROM DISK = '/tmp/{}'"
    shop.run("BACKUP LOG a TO DISK = '/tmp/1.trn'")
    assert numbers(shop.run(text.format("1.trn"))) == [3195, 3013]
    shop.run("CREATE DATABASE other")
    shop.run("BACKUP DATABASE other TO DISK = '/tmp/other.bak'")
    assert numbers(shop.run(text.format("other.bak"))) == [3154, 3013]
    assert numbers(shop.run(text.format("full.bak") + " WITH STOPAT = '2030-01-01'")) == [4342, 3013]
    assert numbers(shop.run("RESTORE DATABASE b PAGE = '1:2' FROM DISK = '/tmp/full.bak'")) == [3118, 3013]
    shop.run(text.format("full.bak") + " WITH NORECOVERY")
    assert numbers(shop.run("ALTER DATABASE a SET RECOVERY SIMPLE")) == [5096, 5069]
    assert numbers(shop.run("RESTORE DATABASE a WITH RECOVERY")) == [3014]
    shop.run("ALTER DATABASE a SET RECOVERY SIMPLE")
    assert numbers(shop.run(text.format("full.bak"))) == [4346, 3013]
