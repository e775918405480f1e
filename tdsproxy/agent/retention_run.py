"""Retention on a store: what msdb knows and the media say goes into the decisions, what may go is deleted.

A media set goes when all backup sets on it may. First the deletion is noted in msdb, then the media go,
durably and under their locks, then the rows of the backup sets. A run that was interrupted is finished by the
next one. Files and objects that msdb does not know are told, and left alone.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import Final, Protocol
from uuid import UUID

from tdsproxy.agent.policies import Retention
from tdsproxy.agent.retention import Decision, Policies, StoredSet, decide
from tdsproxy.agent.strays import Stray, strays
from tdsproxy.backup.plan import ForkLine
from tdsproxy.catalog.operations import MediaRow, SetRow
from tdsproxy.commands.context import Context
from tdsproxy.commands.devices import known_medium
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.lineage import fork_lines
from tdsproxy.commands.log_sources import MediaPlace, point_of, sets_on
from tdsproxy.commands.roll_rules import last_lsn_of
from tdsproxy.commands.url_devices import find_secret
from tdsproxy.media.device import MediaDevice
from tdsproxy.media.documents import LOG, WHOLE
from tdsproxy.media.errors import DeviceError, MediaEmpty, MediaError, MediaMissing, RemoteError
from tdsproxy.media.null_device import is_null
from tdsproxy.media.object_device import Share
from tdsproxy.media.reader import MediaReader
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Writing
from tdsproxy.objects.requests import encryption_of
from tdsproxy.objects.store import Abandoned, open_bucket
from tdsproxy.objects.url import is_url, parse_url
from tdsproxy.tsql.values import DateTime, Value

COLUMNS: Final = ("what", "database", "type", "finished", "size", "devices", "reason", "archive")
"""Of ``sp_retention``: ``what`` is kept, deleted (or to be), failed, missing, orphaned or unknown; the
devices each on a line."""

_MISSING: Final = "none of its media is there"
_UNREADABLE: Final = "its media can't be read, so nothing is known of what needs it"
_NO_MEDIA: Final = "it was written to no medium"
_PART_BYTES: Final = 8 << 20
_MOST_PARTS: Final = 9000
_FROZEN: Final = frozenset({"GLACIER", "DEEP_ARCHIVE", "ARCHIVE"})
"""Storage classes of S3 and Azure from which an object must be brought back before it can be read."""

_log = logging.getLogger(__name__)

RULES: Final = ("daily", "weekly", "monthly", "yearly", "count")
MEASURES: Final = ("age_days", "window_days", "size_bytes", "archive_after_days")


@dataclass(slots=True)
class Outcome:
    """What a run of retention found and did; ``deleted`` of a dry run would have been. ``failed`` are those
    that could not be deleted, with the reason; ``missing`` sets whose media are gone; ``orphaned`` media of
    backups that msdb does not know, ``unknown`` other files among them."""

    kept: list[Decision] = field(default_factory=list)
    deleted: list[Decision] = field(default_factory=list)
    failed: list[tuple[Decision, str]] = field(default_factory=list)
    missing: list[StoredSet] = field(default_factory=list)
    orphaned: list[Stray] = field(default_factory=list)
    unknown: list[Stray] = field(default_factory=list)
    devices: dict[UUID, str] = field(default_factory=dict)
    """Of each set, each on a line."""


class _Removable(Protocol):
    def remove(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Known:
    """A media set, and its backup sets as retention sees them."""

    row: MediaRow
    sets: tuple[StoredSet, ...]


def run_retention(context: Context, policies: Policies, *, dry: bool, only: str | None = None) -> Outcome:
    """Decides, and unless ``dry`` deletes. ``only`` names the one database that is looked at."""
    operations = context.env.catalog.operations
    interrupted = operations.unfinished_deletions()
    rows = operations.media()
    if not dry:
        for row in rows:
            if interrupted.issuperset(item.guid for item in row.sets):
                _delete_rest(context, row)
        interrupted = operations.unfinished_deletions()
        rows = operations.media()
    known = [_known(context, row) for row in rows]
    outcome = Outcome()
    for media in known:
        names = "\n".join(name for copy in media.row.devices for name in copy)
        outcome.devices |= {item.guid: names for item in media.sets}
    named = [name for media in known for copy in media.row.devices for name in copy]
    for stray in strays(context, named):
        (outcome.orphaned if stray.is_medium else outcome.unknown).append(stray)
    gone = {item.guid for media in known for item in media.sets if item.problem == _MISSING}
    outcome.missing = [item for media in known for item in media.sets if item.guid in gone - interrupted]
    sets = [item for media in known for item in media.sets if item.guid not in gone]

    def policy_of(database: str) -> Retention | None:
        chosen = only is None or database.lower() == only.lower()
        return policies(database) if chosen else None

    now = context.env.clock().astimezone()
    decided = decide(sets, _forks(context, sets), policy_of, now, _bases(context))
    decisions = {item.set.guid: item for item in decided}
    outcome.kept = [item for item in decisions.values() if item.keep]
    for media in known:
        going = [decisions[item.guid] for item in media.sets if item.guid in decisions]
        if going and not any(item.keep for item in going):
            _delete(context, media, going, outcome, dry=dry)
        elif going and not dry and all(item.archive for item in going):
            policy = policy_of(going[0].set.database)
            if policy is not None and policy.archive_class:
                _archive(context, media, going, policy.archive_class, outcome)
    return outcome


def _bases(context: Context) -> set[UUID]:
    """The full sets that the databases go on from: as they are, while they are restored, and by undo."""
    found: set[UUID] = set()
    for database in context.env.catalog.databases.all():
        kept = None if database.kept is None else database.kept.chain
        for state in (database.chain, database.redo, kept):
            if state is not None and state.base_guid is not None:
                found.add(state.base_guid)
    return found


def _forks(context: Context, sets: Sequence[StoredSet]) -> dict[UUID, list[ForkLine]]:
    return {owner: fork_lines(context, owner) for owner in {item.owner for item in sets}}


# --------------------------------------------------------------------------- what there is


def _known(context: Context, row: MediaRow) -> _Known:
    first = row.devices[0] if row.devices else ()
    if not first or any(map(is_null, first)):
        return _Known(row, tuple(_bare(item, row, _NO_MEDIA) for item in row.sets))
    found: dict[UUID, MediaPlace] = {}
    for names in row.devices:
        found = sets_on(context, names)
        if found:
            break
    problem = _UNREADABLE if found or _is_there(context, row) else _MISSING
    return _Known(
        row,
        tuple(
            _stored(item, row, found[item.guid]) if item.guid in found else _bare(item, row, problem)
            for item in row.sets
        ),
    )


def _is_there(context: Context, row: MediaRow) -> bool:
    """Whether any medium of the set may still be there; only what is surely gone is not."""
    files = context.database_files()
    for name in (name for copy in row.devices for name in copy):
        try:
            known_medium(context, name, files, Share(1)).open_read().close()
        except MediaMissing:
            continue
        except RemoteError as error:
            if error.reason is not Reason.MISSING:
                return True
            continue
        except (CommandError, MediaError):
            return True
        return True
    return False


def _bare(item: SetRow, row: MediaRow, problem: str) -> StoredSet:
    nothing = UUID(int=0)
    return StoredSet(
        item.guid,
        item.database,
        nothing,
        nothing,
        _ns(item.finished) or 0,
        item.size,
        row.id,
        problem=problem,
    )


def _stored(item: SetRow, row: MediaRow, place: MediaPlace) -> StoredSet:
    description, trailer = place.info.header.description, place.info.trailer
    finished = trailer.finished
    plain = StoredSet(
        item.guid,
        item.database,
        description.database_guid,
        description.family_guid,
        round(finished.timestamp() * 1e9) if finished.tzinfo is not None else _ns(item.finished) or 0,
        item.size,
        row.id,
        copy_only=description.is_copy_only,
        expires_ns=_ns(item.expires),
    )
    if description.backup_type == LOG:
        log = (
            description.first_lsn,
            last_lsn_of(place.info),
            description.first_recovery_fork_guid,
            description.recovery_fork_guid,
            trailer.through_ns or trailer.consistent_ns or 0,
            description.fork_point_lsn,
        )
        return replace(plain, log=log)
    whole = description.backup_type in WHOLE
    base = description.set_guid if whole else description.differential_base_guid
    point = point_of(place.info, base)
    return replace(plain, reaches=point, base_guid=None if whole else base)


def _ns(moment: DateTime | None) -> int | None:
    """Of a time of the server's clock."""
    return None if moment is None else round(moment.to_python().astimezone().timestamp()) * 10**9


