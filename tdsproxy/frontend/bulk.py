"""A bulk load's data: COLMETADATA, rows and DONE in a message of type 07 (MS-TDS 2.2.6.1).

The message may be gigabytes long. It is put aside in a temporary file as it comes, so that memory is bounded
and no lock is held while a slow client sends; its rows are then decoded one by one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from tdsproxy.frontend.values import from_wire, sql_type
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.token_parser import TokenParser
from tdsproxy.tds.token_records import ColMetadata, Done, Row
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Value

SPOOLED: Final = 1024 * 1024
"""Bytes of a bulk load that are kept in memory before its file is made."""

_CHUNK: Final = 256 * 1024
_SHORT_DONE: Final = bytes(4)
"""What is missing of the DONE of a client that counts in 4 bytes as before TDS 7.2."""


@dataclass(frozen=True, slots=True)
class BulkColumn:
    """A column of the data, under the name that the client gave it, or none."""

    name: str
    type: SqlType


class BulkData:
    """The data of one bulk load, which may be read more than once, one reader after the other."""

    def __init__(self, source: BinaryIO, version: int) -> None:
        self._source = source
        self._version = version

    def columns(self) -> tuple[BulkColumn, ...]:
        """Raises SqlError 4804 or 4819 for data that don't begin with columns."""
        for token in self._tokens():
            if isinstance(token, ColMetadata):
                return _columns(token)
            break
        raise premature_end()

    def rows(self) -> Iterator[tuple[Value, ...]]:
        """The rows. Raises SqlError 4804 when the data end inside a row, 4819 when they are no data. FreeTDS
        sends no DONE behind the last row."""
        columns: tuple[BulkColumn, ...] = ()
        for token in self._tokens():
            if isinstance(token, Row):
                yield tuple(
                    from_wire(value, column.type) for value, column in zip(token.values, columns, strict=True)
                )
            elif isinstance(token, ColMetadata):
                columns = _columns(token)
            elif isinstance(token, Done):
                return
            else:
                raise _no_data()

    def _tokens(self) -> Iterator[object]:
        parser = TokenParser(self._version)
        self._source.seek(0)
        try:
            while chunk := self._source.read(_CHUNK):
                yield from parser.feed(chunk)
            if parser.pending:
                done = [token for token in parser.feed(_SHORT_DONE) if isinstance(token, Done)]
                if not done or parser.pending:
                    raise premature_end()
                yield from done
        except ProtocolError as error:
            raise _no_data() from error

    def close(self) -> None:
        self._source.close()


def _columns(token: ColMetadata) -> tuple[BulkColumn, ...]:
    made = []
    for column in token.columns:
        type_ = sql_type(column.type_info)
        if type_ is None or column.crypto is not None:
            raise _no_data()
        made.append(BulkColumn(column.name, type_))
    return tuple(made)


def _no_data() -> SqlError:
    return SqlError.of(4819, 16, 1, "Cannot bulk load. The bulk data stream was incorrectly specified.")


def premature_end() -> SqlError:
    """4804, as captured."""
    return SqlError.of(
        4804,
        16,
        2,
        "While reading current row from host, a premature end-of-message was encountered--an incoming data"
        " stream was interrupted when the server expected to see more data. The host program may have"
        " terminated. Ensure that you are using a supported client application programming interface (API).",
    )
