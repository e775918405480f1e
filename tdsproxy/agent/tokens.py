"""Agent's tokens in the commands of steps: ``$(ESCAPE_SQUOTE(JOBNAME))`` and the like."""

from __future__ import annotations

import datetime as dt
import re
from typing import TYPE_CHECKING, Final
from uuid import UUID

from tdsproxy.agent.schedule import date_number, time_number

if TYPE_CHECKING:
    from tdsproxy.agent.records import Step

_TOKEN: Final = re.compile(r"\$\((?:ESCAPE_(SQUOTE|DQUOTE|RBRACKET|NONE)\((\w+)\)|(\w+))\)", re.IGNORECASE)
_ESCAPES: Final = {"SQUOTE": "'", "DQUOTE": '"', "RBRACKET": "]"}


class Tokens:
    """The tokens of one run of a job; what is no token stays as it is written."""

    def __init__(self, job_id: UUID, job_name: str, started: dt.datetime, server: str = "") -> None:
        now = started
        self._values = {
            "JOBID": f"0x{job_id.bytes_le.hex().upper()}",
            "JOBNAME": job_name,
            "STRTDT": str(date_number(started)),
            "STRTTM": f"{time_number(started):06d}",
            "DATE": str(date_number(now)),
            "TIME": f"{time_number(now):06d}",
            "SRVR": server,
            "INST": "",
            "MACH": server,
            "SQLDIR": "/var/opt/mssql",
            "SQLLOGDIR": "/var/opt/mssql/log",
            "STEPCT": "1",
            "OSCMD": "",
        }

    def replace(self, step: Step, text: str) -> str:
        values = {**self._values, "STEPID": str(step.number), "STEPNAME": step.name}

        def put(match: re.Match[str]) -> str:
            value = values.get((match[2] or match[3]).upper())
            if value is None:
                return match[0]
            escaped = _ESCAPES.get((match[1] or "").upper())
            return value if escaped is None else value.replace(escaped, escaped * 2)

        return _TOKEN.sub(put, text)
