"""Snapshot and log give every state that the database ever had, whatever other processes did to it."""

from __future__ import annotations

import random
import shutil
import time
from pathlib import Path

import pytest

from tdsproxy.log import roll
from tests.log import support

HOSTILE = "PASSIVE,FULL,RESTART,TRUNCATE,READ"


LIMIT = 120
SECONDS = 1.0
COMMITS = 40
"""So long, and so many commits behind the snapshot, at the least."""


def work(path: Path, tmp_path: Path, writers: int, disturb: str) -> tuple[list[Path], list[object]]:
    """Start writers and, with ``disturb``, a process that checkpoints or vacuums; until ``end_work``."""
    journals = [tmp_path / f"journal{number}" for number in range(writers)]
    processes: list[object] = [
        support.start("write", path, journal, number + 1, LIMIT) for number, journal in enumerate(journals)
    ]
    if disturb:
        processes.append(support.start("disturb", path, LIMIT, disturb))
    return journals, processes


def end_work(path: Path, journals: list[Path], processes: list[object], begun: float) -> None:
    """When there is enough of it: however late this process comes to look, there are commits behind."""
    done = len(support.journal_lines(journals))
    while time.monotonic() < begun + SECONDS or len(support.journal_lines(journals)) < done + COMMITS:
        assert time.monotonic() < begun + LIMIT
        time.sleep(0.05)
    for stop in (path, *journals):
        Path(f"{stop}.stop").touch()
    support.finish(processes)  # type: ignore[arg-type]


def numbers_at(
    time_ns: int, transactions: list[tuple[int, int, int, int]], lines: list[tuple[int, int, int]]
) -> tuple[int, int]:
    """Between which numbers a state must lie that was restored up to a time.

    What had been committed is there, except that the log may say of a commit how late it was found; what was
    committed later is not there.
    """
    known = min([time_ns, *(ns - late for _, _, ns, late in transactions if ns > time_ns)])
    least = max((number for number, _, after in lines if after <= known), default=0)
    most = max((number for number, before, _ in lines if before <= time_ns), default=0)
    return least, most


@pytest.mark.parametrize(
    ("page_size", "disturb", "checkpoint_bytes"),
    [
        (4096, HOSTILE, 1 << 20),
        pytest.param(4096, "", 256 << 10, marks=pytest.mark.slow),
        (1024, HOSTILE + ",VACUUM", 256 << 10),
        pytest.param(65536, "", 8 << 20, marks=pytest.mark.slow),
    ],
)
def test_every_state_can_be_reached(
    tmp_path: Path, page_size: int, disturb: str, checkpoint_bytes: int
) -> None:
    path = tmp_path / "x.db"
    support.run("init", path, f'{{"page_size": {page_size}, "auto_vacuum": {int(page_size == 1024)}}}')
    archive = support.open_archive(tmp_path, segment_bytes=1 << 20)
    reports = support.Reports()
    with support.capturing(path, archive, report=reports, checkpoint_bytes=checkpoint_bytes) as capturer:
        begun = time.monotonic()
        journals, processes = work(path, tmp_path, 2, disturb)
        image = tmp_path / "full.db"
        first, last = support.full_image(path, capturer, image)
        end_work(path, journals, processes, begun)
        end = capturer.capture_now()
        lines = support.journal_lines(journals)
        transactions = [
            (item.lsn, item.next_lsn, item.committed_ns, item.late_ns) for item in archive.read(first)
        ]
        assert archive.gaps() == ()
        assert reports.lines == []
        assert [item[1] for item in transactions[:-1]] == [item[0] for item in transactions[1:]]
        assert transactions[-1][1] == end
        times = [item[2] for item in transactions]
        assert times == sorted(times)

        rng = random.Random(page_size)
        ends = sorted({item[1] for item in transactions if item[1] >= last})
        stops = {
            f"lsn{lsn}": roll.StopAt(lsn=lsn, before=True) for lsn in rng.sample(ends, min(12, len(ends)))
        }
        expected: dict[str, tuple[int, int]] = {}
        start = max((item[2] for item in transactions if item[1] <= last), default=times[0])
        for number in range(8):
            at = rng.randint(start, times[-1])
            stops[f"time{number}"] = roll.StopAt(time_ns=at)
            expected[str(tmp_path / f"time{number}")] = numbers_at(at, transactions, lines)
        images = []
        for name, stop in stops.items():
            target = tmp_path / name
            shutil.copy(image, target)
            result = roll.apply(target, archive.read(first), stop)
            support.make_plain(target)
            assert result.last_lsn is None or result.last_lsn <= end
            if stop.lsn is not None and stop.lsn < end:
                assert (result.reached, result.last_lsn) == (True, stop.lsn)
            images.append(target)
        whole = tmp_path / "whole"
        shutil.copy(image, whole)
        roll.apply(whole, archive.read(first), buffer_bytes=100_000)
        support.make_plain(whole)
        found = support.verify(journals, [*images, whole])
    archive.close()
    assert all(equal for _, equal in found.values()), found
    assert found[str(whole)][0] == lines[-1][0] == len(lines)
    for name, (least, most) in expected.items():
        assert least <= found[name][0] <= most
    assert len(found) > 9


def test_pages_that_changed_are_known(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    support.run("init", path, "{}")
    archive = support.open_archive(tmp_path)
    with support.capturing(path, archive) as capturer:
        before = tmp_path / "before.db"
        first, _ = support.full_image(path, capturer, before)
        support.finish([support.start("write", path, tmp_path / "journal", 3, 0.3)])
        after = tmp_path / "after.db"
        _, last = support.full_image(path, capturer, after)
        changed = archive.changed_pages(first, last)
    archive.close()
    old, new = before.read_bytes(), after.read_bytes()
    differing = {
        at // 4096 + 1 for at in range(0, len(new), 4096) if new[at : at + 4096] != old[at : at + 4096]
    }
    assert differing
    assert differing <= changed
