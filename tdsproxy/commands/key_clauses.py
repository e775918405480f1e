"""The clauses of a statement about keys, and the rules for its passwords."""

from __future__ import annotations

from typing import Final

from tdsproxy.commands.context import Context
from tdsproxy.commands.key_messages import key_fail
from tdsproxy.commands.messages import message
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SyntaxError_

_LEAST_LENGTH: Final = 8
_LEAST_CLASSES: Final = 3


class Clauses:
    """What stands in a statement, by the words in front of it. ``take`` removes; what is left at the end is
    no clause of this statement."""

    def __init__(self, context: Context, statement: ast.KeyStatement) -> None:
        self._context = context
        self._statement = statement
        self._left: dict[str, ast.Operand] = {}
        for words, operand in statement.clauses:
            if words in self._left:
                raise self._misplaced(words)
            self._left[words] = operand

    def has(self, words: str) -> bool:
        """Whether the clause is there and was not taken."""
        return words in self._left

    def flag(self, words: str) -> bool:
        """Takes a clause; whether it was there."""
        return self._left.pop(words, None) is not None

    def take(self, words: str) -> str | None:
        """The clause's string or name; None when it is not there."""
        operand = self._left.pop(words, None)
        return None if operand is None else self._context.operands.text(operand) or ""

    def need(self, words: str) -> str:
        """As ``take``. Raises SyntaxError_ 102 when it is not there."""
        found = self.take(words)
        if found is None:
            raise self._misplaced((self._statement.name or self._statement.action).split()[-1])
        return found

    def new_password(self, words: str) -> str | None:
        """A password that something is to be sealed with. Raises CommandError 15116, 15118."""
        found = self.take(words)
        if found is not None:
            check_password(found)
        return found

    def binary(self, words: str) -> bytes | None:
        """The bytes of ``0x...``. Raises CommandError 15297."""
        text = self.take(words)
        if text is None:
            return None
        try:
            return bytes.fromhex(text[2:] if len(text) % 2 == 0 else f"0{text[2:]}")
        except ValueError as error:
            raise key_fail(15297) from error

    def end(self) -> None:
        """Raises SyntaxError_ 102 for what has not been taken."""
        for words in self._left:
            raise self._misplaced(words)

    def _misplaced(self, words: str) -> SyntaxError_:
        return SyntaxError_(message(102, words.split()[0], line=1))


def check_password(password: str) -> None:
    """As the policy of an operating system has it. Raises CommandError 15116, 15118."""
    if len(password) < _LEAST_LENGTH:
        raise key_fail(15116)
    classes = (
        any(c.islower() for c in password),
        any(c.isupper() for c in password),
        any(c.isdigit() for c in password),
        any(not c.isalnum() for c in password),
    )
    if sum(classes) < _LEAST_CLASSES:
        raise key_fail(15118)
