"""When commits of other processes are said to have been made."""

from __future__ import annotations

import pytest

from tdsproxy.log import times as times_module
from tdsproxy.log.times import CommitTime, CommitTimes

SALTS = (1, 2)


@pytest.fixture
def times() -> CommitTimes:
    made = CommitTimes(lambda: 0, tick_ns=40)
    made.saw(SALTS, 10, 1000, 1010)
    made.seen(10, 1000)
    return made


def test_a_late_look_that_sees_one_commit_dates_it_by_the_last_write(times: CommitTimes) -> None:
    times.saw(SALTS, 12, 90_000, 90_010, written_ns=5000, is_last=True)
    assert times.of(12) == CommitTime(5040, 40)
    times.seen(12, 90_000)
    assert times.seen_until_ns == 90_000


def test_of_several_commits_in_one_look_only_the_last_has_a_known_time(times: CommitTimes) -> None:
    times.saw(SALTS, 14, 90_000, 90_010, written_ns=5000, is_last=True)
    assert [times.of(frame) for frame in (11, 12, 14)] == [
        CommitTime(5040, 4040),
        CommitTime(5040, 4040),
        CommitTime(5040, 40),
    ]


def test_a_write_behind_the_commit_is_only_a_bound(times: CommitTimes) -> None:
    times.saw(SALTS, 12, 90_000, 90_010, written_ns=5000, is_last=False)
    assert times.of(12) == CommitTime(5040, 4040)


@pytest.mark.parametrize("written", [None, 999, 1000, 90_011])
def test_a_last_write_that_cannot_be_is_not_believed(times: CommitTimes, written: int | None) -> None:
    """Synced for long, so that a look lay between the write and the commit; or another clock."""
    times.saw(SALTS, 12, 90_000, 90_010, written_ns=written, is_last=True)
    assert times.of(12) == CommitTime(90_010, 89_010)


def test_looks_while_earlier_commits_are_still_being_captured_tell_commits_apart(
    times: CommitTimes,
) -> None:
    times.saw(SALTS, 12, 2000, 2010)
    times.saw(SALTS, 12, 3000, 3010)
    times.saw(SALTS, 15, 4000, 4010)
    assert [times.of(frame) for frame in (11, 12, 13, 15)] == [
        CommitTime(2010, 1010),
        CommitTime(2010, 1010),
        CommitTime(4010, 1010),
        CommitTime(4010, 1010),
    ]
    times.seen(12, 2000)
    assert times.of(15) == CommitTime(4010, 1010)
    assert times.seen_until_ns == 2000


def test_what_a_connection_told_of_its_commit_holds(times: CommitTimes) -> None:
    times.note(12, 1500)
    times.saw(SALTS, 14, 2000, 2010)
    assert times.of(12) == CommitTime(1500)
    assert times.of(14) == CommitTime(2010, 1010)


def test_what_a_connection_told_holds_however_late_the_look_comes(times: CommitTimes) -> None:
    """A disk or a machine that stands still for seconds: the commit was acknowledged long before."""
    late = 60_000_000_000
    times.note(12, 1500)
    times.saw(SALTS, 12, late, late + 10, written_ns=1480, is_last=True)
    assert times.of(12) == CommitTime(1500)
    # So, too, when the WAL began anew meanwhile.
    times.note(3, late + 500)
    times.saw((2, 3), 4, 2 * late, 2 * late + 10)
    times.forget()
    assert times.of(3) == CommitTime(late + 500)


def test_a_note_of_a_former_generation_is_no_other_commits(times: CommitTimes) -> None:
    times.saw(SALTS, 12, 2000, 2010)
    assert times.of(12) == CommitTime(2010, 1010)
    times.note(12, 1990)
    times.seen(12, 2000)
    times.saw((2, 3), 13, 3000, 3010)
    assert times.of(12) == CommitTime(3010, 1010)


def test_frames_begin_anew_with_other_salts(times: CommitTimes) -> None:
    times.saw((2, 3), 3, 2000, 2010)
    assert times.of(3) == CommitTime(2010, 1010)


def test_nothing_is_dated_before_a_moment_that_was_said_to_be_complete(times: CommitTimes) -> None:
    assert times.seen_until_ns == 1000
    # The clock was set back by an hour.
    times.saw(SALTS, 12, 400, 410)
    assert times.of(12) == CommitTime(1001)


def test_looks_and_notes_that_nobody_asks_for_do_not_pile_up(
    times: CommitTimes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(times_module, "_MOST_LOOKS", 3)
    monkeypatch.setattr(times_module, "_MOST_NOTES", 3)
    for number in range(1, 6):
        times.saw(SALTS, 10 + number, 1000 + 100 * number, 1010 + 100 * number)
    assert len(times._looks) == 3
    # The oldest are taken together, as late as the last of them and as early as the first.
    assert times.of(11) == CommitTime(1310, 310)
    assert times.of(15) == CommitTime(1510, 110)
    for frame in range(20, 24):
        times.note(frame, 1500)
    assert len(times._notes) == 1


def test_a_commit_that_no_look_has_seen_is_dated_by_the_last_one(times: CommitTimes) -> None:
    assert times.of(99) == CommitTime(1010, 10)


def test_when_the_clock_was_set_back_what_has_been_captured_is_promised_as_exactly_as_a_stop_can_say() -> (
    None
):
    times = CommitTimes(lambda: 1000, since_ns=5_000_010)
    times.saw((1, 2), 3, 900, 1000)
    first = times.of(3)
    assert first.ns == 5_000_011
    times.seen(3, 900)
    assert times.seen_until_ns == 5_000_010
    assert times.is_before(first.ns)
    times.promise(first.ns)
    assert times.seen_until_ns == 5_000_100
    # What comes then is dated behind it; and by the clock again when that has caught up.
    times.saw((1, 2), 4, 1000, 1100)
    assert times.of(4).ns == 5_000_101
    times.seen(4, 1000)
    times.saw((1, 2), 5, 6_000_000, 6_000_050)
    assert times.of(5).ns == 6_000_050
    assert not times.is_before(6_000_050)
