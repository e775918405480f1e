"""Driving ``workload`` and the capture from tests."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.capture import Capturer
from tdsproxy.log.records import Transaction, WalPosition
from tdsproxy.store.snapshot import Snapshot, copy_pages

SCRIPT = Path(__file__).with_name("workload.py")
DATABASE = uuid.UUID("11111111-2222-3333-4444-555555555555")
FORK = uuid.UUID("66666666-7777-8888-9999-aaaaaaaaaaaa")
POSITION = WalPosition((1, 2), 3, (4, 5), 6)


def run(command: str, *arguments: object) -> str:
    """Run one command of the workload to its end; what it printed."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), command, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout


def start(command: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a command and wait until it says that it is ready."""
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), command, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "ready"
    return process


def finish(processes: Iterable[subprocess.Popen[str]]) -> None:
    """Wait for all of them."""
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0


def descriptors(*words: str) -> int:
    """How many of this process's descriptors are of files whose names have one of the words: others may come
    and go in other threads."""
    found = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += any(word in str(entry.readlink()) for word in words)
    return found


def open_archive(tmp_path: Path, **options: int) -> Archive:
    """The archive of the test's database."""
    return Archive(tmp_path / "log" / "db" / "fork", DATABASE, FORK, lsns.FIRST, **options)


@dataclass(slots=True)
class Reports:
    """What the capture told the operator."""

    lines: list[str] = field(default_factory=list)

    def __call__(self, line: str) -> None:
        self.lines.append(line)


@contextmanager
def capturing(path: Path, archive: Archive, **options: object) -> Iterator[Capturer]:
    """A capture that ends with the block."""
    capturer = Capturer(path, archive, **options)  # type: ignore[arg-type]
    try:
        yield capturer
    finally:
        capturer.close()


def full_image(path: Path, capturer: Capturer, image: Path) -> tuple[int, int]:
    """As a full backup does: a snapshot, its first and its last LSN."""
    first = capturer.capture_now()
    with Snapshot(path) as snapshot:
        last = capturer.capture_now()
        copy_pages(snapshot.page_size, snapshot.page_count, snapshot.read_run, image)
        snapshot.check()
    make_plain(image)
    return first, last


def make_plain(image: Path) -> None:
    """Let an image be opened without a WAL beside it; of a copy that nobody has open."""
    with image.open("r+b") as file:
        file.seek(18)
        file.write(b"\x01\x01")


def verify(journals: Iterable[Path], images: Iterable[Path]) -> dict[str, tuple[int, bool]]:
    """Per image: the number of its last transaction, and whether it is the state that was replayed."""
    names = [str(image) for image in images]
    found = json.loads(run("verify", *journals, "--", *names))
    return {name: (found[name][0], found[name][1]) for name in names}


def journal_lines(journals: Iterable[Path]) -> list[tuple[int, int, int]]:
    """(number, time just before the commit, time just after it) of all transactions, in order."""
    found = []
    for journal in journals:
        # A writer that is at work may have written half of the last one.
        for line in journal.read_text().rpartition("\n")[0].splitlines():
            number, before, after, _ = json.loads(line)
            found.append((number, before, after))
    return sorted(found)


def transaction(lsn: int, pages: dict[int, bytes], count: int, at: int = 1, **more: str) -> Transaction:
    """A transaction of 512-byte pages."""
    return Transaction(lsn, lsns.advance(lsn, 512 * len(pages)), at, 512, count, list(pages.items()), **more)
