"""ALTER DATABASE ... SET: access, state, recovery model and the other options of a database.

What changes who may use a database takes effect when nobody else does: WITH says what happens to those who
do. A session uses a database that is its current one, and one that a statement of it works on.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import apsw

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, UserAccess
from tdsproxy.catalog.names import name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.key_databases import set_encryption
from tdsproxy.commands.log_chain import end_chain, start_log, stop_log, wants_log
from tdsproxy.commands.messages import OsError, message
from tdsproxy.store.errors import DatabaseUnreadable
from tdsproxy.store.file_keys import connect
from tdsproxy.tsql import ast
from tdsproxy.tsql.database_options import SetOptionDef
from tdsproxy.tsql.database_options import set_options as known_options
from tdsproxy.tsql.replies import Message, Reply

_POLL_SECONDS: Final = 0.05
_BUSY_MILLISECONDS: Final = 5000
_END_SECONDS: Final = 30.0
"""How long sessions that were ended may take to go."""

_ACCESS: Final = {
    "MULTI_USER": UserAccess.MULTI_USER,
    "SINGLE_USER": UserAccess.SINGLE_USER,
    "RESTRICTED_USER": UserAccess.RESTRICTED_USER,
}
_STATES: Final = {
    "ONLINE": DatabaseState.ONLINE,
    "OFFLINE": DatabaseState.OFFLINE,
    "EMERGENCY": DatabaseState.EMERGENCY,
}
_RECOVERY: Final = {
    "FULL": RecoveryModel.FULL,
    "BULK_LOGGED": RecoveryModel.BULK_LOGGED,
    "SIMPLE": RecoveryModel.SIMPLE,
}
_IN_USE: Final = frozenset({DatabaseState.ONLINE, DatabaseState.EMERGENCY})
_VERSIONED: Final = "READ_COMMITTED_SNAPSHOT"
_COMPATIBILITY: Final = range(100, 161, 10)


def set_options(context: Context, database: Database, statement: ast.AlterDatabase) -> Iterator[Reply]:
    """Raises CommandError."""
    encryption = dict(statement.options).get("ENCRYPTION")
    if encryption is not None:
        if len(statement.options) > 1:
            raise fail(5062, "ENCRYPTION")
        set_encryption(context, database, encryption)
        return
    _check_options(context, database, statement)
    with ExitStack() as held:
        yield from _claim(context, database, statement, held)
        # While it was waited for, others may have changed it.
        database = context.env.catalog.databases.by_id(database.id) or database
        _check_state(context, database, [word for word, _ in statement.options])
        yield from _change(context, database, statement)
    if any(word in ("SINGLE_USER", "OFFLINE", "EMERGENCY") for word, _ in statement.options):
        # One that got in before the seat was taken.
        context.env.sessions.end(context.others_in(database))


# --------------------------------------------------------------------------- what is refused


def _check_options(context: Context, database: Database, statement: ast.AlterDatabase) -> None:
    """Raises CommandError for options that cannot be set, whatever the database's state."""
    words = [word for word, _ in statement.options]
    groups: dict[str, str] = {}
    for option in map(_known, words):
        if database.is_system and option.in_system:
            raise fail(5058, option.name, database.name, state=option.in_system, early=True)
        other = groups.setdefault(option.group or option.name, option.name)
        if other != option.name:
            if {other, option.name} == {"SINGLE_USER", "RESTRICTED_USER"}:
                raise fail(5066)
            raise fail(5062, option.name)
        if option.name == "EMERGENCY" and not context.is_admin:
            raise fail(5011, database.name)
    if "RECOVERY" in words and name_key(database.name) == "tempdb":
        raise fail(5058, "RECOVERY", database.name, state=1, early=True)
    if database.source is not None:
        raise fail(5093)
    _check_state(context, database, words)


def _check_state(context: Context, database: Database, words: list[str]) -> None:
    """Raises CommandError for what the state of the database does not allow."""
    others = set(words) - _ACCESS.keys() - _STATES.keys() - {"READ_ONLY", "READ_WRITE"}
    if database.state is DatabaseState.RESTORING:
        raise fail(5052, "ALTER DATABASE", "RESTORING")
    if database.standby is not None and "READ_WRITE" in words:
        raise fail(5063, database.name)
    if database.state not in _IN_USE and others and "ONLINE" not in words:
        raise fail(5078, database.name)
    if (database.read_only or database.standby is not None) and others and "READ_WRITE" not in words:
        raise fail(5004)
    if database.pages is not None and "READ_ONLY" in words:
        raise fail(5095, database.data_name)
    if _seat_is_taken(context, database):
        raise fail(5064, database.name)


