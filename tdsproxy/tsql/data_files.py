"""Files of rows, CSV and lines of JSON, and the INSERT statements that load them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final, TextIO

MOST_ROWS: Final = 500
MOST_TEXT: Final = 1 << 20
"""Characters of a statement; one row may be longer."""

_COMPUTED: Final = frozenset({"timestamp", "rowversion"})
_BINARY: Final = frozenset({"binary", "varbinary", "image"})
_TYPE: Final = re.compile(r"([a-z][a-z0-9]*)(?:\((?:\d+|max)(?:,\s*\d+)?\))?", re.IGNORECASE | re.ASCII)
_HEXADECIMAL: Final = re.compile(r"0x(?:[0-9A-F]{2})*", re.IGNORECASE)
_EXACT: Final = frozenset(
    {"bit", "tinyint", "smallint", "int", "bigint", "decimal", "numeric", "money", "smallmoney"}
)
_CHARACTER: Final = frozenset({"char", "varchar", "text", "nchar", "nvarchar", "ntext", "xml", "sysname"})


class DataError(Exception):
    """What is wrong at a ``line`` of a file, as a sentence."""

    def __init__(self, line: int, sentence: str) -> None:
        super().__init__(sentence)
        self.line = line


@dataclass(frozen=True, slots=True)
class DataRow:
    """``line`` where it begins, from 1. ``columns`` and the text of each one's value; None for NULL."""

    line: int
    columns: tuple[str, ...]
    values: tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class TargetColumn:
    """A column of the table, as the server's catalog has it."""

    name: str
    type_name: str
    is_identity: bool
    is_computed: bool

    @property
    def takes_values(self) -> bool:
        return not self.is_computed and self.type_name not in _COMPUTED


@dataclass(frozen=True, slots=True)
class Insert:
    """A statement and the lines of the file that its rows come from."""

    text: str
    first_line: int
    last_line: int


def csv_rows(source: TextIO) -> Iterator[DataRow]:
    """The rows behind the header row. An empty field is NULL, a quoted one a text. The file is opened with
    ``newline=""``. Raises DataError, UnicodeDecodeError."""
    columns: tuple[str, ...] | None = None
    for line, fields in _records(source):
        if columns is None:
            columns = tuple(field or "" for field in fields)
            _check_header(columns, line)
        elif len(fields) == len(columns):
            yield DataRow(line, columns, fields)
        elif fields != (None,):
            raise DataError(line, f"There are {len(fields)} fields, but the header has {len(columns)}.")


def _check_header(columns: tuple[str, ...], line: int) -> None:
    if "" in columns:
        raise DataError(line, "A column of the header has no name.")
    if len({name.lower() for name in columns}) < len(columns):
        raise DataError(line, "A column of the header is there twice.")


def _records(source: TextIO) -> Iterator[tuple[int, tuple[str | None, ...]]]:
    """Each record's fields and first line. Within quotes a field may hold commas, line ends and doubled
    quotes."""
    number = 0
    for text in source:
        number += 1
        first = number
        fields: list[str | None] = []
        at, rest = 0, text
        while True:
            if rest.startswith('"', at):
                parts: list[str] = []
                at += 1
                while True:
                    end = rest.find('"', at)
                    if end < 0:
                        parts.append(rest[at:])
                        rest, at = next(source, ""), 0
                        number += 1
                        if not rest:
                            raise DataError(first, "A quotation does not end.")
                        continue
                    parts.append(rest[at:end])
                    at = end + 1
                    if not rest.startswith('"', at):
                        break
                    parts.append('"')
                    at += 1
                fields.append("".join(parts))
                if rest[at : at + 1] not in (",", "\r", "\n", ""):
                    raise DataError(number, "Something follows the end of a quotation.")
            else:
                comma = rest.find(",", at)
                field = (rest[at:] if comma < 0 else rest[at:comma]).rstrip("\r\n")
                at = len(rest) if comma < 0 else comma
                fields.append(field or None)
            if not rest.startswith(",", at):
                break
            at += 1
        yield first, tuple(fields)


