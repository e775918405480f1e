from __future__ import annotations

import itertools
import threading
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest

from tdsproxy.backup.errors import NothingToUndo, OperationCancelled, WrongSet
from tdsproxy.backup.operations import (
    BackupOptions,
    apply_differential,
    apply_log,
    backup_database,
    backup_differential,
    backup_log,
    restore_database,
    restore_image,
    undo_restore,
)
from tdsproxy.log.roll import StopAt
from tdsproxy.media import format as layout
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.errors import MediaDamaged
from tdsproxy.media.set_reader import open_media
from tdsproxy.store.install import undo_copies
from tests.backup.history import History, state_of
from tests.backup.making import disk

IDLE = 1_000


@dataclass(frozen=True)
class Chain:
    """A full backup of state 10, logs between the ``cuts``, and a differential of state 30."""

    history: History
    medium: DiskDevice
    cuts: tuple[int, ...]
    differential: int


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    folder = tmp_path_factory.mktemp("chain")
    history, medium = History(folder / "x.db", page_size=1024), disk(folder / "m.bak")
    history.work(10)
    full = history.full(10)
    options = BackupOptions(compression=True)
    backup_database(
        history.path, medium, full, options, log=history.tail(10, meanwhile=lambda: history.work(2))
    )
    history.work(18)
    history.commit("INSERT INTO t(body) VALUES(zeroblob(1500000))", mark="Big Bang")
    history.work(4)
    backup_differential(
        history.path,
        history.changed_since(10),
        medium,
        history.differential(35, full),
        log=history.tail(35, meanwhile=lambda: history.work(2)),
    )
    history.work(11)
    history.commit("DELETE FROM t", mark="big bang")
    history.commit("VACUUM")
    cuts = (10, 18, 18, 33, 50)
    for first, last in itertools.pairwise(cuts):
        backup_log(
            history.log(first, last),
            medium,
            history.log_set(first, last),
            # The clock went on a bit before the log was backed up.
            through_ns=history.ns(last - 1) + IDLE,
            consistent_ns=history.ns(last - 1),
        )
    return Chain(history, medium, cuts, 37)


FIRST_LOG = 3


def test_every_state_comes_back(chain: Chain, tmp_path: Path) -> None:
    """Full, logs, and STOPAT at each transaction: by its time, by its LSN, before and after it."""
    history, medium, image = chain.history, chain.medium, tmp_path / "image"
    restore_image(medium, 1, image)
    base = image.read_bytes()
    assert base == history.states[12]
    for target in range(12, history.count + 1):
        stops = [StopAt(time_ns=history.ns(target - 1))]
        if target > 12:
            stops += [StopAt(lsn=history.lsn(target - 1)), StopAt(time_ns=history.ns(target) - 1)]
        if target < history.count:
            stops += [StopAt(lsn=history.lsn(target), before=True)]
        stop = stops[target % len(stops)]
        image.write_bytes(base)
        redo = history.lsn(12)
        for number, (first, last) in enumerate(itertools.pairwise(chain.cuts)):
            applied = apply_log(medium, FIRST_LOG + number, image, redo, stop)
            assert applied.redo_lsn >= redo
            redo = applied.redo_lsn
            if applied.reached:
                break
            assert redo == max(history.lsn(12), history.lsn(last)), first
        assert image.read_bytes() == history.states[target]
        if target < history.count or stop.time_ns != history.ns(target) - 1:
            assert applied.reached


def test_a_differential_saves_log(chain: Chain, tmp_path: Path) -> None:
    history, medium, image = chain.history, chain.medium, tmp_path / "image"
    restore_image(medium, 1, image)
    apply_differential(medium, 2, image)
    base = image.read_bytes()
    assert base == history.states[chain.differential]
    for target in range(chain.differential, history.count + 1):
        image.write_bytes(base)
        applied = apply_log(
            medium, 6, image, history.lsn(chain.differential), StopAt(time_ns=history.ns(target - 1))
        )
        assert applied.redo_lsn == history.lsn(target)
        assert applied.reached
        assert applied.transactions == target - chain.differential
        assert image.read_bytes() == history.states[target]


def test_logs_may_begin_before_the_image_and_be_repeated(chain: Chain, tmp_path: Path) -> None:
    history, medium, image = chain.history, chain.medium, tmp_path / "image"
    restore_image(medium, 1, image)
    redo = history.lsn(12)
    for position, stop, redo_after, state in (
        (3, None, 18, 18),
        (3, None, 18, 18),
        (4, None, 18, 18),
        (5, StopAt(time_ns=history.ns(20)), 21, 21),
        (5, StopAt(time_ns=history.ns(25)), 26, 26),
        (5, None, 33, 33),
        (6, None, 50, 50),
    ):
        applied = apply_log(medium, position, image, redo, stop)
        redo = applied.redo_lsn
        assert redo == history.lsn(redo_after)
        assert image.read_bytes() == history.states[state]


def test_where_a_log_ends(chain: Chain, tmp_path: Path) -> None:
    """A moment is reached if the set is known to be complete up to it, also behind its last commit."""
    history, medium, image = chain.history, chain.medium, tmp_path / "image"
    restore_image(medium, 1, image)
    end = history.ns(17)
    for position, moment, reached in (
        (3, end, True),
        (3, end + IDLE, True),
        (3, end + IDLE + 1, False),
        (4, end + IDLE, True),
        (4, end + IDLE + 1, False),
    ):
        applied = apply_log(medium, position, image, history.lsn(12), StopAt(time_ns=moment))
        assert (applied.reached, applied.redo_lsn) == (reached, history.lsn(18))
        assert applied.consistent_ns == end
        assert image.read_bytes() == history.states[18]


