"""SQL Server Agent's procedures in msdb: T-SQL over its tables, and the few that ask the agent itself."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from tdsproxy.server.procedures.define import SystemProcedure
from tdsproxy.server.procedures.jobs.alert_bodies import BODIES as ALERTS
from tdsproxy.server.procedures.jobs.asking import PROCEDURES as ASKING
from tdsproxy.server.procedures.jobs.help_bodies import BODIES as HELP
from tdsproxy.server.procedures.jobs.job_bodies import BODIES as JOBS
from tdsproxy.server.procedures.jobs.mail import BODIES as MAIL_BODIES
from tdsproxy.server.procedures.jobs.mail import PROCEDURES as MAIL
from tdsproxy.server.procedures.jobs.managed import PROCEDURES as MANAGED
from tdsproxy.server.procedures.jobs.managed import SCHEMA
from tdsproxy.server.procedures.jobs.messages import MESSAGES
from tdsproxy.server.procedures.jobs.other_bodies import BODIES as OTHERS
from tdsproxy.server.procedures.jobs.properties import PROCEDURES as PROPERTIES
from tdsproxy.server.procedures.jobs.schedule_bodies import BODIES as SCHEDULES
from tdsproxy.server.procedures.jobs.service_bodies import BODIES as SERVICE
from tdsproxy.tsql import ast
from tdsproxy.tsql.evaluator import StoredProcedure
from tdsproxy.tsql.parser import parse

__all__ = ["MESSAGES", "agent_procedure", "asking_procedure"]

_ASKING: Final = {**ASKING, **MAIL, **PROPERTIES}
_BODIES: Final = {**JOBS, **SCHEDULES, **HELP, **OTHERS, **ALERTS, **SERVICE, **MAIL_BODIES}


def asking_procedure(name: str, schema: str | None, database: str) -> SystemProcedure | None:
    """One of msdb's procedures that ask the agent: of jobs, or of the schema managed_backup."""
    if database.lower() != "msdb":
        return None
    if (schema or "dbo").lower() == SCHEMA:
        return MANAGED.get(name.lower())
    if (schema or "dbo").lower() != "dbo":
        return None
    return _ASKING.get(name.lower())


def agent_procedure(name: str, schema: str | None, database: str) -> StoredProcedure | None:
    """One of the procedures of jobs, which are msdb's."""
    if name.lower() not in _BODIES or database.lower() != "msdb" or (schema or "dbo").lower() != "dbo":
        return None
    definition = _parsed(name.lower())
    return StoredProcedure(
        definition.name.object, definition.parameters, definition.body, 0, definition.text, database="msdb"
    )


@lru_cache(maxsize=128)
def _parsed(name: str) -> ast.CreateProcedure:
    parameters, body = _BODIES[name]
    statement = parse(f"CREATE PROCEDURE {name} {parameters} AS SET NOCOUNT ON {body} RETURN 0").statements[0]
    if not isinstance(statement, ast.CreateProcedure):
        raise TypeError("a system procedure's text holds another statement")
    return statement
