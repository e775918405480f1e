"""The agent of the keeper's store: made at its first use, so that the keeper itself starts fast."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final
from uuid import UUID

import apsw

from tdsproxy.catalog.names import name_key
from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.file_procedures import Procedure
from tdsproxy.commands.request import NativeRequest
from tdsproxy.keeper.options import KeeperOptions
from tdsproxy.store.threads import lasting_thread
from tdsproxy.tsql.replies import Message, Reply
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.agent.policy_book import PolicyBook
    from tdsproxy.agent.policy_runs import PolicyRuns
    from tdsproxy.agent.policy_watch import PolicyWatch
    from tdsproxy.agent.service import Agent, Finished
    from tdsproxy.agent.steps import ServerProcess
    from tdsproxy.catalog.logins import Login
    from tdsproxy.keeper.agency_procedures import AgencyProcedures

_IDLE_LOAD: Final = 0.1
_START_SECONDS: Final = 0.5
_STANDBY_SECONDS: Final = 1.0
_PROCEDURES: Final = (
    "sp_agent_history",
    "sp_agent_jobs",
    "sp_agent_policies",
    "sp_agent_sysjobs",
    "sp_agent_sysschedules",
    "sp_agent_properties",
    "sp_agent_properties_put",
    "sp_agent_policy_put",
    "sp_agent_policy_drop",
    "sp_agent_policy_run",
    "sp_agent_managed",
    "sp_agent_managed_put",
    "sp_agent_managed_switch",
    "sp_agent_managed_sets",
    "sp_agent_managed_events",
    "sp_agent_managed_health",
    "sp_agent_managed_flags",
    "sp_agent_managed_flag_put",
    "sp_agent_write_to",
)
_log = logging.getLogger(__name__)


class StoreAgent:
    """Implements ``commands.environment.Agent``. Usable from any thread."""

    def __init__(
        self,
        environment: CommandEnvironment,
        options: KeeperOptions,
        run: Callable[[NativeRequest, threading.Event], Iterator[Reply]],
        mail: Callable[[Sequence[str], str, str], bool],
    ) -> None:
        self._environment = environment
        self._options = options
        self._run = run
        self._mail = mail
        self._guard = threading.RLock()
        self._agent: Agent | None = None
        self._policies: PolicyBook | None = None
        self._policy_runs: PolicyRuns | None = None
        self._watch: PolicyWatch | None = None
        self._server: ServerProcess | None = None
        self._scheduling: threading.Thread | None = None
        self._closed = False
        self._ending = threading.Event()

    # ------------------------------------------------------------------ commands.environment.Agent

    def start(self, job_id: UUID, step: str | None, login: str) -> None:
        self._made().start(job_id, step, login)

    def stop(self, job_id: UUID, login: str) -> None:
        self._made().stop(job_id, login)

    # ------------------------------------------------------------------ for the keeper

    def schedule(self) -> None:
        """Jobs run from now on when they are due. Returns at once."""
        if self._scheduling is None or not self._scheduling.is_alive():
            self._scheduling = lasting_thread(self._schedule, "agent start", self._ending)
            self._scheduling.start()

    def _schedule(self) -> None:
        """A little later, so that the first clients need not wait for it. A standby runs no jobs: they are
        those of the store that it follows, until it takes over."""
        if self._ending.wait(_START_SECONDS):
            return
        while self._is_standby():
            if self._ending.wait(_STANDBY_SECONDS):
                return
        with self._guard:
            if self._closed:
                return
            agent = self._make()
        agent.schedule()

    def follow(self, options: KeeperOptions) -> None:
        """The store has become a standby."""
        self._options = options

    def _is_standby(self) -> bool:
        if self._options.follow is None:
            return False
        from tdsproxy.commands.elsewhere import read_follow_state

        state = read_follow_state(self._environment.catalog.store)
        return state is None or not state["ended"]

    def alert(self, number: int, severity: int, text: str, database: str | None) -> None:
        """An event that alerts may be defined for. A standby's are those of the store that it follows."""
        if self._closed or self._is_standby():
            return
        try:
            self._made().alert(number, severity, text, database)
        except apsw.Error as error:
            _report(f"the alerts of msdb can't be read: {error}")

    def renamed(self, old: str, new: str) -> None:
        """See ``commands.environment.Agent``."""
        from tdsproxy.keeper.managed_procedures import EVER_CONFIGURED, FLAG

        catalog = self._environment.catalog
        try:
            if catalog.setting(FLAG + EVER_CONFIGURED) is not None:
                self._asked().renamed(catalog, old, new)
        except apsw.Error as error:
            _report(f"'{old}' is '{new}' now, but managed backup can't be told: {error}")

    def outcomes(self) -> Mapping[tuple[str, str], int]:
        """See ``commands.environment.Agent``."""
        return {} if self._agent is None else self._agent.outcomes()

    def drain(self) -> None:
        if self._agent is not None:
            self._agent.drain()

    @property
    def busy(self) -> bool:
        return self._agent is not None and self._agent.busy

    @property
    def has_schedules(self) -> bool:
        return self._agent is not None and self._agent.has_schedules

    @property
    def server_pid(self) -> int | None:
        """The process that runs T-SQL steps; it is a client of the keeper."""
        return None if self._server is None else self._server.pid

    def close(self) -> None:
        """Jobs that run are stopped."""
        self._ending.set()
        with self._guard:
            self._closed = True
        if self._agent is not None:
            self._agent.close()
        if self._server is not None:
            self._server.close()
        if self._policies is not None:
            self._policies.close()

    @property
    def procedures(self) -> Mapping[str, Procedure]:
        """What there is to be asked about jobs and policies, of ``CommandEnvironment``."""
        return {name: partial(self._answer, name) for name in _PROCEDURES}

    def _answer(self, name: str, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        return self._asked().procedures[name](context, values)

    def _asked(self) -> AgencyProcedures:
        from tdsproxy.keeper.agency_procedures import AgencyProcedures

        with self._guard:
            agent = self._make()
            book, runs = self._policies, self._policy_runs
        assert book is not None
        assert runs is not None
        return AgencyProcedures(lambda: agent, lambda: book, lambda: runs)

    # ------------------------------------------------------------------ making it

    def _made(self) -> Agent:
        with self._guard:
            return self._make()

    def _make(self) -> Agent:
        if self._agent is None:
            from tdsproxy.agent.book import JobBook
            from tdsproxy.agent.clock import SystemClock
            from tdsproxy.agent.policy_book import PolicyBook
            from tdsproxy.agent.policy_runs import PolicyRuns
            from tdsproxy.agent.policy_watch import PolicyWatch, StoreChanges
            from tdsproxy.agent.records import RunStatus
            from tdsproxy.agent.service import Agent
            from tdsproxy.agent.steps import AgentSteps, ServerProcess

            environment = self._environment
            clock = SystemClock()
            catalog = environment.catalog
            self._policies = PolicyBook(catalog.store, lambda: clock.local(clock.now()))
            history = catalog.history
            self._policy_runs = PolicyRuns(
                self._run, catalog.databases.all, history.listed, history.has_device, clock
            )
            self._server = ServerProcess(self._command())
            steps = AgentSteps(self._run, self._server, self._login, self._write, self._run_policy)
            book = JobBook(catalog.store, environment.identity.server_name)
            agent = Agent(book, catalog.logins, steps, clock, _report, _is_idle, self._mail)
            self._watch = PolicyWatch(
                self._policies.all,
                catalog.databases.all,
                StoreChanges(catalog.store, environment.logs, catalog.history.listed),
                partial(agent.start_by, "0 (changes of a database)"),
            )
            agent.extras.append(self._watch)
            watch = self._watch
            agent.listeners.append(
                lambda ended: watch.finished(ended.job_id, failed=ended.status is RunStatus.FAILED)
            )
            agent.listeners.append(self._tell_of_managed)
            self._agent = agent
        return self._agent

    def _tell_of_managed(self, finished: Finished) -> None:
        """Failures of managed backup go to the addresses of its parameter."""
        from tdsproxy.agent.records import RunStatus
        from tdsproxy.keeper.managed_procedures import FLAG, JOB_PREFIX, NOTIFIED

        if finished.status is not RunStatus.FAILED or not finished.job.startswith(JOB_PREFIX):
            return
        addresses = self._environment.catalog.setting(FLAG + NOTIFIED) or ""
        to = [part.strip() for part in addresses.split(";") if part.strip()]
        if to and not self._mail(to, f"{finished.job} failed", finished.message):
            _report(f"nobody can be told that '{finished.job}' failed: no mail server")

    def _run_policy(
        self, source: str, name: str, action: str, cancelled: threading.Event
    ) -> Iterator[Message]:
        """What a policy's job does. Raises SqlError for a policy that is not there."""
        from tdsproxy.agent.policy_book import CHANGE, job_id

        only = None
        if action == CHANGE:
            assert self._watch is not None
            only = sorted(self._watch.take(job_id(source, name, action)))
        yield from self._asked().messages(source, name, action, cancelled, only or None)

    def _command(self) -> list[str]:
        options = self._options
        words = [sys.executable, "-m", "tdsproxy.server.job_steps", "--store", str(options.store)]
        if options.backup_directory is not None:
            words += ["--backup-dir", str(options.backup_directory)]
        return [*words, "--server-name", self._environment.identity.server_name]

    def _login(self, name: str) -> Login | None:
        for login in self._environment.catalog.logins.all():
            if name_key(login.name) == name_key(name):
                return login
        return None

    def _write(self, name: str, text: str, append: bool) -> None:
        """A step's output file: it may lie where backups may. Raises OSError, SqlError."""
        store = self._environment.catalog.store
        files = [database.path(store) for database in self._environment.catalog.databases.all()]
        path = self._environment.paths.for_writing(name, files).path
        flags = os.O_WRONLY | os.O_CREAT | (os.O_APPEND if append else os.O_TRUNC)
        with os.fdopen(os.open(path, flags, 0o600), "w", encoding="utf-8") as file:
            file.write(text)


def _report(text: str) -> None:
    _log.warning("%s", text)


def _is_idle() -> bool:
    """Whether the machine has next to nothing to do."""
    return os.getloadavg()[0] < _IDLE_LOAD * (os.cpu_count() or 1)
