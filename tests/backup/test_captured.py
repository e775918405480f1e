"""Backups of a log that was captured, not made up: every state of a database comes back."""

from __future__ import annotations

import itertools
import random
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import apsw
import pytest

from tdsproxy.backup.operations import (
    BackupOptions,
    LogTail,
    apply_differential,
    apply_log,
    backup_database,
    backup_differential,
    backup_log,
    restore_image,
)
from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.capture import Capturer
from tdsproxy.log.roll import StopAt
from tdsproxy.media.documents import DIFFERENTIAL, FULL, LOG, SetDescription
from tests.backup.history import state_of
from tests.backup.making import description, disk


@dataclass
class Captured:
    """A database whose log is kept; ``states`` are its contents by the LSN that follows the last commit."""

    path: Path
    archive: Archive
    capturer: Capturer
    connection: apsw.Connection
    states: dict[int, bytes] = field(default_factory=dict)
    times: dict[int, int] = field(default_factory=dict)
    random: random.Random = field(default_factory=lambda: random.Random(4))

    def note(self) -> int:
        lsn = self.capturer.capture_now()
        self.states[lsn] = state_of(self.path)
        self.times[lsn] = self.archive.last_committed_ns()
        return lsn

    def work(self, commits: int) -> None:
        for _ in range(commits):
            roll = self.random.randrange(12)
            if roll < 7:
                self.run("INSERT INTO t(body) VALUES(randomblob(?))", self.random.choice((20, 3000, 90_000)))
            elif roll < 9:
                self.run("UPDATE t SET body = randomblob(500) WHERE id % 3 = ?", self.random.randrange(3))
            elif roll < 10:
                self.run("DELETE FROM t WHERE id % 4 = ?", self.random.randrange(4))
            elif roll < 11:
                self.run("VACUUM")
            else:
                self.connection.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_PASSIVE)
                self.run(f"CREATE INDEX i{len(self.states)} ON t(id, body)")

    def run(self, statement: str, *arguments: object) -> None:
        self.connection.execute(statement, arguments).fetchall()
        self.note()

    def tail(self, first: int) -> LogTail:
        self.work(2)
        through = time.time_ns()
        last = self.capturer.capture_now()
        return LogTail(last, self.archive.read(first, last), self.archive.last_committed_ns(), through)

    def changed_since(self, first: int) -> Iterator[int]:
        """Asks the archive when it is iterated, not before."""
        yield from self.archive.changed_pages(first)

    def describe(self, kind: int, first: int, last: int = 0, **members: object) -> SetDescription:
        common: dict[str, object] = {
            "backup_type": kind,
            "first_lsn": first,
            "checkpoint_lsn": first,
            "last_lsn": last or first,
        }
        return description("x", **(common | members))


@pytest.fixture
def captured(tmp_path: Path) -> Iterator[Captured]:
    path = tmp_path / "x.db"
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(60_000)
    connection.execute("PRAGMA journal_mode=wal").fetchall()
    connection.execute("PRAGMA synchronous=OFF").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)").fetchall()
    archive = Archive(tmp_path / "archive", uuid.uuid4(), uuid.uuid4(), lsns.FIRST)
    capturer = Capturer(path, archive, checkpoint_bytes=1 << 20)
    found = Captured(path, archive, capturer, connection)
    found.note()
    yield found
    connection.close()
    capturer.close()
    archive.close()


def test_every_captured_state_comes_back(captured: Captured, tmp_path: Path) -> None:
    medium, options = disk(tmp_path / "m.bak"), BackupOptions(compression=True)
    captured.work(6)
    first = captured.capturer.capture_now()
    full = captured.describe(FULL, first)
    whole = backup_database(captured.path, medium, full, options, log=lambda: captured.tail(first))
    assert whole.trailer.transaction_count == 2
    cuts = [first]
    differential_at = 0
    for number in range(4):
        captured.work(9)
        if number == 1:
            begin = captured.capturer.capture_now()
            about = captured.describe(
                DIFFERENTIAL, begin, differential_base_guid=full.set_guid, differential_base_lsn=first
            )
            differential_at = backup_differential(
                captured.path,
                captured.changed_since(first),
                medium,
                about,
                log=partial(captured.tail, begin),
            ).last_lsn
        through = time.time_ns()
        last = captured.capturer.capture_now()
        log = captured.archive.read(cuts[-1], last)
        backup_log(log, medium, captured.describe(LOG, cuts[-1], last), through_ns=through)
        cuts.append(last)
    positions = {0: 2, 1: 4, 2: 5, 3: 6}
    image, base = tmp_path / "image", tmp_path / "base"
    restore_image(medium, 1, base)
    assert base.read_bytes() == captured.states[whole.last_lsn]
    near = tmp_path / "near"
    near.write_bytes(base.read_bytes())
    apply_differential(medium, 3, near)
    assert near.read_bytes() == captured.states[differential_at]
    targets = [lsn for lsn in captured.states if lsn >= whole.last_lsn]
    assert len(targets) > 35
    for index, target in enumerate(targets):
        state = captured.states[target]
        later = target >= differential_at and index % 2 == 0
        image.write_bytes((near if later else base).read_bytes())
        redo = differential_at if later else whole.last_lsn
        reached = False
        for number, (_, end) in enumerate(itertools.pairwise(cuts)):
            if end < redo or reached:
                continue
            stop = StopAt(time_ns=captured.times[target])
            applied = apply_log(medium, positions[number], image, redo, stop)
            redo, reached = applied.redo_lsn, applied.reached
        assert reached
        assert redo == target
        assert image.read_bytes() == state
