"""Sessions through the proxy for a long time, while clients die, attentions come, the upstream restarts and
backups run: no answer is lost or given to another session, and nothing grows.

A case is a second. Two proxies stand in front of one upstream and share the store's keeper.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import socket
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.product import descriptors_of, memory_of, threads_of, until
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.login7 import Login7, build_login7
from tdsproxy.tds.packets import ATTENTION, PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin
from tdsproxy.tds.tokens import Done, LoginAck, Row, ServerMessage, Token, TokenParser
from tdsproxy.tds.versions import TdsVersion
from tests.running import PASSWORD, Running, start

SESSIONS = 16
PATIENCE = 60.0
"""Seconds after which an answer counts as lost."""
RESTART_SECONDS = 15.0
GROWTH = 60e6
"""Bytes that a proxy may have more at the end than after its first seconds."""
PLOT = Path(__file__).resolve().parent.parent.parent / "docs" / "soak.png"


class Lost(Exception):
    """The connection ended, as it may while the upstream restarts."""


class Session:
    """A blocking client that can break off where it likes."""

    def __init__(self, port: int) -> None:
        try:
            self._socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            hello = build_prelogin(Prelogin((9, 0, 0, 0), Encryption.NOT_SUPPORTED, instance="", mars=False))
            self._send(packetize(PacketType.PRELOGIN, hello, 4096))
            self._message()
            login = Login7(user="sa", password=PASSWORD, application="soak")
            self._send(packetize(PacketType.LOGIN7, build_login7(login), 4096))
            tokens = self.answer()
        except OSError as error:
            raise Lost(str(error)) from error
        if not any(isinstance(token, LoginAck) for token in tokens):
            self.close()
            raise Lost("the login was refused")

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as error:
            raise Lost(str(error)) from error

    def _exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            try:
                piece = self._socket.recv(count - len(data))
            except TimeoutError as error:
                raise Violation(f"no answer within {PATIENCE:.0f} s") from error
            except OSError as error:
                raise Lost(str(error)) from error
            if not piece:
                raise Lost("the connection was closed")
            data += piece
        return bytes(data)

    def _message(self) -> bytes:
        body = bytearray()
        while True:
            header = self._exactly(8)
            body += self._exactly(int.from_bytes(header[2:4], "big") - 8)
            if header[1] & 1:
                return bytes(body)

    def answer(self) -> list[Token]:
        """Raises Lost, and Violation when none comes."""
        try:
            return TokenParser(TdsVersion.V7_4).feed(self._message())
        except ProtocolError as error:
            raise Violation(f"an answer can't be read: {error}") from error

    def request(self, text: str) -> None:
        self._send(packetize(PacketType.SQL_BATCH, build_batch(text), 4096))

    def ask(self, text: str) -> list[Token]:
        self.request(text)
        return self.answer()

    def attention(self) -> None:
        self._send(ATTENTION)

    def close(self) -> None:
        self._socket.close()


def values(tokens: list[Token]) -> list[object]:
    return [token.values[0] for token in tokens if isinstance(token, Row)]


@dataclass(frozen=True, slots=True)
class Sample:
    """Of one proxy: ``seconds`` since the start, bytes, descriptors and threads."""

    seconds: float
    memory: int
    descriptors: int
    threads: int


class World:
    """The upstream, two proxies before it, and the threads that use them."""

    def __init__(self, directory: Path, plan: Plan, tally: Tally) -> None:
        self.store = directory / "store"
        self.tally = tally
        self.random = random.Random(plan.seed)
        self.stop = threading.Event()
        self.failures: list[str] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self.upstream = self._start_upstream()
        options = ("--upstream", f"127.0.0.1:{self._port}", "--upstream-wait", "30")
        self.proxies = [start(self.store, *options) for _ in range(2)]
        self.samples: list[list[Sample]] = [[] for _ in self.proxies]
        self._lock = threading.Lock()

    def _start_upstream(self) -> Running:
        return start(self.store, "--listen", f"127.0.0.1:{self._port}", command="server")

    def close(self) -> None:
        for running in (*self.proxies, self.upstream):
            with contextlib.suppress(Exception):
                running.stop()

    def count(self, name: str) -> None:
        with self._lock:
            self.tally.add(name)

    # ------------------------------------------------------------------ one thread each

    def guarded(self, work: str, seed: int) -> None:
        """A thread's life: it begins anew whenever its connection is lost, until the end."""
        source = random.Random(seed)
        while not self.stop.is_set():
            try:
                getattr(self, work)(source)
            except Lost:
                self.count("connections lost")
                self.stop.wait(0.1)
            except Violation as violation:
                self.failures.append(f"{work}: {violation}")
                return

    def talk(self, source: random.Random) -> None:
        """One session: small and large results, attentions, and an end of some kind."""
        name = f"{source.randrange(1 << 60):x}"
        session = Session(source.choice(self.proxies).port)
        try:
            for number in range(source.randrange(5, 60)):
                if self.stop.is_set():
                    return
                kind = source.random()
                if kind < 0.7:
                    self._small(session, f"{name}-{number}")
                elif kind < 0.85:
                    self._large(session, f"{name}-{number}", source.randrange(100, 3000))
                elif kind < 0.97:
                    self._attention(session, f"{name}-{number}", source)
                else:
                    session.request(f"SELECT TOP (5000) N'{name}' FROM sys.all_objects a, sys.all_objects b")
                    self.count("clients killed")
                    return
        finally:
            session.close()

    def _small(self, session: Session, mark: str) -> None:
        found = values(session.ask(f"SELECT N'{mark}'"))
        check(found == [mark], f"asked for {mark}, got {found}")
        self.count("small results")

    def _large(self, session: Session, mark: str, count: int) -> None:
        tokens = session.ask(
            f"SELECT TOP ({count}) N'{mark}' + REPLICATE(N'.', 200) FROM sys.all_objects a, sys.all_objects b"
        )
        found = values(tokens)
        check(len(found) == count, f"asked for {count} rows, got {len(found)}")
        check(all(str(each).startswith(mark) for each in found), f"a row of another session in {mark}")
        self.count("large results")

    def _attention(self, session: Session, mark: str, source: random.Random) -> None:
        session.request(source.choice(("WAITFOR DELAY '00:00:30'", f"SELECT N'{mark}'")))
        if source.random() < 0.5:
            time.sleep(source.random() / 50)
        session.attention()
        for _ in range(3):
            dones = [token for token in session.answer() if isinstance(token, Done)]
            if any(done.attention for done in dones):
                break
        else:
            raise Violation("an attention was not acknowledged")
        self._small(session, mark)
        self.count("attentions")

    def back_up(self, source: random.Random) -> None:
        session = Session(source.choice(self.proxies).port)
        try:
            medium = f"soak{source.randrange(3)}.bak"
            for text in (
                f"BACKUP DATABASE soak TO DISK = N'{medium}' WITH INIT, CHECKSUM",
                f"RESTORE VERIFYONLY FROM DISK = N'{medium}'",
            ):
                tokens = session.ask(text)
                errors = [token.text for token in tokens if isinstance(token, ServerMessage) and token.error]
                busy = any("in use" in error or "Exclusive access" in error for error in errors)
                check(not errors or busy, f"{text}: {errors}")
            self.count("backups")
        finally:
            session.close()
        self.stop.wait(0.5)

    def restart(self, _source: random.Random) -> None:
        if self.stop.wait(RESTART_SECONDS):
            return
        if self.random.random() < 0.5:
            self.upstream.process.kill()
            self.upstream.process.wait(PATIENCE)
        else:
            self.upstream.stop()
        self.upstream = self._start_upstream()
        self.count("upstream restarts")

    def watch(self, _source: random.Random) -> None:
        for proxy, samples in zip(self.proxies, self.samples, strict=True):
            pid = proxy.process.pid
            if proxy.process.poll() is not None:
                raise Violation("a proxy has ended")
            samples.append(Sample(self.tally.seconds, memory_of(pid), descriptors_of(pid), threads_of(pid)))
        self.stop.wait(1.0)


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    directory = Path(tempfile.mkdtemp(prefix="tdsproxy-soak-"))
    world = World(directory, plan, tally)
    try:
        _soak(world, plan, tally)
    finally:
        world.close()
        shutil.rmtree(directory, ignore_errors=True)


