"""A keeper as a process: started, found, shared, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper.address import LOCK_NAME, SOCKET_NAME, KeeperUnavailable, connect_socket
from tdsproxy.keeper.client import SyncKeeper
from tdsproxy.keeper.launch import ensure_keeper, is_listening
from tdsproxy.keeper.options import KeeperOptions, parse_arguments
from tdsproxy.keeper.process import EXIT_OWNED
from tdsproxy.keeper.start import connect, connect_sync
from tdsproxy.store.crashpoints import SLOW_VARIABLE
from tdsproxy.tsql.replies import Done, Message


def until(condition: Callable[[], bool], seconds: float = 120.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def pid_of(store: Path) -> int:
    return int((store / LOCK_NAME).read_text() or 0)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def options(tmp_path: Path) -> Iterator[KeeperOptions]:
    made = KeeperOptions(tmp_path / "store", idle_seconds=0.3, grace_seconds=0.3, log_level="debug")
    yield made
    if is_listening(made.store):
        pid = pid_of(made.store)
        with contextlib.suppress(ProcessLookupError):  # nobody needs it: it may go by itself just now
            os.kill(pid, signal.SIGTERM)
        assert until(lambda: not is_running(pid))


def has_open(pid: int, name: str) -> bool:
    """Whether a process has a file of this name open. It opens and closes others meanwhile."""
    for link in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            if link.readlink().name == name:
                return True
    return False


def admin(keeper: SyncKeeper) -> SessionContext:
    return SessionContext("sa", spid=keeper.spid_base, server_roles=frozenset({"sysadmin"}))


def run(keeper: SyncKeeper, text: str, **changes: object) -> list[object]:
    return list(keeper.run(NativeRequest(text, admin(keeper), **changes)))  # type: ignore[arg-type]


def test_it_starts_serves_and_goes_when_idle(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    pid = pid_of(options.store)
    try:
        assert keeper.spid_base == 51
        socket_file = options.store / SOCKET_NAME
        assert socket_file.stat().st_mode & 0o777 == 0o600
        assert run(keeper, "CREATE DATABASE d") == [Done(203)]
        replies = run(keeper, "BACKUP DATABASE d TO DISK='d.bak'", line=4)
        assert [reply.number for reply in replies if isinstance(reply, Message)] == [4035, 4035, 3014]
        assert {reply.line for reply in replies if isinstance(reply, Message)} == {4}
    finally:
        keeper.close()
    assert until(lambda: not is_running(pid))
    assert not (options.store / SOCKET_NAME).exists()


def test_one_keeper_for_all(options: KeeperOptions) -> None:
    first = connect_sync(options)
    try:
        assert ensure_keeper(options) is None
        second = connect_sync(options)
        assert second.spid_base == first.spid_base + 2000
        second.close()
        words = [sys.executable, "-m", "tdsproxy.keeper", "--store", str(options.store)]
        late = subprocess.run(words, timeout=200, capture_output=True)
        assert late.returncode == EXIT_OWNED
        assert run(first, "CREATE DATABASE d") == [Done(203)]
    finally:
        first.close()


def test_a_left_over_socket_is_no_hindrance(options: KeeperOptions) -> None:
    options.store.mkdir()
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(options.store / SOCKET_NAME))
    left.close()
    keeper = connect_sync(options)
    keeper.close()


def test_a_store_with_a_long_path(tmp_path: Path) -> None:
    store = tmp_path / ("x" * 120) / "store"
    store.parent.mkdir()
    options = KeeperOptions(store, idle_seconds=0.2)
    keeper = connect_sync(options)
    try:
        assert run(keeper, "CREATE DATABASE d") == [Done(203)]
        assert (store / SOCKET_NAME).is_socket()
    finally:
        pid = pid_of(store)
        keeper.close()
    assert until(lambda: not is_running(pid))


def test_sigterm_stops_it(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    pid = pid_of(options.store)
    os.kill(pid, signal.SIGTERM)
    assert until(lambda: not is_running(pid))
    assert not (options.store / SOCKET_NAME).exists()
    # The next statement starts another one.
    assert run(keeper, "CREATE DATABASE d") == [Done(203)]
    assert pid_of(options.store) != pid
    keeper.close()


def test_a_killed_keeper_is_replaced_and_told_of_the_sessions(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    other = connect_sync(options)
    try:
        run(keeper, "CREATE DATABASE d")
        other.note_session(other.spid_base, "joe", "d")
        run(other, "RESTORE LABELONLY FROM DISK='none'")
        first = pid_of(options.store)
        os.kill(first, signal.SIGKILL)
        # Nobody asks for anything, yet a keeper comes that knows of the session.
        assert until(lambda: pid_of(options.store) != first and is_listening(options.store))

        def refused() -> bool:
            (reply, *_) = run(keeper, "ALTER DATABASE d SET SINGLE_USER WITH NO_WAIT")
            return isinstance(reply, Message) and reply.number == 5070

        assert until(refused)
        assert run(keeper, "ALTER DATABASE d SET MULTI_USER") == [Done(215)]
    finally:
        other.close()
        keeper.close()


def test_without_a_starter_a_missing_keeper_is_told(tmp_path: Path) -> None:
    with pytest.raises(KeeperUnavailable):
        SyncKeeper.open(tmp_path)


def test_an_unknown_greeting_ends_the_connection(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    try:
        with connect_socket(options.store) as stranger:
            stranger.settimeout(60)
            stranger.sendall(b"\x00\x00\x00\x01\x90")
            assert stranger.recv(1) == b""
        assert run(keeper, "CREATE DATABASE d") == [Done(203)]
    finally:
        keeper.close()


def big_database(keeper: SyncKeeper, store: Path, megabytes: int) -> None:
    run(keeper, "CREATE DATABASE big")
    script = (
        "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('CREATE TABLE t(b)')\n"
        "for _ in range(int(sys.argv[2])): c.execute('INSERT INTO t VALUES (randomblob(1000000))')\n"
        "c.commit()"
    )
    words = [sys.executable, "-c", script, str(store / "big.db"), str(megabytes)]
    subprocess.run(words, check=True, timeout=200)


@pytest.fixture
def slow_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keepers write a megabyte of a backup per second from now on: none ends before it is cancelled."""
    monkeypatch.setenv(SLOW_VARIABLE, "backup.run-written=1")