def json_rows(source: Iterable[str]) -> Iterator[DataRow]:
    """An object a line; the columns are its members. Raises DataError, UnicodeDecodeError."""
    for line, text in enumerate(source, 1):
        if not text.strip():
            continue
        try:
            # Numbers stay as they are written: a double would not hold every decimal.
            found = json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise DataError(line, "This is not JSON.") from error
        if not isinstance(found, dict):
            raise DataError(line, "This is not a JSON object.")
        if not found:
            raise DataError(line, "The object has no members.")
        if any(isinstance(value, dict | list) for value in found.values()):
            raise DataError(line, "A value is an object or a list.")
        columns = tuple(found)
        _check_header(columns, line)
        yield DataRow(line, columns, tuple(_json_text(value) for value in found.values()))


class _Number(str):
    """A number of JSON, as it is written."""


def _no_constant(name: str) -> None:
    raise ValueError(name)


def _json_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool):
        return str(int(value))
    return str(value)


def inserts(table: str, columns: dict[str, TargetColumn], rows: Iterable[DataRow]) -> Iterator[Insert]:
    """The statements that insert ``rows`` into ``table``, a quoted name. ``columns`` by lower-case name;
    those that the server alone fills are passed over. Raises DataError for a column that is
    not there, and for a value that is none."""
    head: tuple[str, ...] | None = None
    written: list[str] = []
    length = first = last = 0
    start = ""
    places: list[tuple[int, TargetColumn]] = []
    for row in rows:
        if row.columns != head or len(written) >= MOST_ROWS or length > MOST_TEXT:
            if written:
                yield Insert(start + ",\n".join(written), first, last)
            written, length, first = [], 0, row.line
            if row.columns != head:
                head = row.columns
                places = _places(row, columns)
                names = ", ".join(bracketed(column.name) for _, column in places)
                start = f"INSERT INTO {table} ({names}) VALUES\n"
        values = (literal(row.values[place], column, row.line) for place, column in places)
        text = f"({', '.join(values)})"
        written.append(text)
        length += len(text)
        last = row.line
    if written:
        yield Insert(start + ",\n".join(written), first, last)


def _places(row: DataRow, columns: dict[str, TargetColumn]) -> list[tuple[int, TargetColumn]]:
    found = []
    for place, name in enumerate(row.columns):
        column = columns.get(name.lower())
        if column is None:
            raise DataError(row.line, f"The table has no column '{name}'.")
        if column.takes_values:
            found.append((place, column))
    if not found:
        raise DataError(row.line, "None of the columns takes values.")
    return found


def bracketed(name: str) -> str:
    """An identifier of T-SQL."""
    return f"[{name.replace(']', ']]')}]"


def literal(text: str | None, column: TargetColumn, line: int) -> str:
    """The expression whose value, converted by the server, is what ``text`` stands for. Raises DataError."""
    if text is None:
        return "NULL"
    if column.type_name in _BINARY:
        digits = text[2:] if text[:2].lower() == "0x" else text
        try:
            return f"0x{bytes.fromhex(digits).hex()}"
        except ValueError:
            raise DataError(line, f"The value of '{column.name}' is not hexadecimal.") from None
    if column.type_name == "sql_variant":
        base, bar, value = text.partition("|")
        # A file's text is data, whatever it looks like.
        if bar and (named := _TYPE.fullmatch(base)):
            is_hexadecimal = named[1].lower() in _BINARY and _HEXADECIMAL.fullmatch(value)
            written = value if is_hexadecimal else _string(value, line)
            return f"CAST(CAST({written} AS {base}) AS sql_variant)"
    if column.type_name in _EXACT and "e" in text.lower():
        try:
            text = f"{Decimal(text):f}"
        except InvalidOperation:
            return _string(text, line)
    return _string(text if column.type_name in _CHARACTER else text.strip(), line)


def _string(text: str, line: int) -> str:
    try:
        encoded = text.encode("utf-16-le")
    except UnicodeEncodeError:
        raise DataError(line, "There is half of a character.") from None
    if "\0" in text or "\\" in text:
        # A backslash before a line's end would join the lines.
        return f"CAST(0x{encoded.hex()} AS nvarchar(max))"
    doubled = text.replace("'", "''")
    return f"N'{doubled}'"
