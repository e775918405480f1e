"""The one exception by which a T-SQL statement fails.

SqlError            carries the messages that the client gets, the specific one first
  SyntaxError_      the batch does not parse: nothing of it ran (class 15)
  BatchAborted      the error ends the batch, not just the statement
"""

from __future__ import annotations

from tdsproxy.tsql.replies import Message


class SqlError(Exception):
    """A statement failed. ``messages`` go to the client in this order; ``@@ERROR`` shows the last number."""

    def __init__(self, *messages: Message) -> None:
        super().__init__("; ".join(f"{m.number}: {m.text}" for m in messages))
        self.messages = messages

    @property
    def number(self) -> int:
        return self.messages[-1].number

    @classmethod
    def of(cls, number: int, severity: int, state: int, text: str, line: int = 1) -> SqlError:
        return cls(Message(number, severity, state, text, line))


class SyntaxError_(SqlError):
    """The batch does not parse (102, 156, 155, 137 ...); nothing of it runs."""


class BatchAborted(SqlError):
    """The error ends the batch: conversion errors (245), unresolved names (208), XACT_ABORT."""
