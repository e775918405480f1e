"""SQLite's errors as SQL Server's."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import apsw

from tdsproxy.server.workspace import LockTimeout
from tdsproxy.tsql.errors import BatchAborted, SqlError
from tdsproxy.tsql.replies import Command, Done, Message, Reply

_NO_TABLE = re.compile(r"(?:SQLError: )?no such table: (?:d\d+\.)?(.+)$")

TERMINATED = Message(3621, 0, 0, "The statement has been terminated.")


def failed(number: int, severity: int, state: int, text: str, line: int = 1) -> SqlError:
    """A statement that changed nothing after all: the error and message 3621."""
    return StatementTerminated(
        Message(number, severity, state, text, line),
        Message(TERMINATED.number, TERMINATED.severity, TERMINATED.state, TERMINATED.text, line),
    )


class StatementTerminated(SqlError):
    """An error that is followed by the information that the statement has been terminated; ``@@ERROR`` shows
    the error."""

    @property
    def number(self) -> int:
        return self.messages[0].number


class Cancelled(Exception):
    """The request was interrupted: nothing more is to be said to the client than the acknowledgement."""


def deadlocked(line: int, spid: int = 0) -> SqlError:
    """The transaction of session ``spid`` is rolled back, that others can go on."""
    return BatchAborted.of(
        1205,
        13,
        51,
        f"Transaction (Process ID {spid}) was deadlocked on lock resources with another process and has been"
        " chosen as the deadlock victim. Rerun the transaction.",
        line,
    )


def update_conflict(line: int, table: str, database: str) -> SqlError:
    """A SNAPSHOT transaction is rolled back: it would overwrite what it can't see."""
    return BatchAborted.of(
        3960,
        16,
        2,
        "Snapshot isolation transaction aborted due to update conflict. You cannot use snapshot isolation to"
        f" access table '{table}' directly or indirectly in database '{database}' to update, delete, or"
        " insert the row that has been modified or deleted by another transaction. Retry the transaction or"
        " change the isolation level for the update/delete statement.",
        line,
    )


DISK_FAILURES: Final = (
    apsw.BusyError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.FullError,
    apsw.IOError,
    apsw.NotADBError,
    OSError,
)
"""What the state of files and disk causes, wherever a statement happens to read or write."""


@contextmanager
def sqlite_errors(line: int = 1, database: str = "") -> Iterator[None]:
    """Translates what SQLite raises within."""
    try:
        yield
    except apsw.BusyError as error:
        if getattr(error, "extendedresult", 0) == apsw.SQLITE_BUSY_SNAPSHOT:
            raise deadlocked(line) from error
        raise SqlError.of(1222, 16, 45, "Lock request time out period exceeded.", line) from error
    except LockTimeout as error:
        raise SqlError.of(1222, 16, 45, "Lock request time out period exceeded.", line) from error
    except apsw.ReadOnlyError as error:
        raise SqlError.of(
            3906,
            16,
            1,
            f'Failed to update database "{database}" because the database is read-only.',
            line,
        ) from error
    except apsw.FullError as error:
        raise SqlError.of(
            1105,
            17,
            2,
            f"Could not allocate space in database '{database}' because the 'PRIMARY' filegroup is full.",
            line,
        ) from error
    except (apsw.CorruptError, apsw.NotADBError) as error:
        raise SqlError.of(
            824,
            24,
            2,
            "SQL Server detected a logical consistency-based I/O error: the file is not a valid SQLite"
            f" database ({error}).",
            line,
        ) from error
    except ConnectionError:
        raise
    except (apsw.IOError, apsw.CantOpenError, OSError) as error:
        raise disk_error(error, line, database) from error
    except apsw.SQLError as error:
        if "integer overflow" in str(error):
            raise SqlError.of(
                8115, 16, 2, "Arithmetic overflow error converting expression to data type bigint.", line
            ) from error
        gone = _NO_TABLE.match(str(error))
        if gone is not None:
            # dropped by another session between the statement's compilation and its first step
            raise BatchAborted.of(208, 16, 1, f"Invalid object name '{gone[1]}'.", line) from error
        raise SqlError.of(8630, 16, 1, f"Internal Query Processor Error: {error}", line) from error
    except apsw.MismatchError as error:
        # Values are converted before they are stored, so this is a LIMIT that is NULL.
        raise SqlError.of(
            1060,
            16,
            1,
            "The number of rows provided for a TOP or FETCH clauses row count parameter must be an integer.",
            line,
        ) from error
    except apsw.TooBigError as error:
        raise SqlError.of(
            1919, 16, 1, f"A value is larger than the server can hold ({error}).", line
        ) from error


def unforeseen(error: Exception, database: str) -> Iterator[Reply]:
    """The end of a request that one of ``DISK_FAILURES`` stopped between its statements."""
    try:
        with sqlite_errors(1, database):
            raise error
    except SqlError as said:
        yield from said.messages
    yield Done(Command.NONE, error=True)


def disk_error(error: apsw.Error | OSError, line: int, database: str) -> SqlError:
    """For a disk that fails."""
    return SqlError.of(
        823,
        24,
        2,
        f"The operating system returned error 1117({error}) to SQL Server during a read or write in database"
        f" '{database}'. Additional messages in the SQL Server error log and system event log may provide"
        " more detail. This is a severe system-level error condition that threatens database integrity and"
        " must be corrected immediately. Complete a full database consistency check (DBCC CHECKDB). This"
        " error can be caused by many factors; for more information, see SQL Server Books Online.",
        line,
    )


def key_text(values: list[object]) -> str:
    """The key of messages 2601 and 2627: ``(1, abc)``."""
    return "(" + ", ".join("<NULL>" if value is None else str(value) for value in values) + ")"
