"""A database whose pages get damaged on the disk, behind SQLite's back."""

from __future__ import annotations

import subprocess
import sys

import apsw

from tests.commands.support import Workshop, numbers

_PAGE = 4096


def make(shop: Workshop, options: str = "INIT") -> None:
    """Database ``a`` in FULL with 400 rows in its main file, and a full backup of it."""
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (k INTEGER PRIMARY KEY, v TEXT NOT NULL)")
    insert(shop, 1, 400)
    # What is restored under a new name lies in the main file, not in a WAL.
    assert 3013 not in numbers(shop.run("BACKUP DATABASE a TO DISK = '/tmp/first.bak'"))
    assert 3702 not in numbers(shop.run("DROP DATABASE a"))
    assert 3013 not in numbers(shop.run("RESTORE DATABASE a FROM DISK = '/tmp/first.bak'"))
    assert 3013 not in numbers(shop.run(f"BACKUP DATABASE a TO DISK = '/tmp/full.bak' WITH {options}"))


def insert(shop: Workshop, first: int, last: int) -> None:
    shop.fill(
        "a",
        f"WITH n(k) AS (SELECT {first} UNION ALL SELECT k + 1 FROM n WHERE k < {last})"
        " INSERT INTO t SELECT k, 'v' || k || '-' || hex(zeroblob(60)) FROM n",
    )


def content(shop: Workshop) -> list[list[object]]:
    return shop.rows("a", "SELECT k, substr(v, 1, 12) FROM t ORDER BY k")


def leaf(shop: Workshop, key: int) -> int:
    """The number of the page on which a row lies in the main file."""
    path = shop.store / "a.db"
    raw = subprocess.run(["cat", str(path)], check=True, capture_output=True, timeout=60).stdout
    found = raw.find(f"v{key}-".encode())
    assert found > 0
    return found // _PAGE + 1


def damage(shop: Workshop, page: int) -> None:
    """By another process: this one holds locks on the file."""
    code = (
        f"f = open({str(shop.store / 'a.db')!r}, 'r+b'); f.seek({(page - 1) * _PAGE});"
        f" f.write(b'\\xa5' * {_PAGE}); f.close()"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def check(shop: Workshop) -> list[list[object]]:
    try:
        return shop.rows("a", "PRAGMA integrity_check")
    except apsw.CorruptError as error:
        return [[str(error)]]