def test_marks(chain: Chain, tmp_path: Path) -> None:
    history, medium, image = chain.history, chain.medium, tmp_path / "image"
    restore_image(medium, 1, image)
    assert not apply_log(medium, 3, image, history.lsn(12), StopAt(mark="big bang")).reached
    big = next(number for number, item in enumerate(history.transactions) if item.mark == "Big Bang")
    rolled = image.read_bytes()
    for stop, state in (
        (StopAt(mark="BIG BANG", before=True), big),
        (StopAt(mark="big bang"), big + 1),
    ):
        image.write_bytes(rolled)
        applied = apply_log(medium, 5, image, history.lsn(18), stop)
        assert (applied.reached, applied.redo_lsn) == (True, history.lsn(state))
        assert image.read_bytes() == history.states[state]
    later = next(number for number, item in enumerate(history.transactions) if item.mark == "big bang")
    stop = StopAt(mark="big bang", after_ns=history.ns(big) + 1, before=True)
    assert not apply_log(medium, 5, image, history.lsn(big), stop).reached
    applied = apply_log(medium, 6, image, history.lsn(33), stop)
    assert (applied.reached, applied.redo_lsn) == (True, history.lsn(later))
    assert image.read_bytes() == history.states[later]


def test_restored_in_one_step_it_is_at_its_last_lsn(chain: Chain, tmp_path: Path) -> None:
    result = restore_database(chain.medium, 1, tmp_path / "y.db")
    assert result.info.trailer.last_lsn == chain.history.lsn(12)
    assert state_of(tmp_path / "y.db") == chain.history.states[12]


def test_a_wrong_set_leaves_the_image(chain: Chain, tmp_path: Path) -> None:
    image = tmp_path / "image"
    restore_image(chain.medium, 1, image)
    before = image.read_bytes()
    for position in (1, 2):
        with pytest.raises(WrongSet):
            apply_log(chain.medium, position, image, 0)
    with pytest.raises(WrongSet):
        restore_image(chain.medium, 3, tmp_path / "other")
    assert image.read_bytes() == before
    assert not (tmp_path / "other").exists()


def test_a_damaged_log_writes_nothing(chain: Chain, tmp_path: Path) -> None:
    """What comes before a stop can be restored from a log set that is damaged behind it."""
    history, image = chain.history, tmp_path / "image"
    restore_image(chain.medium, 1, image)
    apply_log(chain.medium, 3, image, history.lsn(12))
    before = image.read_bytes()
    content = bytearray(chain.medium.path.read_bytes())
    with open_media(chain.medium) as reader:
        location = reader.find(5)
        entries = reader.log_index(location, reader.info(location))
    assert len(entries) == 4
    content[location.offset + entries[-1].offset + layout.RECORD_HEADER_SIZE + 9] ^= 1
    damaged = disk(tmp_path / "damaged.bak")
    damaged.path.write_bytes(content)
    with pytest.raises(MediaDamaged) as caught:
        apply_log(damaged, 5, image, history.lsn(18))
    assert caught.value.part == "log"
    assert image.read_bytes() == before
    assert apply_log(damaged, 5, image, history.lsn(18), StopAt(time_ns=history.ns(19))).reached
    assert image.read_bytes() == history.states[20]


def test_a_cancelled_step(chain: Chain, tmp_path: Path) -> None:
    image = tmp_path / "image"
    event = Cancelling(after=2)
    with pytest.raises(OperationCancelled):
        restore_image(chain.medium, 1, image, cancel=event)
    assert not image.exists()
    restore_image(chain.medium, 1, image)
    event = Cancelling(after=3)
    with pytest.raises(OperationCancelled):
        apply_log(chain.medium, 3, image, 0, cancel=event)


def test_a_restore_can_be_undone_and_the_undo_too(chain: Chain, tmp_path: Path) -> None:
    target = tmp_path / "y.db"
    with pytest.raises(NothingToUndo):
        undo_restore(target)
    other = History(target)
    other.work(5)
    mine = other.states[-1]
    other.close()
    result = restore_database(chain.medium, 1, target, replace=True)
    assert undo_copies(target) == [result.undo]
    restored = rows(state_of(target), tmp_path)
    assert restored != rows(mine, tmp_path)
    calls: list[bool] = []

    def locked() -> None:
        calls.append(True)
        raise KeyError("no")

    with pytest.raises(KeyError):
        undo_restore(target, locked=locked)
    assert calls == [True]
    # Nothing was replaced: the copy that was kept before is still the one that counts.
    assert undo_copies(target) == [result.undo]
    assert rows(state_of(target), tmp_path) == restored
    undo_restore(target)
    assert rows(state_of(target), tmp_path) == rows(mine, tmp_path)
    undo_restore(target)
    assert rows(state_of(target), tmp_path) == restored
    assert len(undo_copies(target)) == 1
    target.unlink()
    undo_restore(target)
    assert rows(state_of(target), tmp_path) == rows(mine, tmp_path)


def rows(state: bytes, folder: Path) -> object:
    path = folder / "look.db"
    path.write_bytes(state)
    connection = apsw.Connection(str(path))
    found = connection.execute("SELECT * FROM t").fetchall()
    connection.close()
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    return found


class Cancelling(threading.Event):
    """An event that is set when it has been asked so many times."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self._left = after

    def is_set(self) -> bool:
        self._left -= 1
        return self._left < 0
