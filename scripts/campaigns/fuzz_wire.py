"""Damaged conversations over sockets: the server lives, and nobody else notices."""

from __future__ import annotations

import contextlib
import random
import socket
import struct
import threading
import time
from collections.abc import Iterator

from scripts.campaigns.fuzz_bytes import garbage, mutate
from scripts.campaigns.fuzz_corpus import requests
from scripts.campaigns.outcome import Tally, Violation, check
from scripts.campaigns.product import LOST, PATIENCE, Product, rows, until
from tdsproxy.tds.client import ClientConnection, LoginEnd, ResponseEnd, State
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import Login7
from tdsproxy.tds.packets import ATTENTION, PacketType, Status, packetize
from tdsproxy.tds.prelogin import Encryption
from tdsproxy.tds.tls import client_context, strict_client_context

ENDING = 20.0
"""Seconds within which the server must end a connection whose client will send no more."""
ANSWERING = 20.0
"""Seconds within which it must answer a request that is whole."""
MODES = ("clear", "clear", "clear", "login", "full", "strict")
_RESET_SECONDS = struct.pack("ii", 1, 0)


class Canary(threading.Thread):
    """A session that goes on asking while others do as they like."""

    def __init__(self, product: Product) -> None:
        super().__init__(name="canary", daemon=True)
        self._product = product
        self._ended = threading.Event()
        self.failure: str | None = None
        self.answers = 0
        self.slowest = 0.0

    def run(self) -> None:
        try:
            with self._product.cursor() as cursor:
                while not self._ended.wait(0.005):
                    began = time.monotonic()
                    answer = rows(cursor, f"SELECT {self.answers} + 1, N'canary'")
                    self.slowest = max(self.slowest, time.monotonic() - began)
                    check(answer == [(self.answers + 1, "canary")], f"the canary got {answer}")
                    self.answers += 1
        except (*LOST, Violation) as error:
            self.failure = f"{type(error).__name__}: {error}"

    def stop(self) -> None:
        self._ended.set()
        self.join(PATIENCE)


@contextlib.contextmanager
def canary(product: Product, tally: Tally) -> Iterator[Canary]:
    """Raises Violation when the session was harmed."""
    bird = Canary(product)
    bird.start()
    try:
        yield bird
    finally:
        # What is done beside it may be short.
        until(lambda: bird.answers > 0 or bird.failure is not None)
        bird.stop()
        tally.add("answers of the canary", bird.answers)
        tally.peak("seconds for an answer of the canary", bird.slowest)
    check(bird.failure is None, f"another session was harmed: {bird.failure}")
    check(bird.answers > 0, "the canary got no answer")


