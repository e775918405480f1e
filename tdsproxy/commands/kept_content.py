"""What the last restore in place replaced, and the way back to it.

Of each database the content that its last restore in place replaced is kept in ``STORE/.undo``, until the
next such restore or until the database is dropped. RESTORE DATABASE x FROM DATABASE_SNAPSHOT = 'name', with
the name of the kept copy, puts it in place again; what it replaces is kept in turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePath
from typing import Any, Final

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.catalog.names import name_key
from tdsproxy.catalog.recovery import Kept, Redo
from tdsproxy.commands.backup_media import recorded
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.history_rows import restore_rows
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.recovery import copy_file, image_name, new_image, replace_online
from tdsproxy.commands.restore_target import check_free
from tdsproxy.store.install import settle_copy
from tdsproxy.tsql.replies import Done, Message, Reply
from tdsproxy.tsql.values import DateTime

_REVERT: Final = "R"
"""``restorehistory.restore_type``."""


def kept_name(kept: Kept) -> str:
    """What the kept content is called."""
    return PurePath(kept.copy).stem


def told_of(database: Database) -> str:
    """What is said of the content that a restore has just replaced; empty when none is kept."""
    if database.kept is None:
        return ""
    name = kept_name(database.kept)
    return (
        f"The former content of database '{database.name}' is kept as '{name}'. RESTORE DATABASE"
        f" [{database.name}] FROM DATABASE_SNAPSHOT = '{name}' brings it back."
    )


def revert_to_kept(context: Context, database: Database, wanted: str) -> Iterator[Reply]:
    """Puts the kept content in place of the present one. The caller holds the database's name. Raises
    CommandError."""
    env = context.env
    kept = database.kept
    if kept is None or name_key(kept_name(kept)) != name_key(wanted):
        raise fail(3137)
    source = env.catalog.store / kept.copy
    if not source.exists() or database.state is not DatabaseState.ONLINE:
        raise fail(3137)
    check_free(context, database)
    with sql_failures(database.name, database.data_path):
        image = new_image(env)
        try:
            settle_copy(source)
            copy_file(source, image)
            done = replace_online(env, database, redo_of(kept, image_name(env, image)), _described(kept))
        finally:
            image.unlink(missing_ok=True)
    yield from recorded(context, lambda: record_revert(context, database))
    told = told_of(done.database)
    if told:
        yield Message(0, 0, 1, told, context.request.line)
    yield Done(context.command)


def redo_of(kept: Kept, image: str) -> Redo:
    """The kept content as one that is to be recovered: its log goes on where it ended."""
    chain = kept.chain
    goes_on = kept.lsn is not None and chain.log_backup_lsn is not None and chain.fork_point_lsn is None
    return Redo(
        image=image,
        fork=kept.fork,
        lsn=kept.lsn or 0,
        base_guid=chain.base_guid,
        base_lsn=chain.base_lsn,
        ns=kept.ns,
        ends_chain=not goes_on,
        backed_lsn=chain.log_backup_lsn if goes_on else None,
    )


def _described(kept: Kept) -> dict[str, Any]:
    return {
        "family": kept.family,
        "recovery_model": RecoveryModel(kept.recovery_model),
        "read_only": kept.read_only,
        "collation": kept.collation,
        "compatibility": kept.compatibility,
        "data_name": kept.data_name,
        "data_path": kept.data_path,
        "data_file_guid": kept.data_file_guid,
        "log_name": kept.log_name,
        "log_path": kept.log_path,
        "log_file_guid": kept.log_file_guid,
    }


def record_revert(context: Context, database: Database) -> None:
    """msdb's rows of a revert, which has no backup set."""
    rows = restore_rows(
        finished=DateTime.of(context.env.clock()),
        database=database.name,
        user=context.session.login,
        replace=True,
        recovery=True,
        targets=[(1, database.data_path)],
        restore_type=_REVERT,
    )
    context.env.catalog.history.record_revert(rows)
