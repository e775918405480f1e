"""How a native statement fails: with messages, and with one more that says which statement it was."""

from __future__ import annotations

from tdsproxy.commands.messages import message
from tdsproxy.tsql.replies import Message


class CommandError(Exception):
    """A native statement is refused or has failed; what closes the response (3013, 5069) is not in here."""

    def __init__(self, *messages: Message) -> None:
        super().__init__("; ".join(f"{m.number}: {m.text}" for m in messages))
        self.messages = messages


class Cancelled(Exception):
    """Nobody wants the result of the statement any more; what it had begun is undone."""


def fail(number: int, *values: object, state: int | None = None) -> CommandError:
    """To be raised: the message of this number."""
    return CommandError(message(number, *values, state=state))