class Talk:
    """One conversation, sound until ``send`` is told otherwise."""

    def __init__(self, product: Product, mode: str) -> None:
        self.socket = socket.create_connection((product.running.host, product.running.port), PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        encryption = {"login": Encryption.OFF, "full": Encryption.ON, "strict": Encryption.ON}.get(mode)
        strict = mode == "strict"
        self.client = ClientConnection(
            Login7(user="sa", password=product.running.password, database="master", application="fuzz"),
            encryption=encryption or Encryption.NOT_SUPPORTED,
            tls=None
            if encryption is None
            else (strict_client_context if strict else client_context)(verify=False),
            strict=strict,
        )

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def login(self, rng: random.Random | None = None, damaged_step: int = -1) -> bool:
        """Whether the session is there. The ``damaged_step``-th piece that is sent is damaged by ``rng``."""
        self.client.start()
        step = 0
        while self.client.state not in (State.READY, State.FAILED):
            data = self.client.data_to_send()
            if data:
                if step == damaged_step and rng is not None:
                    data = mutate(rng, data)
                step += 1
                self.send(data)
            if step > damaged_step >= 0 and rng is not None:
                return False
            if any(isinstance(event, LoginEnd) and not event.accepted for event in self.receive()):
                return False
        self.send(self.client.data_to_send())
        return self.client.state is State.READY

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def receive(self) -> list[object]:
        """The events of the next bytes. Raises OSError, ProtocolError."""
        self.socket.settimeout(ANSWERING)
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        return list(self.client.feed(data))

    def ask(self, kind: int, payload: bytes, reset: int = 0) -> None:
        """A request in sound packets: it must be answered, or the connection ended."""
        self.client.request(kind, payload, reset=reset)
        self.send(self.client.data_to_send())
        while True:
            for event in self.receive():
                if isinstance(event, ResponseEnd):
                    return

    def abandon(self) -> None:
        """The connection is reset when it is closed, without a word."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_SECONDS)

    def finish(self) -> None:
        """Send no more: the server must come to an end. Raises Violation."""
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        self.socket.settimeout(ENDING)
        try:
            while self.socket.recv(65536):
                continue
        except TimeoutError:
            check(False, "a connection whose client is done is not ended")
        except OSError:
            return


class WireFuzzer:
    """Damaged conversations, one after the other. The choices of each follow from the seed and its number
    alone, so that a machine's speed does not change them."""

    def __init__(self, product: Product, seed: int, tally: Tally) -> None:
        self._product = product
        self._seed = seed
        self._number = 0
        self._rng = random.Random(seed)
        self._tally = tally
        self._requests = requests()
        self._payloads = [payload for _, payload in self._requests]

    def one(self) -> int:
        """One connection; how many damaged inputs it had. Raises Violation."""
        self._number += 1
        rng = self._rng = random.Random(f"{self._seed} {self._number}")
        kind = rng.choices(
            (
                self.nonsense,
                self.damaged_login,
                self.damaged_packets,
                self.damaged_requests,
                self.interrupted,
            ),
            (2, 3, 3, 3, 2),
        )[0]
        try:
            return kind()
        except ProtocolError:
            # What the server answers to damage need not be what the client expects at that point.
            return 1
        except TimeoutError as error:
            check(False, f"{kind.__name__}: no answer: {error}")
        except OSError:
            return 1
        return 1

    def nonsense(self) -> int:
        """Bytes of no meaning from the start."""
        with Talk(self._product, "clear") as talk:
            for _ in range(self._rng.choice((1, 1, 3))):
                talk.send(garbage(self._rng))
            talk.finish()
        self._tally.add("connections with nonsense")
        return 1

    def damaged_login(self) -> int:
        """PRELOGIN, TLS or LOGIN7 damaged."""
        with Talk(self._product, self._rng.choice(MODES)) as talk:
            talk.login(self._rng, self._rng.choice((0, 1, 1, 2, 3)))
            talk.finish()
        self._tally.add("damaged logins")
        return 1

    def damaged_packets(self) -> int:
        """After a sound login: headers, lengths, types and bits damaged."""
        rng = self._rng
        with Talk(self._product, rng.choice(MODES)) as talk:
            check(talk.login(), "a sound login was refused")
            count = rng.choice((1, 2, 4))
            for _ in range(count):
                kind, payload = rng.choice(self._requests)
                packets = packetize(
                    kind, payload, rng.choice((512, 4096)), status_first=rng.choice((0, 0, 8))
                )
                talk.send(mutate(rng, packets) if rng.random() < 0.8 else garbage(rng))
            if rng.random() < 0.3:
                talk.abandon()
            else:
                talk.finish()
        self._tally.add("damaged packets", count)
        return count

    def damaged_requests(self) -> int:
        """After a sound login: sound packets of damaged requests, each of which must be answered."""
        rng = self._rng
        count = 0
        with Talk(self._product, rng.choice(MODES)) as talk:
            check(talk.login(), "a sound login was refused")
            try:
                for _ in range(12):
                    kind, payload = rng.choice(self._requests)
                    reset = rng.choice((0, 0, 0, Status.RESET_CONNECTION, Status.RESET_CONNECTION_SKIP_TRAN))
                    count += 1
                    talk.ask(kind, mutate(rng, payload, self._payloads), int(reset))
            finally:
                self._tally.add("damaged requests", count)
            talk.finish()
        return count

    def interrupted(self) -> int:
        """Attentions and IGNORE bits at odd moments, and clients that vanish."""
        rng = self._rng
        with Talk(self._product, "clear") as talk:
            check(talk.login(), "a sound login was refused")
            for _ in range(rng.choice((1, 3, 6))):
                kind, payload = rng.choice(self._requests)
                packets = packetize(kind, payload, 512)
                choice = rng.randrange(5)
                if choice == 0:
                    talk.send(packets[: rng.randrange(len(packets))])
                    if rng.random() < 0.5:
                        # The rest of a message that is taken back.
                        talk.send(struct.pack(">BBHHBB", kind, 3, 8, 0, 1, 0))
                elif choice == 1:
                    talk.send(ATTENTION * rng.choice((1, 2, 50)))
                elif choice == 2:
                    talk.send(packets + ATTENTION)
                elif choice == 3:
                    talk.send(packets * rng.choice((2, 5)))
                else:
                    talk.send(packetize(PacketType.SQL_BATCH, b"", 512) + packets)
            if rng.random() < 0.5:
                talk.abandon()
            else:
                talk.finish()
        self._tally.add("interrupted conversations")
        return 1


def flood(product: Product, tally: Tally) -> None:
    """Attentions without end from a client that does not read. Raises Violation."""
    with Talk(product, "clear") as talk:
        check(talk.login(), "a sound login was refused")
        sent = 0
        talk.socket.settimeout(0.5)
        with contextlib.suppress(OSError):
            while sent < 400_000:
                talk.send(ATTENTION * 1000)
                sent += 1000
        tally.add("attentions of a deaf client", sent)
        talk.abandon()
