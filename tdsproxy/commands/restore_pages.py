"""RESTORE DATABASE ... PAGE: single pages of a database in use, rolled forward to what they should hold now.

The pages come from a full backup and lie in an image of their own, in which log backups roll them forward.
RECOVERY brings them to the present, through what the captured log has beyond the last log backup, and puts
them into the database under its write lock. It may stand in any statement of the sequence, also in the first.
"""

from __future__ import annotations

import re
import time
from collections.abc import Generator, Iterator, Sequence
from typing import Final

import msgspec

from tdsproxy.backup import operations
from tdsproxy.backup.image import only_pages, read_single_pages, roll_forward
from tdsproxy.backup.plan import LogStep, Moment, Point, find_plan
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.catalog.recovery import PageRedo, Redo
from tdsproxy.commands.backup_media import recorded, summary
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.commands.history_rows import restored_rows
from tdsproxy.commands.log_chain import start_log
from tdsproxy.commands.log_sources import Place, Sources, read
from tdsproxy.commands.media_failures import sql_failures
from tdsproxy.commands.progress import Report, reported
from tdsproxy.commands.recovery import image_name, image_path, new_image, remove_image
from tdsproxy.commands.restore_options import RestoreOptions
from tdsproxy.commands.restore_target import check_set
from tdsproxy.commands.roll_forward import after_differential, forks_of
from tdsproxy.commands.roll_rules import (
    check_differential,
    check_kind,
    check_log,
    consistent_ns_of,
    fork_at,
    last_lsn_of,
    leads_to,
)
from tdsproxy.log.records import CaptureStopped, Transaction
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import CHANGES, LOG, WHOLE
from tdsproxy.media.reader import SetInfo
from tdsproxy.store import header as file_header
from tdsproxy.store.mend import mend_pages
from tdsproxy.store.snapshot import Snapshot
from tdsproxy.tsql import ast
from tdsproxy.tsql.replies import Reply
from tdsproxy.tsql.values import DateTime

_MAX_PAGES: Final = 1000
_PAIR: Final = re.compile(r"\s*(\d{1,9})\s*:\s*(\d{1,10})\s*(,|$)")
_DATA_FILE: Final = 1


def page_numbers(text: str) -> list[int]:
    """The pages of ``'1:57, 1:202'``, ascending: there is one file. Raises CommandError 4350."""
    found: list[int] = []
    at = 0
    while True:
        pair = _PAIR.match(text, at)
        if pair is None:
            raise fail(4350, len(found), at)
        if int(pair[1]) != _DATA_FILE:
            raise fail(4350, len(found), pair.start(1))
        found.append(int(pair[2]))
        at = pair.end()
        if not pair[3]:
            return sorted(set(found))


def restore_pages(
    context: Context,
    name: str,
    device: DeviceSet,
    kind: str,
    listed: Sequence[ast.Operand],
    options: RestoreOptions,
) -> Iterator[Reply]:
    """The first statement of a sequence; pages of a sequence that is not at its end are restored again with
    these. Raises CommandError."""
    if kind != "DATABASE":
        raise fail(3032, "page")
    numbers = sorted({page for item in listed for page in page_numbers(context.operands.text(item) or "")})
    database = _usable(context, name, options)
    if database.pages is not None:
        numbers = sorted({*numbers, *database.pages.numbers})
    target = _present(context, database)
    _check_numbers(context, database, numbers)
    with sql_failures(name):
        info = operations.read_whole_set(device, options.file or 1)
        media = operations.read_headers(device)
    check_set(info, media, device.name, options)
    _check_source(context, database, info, numbers)
    env = context.env
    image = new_image(env)
    begun = time.monotonic()

    def run(report: Report) -> operations.ImageResult:
        return operations.restore_pages(
            device, info.position, image, frozenset(numbers), progress=report, cancel=env.cancelled
        )

    try:
        with sql_failures(name, database.data_path):
            yield from reported(context, run, options.stats)
        description = info.header.description
        redo = Redo(
            image=image_name(env, image),
            fork=description.recovery_fork_guid,
            lsn=last_lsn_of(info),
            base_guid=description.set_guid,
            base_lsn=description.checkpoint_lsn,
            base=True,
            ns=consistent_ns_of(info),
        )
        if database.pages is not None:
            remove_image(env, database.pages.redo)
        pages = PageRedo(numbers=tuple(numbers), target_lsn=target, redo=redo)
        database = env.catalog.databases.update(database.id, pages=pages)
    except BaseException:
        image.unlink(missing_ok=True)
        raise
    yield from context.info(4035, len(numbers), database.name, database.data_name, info.position)
    yield from _end(context, database, pages, options)
    rows = restored_rows(context, media, info, name, options, [(1, database.data_path)], "F")
    yield from recorded(context, lambda: env.catalog.history.record_restore(*rows))
    what = f"RESTORE DATABASE ... FILE=<{database.data_name}>"
    yield from summary(context, what, len(numbers), time.monotonic() - begun)