def _soak(world: World, plan: Plan, tally: Tally) -> None:
    first = Session(world.proxies[0].port)
    for text in ("CREATE DATABASE soak", "CREATE TABLE soak.dbo.t (id int PRIMARY KEY, v nvarchar(100))"):
        first.ask(text)
    first.close()
    settled = [descriptors_of(proxy.process.pid) for proxy in world.proxies]
    works = ["talk"] * SESSIONS + ["back_up", "restart", "watch"]
    threads = [
        threading.Thread(target=world.guarded, args=(work, world.random.randrange(1 << 60)), daemon=True)
        for work in works
    ]
    for thread in threads:
        thread.start()
    end = time.monotonic() + min(float(plan.cases), plan.seconds)
    while time.monotonic() < end and not world.failures:
        time.sleep(0.2)
    world.stop.set()
    for thread in threads:
        thread.join(2 * PATIENCE)
        check(not thread.is_alive(), "a session hangs")
    if world.failures:
        raise Violation("; ".join(world.failures[:5]))
    for number, proxy in enumerate(world.proxies):
        _flat(world.samples[number], proxy.process.pid, settled[number], tally)
        status = proxy.stop()
        check(status == 0, f"a proxy ended with status {status}")
        log = proxy.log.read_text(errors="replace")
        check("Traceback" not in log, f"a proxy's log has a traceback: {log[-2000:]}")
    if plan.share >= 1.0:
        _plot(world.samples)


