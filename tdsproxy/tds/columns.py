"""The metadata of result columns: what COLMETADATA and RETURNVALUE say of each (MS-TDS 2.2.7.4)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from tdsproxy.tds.types import TypeInfo


class ColumnFlags(IntFlag):
    NULLABLE = 0x0001
    CASE_SENSITIVE = 0x0002
    UPDATABLE = 0x0004
    UPDATABLE_UNKNOWN = 0x0008
    IDENTITY = 0x0010
    COMPUTED = 0x0020
    FIXED_LENGTH_CLR = 0x0100
    DEFAULT = 0x0200  # in a table-valued parameter: rows carry no value for the column
    SPARSE_SET = 0x0400
    ENCRYPTED = 0x0800
    HIDDEN = 0x2000
    KEY = 0x4000
    NULLABLE_UNKNOWN = 0x8000


@dataclass(frozen=True, slots=True)
class CryptoMetadata:
    """How a column under Always Encrypted is encrypted; ``base`` is its type when decrypted."""

    ordinal: int
    user_type: int
    base: TypeInfo
    algorithm: int
    algorithm_name: str
    encryption_type: int
    normalization: int


@dataclass(frozen=True, slots=True)
class ColumnMeta:
    """One column. ``table_name`` holds the name's parts, of text, ntext and image columns only."""

    name: str
    type_info: TypeInfo
    flags: int = ColumnFlags.NULLABLE | ColumnFlags.UPDATABLE_UNKNOWN
    user_type: int = 0
    table_name: tuple[str, ...] = ()
    crypto: CryptoMetadata | None = None