def roll_pages(
    context: Context,
    database: Database,
    pages: PageRedo,
    device: DeviceSet,
    options: RestoreOptions,
    kind: str,
) -> Iterator[Reply]:
    """RESTORE LOG, or RESTORE DATABASE of a differential set, while pages are being restored. Raises
    CommandError; the same set can then be restored again."""
    env = context.env
    database = _usable(context, database.name, options)
    with sql_failures(database.name):
        info = operations.read_whole_set(device, options.file or 1)
        media = operations.read_headers(device)
    check_kind(info, device.name, (LOG,) if kind == "LOG" else CHANGES)
    check_set(info, media, device.name, options)
    if kind == "LOG":
        check_log(pages.redo, database.family, info)
    else:
        check_differential(pages.redo, info, forks_of(context, info))
    begun = time.monotonic()
    redo = msgspec.structs.replace(pages.redo, unfinished=True)
    env.catalog.databases.update(database.id, pages=msgspec.structs.replace(pages, redo=redo))
    only = frozenset(pages.numbers)

    def run(report: Report) -> Redo:
        image = image_path(env, redo)
        if kind == "LOG":
            applied = operations.apply_log(
                device, info.position, image, redo.lsn, only=only, cancel=env.cancelled
            )
            return msgspec.structs.replace(
                redo,
                lsn=applied.redo_lsn,
                fork=fork_at(info.header.description, applied.redo_lsn),
                ns=max(redo.ns, applied.consistent_ns or 0),
                base=redo.base and applied.redo_lsn == redo.lsn,
                logged=redo.logged or applied.redo_lsn != redo.lsn,
                rolled=True,
                unfinished=False,
            )
        operations.restore_pages(device, info.position, image, only, progress=report, cancel=env.cancelled)
        return after_differential(redo, info)

    with sql_failures(database.name, database.log_path):
        redo = yield from reported(context, run, options.stats)
    pages = msgspec.structs.replace(pages, redo=redo)
    database = env.catalog.databases.update(database.id, pages=pages)
    count = 0 if kind == "LOG" else len(pages.numbers)
    yield from context.info(4035, count, database.name, database.data_name, info.position)
    yield from _end(context, database, pages, options)
    letter = "L" if kind == "LOG" else "I"
    rows = restored_rows(context, media, info, database.name, options, [(1, database.data_path)], letter)
    yield from recorded(context, lambda: env.catalog.history.record_restore(*rows))
    yield from summary(context, f"RESTORE {kind}", count, time.monotonic() - begun)


def recover_pages(
    context: Context, database: Database, pages: PageRedo, options: RestoreOptions, kind: str
) -> Iterator[Reply]:
    """RESTORE DATABASE x WITH RECOVERY while pages are being restored. Raises CommandError."""
    database = _usable(context, database.name, options)
    begun = time.monotonic()
    yield from _end(context, database, pages, options)
    yield from summary(context, f"RESTORE {kind}", 0, time.monotonic() - begun)


def _usable(context: Context, name: str, options: RestoreOptions) -> Database:
    database = context.env.database(name)
    if database is None:
        raise fail(3118, name)
    if not context.owns(database):
        raise fail(3110, database.name)
    if database.source is not None:
        raise fail(3002)
    if database.state is not DatabaseState.ONLINE or database.standby is not None or database.is_system:
        raise fail(4310, database.data_name)
    if database.recovery_model is RecoveryModel.SIMPLE:
        raise fail(4346)
    if database.read_only:
        raise fail(4344)
    if options.stop is not None:
        raise fail(4342)
    if options.standby is not None:
        raise fail(3032, "standby")
    return database


