"""Native statements of a client, run by the keeper."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final, Protocol

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper.client import KeeperUnavailable
from tdsproxy.proxy.probe import SessionFacts
from tdsproxy.proxy.talk import Talk
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message as SqlMessage
from tdsproxy.tsql.replies import Reply
from tdsproxy.tsql.values import Value

log = logging.getLogger(__name__)

CANCEL_PATIENCE: Final = 2.0
"""Seconds that a cancelled statement gets before its client hears of the end; it stops in the background."""

NO_KEEPER: Final = SqlMessage(
    3013, 16, 1, "The keeper of the store does not answer. The statement was not run."
)


class KeeperRuns(Protocol):
    """The part of a keeper client that runs statements."""

    def run(self, request: NativeRequest) -> AsyncIterator[Reply]: ...


@dataclass(frozen=True, slots=True)
class Origin:
    """What a client says of itself, and where its connection comes from."""

    host: str = ""
    application: str = ""
    address: str = ""


class NativeRuns:
    """Runs statements of one session; an attention of its ``talk`` ends the one that runs."""

    def __init__(self, keeper: KeeperRuns, origin: Origin, talk: Talk) -> None:
        self._keeper = keeper
        self._origin = origin
        self._talk = talk
        self._stopping: set[asyncio.Task[None]] = set()

    async def run(
        self, text: str, line: int, facts: SessionFacts, variables: dict[str, Value]
    ) -> AsyncIterator[Reply]:
        """The replies to a statement that stands at ``line`` of its batch. Raises SqlError."""
        request = NativeRequest(
            text,
            SessionContext(
                login=facts.login,
                database=facts.database,
                spid=facts.spid,
                server_roles=facts.server_roles,
                in_transaction=facts.transactions > 0,
                quoted_identifier=facts.quoted_identifier,
                host=self._origin.host,
                application=self._origin.application,
                address=self._origin.address,
            ),
            line=line,
            variables=variables,
        )
        try:
            async for reply in self._replies(request):
                yield reply
        except KeeperUnavailable as error:
            log.error("the keeper can't be reached: %s", error)
            raise SqlError(NO_KEEPER) from error

    async def _replies(self, request: NativeRequest) -> AsyncIterator[Reply]:
        """The keeper's replies until they end or an attention comes."""
        replies = self._keeper.run(request)
        cancelled = asyncio.create_task(self._talk.interrupted.wait())
        step: asyncio.Task[Reply | None] | None = None
        try:
            while True:
                step = asyncio.create_task(_next(replies))
                await asyncio.wait({step, cancelled}, return_when=asyncio.FIRST_COMPLETED)
                if not step.done():
                    return
                reply = step.result()
                if reply is None:
                    return
                yield reply
        finally:
            cancelled.cancel()
            await self._let_go(replies, step)

    async def _let_go(self, replies: AsyncIterator[Reply], step: asyncio.Task[Reply | None] | None) -> None:
        """Cancel the statement and give it a moment; what takes longer goes on without us."""

        async def close() -> None:
            if step is not None and not step.done():
                step.cancel()
                with contextlib.suppress(asyncio.CancelledError, SqlError, KeeperUnavailable):
                    await step
            closer = getattr(replies, "aclose", None)
            if closer is not None:
                await closer()

        task = asyncio.create_task(close())
        self._stopping.add(task)
        task.add_done_callback(self._stopping.discard)
        await asyncio.wait({task}, timeout=CANCEL_PATIENCE)


async def _next(replies: AsyncIterator[Reply]) -> Reply | None:
    return await anext(replies, None)
