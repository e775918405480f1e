"""BACKUP WITH CHECKSUM of a damaged database: it is reported, never silently copied."""

from __future__ import annotations

import subprocess
import sys

from tests.commands.pages import check, content, damage, insert, leaf, make
from tests.commands.support import Workshop, messages, numbers, table

CHECKED = "BACKUP DATABASE a TO DISK = '/tmp/c.bak' WITH CHECKSUM"


def test_a_page_that_is_none(logged: Workshop) -> None:
    shop = logged
    make(shop)
    page = leaf(shop, 200)
    damage(shop, page)
    replies = shop.run(CHECKED)
    assert numbers(replies) == [3043, 3013]
    told = f"BACKUP 'a' detected an error on page (1:{page}) in file '/var/opt/mssql/data/a.mdf'."
    assert messages(replies)[0].text == told
    assert not (shop.media / "c.bak").exists()
    suspects = "SELECT database_id, file_id, page_id, event_type, error_count FROM suspect_pages"
    database = shop.catalog.databases.find("a")
    assert database is not None
    assert shop.history(suspects) == [(database.id, 1, page, 1, 1)]
    replies = shop.run(CHECKED + ", CONTINUE_AFTER_ERROR")
    assert numbers(replies) == [4035, 4035, 3042, 3014]
    (header,) = table(shop.run("RESTORE HEADERONLY FROM DISK = '/tmp/c.bak'"))
    assert (header["IsDamaged"], header["HasBackupChecksums"]) == (1, 1)
    assert numbers(shop.run("RESTORE VERIFYONLY FROM DISK = '/tmp/c.bak'")) == [3188, 3262]
    text = (
        "RESTORE DATABASE b FROM DISK = '/tmp/c.bak' WITH MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf'"
    )
    assert numbers(shop.run(text)) == [3182, 3013]
    assert numbers(shop.run(f"{text}, CONTINUE_AFTER_ERROR")) == [4035, 4035, 3188, 3184, 3014]
    assert numbers(shop.run(f"RESTORE DATABASE a PAGE = '1:{page}' FROM DISK = '/tmp/full.bak'"))[-1] == 3014
    assert shop.history(suspects) == [(database.id, 1, page, 4, 2)]
    assert numbers(shop.run(CHECKED + ", INIT")) == [4035, 4035, 3014]


def flip(shop: Workshop, text: bytes) -> None:
    """One byte of a row's text: no structure of SQLite's is hurt."""
    path = str(shop.store / "a.db")
    code = (
        f"f = open({path!r}, 'r+b'); at = f.read().index({text!r}); f.seek(at + 1); f.write(b'#'); f.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_byte_that_nobody_wrote(logged: Workshop) -> None:
    shop = logged
    make(shop, "CHECKSUM")
    page = leaf(shop, 300)
    # What is written since counts as such, also on the same fork's way through a restore.
    shop.fill("a", "UPDATE t SET v = 'new' WHERE k <= 100")
    insert(shop, 401, 500)
    assert numbers(shop.run(CHECKED + ", COPY_ONLY")) == [4035, 4035, 3014]
    flip(shop, b"v300-")
    assert check(shop) == [["ok"]]
    replies = shop.run(CHECKED)
    assert numbers(replies) == [3043, 3013]
    assert f"page (1:{page})" in messages(replies)[0].text
    assert numbers(shop.run("BACKUP DATABASE a TO DISK = '/tmp/u.bak'")) == [4035, 4035, 3014]


def test_restores_do_not_look_like_damage(logged: Workshop) -> None:
    shop = logged
    make(shop, "CHECKSUM")
    shop.fill("a", "UPDATE t SET v = 'new' WHERE k <= 100")
    shop.run("BACKUP LOG a TO DISK = '/tmp/1.trn'")
    insert(shop, 401, 500)
    before = content(shop)
    shop.run("RESTORE DATABASE a FROM DISK = '/tmp/full.bak' WITH REPLACE, NORECOVERY")
    assert numbers(shop.run("RESTORE LOG a FROM DISK = '/tmp/1.trn'"))[-1] == 3014
    assert numbers(shop.run(CHECKED + ", COPY_ONLY")) == [4035, 4035, 3014]
    shop.fill("a", "DELETE FROM t WHERE k > 200; VACUUM")
    assert numbers(shop.run(CHECKED + ", COPY_ONLY")) == [4035, 4035, 3014]
    database = shop.catalog.databases.find("a")
    assert database is not None
    assert database.kept is not None
    kept = database.kept.copy.removeprefix(".undo/").removesuffix(".db")
    assert 3013 not in numbers(shop.run(f"RESTORE DATABASE a FROM DATABASE_SNAPSHOT = '{kept}'"))
    assert content(shop) == before
    assert numbers(shop.run(CHECKED)) == [4035, 4035, 3014]


def test_who_goes_on_behind_damage_says_so(logged: Workshop) -> None:
    shop = logged
    make(shop)
    damage(shop, leaf(shop, 200))
    assert numbers(shop.run(CHECKED + ", CONTINUE_AFTER_ERROR"))[-1] == 3014
    assert numbers(shop.run("BACKUP LOG a TO DISK = '/tmp/l.trn'"))[-1] == 3014
    begun = (
        "RESTORE DATABASE b FROM DISK = '/tmp/c.bak' WITH MOVE 'a' TO '/x/b.mdf', MOVE 'a_log' TO '/x/b.ldf',"
        " NORECOVERY, CONTINUE_AFTER_ERROR"
    )
    assert numbers(shop.run(begun))[-1] == 3014
    log = "RESTORE LOG b FROM DISK = '/tmp/l.trn' WITH NORECOVERY"
    assert numbers(shop.run(log)) == [4323, 3013]
    assert numbers(shop.run(f"{log}, CONTINUE_AFTER_ERROR"))[-1] == 3014
    assert numbers(shop.run(log)) == [4323, 3013]
    assert numbers(shop.run("RESTORE DATABASE b WITH RECOVERY")) == [3014]
