"""The views of open transactions: those of the sessions that this process serves.

A transaction is known by its number, when it began, and the databases that it has begun to write to. What it
only reads leaves no trace, and how much log it will need is known when it is committed: until then those
counts are 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.scope import Scope, SessionFacts, TransactionFacts

_READ_WRITE: Final = 1
_ACTIVE: Final = 2
_LOGGED: Final = 4
"""``database_transaction_state`` of one that has written."""
_NAME_LENGTH: Final = 32


def _open(scope: Scope) -> Iterator[tuple[SessionFacts, TransactionFacts]]:
    for session in scope.sessions():
        if session.transaction is not None:
            yield session, session.transaction


def _active(scope: Scope) -> Iterator[Row]:
    for _, found in _open(scope):
        yield {
            "transaction_id": found.number,
            "name": found.name[:_NAME_LENGTH],
            "transaction_begin_time": found.began,
            "transaction_type": _READ_WRITE,
            "transaction_state": _ACTIVE,
        }


def _of_sessions(scope: Scope) -> Iterator[Row]:
    for session, found in _open(scope):
        yield {
            "session_id": session.spid,
            "transaction_id": found.number,
            "transaction_descriptor": found.descriptor,
            "enlist_count": int(session.running),
            "is_user_transaction": int(found.by_user),
            "is_local": 1,
            "open_transaction_count": session.open_transactions,
        }


def _of_databases(scope: Scope) -> Iterator[Row]:
    for _, found in _open(scope):
        for database, since in found.writes.items():
            yield {
                "transaction_id": found.number,
                "database_id": database,
                "database_transaction_begin_time": since,
                "database_transaction_type": _READ_WRITE,
                "database_transaction_state": _LOGGED,
            }


def _current(scope: Scope) -> Iterator[Row]:
    for session, found in _open(scope):
        if session.spid == scope.spid:
            yield {"transaction_id": found.number}


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.dm_tran_active_transactions",
        "transaction_id bigint!, name nvarchar(32)!, transaction_begin_time datetime!,"
        " transaction_type int!, transaction_uow uniqueidentifier, transaction_state int!,"
        " transaction_status int!, transaction_status2 int!, dtc_state int!, dtc_status int!,"
        " dtc_isolation_level int!, filestream_transaction_id varbinary(128)",
        _active,
    ),
    view(
        "sys.dm_tran_session_transactions",
        "session_id int!, transaction_id bigint!, transaction_descriptor binary(8)!, enlist_count int!,"
        " is_user_transaction bit!, is_local bit!, is_enlisted bit!, is_bound bit!,"
        " open_transaction_count int!",
        _of_sessions,
    ),
    view(
        "sys.dm_tran_database_transactions",
        "transaction_id bigint!, database_id int!, database_transaction_begin_time datetime,"
        " database_transaction_type int!, database_transaction_state int!, database_transaction_status int!,"
        " database_transaction_status2 int!, database_transaction_log_record_count bigint!,"
        " database_transaction_replicate_record_count int!, database_transaction_log_bytes_used bigint!,"
        " database_transaction_log_bytes_reserved bigint!, database_transaction_log_bytes_used_system int!,"
        " database_transaction_log_bytes_reserved_system int!,"
        " database_transaction_begin_lsn numeric(25,0), database_transaction_last_lsn numeric(25,0),"
        " database_transaction_most_recent_savepoint_lsn numeric(25,0),"
        " database_transaction_commit_lsn numeric(25,0),"
        " database_transaction_last_rollback_lsn numeric(25,0),"
        " database_transaction_next_undo_lsn numeric(25,0)",
        _of_databases,
    ),
    view(
        "sys.dm_tran_current_transaction",
        "transaction_id bigint!, transaction_sequence_num bigint!, transaction_is_snapshot bit!,"
        " first_snapshot_sequence_num bigint, last_transaction_sequence_num bigint,"
        " first_useful_sequence_num bigint",
        _current,
    ),
)
