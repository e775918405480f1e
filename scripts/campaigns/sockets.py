"""Damaged messages of each kind over sockets: the server answers or ends the connection, and lives.

So many of each kind of packet that a client sends. A connection is used for several requests; a kind that
belongs to the login has one for each. What must be answered is; another session asks on beside all that, and
at the end neither threads nor descriptors nor memory have grown. A case is a message of each kind.
"""

from __future__ import annotations

import math
import random
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from scripts.campaigns.fuzz import CLIENTS, GROWTH, in_threads, repeat, weight
from scripts.campaigns.fuzz_bytes import mutate
from scripts.campaigns.fuzz_corpus import SET_UP, requests
from scripts.campaigns.fuzz_wire import Talk, canary
from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.product import Product, descriptors_of, product, run, threads_of, until
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import Feature, Login7, build_login7
from tdsproxy.tds.packets import ATTENTION, PacketType, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin

WARM: Final = 60
"""Of each kind, before it is looked how much memory there is."""
AT_ONCE: Final = 40
"""Requests of a connection, at most."""
ANSWERED: Final = frozenset({PacketType.SQL_BATCH, PacketType.RPC, PacketType.TRANSACTION_MANAGER})
"""A whole message of these is answered, whatever it holds, or the connection is ended."""


@dataclass(frozen=True, slots=True)
class Kind:
    """``seeds`` are sound bodies. ``before`` is how far the connection is: "", "prelogin" or "login"."""

    name: str
    type: int
    seeds: list[bytes]
    before: str = "login"


def kinds() -> list[Kind]:
    made = requests()
    of = {kind: [body for each, body in made if each == kind] for kind, _ in made}
    hello = [
        build_prelogin(Prelogin((9, 0, 0, 0), Encryption.NOT_SUPPORTED, mars=mars)) for mars in (False, True)
    ]
    login = Login7(user="sa", password="not the one", database="master", application="sockets")
    sspi = Login7(user="", password="", sspi=b"NTLMSSP\0" + bytes(24))
    token = Login7(user="", password="", features=((int(Feature.FEDAUTH), b"\x02\0\0\0\0"),))
    return [
        Kind("PRELOGIN", PacketType.PRELOGIN, hello, ""),
        Kind("LOGIN7", PacketType.LOGIN7, [build_login7(login)], "prelogin"),
        Kind("SQLBatch", PacketType.SQL_BATCH, of[PacketType.SQL_BATCH]),
        Kind("RPC", PacketType.RPC, of[PacketType.RPC]),
        Kind("BulkLoad", PacketType.BULK_LOAD, of[PacketType.BULK_LOAD]),
        Kind("Transaction Manager", PacketType.TRANSACTION_MANAGER, of[PacketType.TRANSACTION_MANAGER]),
        Kind("Attention", PacketType.ATTENTION, [b"", b"\0" * 8]),
        Kind("SSPI", PacketType.SSPI, [b"NTLMSSP\0\x03\0\0\0" + bytes(52)]),
        Kind("FedAuth token", PacketType.FEDAUTH_TOKEN, [(40).to_bytes(4, "little") + bytes(40)]),
        Kind(
            "LOGIN7 of SSPI and FedAuth",
            PacketType.LOGIN7,
            [build_login7(sspi), build_login7(token)],
            "prelogin",
        ),
    ]


class Sender:
    """Conversations with damaged messages of one kind. The choices follow from the seed and their numbers."""

    def __init__(self, made: Product, kind: Kind, seed: int, tally: Tally) -> None:
        self._made = made
        self._kind = kind
        self._seed = seed
        self._tally = tally
        self._number = 0

    def one(self) -> int:
        """One connection; how many damaged messages went over it. Raises Violation."""
        self._number += 1
        rng = random.Random(f"{self._seed} {self._kind.name} {self._number}")
        sent = 0
        try:
            with Talk(self._made, "clear") as talk:
                if self._kind.before == "login":
                    check(talk.login(), "a sound login was refused")
                elif self._kind.before == "prelogin":
                    talk.client.start()
                    talk.send(talk.client.data_to_send())
                    talk.receive()
                wanted = AT_ONCE if self._kind.before == "login" else 1
                while sent < wanted:
                    sent += 1
                    self._send(talk, rng)
                talk.finish()
        except ProtocolError:
            # What is answered to damage need not be what the client expects at that point.
            self._tally.add("conversations given up")
        except TimeoutError as error:
            check(False, f"{self._kind.name}: no answer: {error}")
        except OSError:
            self._tally.add("connections ended by the server")
        finally:
            self._tally.add(f"of {self._kind.name}", sent)
        return sent

    def _send(self, talk: Talk, rng: random.Random) -> None:
        kind = self._kind
        body = mutate(rng, rng.choice(kind.seeds) or b"\0", kind.seeds)
        if kind.type in ANSWERED:
            talk.ask(kind.type, body)
            return
        if kind.type == PacketType.ATTENTION:
            body = rng.choice((b"", body))
        talk.send(packetize(kind.type, body, rng.choice((512, 4096))))
        if kind.type == PacketType.ATTENTION:
            talk.send(ATTENTION)


def send_all(made: Product, plan: Plan, cases: int, end: float, tally: Tally) -> None:
    """``cases`` of each kind. Raises Violation."""
    found = kinds()
    for place, kind in enumerate(found):
        # What a kind does not need of its part of the time, the others have.
        enough = time.monotonic() + (end - time.monotonic()) / (len(found) - place)
        senders = [Sender(made, kind, plan.seed + cases + number, tally) for number in range(CLIENTS)]
        begun, before = time.monotonic(), tally.counts[f"of {kind.name}"]

        def work(sender: Sender, until_when: float = enough) -> None:
            repeat(sender.one, -(-cases // CLIENTS), until_when, tally)

        with canary(made, tally):
            in_threads([partial(work, sender) for sender in senders])
        check(made.listener_lives, f"{kind.name}: the listener has ended")
        took = time.monotonic() - begun
        sent, grown = tally.counts[f"of {kind.name}"] - before, weight(made) >> 20
        print(f"{kind.name}: {sent} in {took:.0f} s, {grown} MiB", flush=True)


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    begun = time.monotonic()
    with product() as made:
        made.start()
        with made.cursor() as cursor:
            for statement in SET_UP:
                run(cursor, statement)
        descriptors, threads = descriptors_of(made.listener_pid), threads_of(made.listener_pid)
        # What is loaded at the first use is there then.
        # However slow the machine is.
        send_all(made, plan, min(WARM, plan.cases), math.inf, tally)
        early = weight(made)
        send_all(made, plan, plan.cases, begun + plan.seconds, tally)

        def settled() -> bool:
            pid = made.listener_pid
            return descriptors_of(pid) <= descriptors + 6 and threads_of(pid) <= threads + 6

        stay = f"{descriptors_of(made.listener_pid)} descriptors, {threads_of(made.listener_pid)} threads"
        check(until(settled), f"of {descriptors} and {threads} there are {stay}")
        grown = weight(made) - early
        tally.peak("MiB grown", grown / (1 << 20))
        check(grown < GROWTH, f"listener and keeper have grown by {grown >> 20} MiB")
        for traceback in made.tracebacks():
            tally.violated(f"in the logs: {traceback}")