def _present(context: Context, database: Database) -> int:
    """The LSN that the database has reached. Raises CommandError 4346 when its log is not captured."""
    logs = context.env.logs
    if logs is None:
        raise fail(4346)
    start_log(context.env, database)
    try:
        return logs.capture_now(database.guid)
    except CaptureStopped as error:
        raise fail(4346) from error


def _check_numbers(context: Context, database: Database, numbers: Sequence[int]) -> None:
    """Raises CommandError 3105, 3111, 3194."""
    if len(numbers) > _MAX_PAGES:
        raise fail(3105, database.data_name, _MAX_PAGES)
    path = database.path(context.env.catalog.store)
    with (
        sql_failures(database.name, database.data_path),
        Snapshot(path, cancelled=context.env.cancelled.is_set) as snapshot,
    ):
        lock = file_header.lock_page(snapshot.page_size)
        count = snapshot.page_count
    for number in numbers:
        if number in (0, 1, lock):
            raise fail(3111, _DATA_FILE, number)
        if number > count:
            raise fail(3194, _DATA_FILE, number)


def _check_source(context: Context, database: Database, info: SetInfo, numbers: Sequence[int]) -> None:
    """Raises CommandError 3154, 3195, 3194, 3116."""
    description = info.header.description
    if description.family_guid != database.family:
        raise fail(3154, database.name)
    if description.backup_type not in WHOLE:
        raise fail(3195, _DATA_FILE, numbers[0])
    forks = {fork.fork: fork for fork in context.env.catalog.databases.forks(database.guid)}
    if not leads_to(forks, database.fork, description.recovery_fork_guid, last_lsn_of(info)):
        raise fail(3116)


def _end(
    context: Context, database: Database, pages: PageRedo, options: RestoreOptions
) -> Generator[Reply, None, None]:
    """Puts the pages in place, or says what they need before."""
    if not options.recovers:
        if pages.redo.lsn >= pages.target_lsn:
            yield from context.info(4308)
        else:
            yield from context.info(4303, pages.redo.lsn, pages.target_lsn)
        return
    with sql_failures(database.name, database.data_path):
        done = _recover(context, database, pages)
    if not done:
        yield from context.info(4303, pages.redo.lsn, pages.target_lsn)
        yield from context.info(4339)


def _recover(context: Context, database: Database, pages: PageRedo) -> bool:
    """Rolls the pages to the present and writes them; false when no log leads there."""
    env = context.env
    logs = env.logs
    assert logs is not None
    redo = pages.redo
    image = image_path(env, redo)
    only = frozenset(pages.numbers)
    moment = Moment(time.time_ns())
    sources = Sources.of(context, database)
    start = Point(redo.lsn, redo.fork, redo.base_guid, redo.ns, redo.ns)
    plan = find_plan(start, (), sources.logs, sources.forks, moment)
    if not plan.reached:
        return False
    roll_forward(image, only_pages(_chained(plan.logs), only), None, env.cancelled)
    archive = logs.archive(database.guid)
    reached = plan.logs[-1].source.last_lsn if plan.logs else redo.lsn
    page_size = 0

    def contents() -> dict[int, bytes]:
        # Nobody can commit any more: what is captured now is all there is.
        last = logs.capture_now(database.guid)
        first = max(reached, archive.first_lsn())
        if first < last:
            roll_forward(image, only_pages(archive.read(first, last), only), None, env.cancelled)
        return read_single_pages(image, page_size, pages.numbers)

    path = database.path(env.catalog.store)
    with Snapshot(path, cancelled=env.cancelled.is_set) as snapshot:
        page_size = snapshot.page_size
    mend_pages(path, contents, cancelled=env.cancelled.is_set)
    env.catalog.databases.update(database.id, pages=None)
    remove_image(env, redo)
    env.catalog.history.record_restored_pages(database.id, pages.numbers, DateTime.of(context.env.clock()))
    return True


def _chained(steps: Sequence[LogStep[Place]]) -> Iterator[Transaction]:
    for step in steps:
        yield from read(step)
