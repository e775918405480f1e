"""RESTORE ... WITH RESTART goes on where an interrupted restore had come to."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.backup import image
from tdsproxy.commands.startup import begin
from tdsproxy.media.errors import DeviceError
from tdsproxy.media.reader import StoredRun
from tdsproxy.tsql.replies import Message
from tests.commands.support import Workshop, messages, numbers
from tests.faults.test_kills import operate
from tests.store import processes

RESTORE = "RESTORE DATABASE b FROM DISK = '/tmp/b.bak' WITH REPLACE"
EVERY = 1 << 20
MEGABYTES = 6


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A store with a database b of several records and its backup."""
    shop = Workshop(tmp_path)
    shop.run("CREATE DATABASE b")
    (shop.store / "b.db").unlink()
    processes.build(shop.store / "b.db", rows=10, megabytes=MEGABYTES)
    assert numbers(shop.run("BACKUP DATABASE b TO DISK = '/tmp/b.bak'"))[-1] == 3014
    shop.fill("b", "DELETE FROM keyed; DELETE FROM plain")
    shop.close()
    return tmp_path


@pytest.fixture
def shop(directory: Path) -> Iterator[Callable[[], Workshop]]:
    """Opens the store as a new keeper does."""
    made: list[Workshop] = []

    def start() -> Workshop:
        opened = Workshop(directory)
        opened.env = replace(opened.env, restart_bytes=EVERY)
        begin(opened.env)
        made.append(opened)
        return opened

    yield start
    for one in made:
        one.close()


class Decoded:
    """Counts the records whose payload is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        self.fails_at: int | None = None
        decode = StoredRun.decode

        def counted(run: StoredRun, *arguments: Any) -> Any:
            self.count += 1
            if self.count == self.fails_at:
                raise DeviceError("b.bak", 5, "Input/output error", "read")
            return decode(run, *arguments)

        monkeypatch.setattr(StoredRun, "decode", counted)


def text_of(replies: list[Message], number: int) -> str:
    return next(reply.text for reply in replies if reply.number == number)


def is_whole(shop: Workshop) -> bool:
    found = processes.check(shop.store / "b.db")
    return found["integrity"] == ["ok"] and len(found["content"]["keyed"]) == 10 + MEGABYTES


@pytest.mark.parametrize(
    "point", ["restore.point-noted:3", pytest.param("restore.image-built", marks=pytest.mark.slow)]
)
def test_a_killed_restore_goes_on(
    directory: Path, shop: Callable[[], Workshop], point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed = operate("statement", directory, EVERY, RESTORE, crash_at=point)
    assert killed.returncode == -signal.SIGKILL
    store = shop()
    assert [path.suffix for path in sorted((store.store / ".redo").iterdir())].count(".restart") == 1
    assert store.rows("b", "SELECT count(*) FROM plain") == [[0]]
    decoded = Decoded(monkeypatch)
    assert numbers(store.run(f"{RESTORE}, RESTART"))[-1] == 3014
    resumed, decoded.count = decoded.count, 0
    assert is_whole(store)
    assert list((store.store / ".redo").iterdir()) == []
    again = store.run(f"{RESTORE}, RESTART")
    assert numbers(again)[0] == 3018
    assert text_of(messages(again), 3018).startswith(
        f"The restart-checkpoint file '{store.store}/.redo/b.restart' was not found."
    )
    # At least the three megabytes that were noted were not read again.
    assert resumed <= decoded.count - 3


def test_a_device_that_fails_in_the_middle(
    shop: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shop()
    decoded = Decoded(monkeypatch)
    decoded.fails_at = 6
    assert numbers(store.run(RESTORE))[-1] == 3013
    assert len(list((store.store / ".redo").iterdir())) == 2
    # Another statement is not its continuation.
    other = "RESTORE DATABASE b FROM DISK = '/tmp/b.bak' WITH REPLACE, NORECOVERY, RESTART"
    assert numbers(store.run(other)) == [3019, 3013]
    assert numbers(store.run(f"{RESTORE}, RESTART, STATS = 50"))[-1] == 3014
    assert is_whole(store)


@pytest.mark.slow
def test_without_restart_it_begins_anew(
    shop: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = shop()
    decoded = Decoded(monkeypatch)
    decoded.fails_at = 6
    assert numbers(store.run(RESTORE))[-1] == 3013
    first = decoded.count
    assert numbers(store.run(RESTORE))[-1] == 3014
    assert decoded.count - first >= MEGABYTES
    assert list((store.store / ".redo").iterdir()) == []


@pytest.mark.slow
def test_a_full_target_leaves_nothing(shop: Callable[[], Workshop], monkeypatch: pytest.MonkeyPatch) -> None:
    store = shop()

    def full(name: str) -> None:
        if name == "restore.point-noted":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(image.crashpoints, "reach", full)
    assert numbers(store.run(RESTORE))[-1] == 3013
    assert list((store.store / ".redo").iterdir()) == []
    assert store.rows("b", "SELECT count(*) FROM plain") == [[0]]


@pytest.mark.slow
def test_other_restores_know_no_restart(shop: Callable[[], Workshop]) -> None:
    store = shop()
    store.run("BACKUP DATABASE b TO DISK = '/tmp/f.bak'")
    store.run("BACKUP DATABASE b TO DISK = '/tmp/d.bak' WITH DIFFERENTIAL")
    store.run("RESTORE DATABASE b FROM DISK = '/tmp/f.bak' WITH REPLACE, NORECOVERY")
    found = numbers(store.run("RESTORE DATABASE b FROM DISK = '/tmp/d.bak' WITH RESTART"))
    assert (found[0], found[-1]) == (3018, 3014)