def _seat_is_taken(context: Context, database: Database) -> bool:
    if database.user_access is not UserAccess.SINGLE_USER or database.holder == context.session.spid:
        return False
    return database.holder is not None or bool(context.others_in(database))


def _known(word: str) -> SetOptionDef:
    return known_options().get(word, SetOptionDef(word, None))


# --------------------------------------------------------------------------- being alone


def _claim(
    context: Context, database: Database, statement: ast.AlterDatabase, held: ExitStack
) -> Iterator[Reply]:
    """Returns with the database's lock held and, for what needs it, when no other session uses the database.

    Raises CommandError 5070 WITH NO_WAIT; 5061 when the session's lock timeout has passed, or the statement
    was cancelled.
    """
    wanted = [word for word, value in statement.options if _needs_others_gone(database, word, value)]
    ending = _nobody_may_enter(wanted)
    termination = statement.termination
    deadline = _deadline(context, termination)
    told = False
    moving = False
    try:
        while True:
            blocked = sorted(_in_the_way(context, database, statement, wanted))
            if not blocked:
                free = held.enter_context(context.env.locks.hold(database.name))
                if free:
                    break
                blocked = sorted(context.env.running.sessions_on(database.name) - {context.session.spid})
            if wanted and termination == "NO_WAIT":
                raise fail(5070, database.name)
            if ending and not moving:
                moving = True
                context.env.catalog.databases.set_transition(database.id, moving=True)
            past = deadline is not None and time.monotonic() >= deadline
            if termination is not None and termination.startswith("ROLLBACK") and past and blocked:
                if not told:
                    yield message(5060, 0, line=context.request.line, state=2)
                    told = True
                    deadline = time.monotonic() + _END_SECONDS
                    context.env.sessions.end(blocked)
                    continue
                raise fail(5061, database.name)
            if termination is None and past:
                raise fail(5061, database.name)
            if context.env.cancelled.wait(_POLL_SECONDS):
                raise fail(5061, database.name)
            if told:
                context.env.sessions.end(blocked)
        if not told and _ends_version_store(database, statement, wanted):
            yield message(5060, 0, line=context.request.line, state=2)
            told = True
        if told:
            yield message(5060, 100, line=context.request.line)
    finally:
        if moving:
            context.env.catalog.databases.set_transition(database.id, moving=False)


def _needs_others_gone(database: Database, word: str, value: str) -> bool:
    """Whether the option is one for which nobody else may use the database, and is not set so already."""
    if not _known(word).exclusive:
        return False
    if word == _VERSIONED or _known(word).bit:
        return (database.options.get(word, "OFF") == "ON") != (value == "ON")
    if word in _STATES:
        return database.state is not _STATES[word]
    if word in ("READ_ONLY", "READ_WRITE"):
        return database.read_only != (word == "READ_ONLY")
    return True


def _nobody_may_enter(words: list[str]) -> bool:
    """Whether the database is in transition while the statement waits: USE answers 952."""
    return bool({"OFFLINE", "EMERGENCY"}.intersection(words))


def _deadline(context: Context, termination: str | None) -> float | None:
    """When waiting ends, by the monotonic clock: for WITH ROLLBACK the moment at which others are ended."""
    if termination is None or termination == "NO_WAIT":
        timeout = context.session.lock_timeout_ms
        return None if timeout < 0 else time.monotonic() + timeout / 1000
    if termination.startswith("ROLLBACK AFTER"):
        return time.monotonic() + float(termination.split()[2])
    return time.monotonic()


def _in_the_way(
    context: Context, database: Database, statement: ast.AlterDatabase, wanted: list[str]
) -> set[int]:
    """The sessions that must go first. RESTRICTED_USER WITH a termination ends those that may not come
    back."""
    if wanted:
        others = set(context.others_in(database))
        return others | context.env.running.sessions_on(database.name) - {context.session.spid}
    if statement.termination is not None and any(word == "RESTRICTED_USER" for word, _ in statement.options):
        return {spid for spid in context.others_in(database) if not context.may_enter(spid, database)}
    return set()