def _open(pid: int) -> str:
    """What a process has open; of its TCP connections the ends (hexadecimal) and the state."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    connections = {f"socket:[{row[9]}]": f"{row[1]}-{row[2]} {row[3]}" for row in table}
    names = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return ", ".join(sorted(connections.get(name, name) for name in names))


def _flat(samples: list[Sample], pid: int, settled: int, tally: Tally) -> None:
    """Nothing has grown: descriptors are as before the first session, memory as after the first seconds."""
    check(
        until(lambda: descriptors_of(pid) <= settled + 2, 3 * PATIENCE),
        f"{descriptors_of(pid)} descriptors when all sessions have ended, {settled} before: {_open(pid)}",
    )
    begun = max(sample.memory for sample in samples[: max(3, len(samples) // 10)])
    left = memory_of(pid)
    check(left - begun < GROWTH, f"{left / 1e6:.0f} MB at the end, {begun / 1e6:.0f} MB in the beginning")
    tally.peak("MB", max(sample.memory for sample in samples) / 1e6)
    tally.peak("descriptors", max(sample.descriptors for sample in samples))
    tally.peak("threads", max(sample.threads for sample in samples))


def _plot(samples: list[list[Sample]]) -> None:
    """Draws ``docs/soak.png`` where matplotlib is installed (the extra ``plots``)."""
    try:
        from matplotlib import pyplot
    except ImportError:
        print("matplotlib is not installed: no plot", flush=True)
        return
    figure, axes = pyplot.subplots(2, 1, sharex=True, figsize=(9, 6))
    for number, series in enumerate(samples, 1):
        seconds = [sample.seconds for sample in series]
        axes[0].plot(seconds, [sample.memory / 1e6 for sample in series], label=f"proxy {number}")
        axes[1].plot(seconds, [sample.descriptors for sample in series], label=f"proxy {number}")
    axes[0].set_ylabel("resident MB")
    axes[1].set_ylabel("descriptors")
    axes[1].set_xlabel("seconds")
    axes[0].legend()
    PLOT.parent.mkdir(exist_ok=True)
    figure.savefig(PLOT, dpi=100)
