"""Functions of text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Decimal
from typing import Final

from tdsproxy.tsql import ast, codepage, collation, failures
from tdsproxy.tsql import types as t
from tdsproxy.tsql.converting.numbers import CONTEXT
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import (
    always,
    integer,
    invalid_argument,
    literal_int,
    long_text,
    position,
    real,
    same_text,
    second_position,
    text,
    varying,
)
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.types import MAX, SqlType
from tdsproxy.tsql.values import Value

Types = Sequence[SqlType]

# T-SQL counts UTF-16 units; for text without surrogates these are Python's characters.


def _units(value: str) -> str:
    """Text as one character a UTF-16 unit."""
    if all(char <= "\uffff" for char in value):
        return value
    raw = value.encode("utf-16-le", "surrogatepass")
    return "".join(chr(raw[i] | raw[i + 1] << 8) for i in range(0, len(raw), 2))


def _joined(value: str) -> str:
    """Units back to characters."""
    if not any("\ud800" <= char <= "\udfff" for char in value):
        return value
    return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _fold(value: str) -> str:
    """One character for one, without case: what searching compares."""
    if value.isascii():
        return value.lower()
    return "".join(low if len(low := char.lower()) == 1 else char for char in value)


def _limit(value: str, type_: SqlType) -> str:
    """Cut to the bytes that a non-(max) result holds."""
    if type_.length == MAX or type_.length is None:
        return value
    return codepage.cut(value, type_.length) if type_.is_unicode else value[: type_.length]


# --------------------------------------------------------------------------- lengths


def _len(value: Value, *, arg_types: Types, result_type: SqlType) -> int:
    if isinstance(value, bytes):
        return len(value)
    return codepage.units(text(value, arg_types[0]).rstrip(" "))


_SIZES: Final = {
    **dict.fromkeys(("bit", "tinyint"), 1),
    "smallint": 2,
    **dict.fromkeys(("int", "real", "smallmoney", "smalldatetime"), 4),
    **dict.fromkeys(("bigint", "float", "money", "datetime"), 8),
    "date": 3,
    "uniqueidentifier": 16,
}


def size_of(value: Value, type_: SqlType) -> int:
    """DATALENGTH: the bytes of a value."""
    if isinstance(value, str):
        return 2 * codepage.units(value) if type_.is_unicode else len(value)
    if isinstance(value, bytes):
        return len(value)
    if type_.name == "decimal":
        precision = type_.precision or 18
        return 5 if precision <= 9 else 9 if precision <= 19 else 13 if precision <= 28 else 17
    if type_.name in t.SCALED_TIME_TYPES:
        scale = 7 if type_.scale is None else type_.scale
        time = 3 if scale <= 2 else 4 if scale <= 4 else 5
        return time + {"time": 0, "datetime2": 3, "datetimeoffset": 5}[type_.name]
    return _SIZES.get(type_.name, 8)


def _datalength(value: Value, *, arg_types: Types, result_type: SqlType) -> int:
    return size_of(value, arg_types[0])


# --------------------------------------------------------------------------- parts


def _side_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    base = varying(types[0])
    length = literal_int(exprs[1])
    if length is None or base.length == MAX:
        return base
    return SqlType(base.name, max(1, min(length, base.length or length)))


def _left(value: Value, count: Value, *, arg_types: Types, result_type: SqlType) -> str:
    number = integer(count, arg_types[1])
    if number < 0:
        raise failures.invalid_length("left")
    return _joined(_units(text(value, arg_types[0]))[:number])


def _right(value: Value, count: Value, *, arg_types: Types, result_type: SqlType) -> str:
    number = integer(count, arg_types[1])
    if number < 0:
        raise failures.invalid_length("right")
    return _joined(_units(text(value, arg_types[0]))[-number:]) if number else ""


def _substring_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    if types[0].is_binary:
        return t.varbinary(MAX) if types[0].length in (MAX, None) else t.varbinary(types[0].length or 1)
    if not types[0].is_character and types[0].name not in ("null", "sql_variant"):
        raise invalid_argument(types[0], 1, "substring")
    base = varying(types[0])
    length = literal_int(exprs[2]) if len(exprs) > 2 else None
    if length is None or base.length == MAX:
        return base
    return SqlType(base.name, max(1, min(length, base.length or length)))


def _substring(
    value: Value, start: Value, count: Value = 2**31 - 1, *, arg_types: Types, result_type: SqlType
) -> Value:
    first, number = integer(start), integer(count)
    if number < 0:
        raise failures.invalid_length("substring")
    begin, end = max(first - 1, 0), max(first - 1 + number, 0)
    if isinstance(value, bytes):
        return value[begin:end]
    return _joined(_units(text(value, arg_types[0]))[begin:end])


def _stuff(
    value: Value, start: Value, count: Value, new: Value, *, arg_types: Types, result_type: SqlType
) -> str | None:
    if value is None or start is None or count is None:
        return None
    whole = _units(text(value, arg_types[0]))
    first, number = integer(start, arg_types[1]), integer(count, arg_types[2])
    if first <= 0 or number < 0 or first > len(whole):
        return None
    insert = "" if new is None else _units(text(new, arg_types[3]))
    return _joined(whole[: first - 1] + insert + whole[first - 1 + number :])


def _stuff_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    return long_text((types[0], types[3]), exprs)


# --------------------------------------------------------------------------- searching


def _charindex(find: Value, value: Value, start: Value = 1, *, arg_types: Types, result_type: SqlType) -> int:
    needle = _fold(_units(text(find, arg_types[0])))
    whole = _fold(_units(text(value, arg_types[1])))
    if not needle:
        return 0
    return whole.find(needle, max(integer(start) - 1, 0)) + 1


def _patindex(pattern: Value, value: Value, *, arg_types: Types, result_type: SqlType) -> int:
    return collation.pattern_index(text(pattern, arg_types[0]), text(value, arg_types[1]))


def _replace(value: Value, old: Value, new: Value, *, arg_types: Types, result_type: SqlType) -> str:
    whole, find = text(value, arg_types[0]), text(old, arg_types[1])
    by = text(new, arg_types[2])
    if not find:
        return whole
    folded, wanted = _fold(whole), _fold(find)
    pieces: list[str] = []
    at = 0
    while (found := folded.find(wanted, at)) >= 0:
        pieces += (whole[at:found], by)
        at = found + len(wanted)
    return _limit("".join([*pieces, whole[at:]]), result_type)


def _translate(value: Value, old: Value, new: Value, *, arg_types: Types, result_type: SqlType) -> str:
    find, by = text(old, arg_types[1]), text(new, arg_types[2])
    if len(find) != len(by):
        words = (
            "The second and third arguments of the TRANSLATE built-in function must contain an equal "
            "number of characters."
        )
        raise SqlError.of(9828, 16, 1, words)
    table = dict(zip(reversed(_fold(find)), reversed(by), strict=True))
    return "".join(table.get(_fold(char), char) for char in text(value, arg_types[0]))


# --------------------------------------------------------------------------- changing


def _upper(value: Value, *, arg_types: Types, result_type: SqlType) -> str:
    whole = text(value, arg_types[0])
    return (
        whole.upper() if whole.isascii() else "".join(c.upper() if len(c.upper()) == 1 else c for c in whole)
    )


def _lower(value: Value, *, arg_types: Types, result_type: SqlType) -> str:
    whole = text(value, arg_types[0])
    return (
        whole.lower() if whole.isascii() else "".join(c.lower() if len(c.lower()) == 1 else c for c in whole)
    )


def _ltrim(value: Value, chars: Value = " ", *, arg_types: Types, result_type: SqlType) -> str:
    return text(value, arg_types[0]).lstrip(str(chars))


def _rtrim(value: Value, chars: Value = " ", *, arg_types: Types, result_type: SqlType) -> str:
    return text(value, arg_types[0]).rstrip(str(chars))


def _trim(value: Value, chars: Value = " ", *, arg_types: Types, result_type: SqlType) -> str:
    """The parser gives TRIM(characters FROM x) the string first, as the other two have it."""
    return text(value, arg_types[0]).strip(str(chars))


def _reverse(value: Value, *, arg_types: Types, result_type: SqlType) -> str:
    return text(value, arg_types[0])[::-1]


def _replicate(value: Value, count: Value, *, arg_types: Types, result_type: SqlType) -> str | None:
    number = integer(count, arg_types[1])
    if number < 0:
        return None
    whole = text(value, arg_types[0])
    if result_type.length != MAX and result_type.length is not None and whole:
        number = min(number, result_type.length // len(whole) + 1)
    return _limit(whole * number, result_type)


def _space(count: Value) -> str | None:
    number = integer(count)
    return None if number < 0 else " " * min(number, 8000)


def _concat_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    """The lengths added; nvarchar when any argument is."""
    wide = any(type_.is_unicode for type_ in types)
    made = [varying(type_) for type_ in types]
    if any(type_.length == MAX for type_ in made):
        return t.nvarchar(MAX) if wide else t.varchar(MAX)
    length = sum(
        0 if type_.name == "null" else text_type.length or 0
        for type_, text_type in zip(types, made, strict=True)
    )
    return t.nvarchar(max(1, min(length, 4000))) if wide else t.varchar(max(1, min(length, 8000)))


def _concat(*values: Value, arg_types: Types, result_type: SqlType) -> str:
    pieces = [text(value, type_) for value, type_ in zip(values, arg_types, strict=True) if value is not None]
    return _limit("".join(pieces), result_type)


def _concat_ws(separator: Value, *values: Value, arg_types: Types, result_type: SqlType) -> str:
    between = "" if separator is None else text(separator, arg_types[0])
    pieces = [
        text(value, type_) for value, type_ in zip(values, arg_types[1:], strict=True) if value is not None
    ]
    return _limit(between.join(pieces), result_type)


# --------------------------------------------------------------------------- characters and numbers


def _ascii(value: Value, *, arg_types: Types, result_type: SqlType) -> int | None:
    whole = text(value, arg_types[0])
    return codepage.encode(whole[0])[0] if whole else None


def _unicode(value: Value, *, arg_types: Types, result_type: SqlType) -> int | None:
    whole = _units(text(value, arg_types[0]))
    return ord(whole[0]) if whole else None


def _char(number: Value) -> str | None:
    code = integer(number)
    return codepage.decode(bytes((code,))) if 0 <= code <= 255 else None


def _nchar(number: Value) -> str | None:
    code = integer(number)
    return chr(code) if 0 <= code <= 0xFFFF else None


def _str(
    value: Value, length: Value = 10, digits: Value = 0, *, arg_types: Types, result_type: SqlType
) -> str:
    width, places = integer(length), min(integer(digits), 16)
    number = Decimal(repr(real(value, arg_types[0])))
    whole = f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, CONTEXT):f}"
    if len(whole) > width:
        head = whole.partition(".")[0]
        if len(head) > width:
            return "*" * width
        places = max(width - len(head) - 1, 0)
        whole = f"{number.quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP, CONTEXT):f}"
    return whole.rjust(width)


def _str_type(types: Types, exprs: Sequence[ast.Expr]) -> SqlType:
    length = literal_int(exprs[1]) if len(exprs) > 1 else 10
    return t.varchar(max(1, length or 10))


_QUOTES: Final = {"[": "[]", "]": "[]", "(": "()", ")": "()", "<": "<>", ">": "<>", "{": "{}", "}": "{}"}


def _quotename(value: Value, quote: Value = "[", *, arg_types: Types, result_type: SqlType) -> str | None:
    whole, mark = text(value, arg_types[0]), str(quote)[:1] or "["
    if codepage.units(whole) > 128 or mark not in "[]()<>{}'\"`":
        return None
    pair = _QUOTES.get(mark, mark * 2)
    return pair[0] + whole.replace(pair[1], pair[1] * 2) + pair[1]


def _parsename(value: Value, piece: Value, *, arg_types: Types, result_type: SqlType) -> str | None:
    whole, wanted = text(value, arg_types[0]), integer(piece, arg_types[1])
    parts = _split_name(whole)
    if parts is None or not 1 <= wanted <= len(parts) <= 4:
        return None
    return parts[-wanted] or None


def _split_name(whole: str) -> list[str] | None:
    parts: list[str] = []
    for found in re.finditer(r'(?:\[((?:[^\]]|\]\])*)\]|"((?:[^"]|"")*)"|([^.\[\]"]*))(\.|$)', whole):
        quoted = found[1]
        if quoted is not None:
            parts.append(quoted.replace("]]", "]"))
        else:
            parts.append(found[2].replace('""', '"') if found[2] is not None else found[3])
        if found[4] == "":
            return parts if found.end() == len(whole) else None
    return None


def _string_escape(value: Value, kind: Value, *, arg_types: Types, result_type: SqlType) -> str:
    made = {
        '"': '\\"',
        "\\": "\\\\",
        "/": "\\/",
        "\b": "\\b",
        "\f": "\\f",
        "\n": "\\n",
        "\r": "\\r",
        "\t": "\\t",
    }
    whole = text(value, arg_types[0])
    return "".join(made.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in whole)


_SOUNDEX: Final = {
    **dict.fromkeys("BFPV", "1"),
    **dict.fromkeys("CGJKQSXZ", "2"),
    **dict.fromkeys("DT", "3"),
    "L": "4",
    **dict.fromkeys("MN", "5"),
    "R": "6",
}


def soundex(value: str) -> str:
    """The four-character code of a word."""
    letters = [c for c in unicodedata.normalize("NFD", value.upper()) if not unicodedata.combining(c)]
    if not letters or not letters[0].isalpha():
        return "0000"
    code, last = letters[0], _SOUNDEX.get(letters[0], "")
    for char in letters[1:]:
        if not char.isalpha():
            break
        digit = _SOUNDEX.get(char, "")
        if digit and digit != last:
            code += digit
        if char not in "HW":
            last = digit
    return code[:4].ljust(4, "0")


def _soundex(value: Value, *, arg_types: Types, result_type: SqlType) -> str:
    return soundex(text(value, arg_types[0]))


def _difference(one: Value, two: Value, *, arg_types: Types, result_type: SqlType) -> int:
    codes = soundex(text(one, arg_types[0])), soundex(text(two, arg_types[1]))
    return sum(a == b for a, b in zip(*codes, strict=True))


def _formatmessage(value: Value, *args: Value, arg_types: Types, result_type: SqlType) -> str | None:
    from tdsproxy.tsql.message_format import format_message
    from tdsproxy.tsql.scalar import TypedValue

    if not isinstance(value, str):
        return None
    given = [TypedValue(arg, type_) for arg, type_ in zip(args, arg_types[1:], strict=True)]
    return format_message(value, given)


FUNCTIONS: Final = (
    FunctionDef("LEN", 1, 1, position, _len, wants_types=True),
    FunctionDef("DATALENGTH", 1, 1, position, _datalength, wants_types=True),
    FunctionDef("LEFT", 2, 2, _side_type, _left, wants_types=True),
    FunctionDef("RIGHT", 2, 2, _side_type, _right, wants_types=True),
    FunctionDef("SUBSTRING", 2, 3, _substring_type, _substring, wants_types=True),
    FunctionDef("STUFF", 4, 4, _stuff_type, _stuff, strict=False, wants_types=True),
    FunctionDef("CHARINDEX", 2, 3, second_position, _charindex, wants_types=True),
    FunctionDef("PATINDEX", 2, 2, second_position, _patindex, wants_types=True),
    FunctionDef("REPLACE", 3, 3, long_text, _replace, wants_types=True),
    FunctionDef("TRANSLATE", 3, 3, same_text, _translate, wants_types=True),
    FunctionDef("UPPER", 1, 1, same_text, _upper, wants_types=True),
    FunctionDef("LOWER", 1, 1, same_text, _lower, wants_types=True),
    FunctionDef("LTRIM", 1, 2, same_text, _ltrim, wants_types=True),
    FunctionDef("RTRIM", 1, 2, same_text, _rtrim, wants_types=True),
    FunctionDef("TRIM", 1, 2, same_text, _trim, wants_types=True),
    FunctionDef("REVERSE", 1, 1, same_text, _reverse, wants_types=True),
    FunctionDef(
        "REPLICATE", 2, 2, lambda types, exprs: long_text(types[:1], exprs), _replicate, wants_types=True
    ),
    FunctionDef("SPACE", 1, 1, always(t.varchar(8000)), _space),
    FunctionDef("CONCAT", 2, None, _concat_type, _concat, strict=False, wants_types=True),
    FunctionDef("CONCAT_WS", 3, None, long_text, _concat_ws, strict=False, wants_types=True),
    FunctionDef("ASCII", 1, 1, always(t.INT), _ascii, wants_types=True),
    FunctionDef("UNICODE", 1, 1, always(t.INT), _unicode, wants_types=True),
    FunctionDef("CHAR", 1, 1, always(t.char(1)), _char),
    FunctionDef("NCHAR", 1, 1, always(t.nchar(1)), _nchar),
    FunctionDef("STR", 1, 3, _str_type, _str, wants_types=True),
    FunctionDef("QUOTENAME", 1, 2, always(t.nvarchar(258)), _quotename, wants_types=True),
    FunctionDef("PARSENAME", 2, 2, always(t.nvarchar(128)), _parsename, wants_types=True),
    FunctionDef("STRING_ESCAPE", 2, 2, always(t.nvarchar(MAX)), _string_escape, wants_types=True),
    FunctionDef("SOUNDEX", 1, 1, always(t.varchar(4)), _soundex, wants_types=True),
    FunctionDef("DIFFERENCE", 2, 2, always(t.INT), _difference, wants_types=True),
    FunctionDef(
        "FORMATMESSAGE", 1, None, always(t.nvarchar(2048)), _formatmessage, strict=False, wants_types=True
    ),
)
