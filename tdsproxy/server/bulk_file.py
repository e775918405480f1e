"""A data file of BULK INSERT: its format, and its rows as texts.

Character files are read as SQL Server reads them: each field but the last ends at the field terminator,
wherever lines end, the last at the row terminator. With ``FORMAT = 'CSV'`` they are RFC 4180's.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tdsproxy.tsql.errors import SqlError

Option = str | int | None

MOST_ERRORS: Final = 10
"""Rows that may be wrong unless MAXERRORS says otherwise."""

_ESCAPES: Final = {"\\t": "\t", "\\n": "\n", "\\r": "\r", "\\0": "\0", "\\\\": "\\"}
_CODE_PAGES: Final = {"ACP": "cp1252", "OEM": "cp437", "RAW": "cp1252", "65001": "utf-8", "1200": "utf-16-le"}
_IGNORED: Final = frozenset(
    {"TABLOCK", "BATCHSIZE", "ROWS_PER_BATCH", "KILOBYTES_PER_BATCH", "ORDER", "ERRORFILE",
     "CHECK_CONSTRAINTS", "FIRE_TRIGGERS", "KEEPIDENTITY", "KEEPNULLS", "MAXERRORS", "FIRSTROW", "LASTROW",
     "FIELDTERMINATOR", "ROWTERMINATOR", "FIELDQUOTE", "FORMAT", "CODEPAGE", "DATAFILETYPE"}
)  # fmt: skip
_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FileFormat:
    """How to read a data file. Rows count from 1; ``last_row`` 0 is the file's end."""

    field_terminator: str = "\t"
    row_terminator: str = "\n"
    encoding: str = "cp437"
    csv: bool = False
    quote: str = '"'
    first_row: int = 1
    last_row: int = 0
    most_errors: int = MOST_ERRORS


@dataclass(frozen=True, slots=True)
class FileRow:
    """``number`` as messages count it. ``fields``: None for one that is empty."""

    number: int
    fields: tuple[str | None, ...]


class BadRow(Exception):
    """A row of a CSV file has too few or too many fields: its number and the field where that is seen."""

    def __init__(self, row: int, column: int) -> None:
        super().__init__(row, column)
        self.row, self.column = row, column


class UnexpectedEnd(Exception):
    """The file ends inside a row."""


def file_format(options: Mapping[str, Option]) -> FileFormat:
    """Raises SqlError for an option or a value that is not known."""
    for name in options:
        if name not in _IGNORED:
            raise SqlError.of(155, 15, 2, f"'{name}' is not a recognized BULK INSERT option.")
    kind = str(options.get("DATAFILETYPE") or "char").lower()
    if kind not in ("char", "widechar"):
        raise SqlError.of(4801, 16, 1, f"Bulk load: DATAFILETYPE '{kind}' is not supported by this server.")
    csv = "FORMAT" in options
    if csv and str(options["FORMAT"]).upper() != "CSV":
        raise SqlError.of(
            4801, 16, 1, f"Bulk load: FORMAT '{options['FORMAT']}' is not supported by this server."
        )
    return FileFormat(
        field_terminator=_terminator(options.get("FIELDTERMINATOR"), "," if csv else "\t"),
        row_terminator=_terminator(options.get("ROWTERMINATOR"), "\n"),
        encoding="utf-16-le" if kind == "widechar" else _encoding(str(options.get("CODEPAGE") or "OEM")),
        csv=csv,
        quote=str(options.get("FIELDQUOTE") or '"'),
        first_row=max(1, _number(options, "FIRSTROW", 1)),
        last_row=_number(options, "LASTROW", 0),
        most_errors=_number(options, "MAXERRORS", MOST_ERRORS),
    )


def _number(options: Mapping[str, Option], name: str, default: int) -> int:
    value = options.get(name)
    return value if isinstance(value, int) else default


def _terminator(value: Option, default: str) -> str:
    """``\\t``, ``\\n`` and ``0x0a`` are spelled as such."""
    text = default if value is None else str(value)
    if text.lower().startswith("0x"):
        try:
            return bytes.fromhex(text[2:]).decode("latin-1")
        except ValueError:
            return text
    for written, meant in _ESCAPES.items():
        text = text.replace(written, meant)
    return text


