"""The short way: whole requests and their answers passed on as they arrive, within the calls of the loop.

A session's task would have to be woken for each request and again for each piece of its answer, which costs
more than passing them on. So while the task waits for the client's next packet, what is plainly the
upstream's never reaches it: a request in one packet without a native statement, the attention behind it, the
answer. Everything else goes to the task, which takes over what is then still to be answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from tdsproxy.frontend.channel import PacketChannel
from tdsproxy.proxy.local import may_be_ours
from tdsproxy.proxy.upstream import UpstreamLeg
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import ATTENTION, HEADER_SIZE, PacketType, Status

log = logging.getLogger(__name__)

MAX_ATTENTIONS: Final = 1000
"""So many may wait for their acknowledgement. Each is sent on; an upstream that is slow to read must not make
the proxy keep what a client sends without end."""

_BATCH: Final = int(PacketType.SQL_BATCH)
_RPC: Final = int(PacketType.RPC)
_TRANSACTION: Final = int(PacketType.TRANSACTION_MANAGER)
_ATTENTION: Final = int(PacketType.ATTENTION)
_WHOLE: Final = int(Status.EOM)
"""The status of a request in one packet that resets nothing and takes nothing back."""


class Splice:
    """Joins the two legs. ``has_handles`` says that an RPC may name a statement prepared here; ``ended`` is
    called when the last answer that was due is through."""

    def __init__(
        self,
        client: PacketChannel,
        leg: UpstreamLeg,
        has_handles: Callable[[], bool],
        ended: Callable[[], None],
    ) -> None:
        self._client = client
        self._leg = leg
        self._upstream = leg.channel
        self._has_handles = has_handles
        self._ended = ended
        self._expected = 0

    @property
    def busy(self) -> bool:
        """An answer is due."""
        return self._expected > 0

    def join(self) -> None:
        """From here on the short way is open, where both legs are in clear."""
        if self._client.divert(self._request, self._upstream.release) and not self._upstream.divert(
            self._answer
        ):
            self._client.divert(None)

    def part(self) -> int:
        """Close the short way; how many answers are still due."""
        self._client.divert(None)
        self._upstream.divert(None)
        self._upstream.release()
        expected, self._expected = self._expected, 0
        return expected

    def _request(self, data: bytes) -> bool:
        """From the client, with no part of a packet in front."""
        size = len(data)
        if size < HEADER_SIZE or data[2] << 8 | data[3] != size or data[1] != _WHOLE:
            return False
        kind = data[0]
        if self._expected:
            if kind != _ATTENTION or size != HEADER_SIZE or self._expected > MAX_ATTENTIONS:
                return False
            self._expected += 1
            self._upstream.write(ATTENTION)
            return True
        if kind == _RPC:
            if self._has_handles() or may_be_ours(data):
                return False
        elif kind == _BATCH:
            if may_be_ours(data):
                return False
        elif kind != _TRANSACTION:
            return False
        self._expected = 1
        self._upstream.write(data)
        return True

    def _answer(self, data: bytes) -> bool:
        """From the upstream."""
        if not self._expected:
            return False
        try:
            ended = self._leg.counter.feed(data)
        except ProtocolError as error:
            log.info("%s: closed for a breach of protocol: %s", self._client.peer, error)
            self._client.abort()
            return True
        self._client.write(data)
        if ended:
            self._expected -= ended
            if self._expected <= 0:
                self._expected = 0
                self._ended()
        if self._client.full:
            self._upstream.hold()
        return True
