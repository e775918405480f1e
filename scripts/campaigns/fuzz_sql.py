"""T-SQL that is hardly any: only SQL errors, and the session goes on."""

from __future__ import annotations

import random
import re
import select
import time
from pathlib import Path

from scripts.campaigns.fuzz_corpus import STATEMENTS
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

_TOKEN = re.compile(r"N?'(?:[^']|'')*'|\[[^\]]*\]|[@#]*\w+(?:\.\w+)*|\s+|--[^\n]*|.", re.DOTALL)
_ODD = [
    *Path(__file__).with_name("odd_tokens.txt").read_text(encoding="utf-8").splitlines(),
    "N'\0'",
    "N'" + "long " * 2000 + "'",
    "(" * 300,
    "\n",
]
"""Pieces that are unusual, or unusual where they come to stand."""


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


class SqlFuzzer:
    """Batches through one session, which is replaced only when the server had a reason to end it."""

    def __init__(self, product: Product, seed: int, tally: Tally) -> None:
        self._product = product
        self._seed = seed
        self._number = 0
        self._rng = random.Random(seed)
        self._tally = tally
        self._lists = [tokens(statement) for statement in STATEMENTS]
        self._pool = sorted({token for listed in self._lists for token in listed} - {" "})
        self._talk: Talk | None = None
        self._known: set[str] = set(product.tracebacks())

    def close(self) -> None:
        if self._talk is not None:
            self._talk.__exit__()

    def one(self) -> int:
        """One batch. Raises Violation when the session is lost or hangs."""
        self._number += 1
        self._rng = random.Random(f"{self._seed} {self._number}")
        text = self.soup() if self._rng.random() < 0.15 else self.damaged()
        try:
            self._run(text)
        except (ProtocolError, OSError) as error:
            self.close()
            self._talk = None
            raise Violation(f"the session was lost ({error!r}) by {text!r}: {self._news()}") from error
        return 1

    def damaged(self) -> str:
        """A sound batch with some tokens damaged."""
        rng = self._rng
        made = list(rng.choice(self._lists))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
            at = rng.randrange(len(made) + 1)
            kind = rng.randrange(7)
            if kind == 0:
                del made[at : at + rng.choice((1, 1, 3))]
            elif kind == 1:
                made[at:at] = [" ", rng.choice(self._pool), " "]
            elif kind == 2 and at < len(made):
                made[at] = rng.choice(self._pool)
            elif kind == 3 and at < len(made):
                made[at] = rng.choice(_ODD)
            elif kind == 4:
                other = rng.choice(self._lists)
                start = rng.randrange(len(other))
                made[at:at] = [" ", *other[start : start + rng.choice((2, 6, 20))], " "]
            elif kind == 5:
                made[at:at] = made[at : at + rng.choice((1, 4))] * rng.choice((1, 2, 60))
            else:
                made[at:at] = [" ", rng.choice(_ODD), " "]
        return "".join(made)

    def soup(self) -> str:
        """Tokens in no order."""
        pool = [*self._pool, *_ODD]
        return " ".join(self._rng.choice(pool) for _ in range(self._rng.choice((3, 10, 40, 200))))

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
