from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdsproxy.log import lsn as lsns
from tdsproxy.log import roll
from tdsproxy.log.records import LogError, Transaction
from tdsproxy.log.roll import StopAt
from tests.log import support

STEPS = st.lists(
    st.tuples(st.dictionaries(st.integers(1, 12), st.integers(0, 255), max_size=5), st.integers(1, 12)),
    max_size=12,
)


def log(steps: list[tuple[dict[int, int], int]]) -> list[Transaction]:
    made = []
    at = lsns.FIRST
    for number, (pages, count) in enumerate(steps):
        images = {page: bytes([value]) * 512 for page, value in pages.items() if page <= count}
        made.append(support.transaction(at, images, count, 100 + 10 * number))
        at = made[-1].next_lsn
    return made


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STEPS, st.integers(1, 5000), st.integers(90, 230))
def test_rolling_forward_is_writing_page_by_page(
    tmp_path: Path, steps: list[tuple[dict[int, int], int]], buffer_bytes: int, stop_ns: int
) -> None:
    image = tmp_path / "x"
    first = b"s" * 512 * 6
    image.write_bytes(first)
    expected = bytearray(first)
    made = log(steps)
    applied = [item for item in made if item.committed_ns <= stop_ns]
    for item in applied:
        size = item.page_count * 512
        del expected[size:]
        expected.extend(bytes(size - len(expected)))
        for number, page in item.pages:
            expected[(number - 1) * 512 : number * 512] = page
    result = roll.apply(image, made, StopAt(time_ns=stop_ns), buffer_bytes=buffer_bytes)
    assert image.read_bytes() == bytes(expected)
    assert result.transactions == len(applied)
    assert result.reached == (len(applied) < len(made))
    assert result.last_lsn == (applied[-1].next_lsn if applied else None)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x"
    path.write_bytes(bytes(512))
    return path


def marked() -> list[Transaction]:
    made = []
    at = lsns.FIRST
    for number, mark in enumerate([None, "Payroll ", None, "payroll", None]):
        more = {"mark": mark} if mark else {}
        made.append(support.transaction(at, {1: bytes([number]) * 512}, 1, number, **more))
        at = made[-1].next_lsn
    return made


@pytest.mark.parametrize(
    ("stop", "applied"),
    [
        (StopAt(mark="PAYROLL"), 2),
        (StopAt(mark="payroll", before=True), 1),
        (StopAt(mark="payroll", after_ns=2), 4),
        (StopAt(mark="payroll", before=True, after_ns=2), 3),
        (StopAt(lsn=lsns.FIRST), 1),
        (StopAt(lsn=lsns.FIRST, before=True), 0),
        (StopAt(time_ns=2), 3),
        (None, 5),
    ],
)
def test_where_it_stops(image: Path, stop: StopAt | None, applied: int) -> None:
    result = roll.apply(image, marked(), stop)
    assert (result.transactions, result.reached) == (applied, True)
    assert image.read_bytes() == bytes([max(0, applied - 1)]) * 512


def test_lsns_within_and_at_the_end_of_a_transaction(image: Path) -> None:
    made = marked()
    assert roll.apply(image, made, StopAt(lsn=made[2].lsn)).transactions == 3
    assert roll.apply(image, made, StopAt(lsn=made[2].lsn, before=True)).transactions == 2
    assert roll.apply(image, made, StopAt(lsn=made[2].next_lsn - 1)).transactions == 3


@pytest.mark.parametrize("stop", [StopAt(mark="other"), StopAt(time_ns=4), StopAt(lsn=10**24)])
def test_a_stop_that_does_not_come(image: Path, stop: StopAt) -> None:
    result = roll.apply(image, marked(), stop)
    assert (result.transactions, result.reached) == (5, False)


def test_nothing_is_read_beyond_the_stop(image: Path) -> None:
    def reading() -> object:
        yield marked()[0]
        raise AssertionError("read too far")

    assert roll.apply(image, reading(), StopAt(lsn=lsns.FIRST)).reached  # type: ignore[arg-type]


def test_another_page_size_is_refused(image: Path) -> None:
    one = marked()[0]
    other = Transaction(one.next_lsn, one.next_lsn + 1, 9, 1024, 1, [(1, bytes(1024))])
    with pytest.raises(LogError):
        roll.apply(image, [one, other])


def test_it_can_be_cancelled(image: Path) -> None:
    with pytest.raises(InterruptedError):
        roll.apply(image, marked(), cancelled=lambda: True)