@pytest.mark.usefixtures("slow_backups")
def test_closing_the_replies_cancels_the_backup(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    try:
        big_database(keeper, options.store, 30)
        text = "BACKUP DATABASE big TO DISK='big.bak' WITH STATS=1"
        replies = keeper.run(NativeRequest(text, admin(keeper)))
        assert next(replies) == Message(3211, 0, 1, "1 percent processed.")
        replies.close()  # type: ignore[attr-defined]
        # When close returns, the backup has stopped and taken its file away.
        assert list((options.store / "backup").iterdir()) == []
        assert Done(204) in run(keeper, "DROP DATABASE big")
    finally:
        keeper.close()


@pytest.mark.usefixtures("slow_backups")
def test_a_client_that_vanishes_cancels(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    try:
        big_database(keeper, options.store, 30)
        script = (
            "import os, sys\nfrom pathlib import Path\n"
            "from tdsproxy.keeper.client import SyncKeeper\n"
            "from tdsproxy.commands.request import NativeRequest, SessionContext\n"
            "k = SyncKeeper.open(Path(sys.argv[1]))\n"
            "s = SessionContext('sa', spid=k.spid_base, server_roles=frozenset({'sysadmin'}))\n"
            "next(k.run(NativeRequest(\"BACKUP DATABASE big TO DISK='b.bak' WITH STATS=1\", s)))\n"
            "os._exit(0)"
        )
        subprocess.run([sys.executable, "-c", script, str(options.store)], check=True, timeout=200)
        assert until(lambda: list((options.store / "backup").iterdir()) == [])
        assert until(lambda: run(keeper, "DROP DATABASE big") == [Done(204)])
    finally:
        keeper.close()


def test_sigterm_ends_a_running_backup_without_a_trace(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    pid = pid_of(options.store)
    big_database(keeper, options.store, 5)
    # A writer's lock on the medium lets the backup wait for ever.
    (options.store / "backup" / "held.bak").touch()
    import fcntl

    with (options.store / "backup" / "held.bak").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        found: list[object] = []
        text = "BACKUP DATABASE big TO DISK='held.bak'"
        thread = threading.Thread(target=lambda: found.extend(run(keeper, text)))
        thread.start()
        assert until(lambda: has_open(pid, "held.bak"))
        os.kill(pid, signal.SIGTERM)
        thread.join(60)
        assert not thread.is_alive()
    assert [reply.number for reply in found if isinstance(reply, Message)] == [3204, 3013]
    assert until(lambda: not is_running(pid))
    assert (options.store / "backup" / "held.bak").read_bytes() == b""
    keeper.close()


def test_sessions_release_and_kill(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    other = connect_sync(options)
    released: list[str] = []
    try:
        run(keeper, "CREATE DATABASE d")
        other.note_session(other.spid_base, "joe", "D")
        # A statement on the same connection is handled after the note.
        run(other, "RESTORE LABELONLY FROM DISK='none'")
        refused = run(keeper, "DROP DATABASE d")
        assert isinstance(refused[0], Message)
        assert refused[0].number == 3702
        other.on_kill(lambda spid: other.note_session(spid, "joe", None))
        other.on_release(released.append)
        single = run(keeper, "ALTER DATABASE d SET SINGLE_USER WITH ROLLBACK IMMEDIATE")
        assert [reply.number for reply in single if isinstance(reply, Message)] == [5060, 5060]
        assert run(keeper, "DROP DATABASE d") == [Done(204)]
        assert released == ["d"]
    finally:
        other.close()
        keeper.close()


def test_a_client_that_leaves_takes_its_sessions_along(options: KeeperOptions) -> None:
    keeper = connect_sync(options)
    other = connect_sync(options)
    try:
        run(keeper, "CREATE DATABASE d")
        other.note_session(other.spid_base, "joe", "d")
        run(other, "RESTORE LABELONLY FROM DISK='none'")
        other.close()
        assert until(lambda: run(keeper, "DROP DATABASE d") == [Done(204)])
    finally:
        keeper.close()


async def test_the_asyncio_client(options: KeeperOptions) -> None:
    client = await connect(options)
    try:
        session = SessionContext("sa", spid=client.spid_base, server_roles=frozenset({"sysadmin"}))
        requests = [NativeRequest(f"CREATE DATABASE d{n}", session) for n in range(5)]

        async def collect(request: NativeRequest) -> list[object]:
            return [reply async for reply in client.run(request)]

        assert await asyncio.gather(*map(collect, requests)) == [[Done(203)]] * 5
    finally:
        await client.close()


def test_options_survive_the_command_line(tmp_path: Path) -> None:
    options = KeeperOptions(
        tmp_path,
        tmp_path / "b",
        (tmp_path / "c", tmp_path / "d"),
        (("C:\\Backup", tmp_path), ("/x", tmp_path / "y=z")),
        "NAME",
        1.5,
        2.0,
        "debug",
        5 << 30,
        7.5,
        log_json=True,
    )
    assert parse_arguments([*options.arguments(), "--ready-fd", "9"]) == (options, 9)


def test_a_keeper_that_stops_while_it_is_found_is_replaced(options: KeeperOptions) -> None:
    """It is there when the client looks, and closes the connection instead of answering."""
    options.store.mkdir()
    stopping = socket.socket(socket.AF_UNIX)
    stopping.bind(str(options.store / SOCKET_NAME))
    stopping.listen(4)

    def stop() -> None:
        found, _ = stopping.accept()  # whoever looks whether there is one
        found.close()
        asking, _ = stopping.accept()
        (options.store / SOCKET_NAME).unlink()
        stopping.close()
        asking.close()

    thread = threading.Thread(target=stop)
    thread.start()
    keeper = connect_sync(options)
    try:
        assert run(keeper, "CREATE DATABASE d") == [Done(203)]
    finally:
        keeper.close()
        thread.join(60)