# --------------------------------------------------------------------------- what goes


def _delete(
    context: Context, media: _Known, going: Sequence[Decision], outcome: Outcome, *, dry: bool
) -> None:
    if dry:
        outcome.deleted += going
        return
    operations = context.env.catalog.operations
    try:
        with _locked(context, media.row) as devices:
            if not all(_holds_only(device, {item.set.guid for item in going}) for device in devices):
                raise _Changed
            operations.announce_deletions([_row(context, media, item) for item in going])
            for device in devices:
                _remove(device)
    except _Cancelled:
        outcome.failed += [(item, "it was cancelled") for item in going]
        return
    except _Changed:
        outcome.failed += [(item, "a backup was added to its media meanwhile") for item in going]
        return
    except (CommandError, MediaError) as error:
        reason = error.messages[0].text if isinstance(error, CommandError) else str(error)
        outcome.failed += [(item, reason) for item in going]
        return
    _finish(context, {item.set.guid for item in going})
    outcome.deleted += going


@contextmanager
def _locked(context: Context, row: MediaRow) -> Iterator[list[MediaDevice]]:
    """The media of a set, which nobody else writes meanwhile. Raises CommandError, MediaError, _Cancelled."""
    names = [name for copy in row.devices for name in copy]
    devices = [known_medium(context, name, context.database_files(), Share(len(names))) for name in names]
    with ExitStack() as held:
        for device in sorted(devices, key=lambda device: device.identity or ""):
            if not is_url(device.name):
                held.enter_context(device.lock(context.env.cancelled.is_set))
            elif not held.enter_context(
                context.env.object_locks.hold(device.identity or "", context.env.cancelled.is_set)
            ):
                raise _Cancelled
        yield devices