def _ends_version_store(database: Database, statement: ast.AlterDatabase, wanted: list[str]) -> bool:
    """Under READ_COMMITTED_SNAPSHOT a task of SQL Server's own uses the database, too, and is ended WITH
    ROLLBACK as the sessions are."""
    rollback = statement.termination is not None and statement.termination.startswith("ROLLBACK")
    return bool(wanted) and rollback and database.options.get(_VERSIONED, "OFF") == "ON"


# --------------------------------------------------------------------------- what changes


def _change(context: Context, database: Database, statement: ast.AlterDatabase) -> Iterator[Reply]:
    changes: dict[str, Any] = {}
    options = dict(database.options)
    for word, value in statement.options:
        if word in _ACCESS:
            access = _ACCESS[word]
            changes["user_access"] = access
            changes["holder"] = context.session.spid if access is UserAccess.SINGLE_USER else None
        elif word in _STATES:
            changes |= _new_state(context, database, _STATES[word])
        elif word in ("READ_ONLY", "READ_WRITE"):
            changes["read_only"] = word == "READ_ONLY"
        elif word == "RECOVERY":
            changes["recovery_model"] = _RECOVERY[value]
        elif word == "COMPATIBILITY_LEVEL":
            changes["compatibility"] = _compatibility(value)
        else:
            options = {name: kept for name, kept in options.items() if not _same_group(name, word)} | {
                word: value
            }
    if options != database.options:
        changes["options"] = options
    if not changes:
        return
    yield from _change_model(context, database, changes)
    if changes.get("state") is DatabaseState.OFFLINE:
        context.env.sessions.release(database.name)
        stop_log(context.env, database)
    changed = context.env.catalog.databases.update(database.id, **changes)
    if wants_log(changed) and not wants_log(database):
        start_log(context.env, changed)


def _same_group(word: str, other: str) -> bool:
    group = _known(word).group
    return bool(group) and group == _known(other).group


def _compatibility(value: str) -> int:
    """Raises CommandError 15048."""
    if not value.isdecimal() or int(value) not in _COMPATIBILITY:
        raise fail(15048, ", ".join(map(str, _COMPATIBILITY)))
    return int(value)


def _new_state(context: Context, database: Database, state: DatabaseState) -> dict[str, Any]:
    """A database comes back only with its file. Raises CommandError 5120."""
    path = database.path(context.env.catalog.store)
    if state is not DatabaseState.OFFLINE and not path.exists():
        missing = OsError.FILE_NOT_FOUND
        raise fail(5120, database.data_path, missing.value, missing.words)
    return {"state": state}


def _change_model(context: Context, database: Database, changes: dict[str, Any]) -> Iterator[Reply]:
    """What a change of the recovery model does to the log: it ends with SIMPLE; to be kept, the database's
    journal must be a WAL. Raises CommandError 5061, 5096."""
    model = changes.get("recovery_model", database.recovery_model)
    if model is RecoveryModel.SIMPLE:
        if database.recovery_model is not RecoveryModel.SIMPLE:
            if database.pages is not None:
                raise fail(5096, database.data_name)
            end_chain(context.env, database)
        return
    path = database.path(context.env.catalog.store)
    leaving = database.recovery_model is RecoveryModel.SIMPLE and database.file and not database.is_system
    if leaving and context.env.logs is not None and path.exists() and _use_wal(path):
        text = (
            f"Database '{database.name}' used a rollback journal. It was converted to a write-ahead log,"
            f" which recovery model {model.name} needs."
        )
        yield Message(0, 0, 1, text, context.request.line)


def _use_wal(path: Path) -> bool:
    """Whether the file was not in WAL mode before. Raises CommandError 5061 while others hold locks."""
    try:
        connection = connect(path)
    except DatabaseUnreadable as error:
        raise fail(5061, path.stem) from error
    try:
        connection.set_busy_timeout(_BUSY_MILLISECONDS)
        before = connection.execute("PRAGMA journal_mode").fetchall()
        if before == [("wal",)]:
            return False
        if connection.execute("PRAGMA journal_mode = WAL").fetchall() != [("wal",)]:
            raise fail(5061, path.stem)
        return True
    except apsw.Error as error:
        raise fail(5061, path.stem) from error
    finally:
        connection.close()
