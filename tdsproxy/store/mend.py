"""Giving damaged pages of a database in use the content that they should have.

Only the main file can be mended: what a page should hold *now* is written to its place there. That is right
for every reader as long as no frame of the WAL that is not yet copied into the main file (not *backfilled*)
holds the page: all open snapshots, however old, lie behind the backfilled frames, so each of them sees the
page as it is now. A page that such a frame does hold is left alone: readers of the present take the frame,
and the next checkpoint writes it over the damage.

Writers are kept out by the write lock, so no new frame comes meanwhile. A checkpoint of others may run: it
copies only frames that are not backfilled, so it never writes a page that is mended here. A commit at the
end, which changes nothing, lets other connections drop the pages that they keep in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import apsw

from tdsproxy.store import crashpoints, walindex
from tdsproxy.store import header as file_header
from tdsproxy.store.errors import DatabaseBusy, DatabaseUnreadable, InstallFailed
from tdsproxy.store.pagefile import PageFile
from tdsproxy.store.snapshot import open_database

_INDEX_ATTEMPTS = 10_000


def mend_pages(
    path: Path,
    contents: Callable[[], Mapping[int, bytes]],
    *,
    busy_milliseconds: int = 10_000,
    cancelled: Callable[[], bool] = lambda: False,
) -> int:
    """Write the pages that ``contents`` gives, called while nobody can commit; how many were written.

    ``contents`` must give whole pages as they are after the last commit. Those beyond the end of the database
    are left out. Killed in between, it can be done again. Raises DatabaseBusy, DatabaseUnreadable,
    InstallFailed, OSError, and what ``contents`` raises.
    """
    connection = open_database(path, busy_milliseconds, cancelled)
    try:
        connection.execute("PRAGMA synchronous=FULL").fetchall()
        connection.execute("BEGIN IMMEDIATE").fetchall()
        version = int(str(connection.execute("PRAGMA user_version").fetchall()[0][0]))
        pages = contents()
        written = _write(PageFile(connection), path, pages)
        crashpoints.reach("mend.written")
        connection.execute(f"PRAGMA user_version={version}").fetchall()
        connection.execute("COMMIT").fetchall()
        crashpoints.reach("mend.committed")
        return written
    except (apsw.BusyError, apsw.LockedError) as error:
        raise DatabaseBusy(path, f"{path} is in use: {error}") from error
    except (apsw.NotADBError, apsw.CorruptError, apsw.IOError) as error:
        raise DatabaseUnreadable(path, f"SQLite cannot read {path}: {error}") from error
    finally:
        connection.close()


def _write(file: PageFile, path: Path, pages: Mapping[int, bytes]) -> int:
    head = bytearray(file_header.SIZE)
    file.read_into(memoryview(head), 0)
    parsed = file_header.parse(bytes(head))
    if parsed is None or not parsed.wal:
        raise InstallFailed(path, f"{path} is not in WAL mode")
    size = parsed.page_size
    count, held = _pending(file, path, file.size() // size)
    written = 0
    for number, image in sorted(pages.items()):
        if len(image) != size:
            raise InstallFailed(path, f"a page of {len(image)} bytes does not fit into pages of {size}")
        if number <= count and number not in held:
            file.write(image, (number - 1) * size)
            written += 1
    file.sync()
    return written


def _pending(file: PageFile, path: Path, in_file: int) -> tuple[int, frozenset[int]]:
    """The number of pages, and those that lie in frames that are not backfilled."""
    for _ in range(_INDEX_ATTEMPTS):
        block = file.index_block(0)
        head = walindex.read_header(block) if block is not None else None
        if block is None or head is None:
            continue
        done = walindex.backfilled(block)
        if not head.max_frame:
            return in_file, frozenset()
        pages = walindex.frame_pages(file.index_block, head.max_frame)
        if pages is not None:
            return head.page_count, frozenset(pages[done:])
    raise InstallFailed(path, "SQLite holds no WAL index")