def _holds_only(device: MediaDevice, sets: set[UUID]) -> bool:
    """Whether nothing but these backup sets is on the medium, or nothing at all; false where that cannot be
    told. Raises DeviceError, RemoteError."""
    try:
        with MediaReader(device.open_read()) as reader:
            found = reader.map()
    except (MediaEmpty, MediaMissing):
        return True
    except RemoteError as error:
        if error.reason is Reason.MISSING:
            return True
        raise
    except DeviceError:
        raise
    except MediaError:
        return False
    return found.damage is None and sets.issuperset(item.set_guid for item in found.sets)


def _delete_rest(context: Context, row: MediaRow) -> None:
    """What an interrupted run had begun to delete; what has been written to the same places since stays."""
    names = ", ".join(name for copy in row.devices for name in copy)
    own = {item.guid for item in row.sets}
    try:
        with _locked(context, row) as devices:
            for device in devices:
                if _holds_only(device, own):
                    _remove(device)
                else:
                    _log.info("%s holds something else now than what retention was to delete", device.name)
    except _Cancelled:
        return
    except (CommandError, MediaError) as error:
        _log.warning("retention can't delete the rest of %s: %s", names, error)
        return
    _finish(context, own)


def _archive(
    context: Context, media: _Known, sets: Sequence[Decision], storage_class: str, outcome: Outcome
) -> None:
    """Writes the objects of a media set again, in a colder storage class; files stay as they are. What can't
    be read at once there could not be restored, nor retention know what it is."""
    names = [name for copy in media.row.devices for name in copy if is_url(name)]
    setting = f"archive class of media set {media.row.id}"
    if not names or context.env.catalog.setting(setting) == storage_class:
        return
    if storage_class.upper() in _FROZEN:
        reason = f"what is in the storage class {storage_class} can't be read at once"
        outcome.failed += [(item, reason) for item in sets]
        return
    try:
        for name in names:
            _write_again(context, name, storage_class)
    except _Cancelled:
        outcome.failed += [(item, "it was cancelled before it was archived") for item in sets]
        return
    except ObjectError as error:
        outcome.failed += [(item, f"it can't be archived: {error}") for item in sets]
        return
    context.env.catalog.set_setting(setting, storage_class)
    _log.info("%s: now in the storage class %s", ", ".join(names), storage_class)


