"""What sessions and the shell ask about jobs, policies and managed backup: answered beside the agent."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from tdsproxy.agent.managed import INSTANCE, SOURCE, ManagedSettings, effective, policies_of
from tdsproxy.agent.policies import from_document
from tdsproxy.commands.context import Context
from tdsproxy.commands.failure import fail
from tdsproxy.keeper.managed_procedures import EVER_CONFIGURED, FLAG, ManagedProcedures
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.agent.policies import Policy
    from tdsproxy.agent.policy_book import PolicyBook
    from tdsproxy.agent.policy_runs import PolicyRuns
    from tdsproxy.agent.service import Agent
    from tdsproxy.catalog.catalog import Catalog

Row = tuple[Value, ...]
_OWNER: Final = 7
_SCHEDULE_OWNER: Final = 4
"""Where the owner stands in a row of sysjobs, of sysschedules."""
Procedure = Callable[[Context, Sequence[Value]], list[Row]]
SWITCH: Final = "managed backup"
"""The server setting that is ``off`` when the master switch is."""


class AgencyProcedures:
    """``made`` gives the agent, which is begun by it; ``policies`` and ``runs`` belong to it."""

    def __init__(
        self, made: Callable[[], Agent], policies: Callable[[], PolicyBook], runs: Callable[[], PolicyRuns]
    ) -> None:
        self._made = made
        self._policies = policies
        self._runs = runs

    @property
    def procedures(self) -> dict[str, Procedure]:
        """Of ``CommandEnvironment``."""
        return {
            "sp_agent_history": self._history,
            "sp_agent_write_to": self._write_to,
            "sp_agent_jobs": self._jobs,
            "sp_agent_policies": self._list,
            "sp_agent_sysjobs": self._sysjobs,
            "sp_agent_sysschedules": self._sysschedules,
            "sp_agent_properties": self._properties,
            "sp_agent_properties_put": self._properties_put,
            "sp_agent_policy_put": self._put,
            "sp_agent_policy_drop": self._drop,
            "sp_agent_policy_run": self._run,
            "sp_agent_managed": self._managed,
            "sp_agent_managed_put": self._managed_put,
            "sp_agent_managed_switch": self._managed_switch,
            **ManagedProcedures(self._made, self._settings_of).procedures,
        }

    # ------------------------------------------------------------------ jobs

    def _jobs(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """Id, name, enabled, what it does now, how it last ended, when that was, when it runs next."""
        _require_admin(context, "sp_agent_jobs")
        agent = self._made()
        running = {state.job_id: state for state in agent.runs()}
        rows: list[Row] = []
        for job in agent.jobs():
            state = running.get(job.id)
            doing = (
                "" if state is None else f"step {state.step}" if not state.waiting else "waits for a retry"
            )
            rows.append(
                (
                    str(job.id),
                    job.name,
                    "1" if job.enabled else "0",
                    doing,
                    job.last_outcome,
                    job.last_run,
                    None if job.next_run is None else job.next_run.isoformat(" ", "seconds"),
                    job.last_message,
                )
            )
        return rows

    def _sysjobs(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """sysjobs: all of it for those who may see others' jobs, else their own."""
        return self._seen(context, "sysjobs", _OWNER)

    def _sysschedules(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """sysschedules, as ``_sysjobs``."""
        return self._seen(context, "sysschedules", _SCHEDULE_OWNER)

    def _seen(self, context: Context, table: str, owner: int) -> list[Row]:
        rows = self._made().rows(table)
        roles = {role.lower() for role in context.session.database_roles.get("msdb", ())}
        if context.is_admin or roles & {"sqlagentreaderrole", "sqlagentoperatorrole"}:
            return rows
        login = context.env.catalog.logins.find(context.session.login)
        return [row for row in rows if login is not None and row[owner] == login.sid]

    def _properties(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """What is set of the agent's properties, names and values."""
        return [(name, value) for name, value in self._made().properties().items()]

    def _properties_put(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """Properties as a JSON object."""
        _require_admin(context, "sp_set_sqlagent_properties")
        self._made().set_properties({name: str(value) for name, value in json.loads(str(values[0])).items()})
        return []

    def _history(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """A job's id or None, and how many of the newest rows."""
        _require_admin(context, "sp_agent_history")
        job = None if values[0] is None else UUID(str(values[0]))
        return self._made().history(job, int(str(values[1])))

    def _write_to(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """An operator's name, a subject and a text: 1 when it was sent, 0 without a mail server, no row
        without the operator."""
        _require_admin(context, "sp_agent_write_to")
        name, subject, text = (str(value or "") for value in values[:3])
        sent = self._made().write_to(name, subject, text)
        return [] if sent is None else [(int(sent),)]

    # ------------------------------------------------------------------ policies

    def _list(self, context: Context, values: Sequence[Value]) -> list[Row]:
        from tdsproxy.agent.policies import document

        _require_admin(context, "sp_agent_policies")
        return [(source, policy.name, document(policy)) for source, policy in self._policies().all()]

    def _put(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """A source, a JSON list of documents, and whether others of the source go ('1')."""
        _require_admin(context, "sp_agent_policy_put")
        try:
            given = [from_document(json.dumps(item)) for item in json.loads(str(values[1]))]
        except (ValueError, TypeError, KeyError):
            raise fail(15021, "@policies") from None
        self._policies().put(str(values[0]), given, all_of_source=str(values[2]) == "1")
        return []

    def _drop(self, context: Context, values: Sequence[Value]) -> list[Row]:
        _require_admin(context, "sp_agent_policy_drop")
        found = self._policies().remove(str(values[0]), str(values[1]))
        return [("1" if found else "0",)]

    def _run(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """Source, name, action, database or None: the messages, as number, severity and text."""
        _require_admin(context, "sp_agent_policy_run")
        source, name, action = (str(value) for value in values[:3])
        only = [str(values[3])] if len(values) > 3 and values[3] is not None else None
        messages = self.messages(source, name, action, context.env.cancelled, only)
        return [(str(m.number), str(m.severity), m.text) for m in messages]

    def messages(
        self,
        source: str,
        name: str,
        action: str,
        cancelled: threading.Event,
        only: Sequence[str] | None = None,
    ) -> Iterator[Message]:
        """What a policy's action says. Raises SqlError for a policy that is not there."""
        policy: Policy | None = self._policies().find(source, name)
        if policy is None:
            raise SqlError.of(14262, 16, 1, f"The specified @policy ('{name}') does not exist.")
        return self._runs().run(policy, action, cancelled, only)

    # ------------------------------------------------------------------ managed backup

    def _managed(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """A row for each database and (``*``) the instance: name, whether it has settings of its own, its
        settings as JSON, its GUID or None for one that was dropped; the first row is the switch."""
        _require_admin(context, "sp_agent_managed")
        known = _by_key(self._settings())
        instance = known.get(INSTANCE)
        rows: list[Row] = [("", "1" if self._switched_on(context.env.catalog) else "0", "", None)]
        rows.append((INSTANCE, "1", _json(instance or ManagedSettings()), None))
        present = set()
        for database in context.env.catalog.databases.all():
            if not database.is_system:
                found = effective(known.get(database.name.lower()), instance)
                present.add(database.name.lower())
                rows.append((database.name, "1" if found.own else "0", _json(found.settings), database.guid))
        for name, own in known.items():
            if name != INSTANCE and name not in present:
                rows.append((name, "1", _json(effective(own, instance).settings), None))
        return rows

    def _settings_of(self, name: str) -> ManagedSettings:
        known = _by_key(self._settings())
        return effective(known.get(name.lower()), known.get(INSTANCE)).settings

    def _managed_put(self, context: Context, values: Sequence[Value]) -> list[Row]:
        """A database or ``*``, and settings to change as JSON. Raises CommandError 911 for no database."""
        _require_admin(context, "sp_agent_managed_put")
        name = str(values[0])
        if name != INSTANCE:
            found = context.env.database(name)
            if found is None:
                raise fail(911, name)
            name = found.name
        changes = json.loads(str(values[1]))
        known = _by_key(self._settings())
        settings = msgspec.structs.replace(known.get(name.lower(), ManagedSettings()), **changes)
        self._policies().put_managed(name, _json(settings))
        context.env.catalog.set_setting(FLAG + EVER_CONFIGURED, "true")
        self._renew(context.env.catalog)
        return []

    def _managed_switch(self, context: Context, values: Sequence[Value]) -> list[Row]:
        _require_admin(context, "sp_agent_managed_switch")
        context.env.catalog.set_setting(SWITCH, "on" if str(values[0]) == "1" else "off")
        self._renew(context.env.catalog)
        return []

    def renamed(self, catalog: Catalog, old: str, new: str) -> None:
        """A database has another name: its own settings of managed backup go with it."""
        if self._policies().rename_managed(old, new):
            self._renew(catalog)

    def _renew(self, catalog: Catalog) -> None:
        policies = policies_of(self._settings(), switched_on=self._switched_on(catalog))
        self._policies().put(SOURCE, policies, all_of_source=True)

    def _settings(self) -> dict[str, ManagedSettings]:
        return {
            name: msgspec.json.decode(text, type=ManagedSettings)
            for name, text in self._policies().managed().items()
        }

    @staticmethod
    def _switched_on(catalog: Catalog) -> bool:
        return catalog.setting(SWITCH) != "off"


def _by_key(settings: dict[str, ManagedSettings]) -> dict[str, ManagedSettings]:
    return {name.lower(): found for name, found in settings.items()}


def _json(settings: ManagedSettings) -> str:
    return msgspec.json.encode(settings).decode()


def _require_admin(context: Context, procedure: str) -> None:
    """Raises CommandError 229."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", procedure, "msdb", "dbo")
