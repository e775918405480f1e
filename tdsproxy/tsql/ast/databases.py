"""Statements on whole databases."""

from __future__ import annotations

from tdsproxy.tsql.ast.statements import Statement


class CreateDatabase(Statement):
    """File lists are kept as (logical name, physical name) pairs, data first."""

    name: str
    files: tuple[tuple[str, str], ...] = ()
    log_files: tuple[tuple[str, str], ...] = ()
    collation: str | None = None
    snapshot_of: str | None = None
    for_attach: bool = False


class AlterDatabase(Statement):
    """``name`` None for CURRENT. ``action`` SET (``options`` as (word, argument words) in upper case),
    ``MODIFY NAME`` (``new_name``), ``MODIFY FILE`` (``options`` as one (logical, physical) pair, and
    ``new_name``), or the words of another accepted form in upper case. ``termination`` is
    ``ROLLBACK IMMEDIATE``, ``ROLLBACK AFTER n``, ``NO_WAIT`` or None."""

    name: str | None
    action: str
    options: tuple[tuple[str, str], ...] = ()
    termination: str | None = None
    new_name: str | None = None


class DropDatabase(Statement):
    names: tuple[str, ...]
    if_exists: bool = False
