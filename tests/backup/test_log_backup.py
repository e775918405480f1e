from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.backup.errors import OperationCancelled, WrongSet
from tdsproxy.backup.image import transactions
from tdsproxy.backup.operations import (
    BackupOptions,
    backup_database,
    backup_log,
    read_headers,
    read_set,
    restore_database,
    verify_set,
)
from tdsproxy.log.records import LogGap, Transaction
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.documents import LOG
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.set_reader import open_media
from tests.backup.history import History
from tests.backup.making import description, disk


def log_of(device: DiskDevice, position: int, first_lsn: int = 0) -> list[Transaction]:
    with open_media(device) as reader:
        location = reader.find(position)
        log = LogReader(reader, location, reader.info(location))
        # The pages of a large one can be read only while the medium is open.
        return [
            Transaction(
                item.lsn,
                item.next_lsn,
                item.committed_ns,
                item.page_size,
                item.page_count,
                list(item.pages),
                item.mark,
                item.mark_description,
            )
            for item in transactions(log, first_lsn)
        ]


@pytest.mark.parametrize("compression", [False, True])
def test_the_log_comes_back(tmp_path: Path, compression: bool) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    options = BackupOptions(compression=compression)
    history.work(30)
    history.commit("INSERT INTO t(body) VALUES('marked')", mark="Über die Brücke")
    history.commit("INSERT INTO t(body) VALUES(zeroblob(3000000))")
    history.work(10)
    middle, end = 20, history.count
    first = backup_log(history.log(0, middle), medium, history.log_set(0, middle), options)
    second = backup_log(iter(history.log(middle, end)), medium, history.log_set(middle, end), options)
    assert (first.position, second.position) == (1, 2)
    assert (first.last_lsn, second.last_lsn) == (history.lsn(middle), history.lsn(end))
    assert log_of(medium, 1) == history.log(0, middle)
    assert log_of(medium, 2) == history.log(middle, end)
    large = max(range(middle, end), key=lambda number: len(history.transactions[number].pages))
    for start in (middle, middle + 5, large, large + 1, end - 1, end):
        assert log_of(medium, 2, history.lsn(start)) == history.log(start, end)
    trailer = second.trailer
    assert trailer.transaction_count == end - middle
    assert trailer.page_count == 0
    assert (trailer.consistent_ns, trailer.through_ns) == (history.ns(end - 1), history.ns(end - 1))
    raw = sum(len(item.pages) * item.page_size for item in history.log(middle, end))
    assert raw < trailer.backup_size < raw * 1.2
    assert (trailer.stored_size < raw / 2) == compression
    for position in (1, 2):
        assert verify_set(medium, position).header.description.backup_type == LOG
    history.close()


def test_an_empty_log_is_a_set_too(tmp_path: Path) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    result = backup_log([], medium, history.log_set(3, 3), through_ns=77, consistent_ns=55)
    trailer = read_set(medium, 1).trailer
    assert trailer == result.trailer
    assert (trailer.transaction_count, trailer.consistent_ns, trailer.through_ns) == (0, 55, 77)
    assert trailer.last_valid_restore_time is not None
    assert log_of(medium, 1) == []
    assert verify_set(medium, 1).header.description.first_lsn == history.lsn(3)
    history.close()


def test_all_kinds_lie_on_one_medium(tmp_path: Path) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    history.work(5)
    backup_database(history.path, medium, history.full(5))
    backup_log(history.log(0, 5), medium, history.log_set(0, 5))
    backup_database(history.path, medium, history.full(5))
    info = read_headers(medium)
    assert [item.header.description.backup_type for item in info.sets] == [1, 2, 1]
    for position in (1, 2, 3):
        verify_set(medium, position)
    with pytest.raises(WrongSet):
        restore_database(medium, 2, tmp_path / "y.db")
    history.close()


def test_a_log_that_breaks_leaves_no_set(tmp_path: Path) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    history.work(6)
    backup_log(history.log(0, 3), medium, history.log_set(0, 3))
    before = medium.path.read_bytes()

    def broken() -> Iterator[Transaction]:
        yield from history.log(3, 5)
        raise LogGap("a gap")

    with pytest.raises(LogGap):
        backup_log(broken(), medium, history.log_set(3, 6))
    assert medium.path.read_bytes() == before
    cancel = threading.Event()

    def cancelled() -> Iterator[Transaction]:
        yield from history.log(3, 5)
        cancel.set()
        yield history.transactions[5]

    with pytest.raises(OperationCancelled):
        backup_log(cancelled(), medium, history.log_set(3, 6), cancel=cancel)
    assert medium.path.read_bytes() == before
    assert log_of(medium, 1) == history.log(0, 3)
    history.close()


def test_the_log_streams(tmp_path: Path) -> None:
    """What has been read and not yet written never grows with the log."""
    image = bytes(range(256)) * 16
    read = written = worst = 0

    def endless() -> Iterator[Transaction]:
        nonlocal read, worst
        for number in itertools.islice(itertools.count(1), 1500):
            read += 16 * len(image)
            worst = max(worst, read - written)
            pages = [(page, image) for page in range(1, 17)]
            yield Transaction(number, number + 1, number, len(image), 16, pages)

    def progress(done: int, total: int) -> None:
        nonlocal written
        assert done == total
        written = done

    medium = disk(tmp_path / "m.bak")
    backup_log(endless(), medium, description(first_lsn=1, last_lsn=1501), progress=progress)
    assert written > 1500 * 16 * len(image)
    assert 1 << 20 < worst < 12 << 20
