"""The substitution of RAISERROR and FORMATMESSAGE: printf's, with SQL Server's limits."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.scalar import TypedValue

_SPEC: Final = re.compile(r"%([-+0# ]*)(\*|\d+)?(?:\.(\*|\d+))?(h|l|I64)?(.)?", re.DOTALL)
_LONGEST: Final = 2047
_NULL: Final = "(null)"


def format_message(text: str, args: Sequence[TypedValue]) -> str:
    """``text`` with its ``%s``, ``%d`` ... replaced. Raises SqlError 2748, 2786, 2787."""
    for number, arg in enumerate(args, 1):
        if not (
            arg.type.is_integer or arg.type.is_character or arg.type.is_binary or arg.type.name == "null"
        ):
            what = "numeric" if arg.type.name == "decimal" else arg.type.name
            raise SqlError.of(
                2748,
                16,
                1,
                f"Cannot specify {what} data type (parameter {number + 3}) as a substitution parameter.",
            )
    at = 0

    def take() -> TypedValue | None:
        nonlocal at
        at += 1
        return args[at - 1] if at <= len(args) else None

    def star(part: str | None) -> int | None:
        if part != "*":
            return None if part is None else int(part)
        given = take()
        return given.value if given is not None and isinstance(given.value, int) else None

    def replace(found: re.Match[str]) -> str:
        flags, width_part, precision_part, size, kind = found.groups()
        if kind == "%" and not flags and width_part is None:
            return "%"
        if kind is None or kind not in "sdiuoxX":
            raise SqlError.of(2787, 16, 1, f"Invalid format specification: '{found[0]}'.")
        width, precision = star(width_part), star(precision_part)
        given = take()
        if given is None or given.value is None:
            return _pad(_NULL, flags, width)
        if kind == "s":
            if not isinstance(given.value, str):
                raise _mismatch(at)
            return _pad(given.value if precision is None else given.value[:precision], flags, width)
        if not isinstance(given.value, int):
            raise _mismatch(at)
        return _integer(given.value, kind, flags, width, precision, 64 if size == "I64" else 32)

    made = _SPEC.sub(replace, text)
    return made if len(made) <= _LONGEST else made[: _LONGEST - 3] + "..."


def _mismatch(number: int) -> SqlError:
    return SqlError.of(
        2786,
        16,
        1,
        f"The data type of substitution parameter {number} does not match the expected type of the format "
        "specification.",
    )


def _pad(text: str, flags: str, width: int | None) -> str:
    if width is None:
        return text
    if width < 0 or "-" in flags:
        return text.ljust(abs(width))
    return text.rjust(width)


def _integer(value: int, kind: str, flags: str, width: int | None, precision: int | None, bits: int) -> str:
    negative = value < 0 and kind in "di"
    magnitude = abs(value) if kind in "di" else value % (1 << bits)
    digits = {"o": f"{magnitude:o}", "x": f"{magnitude:x}", "X": f"{magnitude:X}"}.get(kind, str(magnitude))
    prefix = {"o": "0", "x": "0x", "X": "0X"}.get(kind, "") if "#" in flags and value else ""
    sign = (
        "-"
        if negative
        else "+"
        if "+" in flags and kind in "di"
        else " "
        if " " in flags and kind in "di"
        else ""
    )
    if precision is not None:
        digits = digits.rjust(precision, "0")
    head = sign + prefix
    if "0" in flags and "-" not in flags and precision is None and width is not None:
        digits = digits.rjust(width - len(head), "0")
    return _pad(head + digits, flags, width)
