"""RESTORE HEADERONLY, FILELISTONLY, LABELONLY and VERIFYONLY: reading a medium without restoring it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tdsproxy.backup import operations
from tdsproxy.commands.context import Context
from tdsproxy.commands.damage import Damages
from tdsproxy.commands.devices import restore_devices
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.header_rows import (
    FILE_LIST_COLUMNS,
    HEADER_COLUMNS,
    LABEL_COLUMNS,
    file_row,
    header_row,
    label_row,
)
from tdsproxy.commands.history_rows import backup_rows, restore_rows
from tdsproxy.commands.key_databases import require_key
from tdsproxy.commands.media_failures import media_failure, sql_failures
from tdsproxy.commands.messages import message
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.restore_options import RestoreOptions, read_restore_options
from tdsproxy.commands.restore_target import check_media_name, relocations
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.errors import SetMissing
from tdsproxy.media.reader import SetInfo
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Column, Command, Done, Reply, ResultSet, Rows
from tdsproxy.tsql.values import DateTime, Value


def read_media(context: Context, statement: ast.Restore) -> Iterator[Reply]:
    """The -ONLY forms of RESTORE. Raises CommandError, SyntaxError_."""
    options = read_restore_options(statement, context.operands)
    if statement.kind == "REWINDONLY":
        raise fail(3216)
    if statement.kind == "BACKUPSETONLY":
        raise fail(3015, "RESTORE BACKUPSETONLY")
    if not context.may_create_databases:
        raise fail(262, "CREATE DATABASE", "master")
    device = restore_devices(context, statement.devices, statement.options)
    match statement.kind:
        case "HEADERONLY":
            yield from _headers(context, device, options)
        case "FILELISTONLY":
            with sql_failures("", device.name):
                _check_name(device, options)
                info = operations.read_set(device, options.file or 1)
            require_key(context, info)
            files = info.header.description.files
            yield from _result(context, FILE_LIST_COLUMNS, [file_row(file) for file in files])
        case "LABELONLY":
            with sql_failures("", device.name):
                media = operations.read_headers(device)
            check_media_name(media, device.name, options)
            yield from _result(context, LABEL_COLUMNS, [label_row(label) for _, label in media.labels])
        case _:
            yield from _verify(context, device, options)


def _result(
    context: Context, columns: tuple[Column, ...], rows: Sequence[tuple[Value, ...]]
) -> Iterator[Reply]:
    yield from _rows(columns, rows)
    yield Done(context.command)


def _rows(columns: tuple[Column, ...], rows: Sequence[tuple[Value, ...]]) -> Iterator[Reply]:
    yield ResultSet(columns)
    yield Rows(list(rows))
    yield Done(Command.RESTORE_ROWS, len(rows))


def _check_name(device: DeviceSet, options: RestoreOptions) -> None:
    """Raises CommandError 4037, MediaError."""
    if options.media_name is not None:
        check_media_name(operations.read_headers(device), device.name, options)


def _headers(context: Context, device: DeviceSet, options: RestoreOptions) -> Iterator[Reply]:
    """A row for each set; of a damaged medium those that can be read, and then the error."""
    with sql_failures("", device.name):
        media = operations.read_headers(device)
    check_media_name(media, device.name, options)
    sets: Sequence[SetInfo] = media.sets
    if options.file is not None:
        sets = [item for item in sets if item.position == options.file]
        if not sets and media.damage is None:
            raise media_failure(SetMissing(device.name, options.file, len(media.sets)))
    if media.damage is not None and not sets:
        raise media_failure(media.damage)
    rows = [header_row(item.position, item.header, item.trailer) for item in sets]
    if media.damage is None or options.file is not None:
        yield from _result(context, HEADER_COLUMNS, rows)
        return
    yield from _rows(HEADER_COLUMNS, rows)
    raise media_failure(media.damage)


def _verify(context: Context, device: DeviceSet, options: RestoreOptions) -> Iterator[Reply]:
    position = options.file or 1
    with sql_failures("", device.name):
        _check_name(device, options)
        info = operations.read_whole_set(device, position)
    relocations(info, options, info.header.description.database_name)
    if options.checksum and not info.header.description.has_checksums:
        raise fail(3187)

    damages = Damages()

    def run(report: Report) -> SetInfo:
        return operations.verify_set(
            device,
            position,
            progress=report,
            cancel=context.env.cancelled,
            on_damage=damages.add if options.continue_after_error is not False else None,
        )

    database = info.header.description.database_name
    with sql_failures(database, device.name):
        info = yield from reported(context, run, options.stats)
    if damages:
        raise CommandError(*damages.messages(database), message(3189))
    if options.load_history:
        _load_history(context, device, info)
    if info.trailer.is_damaged:
        yield from context.info(3188)
    yield from context.info(3262, position)


def _load_history(context: Context, device: DeviceSet, info: SetInfo) -> None:
    description = info.header.description
    media = operations.read_headers(device)
    context.env.catalog.history.record_restore(
        backup_rows(media.header, info.position, info.header, info.trailer, description.files, media.labels),
        restore_rows(
            finished=DateTime.of(context.env.clock()),
            database=description.database_name,
            user=context.session.login,
            replace=False,
            recovery=False,
            targets=[],
            restore_type="V",
        ),
    )
