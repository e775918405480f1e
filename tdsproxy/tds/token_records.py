"""What a server's token stream holds, as records (MS-TDS 2.2.7). The parser yields them."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Any

import msgspec

from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.types import TypeInfo


class TokenType(IntEnum):
    OFFSET = 0x78
    RETURNSTATUS = 0x79
    COLMETADATA = 0x81
    DATACLASSIFICATION = 0xA3
    TABNAME = 0xA4
    COLINFO = 0xA5
    ORDER = 0xA9
    ERROR = 0xAA
    INFO = 0xAB
    RETURNVALUE = 0xAC
    LOGINACK = 0xAD
    FEATUREEXTACK = 0xAE
    ROW = 0xD1
    NBCROW = 0xD2
    ENVCHANGE = 0xE3
    SESSIONSTATE = 0xE4
    SSPI = 0xED
    FEDAUTHINFO = 0xEE
    DONE = 0xFD
    DONEPROC = 0xFE
    DONEINPROC = 0xFF


class DoneStatus(IntFlag):
    FINAL = 0
    MORE = 0x0001
    ERROR = 0x0002
    IN_TRANSACTION = 0x0004
    COUNT = 0x0010
    ATTENTION = 0x0020
    RPC_IN_BATCH = 0x0080
    SERVER_ERROR = 0x0100


class EnvChangeType(IntEnum):
    DATABASE = 1
    LANGUAGE = 2
    CHARSET = 3
    PACKET_SIZE = 4
    LCID = 5
    COMPARE_FLAGS = 6
    COLLATION = 7
    BEGIN_TRANSACTION = 8
    COMMIT_TRANSACTION = 9
    ROLLBACK_TRANSACTION = 10
    ENLIST_DTC = 11
    DEFECT_TRANSACTION = 12
    MIRROR_PARTNER = 13
    PROMOTE_TRANSACTION = 15
    TRANSACTION_MANAGER_ADDRESS = 16
    TRANSACTION_ENDED = 17
    RESET_ACKNOWLEDGED = 18
    USER_INSTANCE = 19
    ROUTING = 20
    ENHANCED_ROUTING = 21


class Routing(msgspec.Struct, frozen=True):
    """Where to log in instead. ``database`` comes with ENHANCED_ROUTING only."""

    server: str
    port: int
    protocol: int = 0
    database: str | None = None


class ColMetadata(msgspec.Struct, frozen=True):
    """A result set begins; no columns at all is "no metadata" (FFFF)."""

    columns: tuple[ColumnMeta, ...]


class Row(msgspec.Struct, frozen=True):
    """A ROW or an NBCROW."""

    values: tuple[Any, ...]


class Done(msgspec.Struct, frozen=True):
    """DONE, DONEPROC or DONEINPROC by ``kind``. ``count`` means something under ``DoneStatus.COUNT``."""

    kind: TokenType
    status: int
    command: int
    count: int

    @property
    def more(self) -> bool:
        return bool(self.status & DoneStatus.MORE)

    @property
    def error(self) -> bool:
        return bool(self.status & DoneStatus.ERROR)

    @property
    def attention(self) -> bool:
        """The acknowledgement of an attention."""
        return bool(self.status & DoneStatus.ATTENTION)

    @property
    def row_count(self) -> int | None:
        return self.count if self.status & DoneStatus.COUNT else None


class ServerMessage(msgspec.Struct, frozen=True):
    """An ERROR (``error`` True) or INFO token; ``severity`` is the token's class."""

    number: int
    state: int
    severity: int
    text: str
    server: str = ""
    procedure: str = ""
    line: int = 1
    error: bool = False


class LoginAck(msgspec.Struct, frozen=True):
    """``version``: major, minor, build."""

    interface: int
    tds_version: int
    program: str
    version: tuple[int, int, int]


class EnvChange(msgspec.Struct, frozen=True):
    """Text for names and sizes, bytes for collations and descriptors, ``Routing`` for routing. ``kind`` of
    a value unknown here keeps the token's bytes in ``new``."""

    kind: int
    new: str | bytes | Routing
    old: str | bytes = b""


class ReturnStatus(msgspec.Struct, frozen=True):
    value: int


class ReturnValue(msgspec.Struct, frozen=True):
    """``status``: 1 output parameter, 2 result of a function."""

    ordinal: int
    name: str
    status: int
    user_type: int
    flags: int
    type_info: TypeInfo
    value: Any


class Order(msgspec.Struct, frozen=True):
    """1-based columns that the rows are sorted by."""

    columns: tuple[int, ...]


class FeatureExtAck(msgspec.Struct, frozen=True):
    features: tuple[tuple[int, bytes], ...]


class SessionState(msgspec.Struct, frozen=True):
    sequence: int
    recoverable: bool
    states: tuple[tuple[int, bytes], ...]


class TabName(msgspec.Struct, frozen=True):
    """Each table's name by its parts."""

    tables: tuple[tuple[str, ...], ...]


class ColInfo(msgspec.Struct, frozen=True):
    """``status``: 4 expression, 8 key, 10 hidden, 20 ``base_name`` differs from the column's name."""

    column: int
    table: int
    status: int
    base_name: str | None = None


class ColInfos(msgspec.Struct, frozen=True):
    columns: tuple[ColInfo, ...]


class Sspi(msgspec.Struct, frozen=True):
    data: bytes

    def __repr__(self) -> str:
        return f"Sspi({len(self.data)} bytes)"


class FedAuthInfo(msgspec.Struct, frozen=True):
    """Ids and texts: 1 is the token service's URL, 2 the service principal's name."""

    options: tuple[tuple[int, str], ...]


class Offset(msgspec.Struct, frozen=True):
    identifier: int
    offset: int


class DataClassification(msgspec.Struct, frozen=True):
    """Sensitivity labels of the result set; kept as bytes."""

    data: bytes


Token = (
    ColMetadata
    | Row
    | Done
    | ServerMessage
    | LoginAck
    | EnvChange
    | ReturnStatus
    | ReturnValue
    | Order
    | FeatureExtAck
    | SessionState
    | TabName
    | ColInfos
    | Sspi
    | FedAuthInfo
    | Offset
    | DataClassification
)
