"""BACKUP and RESTORE, and the keys that belong to them."""

from __future__ import annotations

from typing import ClassVar

from tdsproxy.tsql.ast.node import Node
from tdsproxy.tsql.ast.statements import Statement


class Operand(Node):
    """A value in a native statement: a literal (``value``), a variable (``variable`` with its sign) or an
    identifier (``value`` its text, ``identifier`` True)."""

    value: str | int | None = None
    variable: str | None = None
    identifier: bool = False
    pos: int = 0
    line: int = 1


class Device(Node):
    """``kind`` is DISK, URL, TAPE, VIRTUAL_DEVICE, DATABASE_SNAPSHOT or LOGICAL."""

    kind: str
    name: Operand


class Option(Node):
    """One WITH option: ``name`` in upper case (``STATS``, ``MOVE``, ``COMPRESSION`` ...); ``values`` its
    operands: MOVE has two, STOPATMARK one or two (AFTER); ``arguments`` the parenthesised words of
    COMPRESSION and ENCRYPTION as (WORD, operand) pairs."""

    name: str
    values: tuple[Operand, ...] = ()
    arguments: tuple[tuple[str, Operand], ...] = ()
    pos: int = 0
    line: int = 1


class NativeStatement(Statement):
    """BACKUP and RESTORE in all their forms, and what belongs to them."""


class Backup(NativeStatement):
    """``kind`` is DATABASE, LOG, GROUP (the databases in ``group``) or SERVER. ``files`` are the (FILE |
    FILEGROUP | READ_WRITE_FILEGROUPS, operand) selections in front of TO."""

    kind: str
    database: Operand
    devices: tuple[Device, ...]
    mirrors: tuple[tuple[Device, ...], ...] = ()
    options: tuple[Option, ...] = ()
    files: tuple[tuple[str, Operand | None], ...] = ()
    group: tuple[Operand, ...] = ()


class Restore(NativeStatement):
    """``kind`` is DATABASE, LOG, HEADERONLY, FILELISTONLY, LABELONLY, VERIFYONLY, REWINDONLY or
    BACKUPSETONLY; ``database`` None for the -ONLY forms; ``devices`` empty for ``RESTORE DATABASE x WITH
    RECOVERY``."""

    kind: str
    database: Operand | None
    devices: tuple[Device, ...]
    options: tuple[Option, ...] = ()
    files: tuple[tuple[str, Operand | None], ...] = ()


class KeyStatement(NativeStatement):
    """Master keys, certificates, credentials and their backup: ``action`` (``CREATE CERTIFICATE``,
    ``BACKUP MASTER KEY`` ...) and ``clauses`` as (WORDS, operand) pairs, never repr'd into a log."""

    secret: ClassVar[frozenset[str]] = frozenset({"clauses"})

    action: str
    name: str | None = None
    clauses: tuple[tuple[str, Operand], ...] = ()
