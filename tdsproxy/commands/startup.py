"""What the owner of a store does before the first statement: old images go, logs are captured."""

from __future__ import annotations

import logging

from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.log_chain import start_log, wants_log
from tdsproxy.commands.recovery import put_right

_log = logging.getLogger(__name__)


def begin(env: CommandEnvironment) -> None:
    """To be called once, with the store's lock held."""
    put_right(env)
    for database in env.catalog.databases.all():
        if wants_log(database):
            start_log(env, database)
