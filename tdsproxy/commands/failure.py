"""How a native statement fails: with messages, and with one more that says which statement it was."""

from __future__ import annotations

from tdsproxy.commands.messages import message
from tdsproxy.tsql.replies import Message


class CommandError(Exception):
    """A native statement is refused or has failed; what closes the response (3013, 5069) is not in here.

    ``early`` marks a refusal that SQL Server gives while it compiles the statement: nothing closes it, and
    its DONE carries the code of a parse error. ``closed`` marks one that needs no closing message.
    """

    def __init__(self, *messages: Message, early: bool = False, closed: bool = False) -> None:
        super().__init__("; ".join(f"{m.number}: {m.text}" for m in messages))
        self.messages = messages
        self.early = early
        self.closed = closed or early


def fail(
    number: int,
    *values: object,
    state: int | None = None,
    early: bool = False,
    closed: bool = False,
) -> CommandError:
    """To be raised: the message of this number."""
    return CommandError(message(number, *values, state=state), early=early, closed=closed)
