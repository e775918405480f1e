"""sp_addumpdevice, sp_dropdevice and sp_helpdevice: logical backup devices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.catalog.devices import DISK, TAPE, TYPE_WORDS, BackupDevice
from tdsproxy.server.procedures.asking import ask
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_TYPES: Final = {"disk": DISK, "tape": TAPE}
_RESERVED: Final = frozenset({"disk", "diskette", "tape", "null", "pipe", "virtual_device", "url"})
_BACKUP_DEVICE: Final = 16
"""``status`` in sp_helpdevice."""


def _add(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters(
        "sp_addumpdevice", "@devtype @logicalname @physicalname @cntrltype @devstatus", arguments
    )
    _require_role(session)
    _require_no_transaction(session, "sys.sp_addumpdevice")
    word = given.required("@devtype")
    type_ = _TYPES.get(word.strip().lower())
    if type_ is None:
        raise SqlError.of(
            15044,
            16,
            1,
            f'The type "{word}" is an unknown backup device type. Use the type "disk" or "tape".',
        )
    name, physical = given.text("@logicalname"), given.text("@physicalname")
    if not name:
        raise SqlError.of(15045, 16, 1, "The logical name cannot be NULL.")
    if not physical:
        raise SqlError.of(15046, 16, 1, "The physical name cannot be NULL.")
    if name.strip().lower() in _RESERVED:
        raise SqlError.of(
            15285, 16, 1, f"The special word '{name}' cannot be used for a logical device name."
        )
    devices = session.engine.catalog.devices
    if any(known.physical_name.lower() == physical.lower() for known in devices.all()):
        raise SqlError.of(
            15061,
            16,
            1,
            f'The add device request was denied. A physical device named "{physical}" already exists. Only'
            " one backup device may refer to any physical device name.",
        )
    try:
        devices.add(BackupDevice(name, type_, physical))
    except KeyError:
        raise SqlError.of(15026, 16, 1, f"Logical device '{name}' already exists.") from None
    yield from ()
    return 0


def _drop(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    given = Parameters("sp_dropdevice", "@logicalname @delfile", arguments)
    _require_role(session)
    _require_no_transaction(session, "sys.sp_dropdevice")
    name, option = given.required("@logicalname"), given.text("@delfile")
    device = _find(session, name)
    if option is not None and option.strip().lower() != "delfile":
        raise SqlError.of(15216, 16, 1, f"'{option}' is not a valid option for the @delfile parameter.")
    if option is not None:
        for _ in ask(session, frame, "sp_dropdevice", device.physical_name):
            yield Message(15462, 0, 1, f"File '{device.physical_name}' closed.")
    session.engine.catalog.devices.drop(device.name)
    yield Message(15463, 0, 1, "Device dropped.")
    return 0


def _help(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_helpdevice", "@devname", arguments).text("@devname")
    shown = session.engine.catalog.devices.all() if name is None else [_find(session, name)]
    yield from result(
        "device_name sysname!, physical_name nvarchar(260), description nvarchar(255), status int,"
        " cntrltype smallint, size int",
        [
            {
                "device_name": device.name,
                "physical_name": device.physical_name,
                "description": f"{TYPE_WORDS[device.type].lower()}, backup device",
                "status": _BACKUP_DEVICE,
                "cntrltype": device.type,
                "size": 0,
            }
            for device in shown
        ],
    )
    return 0


def _find(session: Session, name: str) -> BackupDevice:
    """Raises SqlError 15012."""
    found = session.engine.catalog.devices.find(name)
    if found is None:
        raise SqlError.of(
            15012,
            16,
            1,
            f"The device '{name}' does not exist. Use sys.backup_devices to show available devices.",
        )
    return found


def _require_role(session: Session) -> None:
    """Raises SqlError 15247."""
    session.rights.require_server_role("diskadmin")


def _require_no_transaction(session: Session, procedure: str) -> None:
    if session.transaction_count() > 0:
        raise SqlError.of(
            15002, 16, 1, f"The procedure '{procedure}' cannot be executed within a transaction."
        )


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_addumpdevice": _add,
    "sp_dropdevice": _drop,
    "sp_helpdevice": _help,
}
