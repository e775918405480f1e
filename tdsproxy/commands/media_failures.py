"""What goes wrong below, in SQL Server's messages."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import apsw

from tdsproxy.backup.errors import (
    InsufficientSpace,
    OperationCancelled,
    TargetError,
    TargetExists,
    WrongSet,
)
from tdsproxy.commands.damage import damage_messages, place_of
from tdsproxy.commands.failure import CommandError, fail
from tdsproxy.commands.key_encryption import missing_key
from tdsproxy.commands.messages import OsError, message
from tdsproxy.commands.remote_failures import remote_failure
from tdsproxy.log.records import LogError
from tdsproxy.media.errors import (
    DeviceCancelled,
    DeviceError,
    FamiliesMissing,
    FamilyCountWrong,
    FamilyTwice,
    ForeignFamily,
    MediaDamaged,
    MediaEmpty,
    MediaError,
    MediaIncompatible,
    MediaMissing,
    MirrorsMissing,
    NotMedia,
    NotMirrored,
    RemoteError,
    SetMismatch,
    SetMissing,
    UnsupportedVersion,
)
from tdsproxy.media.sealing import KeyMissing
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing, DatabaseUnreadable, StoreError
from tdsproxy.tsql.replies import Message

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_CREATED_BY: Final = {
    2: "BACKUP LOG",
    4: "BACKUP DATABASE with FILE or FILEGROUP",
    5: "BACKUP DATABASE WITH DIFFERENTIAL",
}


@contextmanager
def sql_failures(database: str, shown_file: str = "") -> Iterator[None]:
    """Raises CommandError for what the block raises. ``database`` is the one of the statement,
    ``shown_file`` the physical name of its data file."""
    try:
        yield
    except (OperationCancelled, DeviceCancelled) as error:
        raise fail(3204) from error
    except MediaError as error:
        raise media_failure(error, database) from error
    except KeyMissing as error:
        raise CommandError(missing_key(error)) from error
    except DatabaseBusy as error:
        raise fail(3101) from error
    except (DatabaseMissing, DatabaseUnreadable) as error:
        raise fail(945, database) from error
    except LogError as error:
        raise CommandError(Message(0, 16, 1, f"The log cannot be read: {error}")) from error
    except StoreError as error:
        raise fail(3271, shown_file or database, str(error)) from error
    except InsufficientSpace as error:
        too_small = message(3257, f"{error.path.parent}", error.needed, error.free)
        raise CommandError(too_small, message(3119)) from error
    except TargetExists as error:
        raise fail(3101) from error
    except TargetError as error:
        raise fail(3202, shown_file, _reason(error.errno).words) from error
    except WrongSet as error:
        raise fail(3135, shown_file, _CREATED_BY.get(error.backup_type, "another statement")) from error


DISK_FAILURES: Final = (
    OSError,
    apsw.IOError,
    apsw.FullError,
    apsw.CantOpenError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.BusyError,
)
"""What a disk that fails or is full, and a catalog that others hold, raise below."""


def reason_of(error: OSError | apsw.Error) -> OsError:
    """The operating system's error behind one of SQLite's, or of Python's."""
    if isinstance(error, OSError):
        return _reason(error.errno or errno.EIO)
    if isinstance(error, apsw.FullError):
        return OsError.DISK_FULL
    return OsError.ACCESS_DENIED if isinstance(error, apsw.CantOpenError) else OsError.IO_DEVICE


def disk_failure(error: OSError | apsw.Error) -> CommandError:
    """What to say of one of ``DISK_FAILURES`` that nobody nearer has foreseen."""
    if isinstance(error, apsw.BusyError):
        return CommandError(Message(1222, 16, 45, "Lock request time out period exceeded."))
    if isinstance(error, OSError):
        file = Path(error.filename).name if error.filename else "of the store"
        return fail(3271, file, reason_of(error).words)
    return fail(3271, "of the store", reason_of(error).words)


def media_failure(error: MediaError, database: str = "") -> CommandError:
    """The messages for a medium that cannot be used; ``database`` is the one in the backup set."""
    device = error.device
    match error:
        case DeviceError():
            return _device_failure(error)
        case RemoteError():
            return remote_failure(error)
        case NotMedia() | UnsupportedVersion():
            return fail(3241, device)
        case MediaEmpty():
            return fail(3254, device)
        case SetMissing():
            return fail(3287, error.position, device)
        case MediaIncompatible(reason="encryption"):
            return fail(3095)
        case MediaIncompatible():
            return fail(3097)
        case FamiliesMissing():
            return fail(3132, error.count, error.given)
        case FamilyCountWrong():
            return fail(3231, device, error.count, error.given)
        case FamilyTwice():
            return fail(3227, device, error.family, error.other)
        case ForeignFamily():
            return fail(3258, device)
        case SetMismatch():
            return fail(3232, device, 1, error.sequence)
        case MirrorsMissing():
            return fail(3240)
        case NotMirrored():
            return fail(3215)
        case MediaDamaged():
            return CommandError(*damage_messages(error, database))
    return fail(3270)


def _device_failure(error: DeviceError) -> CommandError:
    device = error.device
    if error.operation == "open":
        return fail(3201, device, _reason(error.errno).words, state=2)
    if error.operation == "lock":
        return fail(3201, device, OsError.SHARING_VIOLATION.words, state=1)
    number = 3203 if error.operation == "read" else 3202
    return fail(number, device, _reason(error.errno).words)


def backup_media_failure(error: MediaError, asked_compression: bool | None) -> CommandError:
    """As ``media_failure``, where it differs for a medium that is to be written."""
    match error:
        case MediaMissing():
            # SQL Server on Linux says so of a directory that is not there.
            return fail(3201, error.device, OsError.ACCESS_DENIED.words, state=1)
        case DeviceError(operation="open"):
            return fail(3201, error.device, _reason(error.errno).words, state=1)
        case RemoteError():
            return remote_failure(error, state=1)
        case MediaIncompatible(reason="compression"):
            words = ("COMPRESSION", "NO_COMPRESSION")
            asked, other = words if asked_compression else words[::-1]
            return fail(3098, asked, other)
        case MediaDamaged() if error.part != "media header":
            return CommandError(place_of(error), message(3266, error.device))
    return media_failure(error)


def _reason(number: int) -> OsError:
    if number in _FULL:
        return OsError.DISK_FULL
    if number == errno.ENOENT:
        return OsError.FILE_NOT_FOUND
    if number == errno.ENOTDIR:
        return OsError.PATH_NOT_FOUND
    if number in (errno.EIO, errno.ENXIO):
        return OsError.IO_DEVICE
    return OsError.ACCESS_DENIED
