"""Asking the keeper to run a system procedure: files and msdb are its business."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.commands.request import NativeRequest
from tdsproxy.server.native import context_of
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, Reply, Rows
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_WARNING: Final = 10


def _request(session: Session, frame: Frame, procedure: str, values: Sequence[Value]) -> NativeRequest:
    names = [f"@a{place}" for place in range(1, len(values) + 1)]
    return NativeRequest(
        text=f"EXEC {procedure} {', '.join(names)}",
        session=context_of(session, frame),
        variables=dict(zip(names, values, strict=True)),
    )


def ask(session: Session, frame: Frame, procedure: str, *values: Value) -> list[tuple[Value, ...]]:
    """The rows of the keeper's procedure. Raises SqlError for the errors that it answers with."""
    replies = session.ask_keeper(_request(session, frame, procedure, values))
    rows = _answer(replies)
    session.after_native()
    return rows


def look(session: Session, procedure: str, *values: Value) -> list[tuple[Value, ...]]:
    """As ``ask``, for a view or function that is read within a query: the session keeps its files."""
    keeper = session.engine.keeper
    if keeper is None:
        return []
    frame = session.batch_frame("")
    return _answer(keeper.run(_request(session, frame, procedure, values)))


def _answer(replies: Iterator[Reply]) -> list[tuple[Value, ...]]:
    rows: list[tuple[Value, ...]] = []
    errors: list[Message] = []
    for reply in replies:
        if isinstance(reply, Rows):
            rows.extend(reply.rows)
        elif isinstance(reply, Message) and reply.severity > _WARNING:
            errors.append(reply)
    if errors:
        raise SqlError(*errors)
    return rows
