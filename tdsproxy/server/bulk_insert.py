"""BULK INSERT: a data file's rows into a table, by the rules of a bulk load."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tdsproxy.frontend.bulk import BulkColumn
from tdsproxy.server.bulk_file import BadRow, FileFormat, FileRow, Option, UnexpectedEnd, file_format, rows_of
from tdsproxy.server.bulk_load import BulkTarget, Loader
from tdsproxy.server.permissions import require_permission
from tdsproxy.server.procedures.asking import look
from tdsproxy.server.schema import ColumnInfo
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.conversions import Truncation, assign
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, Reply
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session
    from tdsproxy.tsql.interpreter import Frame

_TEXT: Final = t.nvarchar(t.MAX)
_MISMATCH: Final = "type mismatch or invalid character for the specified codepage"
_OVERFLOWS: Final = frozenset({220, 244, 248, 8115})


def bulk_insert(session: Session, statement: ast.BulkInsert, frame: Frame) -> Iterator[Reply]:
    """Inserts the good rows and tells of the bad ones; none when there are more than MAXERRORS. Raises
    SqlError 4834, 4860, 4861, 208, 229 ..."""
    line = statement.line
    if not session.rights.is_sysadmin and "bulkadmin" not in session.rights.login.roles:
        raise SqlError.of(4834, 16, 1, "You do not have permission to use the bulk load statement.", line)
    require_permission(session, ast.Insert(statement.target, line=line))
    options: dict[str, Option] = dict(statement.options)
    form = file_format(options)
    path = _located(session, statement)
    evaluator = session.evaluator.sql
    announced = ast.InsertBulk(statement.target, "BULK INSERT", line=line)
    loader = Loader(evaluator, announced, frame)
    every = loader.table_columns()
    kept = tuple(column for column in every if column.identity is None or "KEEPIDENTITY" in options)
    loader = Loader(evaluator, announced, frame, kept)
    data = _FileData(path, statement.file, form, every, kept, line)
    target = BulkTarget(
        announced,
        keep_nulls="KEEPNULLS" in options,
        check_constraints="CHECK_CONSTRAINTS" in options,
        fire_triggers="FIRE_TRIGGERS" in options,
    )
    described = tuple(BulkColumn(column.name, column.type) for column in kept)
    for reply in evaluator.run(partial(loader.insert, target, described, data), frame):
        yield from data.told()
        yield reply


def _located(session: Session, statement: ast.BulkInsert) -> Path:
    found = look(session, "tds_locate", statement.file)
    if not found:
        raise SqlError.of(
            4860,
            16,
            1,
            f'Cannot bulk load. The file "{statement.file}" does not exist or you don\'t have file access'
            " rights.",
            statement.line,
        )
    return Path(str(found[0][0]))


@dataclass(slots=True)
class _FileData:
    """The rows of a data file, with the values of ``kept``: the columns that are loaded of ``every``, all of
    which the file has. ``bad`` are the messages about rows that were left out."""

    path: Path
    name: str
    form: FileFormat
    every: tuple[ColumnInfo, ...]
    kept: tuple[ColumnInfo, ...]
    line: int
    bad: list[Message] = field(default_factory=list)

    def told(self) -> list[Message]:
        told, self.bad = self.bad, []
        return told

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """Raises SqlError 4832, 4861, 4865, 4879."""
        self.bad.clear()
        try:
            for row in rows_of(self.path, self.form, len(self.every)):
                made = self._values(row)
                if made is not None:
                    yield made
        except UnexpectedEnd:
            raise self._ended(
                "4832", "Bulk load: An unexpected end of file was encountered in the data file."
            ) from None
        except BadRow as error:
            text = (
                f"Bulk load failed due to invalid column value in CSV data file {self.name} in row"
                f" {error.row}, column {error.column}."
            )
            raise self._ended("4879", text) from None
        except UnicodeDecodeError:
            text = (
                f"Bulk load data conversion error ({_MISMATCH}) for row 1, column 1 ({self.every[0].name})."
            )
            raise self._ended("4864", text) from None
        except OSError as error:
            reason = f"{error.errno}({error.strerror})"
            raise SqlError.of(
                4861,
                16,
                1,
                f'Cannot bulk load because the file "{self.name}" could not be opened. Operating system error'
                f" code {reason}.",
                self.line,
            ) from error

    def _values(self, row: FileRow) -> tuple[Value, ...] | None:
        """None for a row that is left out."""
        found: dict[str, Value] = {}
        for place, (text, column) in enumerate(zip(row.fields, self.every, strict=True), 1):
            if column not in self.kept:
                continue
            try:
                found[column.name] = _value(text, column)
            except SqlError as error:
                self._note(error, row.number, place, column)
                return None
        return tuple(found[column.name] for column in self.kept)

    def _note(self, error: SqlError, row: int, place: int, column: ColumnInfo) -> None:
        number, reason = 4864, _MISMATCH
        if isinstance(error, Truncation):
            number, reason = 4863, "truncation"
        elif error.number in _OVERFLOWS:
            number, reason = 4867, "overflow"
        text = f"Bulk load data conversion error ({reason}) for row {row}, column {place} ({column.name})."
        self.bad.append(Message(number, 16, 1, text, self.line))
        if len(self.bad) > self.form.most_errors:
            most = self.form.most_errors
            raise self._ended(
                "4865", f"Cannot bulk load because the maximum number of errors ({most}) was exceeded."
            )

    def _ended(self, number: str, text: str) -> SqlError:
        """The messages so far, why it ends, and what the provider says of that."""
        provider = 'OLE DB provider "BULK" for linked server "(null)"'
        messages = [
            *self.told(),
            Message(int(number), 16, 1, text, self.line),
            Message(
                7399,
                16,
                1,
                f"The {provider} reported an error. The provider did not give any information about the"
                " error.",
                self.line,
            ),
            Message(7330, 16, 2, f"Cannot fetch a row from {provider}.", self.line),
        ]
        return SqlError(*messages)


def _value(text: str | None, column: ColumnInfo) -> Value:
    if text is None:
        return None
    if column.type.is_binary:
        digits = text[2:] if text[:2].lower() == "0x" else text
        try:
            return assign(bytes.fromhex(digits), t.varbinary(t.MAX), column.type)
        except ValueError:
            raise SqlError.of(8114, 16, 5, "Error converting data type varchar to varbinary.") from None
    if column.type.is_character:
        return assign(text, _TEXT, column.type)
    return assign(text.strip(), _TEXT, column.type)
