"""What an error ends: its statement, its frame or the whole batch.

Facts: captures of SQL Server 2022 and 2025; sql-docs on XACT_ABORT and TRY...CATCH.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from tdsproxy.tsql.errors import BatchAborted, SqlError, SyntaxError_


class Reach(Enum):
    STATEMENT = 1
    FRAME = 2
    """Errors of compilation: the frame cannot catch them itself."""
    BATCH = 3


_BATCH: Final = frozenset(
    {217, 235, 241, 242, 244, 245, 248, 295, 1205, 8114, 8144, 8169, 8170, 3930, 13609, 3998, 9420, 596}
)
_COMPILATION: Final = frozenset(
    {
        *(102, 105, 119, 134, 137, 139, 142, 145, 147, 156, 170, 174, 178, 179, 189, 195),
        *(205, 206, 207, 208, 209, 213, 257, 319, 402, 403, 447, 448, 468, 529),
        *(
            1011,
            1013,
            1033,
            1038,
            1087,
            1088,
            155,
            2706,
            2715,
            2724,
            4104,
            4121,
            4145,
            8116,
            8117,
            8120,
            8155,
        ),
    }
)


def reach(error: SqlError) -> Reach:
    """How much ``error`` ends when no CATCH block stops it, XACT_ABORT apart."""
    worst = max((message.severity for message in error.messages), default=16)
    if isinstance(error, SyntaxError_) or error.number in _COMPILATION:
        return Reach.FRAME
    if isinstance(error, BatchAborted) or error.number in _BATCH or worst >= 19:
        return Reach.BATCH
    return Reach.STATEMENT
