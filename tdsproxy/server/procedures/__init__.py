"""The system procedures: found by name in any database, as SQL Server finds what begins with sp_ or xp_."""

from __future__ import annotations

from typing import Final

from tdsproxy.server.procedures.attaching import PROCEDURES as ATTACHING
from tdsproxy.server.procedures.catalog import PROCEDURES as CATALOG
from tdsproxy.server.procedures.configuration import PROCEDURES as CONFIGURATION
from tdsproxy.server.procedures.define import SystemProcedure
from tdsproxy.server.procedures.devices import PROCEDURES as DEVICES
from tdsproxy.server.procedures.driver_modules import PROCEDURES as DRIVER_MODULES
from tdsproxy.server.procedures.drivers import PROCEDURES as DRIVERS
from tdsproxy.server.procedures.extended_properties import PROCEDURES as EXTENDED_PROPERTIES
from tdsproxy.server.procedures.files import PROCEDURES as FILES
from tdsproxy.server.procedures.history import PROCEDURES as HISTORY
from tdsproxy.server.procedures.messages import PROCEDURES as MESSAGES
from tdsproxy.server.procedures.refused import PROCEDURES as REFUSED
from tdsproxy.server.procedures.rename import PROCEDURES as RENAME
from tdsproxy.server.procedures.scripted import scripted_procedure
from tdsproxy.server.procedures.server import PROCEDURES as SERVER
from tdsproxy.server.procedures.sessions import PROCEDURES as SESSIONS
from tdsproxy.server.procedures.space import PROCEDURES as SPACE

__all__ = ["PROCEDURES", "find_procedure", "is_system_procedure", "scripted_procedure"]

PROCEDURES: Final[dict[str, SystemProcedure]] = {
    **ATTACHING,
    **CATALOG,
    **CONFIGURATION,
    **DEVICES,
    **DRIVERS,
    **DRIVER_MODULES,
    **EXTENDED_PROPERTIES,
    **FILES,
    **HISTORY,
    **MESSAGES,
    **REFUSED,
    **RENAME,
    **SERVER,
    **SESSIONS,
    **SPACE,
}


def is_system_procedure(name: str) -> bool:
    """Whether there is a system procedure called ``name``, whatever its case."""
    return (
        scripted_procedure(name, None) is not None
        or name.lower() in PROCEDURES
        or name.lower()
        in (
            "sp_executesql",
            "sp_prepare",
            "sp_execute",
            "sp_prepexec",
            "sp_unprepare",
        )
    )


def find_procedure(name: str, schema: str | None) -> SystemProcedure | None:
    """The procedure behind ``name``; ``schema`` may be sys, dbo or none."""
    if schema is not None and schema.lower() not in ("sys", "dbo", ""):
        return None
    return PROCEDURES.get(name.lower())
