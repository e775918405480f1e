"""PARSE and TRY_PARSE: numbers and dates as people of a culture write them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from tdsproxy.tsql import ast, date_text
from tdsproxy.tsql import types as t
from tdsproxy.tsql.calendar_math import civil, clock
from tdsproxy.tsql.conversions import convert
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.functions.arguments import text
from tdsproxy.tsql.functions.registry import FunctionDef
from tdsproxy.tsql.languages import LANGUAGE, LANGUAGES, Language
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

_CULTURES: Final = {
    "en-us": "us_english", "en-gb": "British", "de-de": "Deutsch", "fr-fr": "Français", "ja-jp": "日本語",
    "da-dk": "Dansk", "es-es": "Español", "it-it": "Italiano", "nl-nl": "Nederlands", "nn-no": "Norsk",
    "nb-no": "Norsk", "pt-pt": "Português", "fi-fi": "Suomi", "sv-se": "Svenska", "pl-pl": "polski",
    "pt-br": "Português (Brasil)",
}  # fmt: skip
_BY_NAME: Final = {language.name: language for language in LANGUAGES}
_POINTS: Final = frozenset({"us_english", "British", "日本語"})
"""The languages that write a decimal point; the others write a comma."""
_BLANK_GROUPS: Final = frozenset({"Français", "Suomi", "Svenska", "Norsk", "polski", "Português"})
_NUMBER: Final = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_CURRENCY: Final = re.compile(r"[$€£¥]|kr\.?|zł|R\$", re.IGNORECASE)
_TARGETS: Final = (*t.INTEGER_TYPES, *t.APPROXIMATE_TYPES, "decimal", "numeric", "money", "smallmoney")


@lru_cache(maxsize=64)
def _target(words: str) -> SqlType:
    from tdsproxy.tsql.parser import parse  # the parser has no use for functions, but its package is heavy

    (statement,) = parse(f"DECLARE @x {words}").statements
    declared = statement.items[0].type if isinstance(statement, ast.Declare) else None
    return declared.type if isinstance(declared, ast.TypeName) and declared.type is not None else t.NULL


def _result(types: Sequence[SqlType], arguments: Sequence[ast.Expr]) -> SqlType:
    """Raises SqlError 10761 for what text can't be parsed into."""
    words = str(getattr(arguments[1], "value", ""))
    made = _target(words)
    if made.name not in _TARGETS and not made.is_temporal:
        raise SqlError.of(10761, 15, 2, f"Invalid data type {words} in function PARSE.")
    return made


def _language(culture: Value) -> Language:
    if culture is None:
        return LANGUAGE.get()
    name = _CULTURES.get(str(culture).lower())
    if name is None:
        raise SqlError.of(
            9818,
            16,
            1,
            f"The culture parameter '{culture!s}' provided in the function call is not supported.",
        )
    return _BY_NAME[name]


def _number(written: str, language: Language, target: SqlType) -> Value:
    point = language.name in _POINTS
    group = "," if point else "."
    body = _CURRENCY.sub("", written).strip()
    negative = body.startswith("(") and body.endswith(")")
    body = body.strip("()").strip()
    if body.endswith(("-", "+")):
        body = body[-1] + body[:-1].strip()
    for mark in (group, "\u00a0", "\u202f") + ((" ",) if language.name in _BLANK_GROUPS else ()):
        body = body.replace(mark, "")
    body = body if point else body.replace(",", ".")
    if not _NUMBER.fullmatch(body):
        raise ValueError(written)
    if target.name in t.INTEGER_TYPES and "." in body:
        whole, _, rest = body.partition(".")
        if rest.strip("0"):
            raise ValueError(written)
        body = whole or "0"
    body = f"-{body}" if negative else body
    if "e" in body.lower() and target.name not in t.APPROXIMATE_TYPES:
        raise ValueError(written)
    return convert(body, t.varchar(len(body)), target)


def _moment(written: str, language: Language, target: SqlType) -> Value:
    names = (*language.days, *(day[:3] for day in language.days))
    words = written.strip()
    for day in sorted(names, key=len, reverse=True):
        if words.lower().startswith(day.lower()) and not words[len(day) : len(day) + 1].isalnum():
            words = words[len(day) :].lstrip(" ,.")
            break
    before = LANGUAGE.set(language)
    try:
        found = date_text.parse(words, date_format=language.date_format)
    finally:
        LANGUAGE.reset(before)
    year, month, day_ = civil(found.days)
    hour, minute, second, fraction = clock(found.ticks)
    shown = f"{year:04}-{month:02}-{day_:02}T{hour:02}:{minute:02}:{second:02}.{fraction:07}"
    if target.name in ("datetime", "smalldatetime"):
        shown = shown[:23]
    elif target.name == "datetimeoffset":
        sign = "-" if (found.offset or 0) < 0 else "+"
        hours, minutes = divmod(abs(found.offset or 0), 60)
        shown += f"{sign}{hours:02}:{minutes:02}"
    return convert(shown, t.varchar(len(shown)), target)


def _parsed(written: str, culture: Value, target: SqlType) -> Value:
    language = _language(culture)
    return (_moment if target.is_temporal else _number)(written, language, target)


def _parse(
    operand: Value, words: Value, culture: Value = None, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    if operand is None:
        return None
    written = text(operand, arg_types[0])
    try:
        return _parsed(written, culture, result_type)
    except (ValueError, SqlError) as error:
        if isinstance(error, SqlError) and error.messages[0].number == 9818:
            raise
        named = culture if culture is not None else ""
        raise SqlError.of(
            9819,
            16,
            1,
            f"Error converting string value '{written}' into data type {result_type.name} using culture"
            f" '{named!s}'.",
        ) from None


def _try_parse(
    operand: Value, words: Value, culture: Value = None, *, arg_types: Sequence[SqlType], result_type: SqlType
) -> Value:
    try:
        return _parse(operand, words, culture, arg_types=arg_types, result_type=result_type)
    except SqlError as error:
        if error.messages[0].number == 9818:
            raise
        return None


FUNCTIONS: Final = (
    FunctionDef("PARSE", 2, 3, _result, _parse, strict=False, wants_types=True, deterministic=False),
    FunctionDef("TRY_PARSE", 2, 3, _result, _try_parse, strict=False, wants_types=True, deterministic=False),
)
