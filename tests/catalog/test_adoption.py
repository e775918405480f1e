"""Files of other programs that are databases, whatever those programs do with them at the moment."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tdsproxy.catalog import catalog
from tdsproxy.catalog.databases import is_sqlite

MAKE = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("CREATE TABLE t(x)")
db.executemany("INSERT INTO t VALUES(?)", ((n,) for n in range(100)))
"""
# Spilled into the file before the commit: a process that dies here leaves a journal that must be played back.
WRITE = """
db.execute("PRAGMA cache_size=1")
db.execute("BEGIN EXCLUSIVE")
db.execute("UPDATE t SET x = hex(randomblob(2000))")
print("writing", flush=True)
sys.stdin.read()
"""


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Another process has an exclusive transaction open; it is killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-c", MAKE + WRITE, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "writing\n"
        yield
    finally:
        process.kill()
        process.communicate(timeout=60)


def test_a_database_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with written(path):
        assert is_sqlite(path)


def test_a_database_whose_writer_died(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    with written(path):
        pass
    assert path.with_name("x.db-journal").stat().st_size
    assert is_sqlite(path)


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\0", b"no database " * 100])
def test_what_is_no_database(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.db"
    path.write_bytes(content)
    assert not is_sqlite(path)


def test_a_database_file_that_cannot_be_made_durable_is_not_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path) -> None:
        raise OSError(errno.EIO, "the disk fails", str(path))

    monkeypatch.setattr(catalog, "sync_directory", fail)
    with pytest.raises(OSError, match="the disk fails"):
        catalog.create_database_file(tmp_path / "fresh.db")
    assert list(tmp_path.iterdir()) == []