def _write_again(context: Context, name: str, storage_class: str) -> None:
    """A whole object takes the place of the old one, encrypted as that was; nobody sees half of it. Raises
    ObjectError, _Cancelled."""
    env = context.env
    url = parse_url(name)
    secret = find_secret(env, url)
    with env.object_locks.hold(url.identity, env.cancelled.is_set) as held:
        if not held:
            raise _Cancelled
        old = open_bucket(url, secret, env.reaching, Writing())
        found = old.find(url.key)
        if found is None:
            raise ObjectError(Reason.MISSING)
        encryption, kms_key = encryption_of(url, secret, env.reaching)
        how = Writing(storage_class=storage_class, encryption=encryption, kms_key=kms_key)
        new = open_bucket(url, secret, env.reaching, how)
        part = max(_PART_BYTES, -(-found.size // _MOST_PARTS))
        with ThreadPoolExecutor(1, "archive") as reader:
            pieces = _read_beside(reader, old.pieces(url.key), found.size, env.cancelled.is_set)
            try:
                new.upload(url.key, pieces, part, 2)
            except Abandoned:
                raise _Cancelled from None


def _read_beside(
    reader: ThreadPoolExecutor, pieces: Iterator[bytes], size: int, cancelled: Callable[[], bool]
) -> Iterator[bytes]:
    """``pieces``, each read by a thread of ``reader``: who uploads must not wait for a download itself.
    Raises Abandoned, and ObjectError unless they are ``size`` bytes."""
    left = size
    while (piece := reader.submit(next, pieces, b"").result()) != b"":
        if cancelled():
            raise Abandoned
        left -= len(piece)
        yield piece
    if left:
        raise ObjectError(Reason.CHANGED)


class _Cancelled(Exception):
    """Nothing was done."""


class _Changed(Exception):
    """The media hold other sets than those that were decided on."""


def _remove(device: object) -> None:
    remove: Callable[[], None] | None = getattr(device, "remove", None)
    if remove is None:
        raise TypeError(f"{type(device).__name__} can't be deleted")
    remove()


def _finish(context: Context, sets: set[UUID]) -> None:
    if sets:
        for guid in sorted(sets, key=str):
            context.env.catalog.history.forget_set(guid)
        context.env.catalog.operations.deleted(sorted(sets, key=str))


def _row(context: Context, media: _Known, item: Decision) -> dict[str, Value]:
    row = next(row for row in media.row.sets if row.guid == item.set.guid)
    return {
        "deletion_date": DateTime.of(context.env.clock()),
        "backup_set_uuid": row.guid,
        "database_name": row.database,
        "type": row.type,
        "backup_finish_date": row.finished,
        "compressed_backup_size": row.size,
        "physical_device_names": "\n".join(name for copy in media.row.devices for name in copy)[:4000],
        "reason": "; ".join(item.reasons)[:4000],
    }


# --------------------------------------------------------------------------- as a procedure


def read_policy(text: str | None) -> Retention | None:
    """A policy from JSON with the fields of ``Retention``; None for nothing. Raises ValueError."""
    if not text:
        return None
    given = json.loads(text)
    if not isinstance(given, dict) or not set(given) <= {*RULES, *MEASURES, "archive_class"}:
        raise ValueError("not the fields of a retention policy")
    return Retention(**given)


def procedures(
    policies: Policies,
) -> dict[str, Callable[[Context, Sequence[Value]], list[tuple[Value, ...]]]]:
    """``sp_retention @dry, @database, @policy``: values that say whether it is a dry run ('1'), the one
    database that is meant, and a policy in JSON instead of those that are configured."""

    def retention(context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        if not context.is_admin:
            raise fail(229, "EXECUTE", "sp_retention", "msdb", "dbo")
        given = [*values, None, None, None]
        name = None if given[1] is None else str(given[1])
        try:
            said = read_policy(None if given[2] is None else str(given[2]))
        except (ValueError, TypeError):
            raise fail(15021, "@policy") from None
        chosen: Policies = policies if said is None else lambda database: said
        outcome = run_retention(context, chosen, dry=str(given[0]) != "0", only=name)
        return list(_rows(outcome))

    return {"sp_retention": retention}


def _rows(outcome: Outcome) -> Iterator[tuple[Value, ...]]:
    def told(what: str, item: StoredSet, reason: str, archive: bool = False) -> tuple[Value, ...]:
        at = dt.datetime.fromtimestamp(item.finished_ns // 10**9).isoformat(" ")
        place = outcome.devices.get(item.guid)
        return (what, item.database, item.kind, at, str(item.bytes), place, reason, str(int(archive)))

    for decision in outcome.kept:
        yield told("kept", decision.set, "; ".join(decision.reasons), decision.archive)
    for decision in outcome.deleted:
        yield told("deleted", decision.set, "; ".join(decision.reasons))
    for decision, reason in outcome.failed:
        yield told("failed", decision.set, reason)
    for item in outcome.missing:
        yield told("missing", item, "its media are not where msdb says")
    for what, found in (("orphaned", outcome.orphaned), ("unknown", outcome.unknown)):
        words = {"orphaned": "a backup medium that msdb does not know", "unknown": "no backup medium"}[what]
        for stray in found:
            changed = None if stray.modified is None else stray.modified.isoformat(" ", "seconds")
            yield (what, None, None, changed, str(stray.size), stray.name, words, "0")