def _encoding(code_page: str) -> str:
    known = _CODE_PAGES.get(code_page.upper())
    if known is not None:
        return known
    try:
        return codecs.lookup(f"cp{code_page}").name
    except LookupError:
        raise SqlError.of(
            2775, 16, 11, f"The code page {code_page} is not supported by the server."
        ) from None


def rows_of(path: Path, form: FileFormat, width: int) -> Iterator[FileRow]:
    """The rows of ``width`` fields. Raises OSError, UnexpectedEnd, BadRow, UnicodeDecodeError."""
    with path.open("rb") as source:
        mark = codecs.BOM_UTF16_LE if form.encoding == "utf-16-le" else codecs.BOM_UTF8
        has_mark = source.read(len(mark)) == mark and form.encoding in ("utf-8", "utf-16-le")
        source.seek(len(mark) if has_mark else 0)
        text = io.TextIOWrapper(source, encoding=form.encoding, newline="")
        found = _csv_rows(text, form, width) if form.csv else _plain_rows(text, form, width)
        for number, fields in enumerate(found, 1):
            if form.last_row and number > form.last_row:
                return
            if number >= form.first_row:
                if len(fields) != width:
                    raise BadRow(number, min(len(fields), width) + (len(fields) < width))
                yield FileRow(number, fields)


def _plain_rows(text: io.TextIOWrapper, form: FileFormat, width: int) -> Iterator[tuple[str | None, ...]]:
    rest, ended = "", False
    while True:
        fields: list[str] = []
        place = 0
        while len(fields) < width:
            stop = form.row_terminator if len(fields) == width - 1 else form.field_terminator
            at = rest.find(stop, place)
            while at < 0 and not ended:
                more = text.read(_CHUNK)
                ended = not more
                back = max(place, len(rest) - len(stop) + 1)
                rest += more
                at = rest.find(stop, back)
            if at < 0:
                if not fields and not rest[place:].strip("\r\n\x1a"):
                    return
                if len(fields) < width - 1:
                    raise UnexpectedEnd
                at = len(rest)
            fields.append(rest[place:at])
            place = at + len(stop)
        if form.row_terminator == "\n":
            fields[-1] = fields[-1].removesuffix("\r")
        rest = rest[place:]
        yield tuple(field or None for field in fields)
        if ended and not rest:
            return


def _csv_rows(text: io.TextIOWrapper, form: FileFormat, width: int) -> Iterator[tuple[str | None, ...]]:
    """A quoted field may hold terminators and doubled quotes. An empty one in quotes is an empty text."""
    fields: list[str | None] = []
    for field, last in _csv_fields(text, form):
        fields.append(field)
        if last:
            if fields != [None] or width == 1:
                yield tuple(fields)
            fields = []


def _csv_fields(text: io.TextIOWrapper, form: FileFormat) -> Iterator[tuple[str | None, bool]]:
    """Each field, and whether its row ends with it."""
    rest, ended = "", False
    stop, end = form.field_terminator, form.row_terminator
    within = False
    while True:
        if not rest and not within:
            rest = text.read(_CHUNK)
            if not rest:
                return
        field, place, within = _csv_field(rest, form)
        while field is None and not ended:
            more = text.read(_CHUNK)
            ended = not more
            rest += more
            field, place, within = _csv_field(rest, form)
        if field is None:
            if within:
                raise UnexpectedEnd
            field, place = rest, len(rest)
            yield _unquoted(field.removesuffix("\r"), form.quote), True
            return
        last = rest.startswith(end, place)
        rest = rest[place + len(end if last else stop) :]
        yield _unquoted(field.removesuffix("\r") if last and end == "\n" else field, form.quote), last


def _csv_field(rest: str, form: FileFormat) -> tuple[str | None, int, bool]:
    """The raw first field of ``rest`` and where its terminator stands; None when that is not there yet, and
    whether a quotation is open."""
    place = 0
    if rest.startswith(form.quote):
        place = 1
        while True:
            place = rest.find(form.quote, place)
            if place < 0:
                return None, 0, True
            if not rest.startswith(form.quote, place + 1):
                break
            place += 2
        place += 1
    ends = [
        at for mark in (form.field_terminator, form.row_terminator) if (at := rest.find(mark, place)) >= 0
    ]
    return (rest[: min(ends)], min(ends), False) if ends else (None, 0, False)


def _unquoted(field: str, quote: str) -> str | None:
    if len(field) >= 2 and field.startswith(quote) and field.endswith(quote):
        return field[1:-1].replace(quote * 2, quote)
    return field or None
