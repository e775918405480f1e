"""The service master key and what it seals; secrets sealed by a password."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.store import key_wrapping as wrapping
from tdsproxy.store.errors import CannotUnwrap
from tdsproxy.store.service_key import FILE_NAME, ServiceKey

KEY = bytes(range(32))


@given(st.binary(max_size=100), st.text(max_size=20), st.data())
def test_what_is_sealed_opens_by_its_key_for_its_purpose_unchanged(
    secret: bytes, purpose: str, data: st.DataObject
) -> None:
    sealed = wrapping.wrap(KEY, secret, purpose)
    assert wrapping.unwrap(KEY, sealed, purpose) == secret
    changed = bytearray(sealed)
    changed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    wrong: list[Callable[[], bytes]] = [
        lambda: wrapping.unwrap(KEY, bytes(changed), purpose),
        lambda: wrapping.unwrap(KEY[::-1], sealed, purpose),
        lambda: wrapping.unwrap(KEY, sealed, purpose + "x"),
        lambda: wrapping.unwrap(KEY, sealed[: data.draw(st.integers(0, len(sealed) - 1))], purpose),
    ]
    for attempt in wrong:
        with pytest.raises(CannotUnwrap):
            attempt()


def test_what_a_password_seals_opens_by_it_alone() -> None:
    sealed = wrapping.wrap_with_password("Pass \ud83d", b"secret", "p")
    assert b"secret" not in sealed
    assert wrapping.unwrap_with_password("Pass \ud83d", sealed, "p") == b"secret"
    with pytest.raises(CannotUnwrap, match="does not open it"):
        wrapping.unwrap_with_password("pass \ud83d", sealed, "p")


@pytest.mark.parametrize("cost", [0, 9, 21, 255])
def test_a_cost_that_nobody_would_choose_is_not_paid(cost: int) -> None:
    """A forged file could ask for hours of work, or for next to none."""
    with pytest.raises(CannotUnwrap, match="not believed"):
        wrapping.unwrap_with_password("p", bytes([2, cost]) + bytes(60), "p")


@pytest.mark.parametrize("sealed", [b"", b"\2", bytes([2, 15]) + bytes(40), bytes([1, 15]) + bytes(60)])
def test_what_no_password_has_sealed(sealed: bytes) -> None:
    with pytest.raises(CannotUnwrap, match="not sealed by a password"):
        wrapping.unwrap_with_password("p", sealed, "p")


def test_the_key_is_made_once_and_for_the_stores_user_alone(tmp_path: Path) -> None:
    service = ServiceKey(tmp_path)
    assert not service.exists
    with pytest.raises(CannotUnwrap, match="another store"):
        service.open(bytes(40), "p")
    sealed = service.seal(b"secret", "p")
    assert service.exists
    assert stat.S_IMODE((tmp_path / FILE_NAME).stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]
    assert ServiceKey(tmp_path).current() == service.current()
    assert ServiceKey(tmp_path).open(sealed, "p") == b"secret"


def test_of_two_makers_one_makes_the_key_of_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process may create the file between the look and the making."""
    other = ServiceKey(tmp_path)
    link = os.link

    def late(source: Path, target: Path) -> None:
        monkeypatch.setattr(os, "link", link)
        maker = threading.Thread(target=other.current)
        maker.start()
        maker.join(60)
        link(source, target)

    monkeypatch.setattr(os, "link", late)
    mine = ServiceKey(tmp_path).current()
    assert mine == other.current()
    assert [path.name for path in tmp_path.iterdir()] == [FILE_NAME]


def test_threads_share_one_key(tmp_path: Path) -> None:
    start = threading.Barrier(4)
    found: list[bytes] = []

    def work() -> None:
        start.wait(60)
        found.append(ServiceKey(tmp_path).current())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_replaced_key_opens_until_everything_is_sealed_anew(tmp_path: Path) -> None:
    service = ServiceKey(tmp_path)
    old = service.seal(b"old", "p")
    new = wrapping.new_key()
    service.begin_replacement(new)
    service.begin_replacement(new)
    assert len((tmp_path / FILE_NAME).read_text().split()) == 2
    assert service.current() == new
    assert service.open(old, "p") == b"old"
    mine = service.seal(b"new", "p")
    service.end_replacement()
    assert service.open(mine, "p") == b"new"
    with pytest.raises(CannotUnwrap):
        service.open(old, "p")


def test_a_store_without_a_key_takes_one_over(tmp_path: Path) -> None:
    service = ServiceKey(tmp_path)
    sealed = wrapping.wrap(KEY, b"secret", "p")
    assert service.open(sealed, "p", also=KEY) == b"secret"
    assert not service.exists
    service.begin_replacement(KEY)
    assert service.open(sealed, "p") == b"secret"


@pytest.mark.parametrize("content", ["", "no hexadecimal digits\n", "aé\n", "00ff\n", f"{KEY.hex()}\n00\n"])
def test_a_damaged_key_file_is_neither_used_nor_replaced(tmp_path: Path, content: str) -> None:
    (tmp_path / FILE_NAME).write_text(content)
    service = ServiceKey(tmp_path)
    for attempt in (
        service.current,
        lambda: service.seal(b"secret", "p"),
        lambda: service.open(bytes(40), "p"),
        lambda: service.begin_replacement(KEY),
        service.end_replacement,
    ):
        with pytest.raises(CannotUnwrap, match="service_master_key is damaged"):
            attempt()
    assert (tmp_path / FILE_NAME).read_text() == content
