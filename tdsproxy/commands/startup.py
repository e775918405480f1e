"""What the owner of a store does before the first statement: old images go, logs are captured."""

from __future__ import annotations

import logging

import apsw

from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.log_chain import start_log, wants_log
from tdsproxy.commands.recovery import finish, put_right
from tdsproxy.commands.restart_points import kept_files
from tdsproxy.store.errors import StoreError

_log = logging.getLogger(__name__)


def begin(env: CommandEnvironment) -> None:
    """To be called once, with the store's lock held."""
    env.catalog.configurations.reconfigure(starting=True)
    env.catalog.databases.end_transitions()
    put_right(env, kept_files(env))
    for database in env.catalog.databases.all():
        unfinished = database.state is DatabaseState.RESTORING and database.redo is None
        if unfinished and database.path(env.catalog.store).exists():
            # Whoever was backing up its tail died before that had come to an end: nothing has happened. One
            # without a file waits in a standby for its first backup.
            database = env.catalog.databases.update(database.id, state=DatabaseState.ONLINE)
        if database.redo is not None and database.redo.recovering:
            _finish(env, database)
        elif wants_log(database):
            start_log(env, database)


def _finish(env: CommandEnvironment, database: Database) -> None:
    try:
        finish(env, database)
    except (StoreError, OSError, apsw.Error) as error:
        _log.error("the restore of %s, which was interrupted, can't be finished: %s", database.name, error)
        return
    _log.info("the restore of %s, which was interrupted, is finished", database.name)
