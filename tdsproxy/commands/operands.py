"""The values of a native statement: literals as written, variables as the session has them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from tdsproxy.commands.failure import fail
from tdsproxy.commands.messages import message
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SyntaxError_
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Value, Variant

_TYPES: Final[Mapping[type, SqlType]] = {
    Date: t.DATE,
    Time: t.time(7),
    DateTime: t.DATETIME,
    DateTimeOffset: t.datetimeoffset(7),
    UUID: t.UNIQUEIDENTIFIER,
}


@dataclass(frozen=True, slots=True)
class Operands:
    """Resolves operands against the variables of a request (names with their sign, in lower case)."""

    variables: Mapping[str, Value]

    def value(self, operand: ast.Operand) -> Value:
        """Raises SyntaxError_ 137 for a variable that is not declared."""
        if operand.variable is None:
            return operand.value
        name = operand.variable.lower()
        if name not in self.variables:
            raise SyntaxError_(message(137, operand.variable, line=operand.line))
        return self.variables[name]

    def text(self, operand: ast.Operand) -> str | None:
        """The value as text; None for NULL. Raises CommandError 257 for what is no text without a CONVERT."""
        value = self.value(operand)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int | float | Decimal):
            return str(value)
        if isinstance(value, bytes | Variant):
            raise fail(257, "varbinary" if isinstance(value, bytes) else "sql_variant", "nvarchar")
        return str(convert(value, _TYPES[type(value)], t.nvarchar(4000)))

    def number(self, operand: ast.Operand, option: str) -> int:
        """The value as an integer. Raises CommandError 3217 for what is none."""
        value = self.value(operand)
        try:
            if isinstance(value, str | int | float | Decimal):
                return int(value)
        except (ValueError, OverflowError):
            raise fail(3217, option) from None
        raise fail(3217, option)

    def moment(self, operand: ast.Operand, option: str) -> dt.datetime | None:
        """The value as a date and time, strings as SQL Server reads them. Raises SqlError 241, 242,
        CommandError 3217 for what is none."""
        value = self.value(operand)
        if value is None:
            return None
        if isinstance(value, str):
            value = convert(value, t.nvarchar(4000), t.DATETIME)
        if isinstance(value, DateTime):
            return value.to_python()
        raise fail(3217, option)
