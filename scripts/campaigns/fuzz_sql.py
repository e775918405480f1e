"""T-SQL that is hardly any: only SQL errors, and the session goes on."""

from __future__ import annotations

import random
import select
import time

from scripts.campaigns.fuzz_corpus import STATEMENTS
from scripts.campaigns.fuzz_text import TextMutator
from scripts.campaigns.fuzz_wire import Talk
from scripts.campaigns.outcome import Tally, Violation, check
from scripts.campaigns.product import Product
from tdsproxy.tds.client import ResponseEnd, State
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.packets import PacketType
from tdsproxy.tds.tokens import ServerMessage

PATIENT = 3.0
"""Seconds after which a statement is cancelled: damaged loops do not end by themselves."""
CANCELLING = 10.0
"""Seconds within which an attention must end it."""
_MOST_MESSAGES = 20_000


class SqlFuzzer:
    """Batches through one session, which is replaced only when the server had a reason to end it."""

    def __init__(self, product: Product, seed: int, tally: Tally) -> None:
        self._product = product
        self._seed = seed
        self._number = 0
        self._rng = random.Random(seed)
        self._tally = tally
        self._mutator = TextMutator(STATEMENTS)
        self._talk: Talk | None = None
        self._known: set[str] = set(product.tracebacks())

    def close(self) -> None:
        if self._talk is not None:
            self._talk.__exit__()

    def one(self) -> int:
        """One batch. Raises Violation when the session is lost or hangs."""
        self._number += 1
        self._rng = random.Random(f"{self._seed} {self._number}")
        text = self._mutator.any(self._rng)
        try:
            self._run(text)
        except (ProtocolError, OSError) as error:
            self.close()
            self._talk = None
            raise Violation(f"the session was lost ({error!r}) by {text!r}: {self._news()}") from error
        return 1

    def _run(self, text: str) -> None:
        talk = self._connected()
        talk.client.request(PacketType.SQL_BATCH, build_batch(text))
        talk.send(talk.client.data_to_send())
        began = time.monotonic()
        cancelled = False
        while talk.client.state is State.BUSY:
            left = (PATIENT + CANCELLING if cancelled else PATIENT) - (time.monotonic() - began)
            if not select.select([talk.socket], [], [], max(0.0, left))[0]:
                check(not cancelled, f"an attention does not end {text!r}")
                cancelled = True
                talk.client.attention()
                talk.send(talk.client.data_to_send())
                continue
            for event in talk.receive():
                if isinstance(event, ServerMessage) and event.text.startswith("A severe error"):
                    self._report(text)
                elif isinstance(event, ResponseEnd):
                    self._tally.add("batches cancelled", int(cancelled))
        self._tally.add("batches")

    def _report(self, text: str) -> None:
        """An internal error; each place in the source once."""
        news = self._news()
        if news:
            self._tally.violated(f"{'; '.join(news)} by {text[:600]!r}")

    def _news(self) -> list[str]:
        found = [place for place in self._product.tracebacks() if place not in self._known]
        self._known.update(found)
        return found

    def _connected(self) -> Talk:
        if self._talk is None:
            self._talk = Talk(self._product, "clear")
            check(self._talk.login(), "a sound login was refused")
        return self._talk
