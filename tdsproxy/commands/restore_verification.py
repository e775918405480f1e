"""A backup restored into a scratch file and looked at: what ``tdsproxy verify --restore`` asks for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tdsproxy.backup import operations
from tdsproxy.commands.context import Context
from tdsproxy.commands.devices import restore_devices
from tdsproxy.commands.failure import fail
from tdsproxy.commands.key_databases import take_key
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.recovery import new_image
from tdsproxy.objects.url import is_url
from tdsproxy.tsql import ast
from tdsproxy.tsql.values import Value

COLUMNS: Final = ("result", "text", "database", "file", "tables", "rows", "compared", "counted")
"""Of ``verify_restored``. ``compared`` is NULL when the set notes nothing to compare with."""


def verify_restored(context: Context, arguments: Sequence[Value]) -> list[tuple[Value, ...]]:
    """Arguments: the devices (names of files or URLs, each on a line), the position of a full backup set (1),
    queries in SQLite's SQL of which each row is a problem.

    The first row says ``sound`` or ``damaged`` and how much was looked at, each of the others is a problem.
    Raises CommandError."""
    if not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    given = [*arguments, None, None, None]
    position = int(str(given[1])) if given[1] is not None else 1
    checks = None if given[2] is None else str(given[2])
    devices = restore_devices(context, _devices(str(given[0] or "")))
    scratch = new_image(context.env)
    with sql_failures("", devices.name):
        take_key(context, operations.read_set(devices, position))
        found = operations.verify_restore(
            [(devices, position)], scratch, checks=checks, cancel=context.env.cancelled
        )
    first: tuple[Value, ...] = (
        "damaged" if found.problems else "sound",
        f"Restored and looked at in {found.seconds:.3f} seconds.",
        found.info.header.description.database_name,
        str(position),
        str(found.tables),
        str(found.rows),
        None if found.compared is None else str(found.compared),
        str(found.counted),
    )
    nothing = (None,) * (len(COLUMNS) - 2)
    return [first, *(("problem", problem, *nothing) for problem in found.problems)]


def _devices(text: str) -> tuple[ast.Device, ...]:
    names = text.splitlines() or [""]
    return tuple(ast.Device("URL" if is_url(name) else "DISK", ast.Operand(name)) for name in names)


PROCEDURES: Final = {"sp_verify_restore": verify_restored}
