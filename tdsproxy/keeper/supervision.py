"""What the keeper does for whoever operates the store, beside running statements: it counts them, writes the
error log, watches that what was promised holds, and runs retention and trial restores.

What it needs is loaded when it is first asked for, so that the keeper starts fast.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import apsw

from tdsproxy.commands.context import Context
from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import fail
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper.error_log import (
    BACKUP_NUMBERS,
    RESTORE_NUMBERS,
    ErrorLog,
    ErrorLogHandler,
    backup_text,
    restore_text,
)
from tdsproxy.log.records import LogError
from tdsproxy.store.errors import StoreError
from tdsproxy.store.threads import lasting_thread
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.replies import Done, Message, Reply, Rows
from tdsproxy.tsql.values import DateTime, Value

if TYPE_CHECKING:
    from tdsproxy.agent.notices import Condition, Facts
    from tdsproxy.agent.notifier import Notifier
    from tdsproxy.agent.policies import Retention
    from tdsproxy.agent.settings import Settings
    from tdsproxy.keeper.mailing import Mailing
    from tdsproxy.keeper.metrics import Counters

Procedure = Callable[[Context, Sequence[Value]], list[tuple[Value, ...]]]
Run = Callable[[NativeRequest, threading.Event], Iterator[Reply]]

_ERROR: Final = 11
_ALARMING: Final = 17
"""The severity from which errors of native statements are events for alerts."""
_ALERT_SECONDS: Final = 5.0
"""How long the end waits for alerts: a session may hold what they are written to."""
_SHOWN_PAGE: Final = 8192
_PROCEDURE: Final = "EXEC"
_QUESTIONS: Final = frozenset({"sp_metrics", "sp_status", "sp_doctor"})
_MAIL: Final = (
    "sp_mail_send",
    "sp_mail_profile",
    "sp_mail_entries",
    "sp_mail_change",
    "sp_mail_items",
    "sp_mail_log",
)
_TROUBLE: Final = (OSError, apsw.Error, StoreError, LogError, SqlError)
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """What is seen of a statement while it runs."""

    failed: bool = False
    errors: list[Message] = field(default_factory=list)
    first_cell: Value = None

    def note(self, messages: Iterable[Message]) -> None:
        found = [message for message in messages if message.severity >= _ERROR]
        self.errors += found
        self.failed = self.failed or bool(found)


class Supervision:
    """Usable from any thread. ``bind`` gives it the environment, and the way to run statements, before the
    first one."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self.errors = ErrorLog(store)
        self._env: CommandEnvironment | None = None
        self._run: Run | None = None
        self._alert: Callable[[int, int, str, str | None], None] = lambda number, severity, text, name: None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._events: queue.SimpleQueue[tuple[int, int, str, str] | None] = queue.SimpleQueue()
        self._alerting: threading.Thread | None = None
        self._guard = threading.Lock()
        self._counters: Counters | None = None
        self._notifier: Notifier | None = None
        self._mail: Mailing | None = None
        self._settings: Settings | None = None
        self._settings_error: str | None = None
        self._conditions: list[Condition] = []
        self._handler = ErrorLogHandler(self.errors, lambda name: self._counted().thread_ended(name))
        logging.getLogger("tdsproxy").addHandler(self._handler)

    def bind(
        self,
        env: CommandEnvironment,
        run: Run,
        alert: Callable[[int, int, str, str | None], None] = lambda number, severity, text, database: None,
    ) -> None:
        """``alert`` hears of events: a number, a severity, a text, a database."""
        self._env, self._run, self._alert = env, run, alert
        env.catalog.operations.make()

    @property
    def procedures(self) -> dict[str, Procedure]:
        """Of ``CommandEnvironment``."""
        return {
            "sp_retention": self._retention,
            "sp_metrics": self._metrics,
            "sp_doctor": self._doctor,
            "sp_trial_restore": self._trial,
            "sp_cycle_errorlog": self._cycle,
            "xp_enumerrorlogs": self._logs,
            "tds_log_event": self._event,
            **{name: partial(self._mailing, name) for name in _MAIL},
        }

    # ------------------------------------------------------------------ each statement

    def follow(
        self, request: NativeRequest, replies: Generator[Reply, None, None], cancelled: Callable[[], bool]
    ) -> Generator[Reply, None, None]:
        """``replies``; when they have ended, the statement is counted and told to the error log."""
        start = time.monotonic()
        seen = _Seen()
        ended = False
        with closing(replies):
            try:
                for reply in replies:
                    if isinstance(reply, Message):
                        seen.note([reply])
                    elif isinstance(reply, Done):
                        seen.failed = seen.failed or reply.error
                    elif isinstance(reply, Rows) and seen.first_cell is None and reply.rows:
                        seen.first_cell = reply.rows[0][0]
                    yield reply
                ended = True
            except SqlError as error:
                seen.note(error.messages)
                seen.failed = ended = True
                raise
            finally:
                result = "failed" if seen.failed else "done"
                if cancelled() or not ended:
                    result = "cancelled"
                try:
                    self._ended(request, seen, result, time.monotonic() - start)
                except _TROUBLE as error:
                    _log.error("the end of a statement can't be told: %s", error)

    def _ended(self, request: NativeRequest, seen: _Seen, result: str, seconds: float) -> None:
        from tdsproxy.agent import notices

        if request.text.lstrip()[:4].upper() == _PROCEDURE:
            if "sp_verify_restore" in request.text and seen.first_cell == "damaged":
                self._told(notices.FAILED_VERIFY, "media", "A trial restore found a damaged backup.")
            return
        for error in seen.errors:
            if error.severity >= _ALARMING:
                self._alert(error.number, error.severity, error.text, request.session.database)
        statement = _parsed(request)
        kind = _kind(statement)
        self._counted().statement(kind, result, seconds)
        match statement:
            case ast.Backup():
                name = _said(statement.database, request) or request.session.database
                self._backup_ended(statement, name, seen, result)
            case ast.Restore(kind="DATABASE" | "LOG"):
                name = _said(statement.database, request) or ""
                if result == "done":
                    self._restored(name)
                elif result == "failed":
                    self._failed(notices.FAILED_RESTORE, name, f"RESTORE {statement.kind} failed", seen)
            case ast.Restore(kind="VERIFYONLY") if result == "failed":
                self._failed(notices.FAILED_VERIFY, "media", "RESTORE VERIFYONLY failed", seen)
            case _:
                return

    def _backup_ended(self, statement: ast.Backup, name: str, seen: _Seen, result: str) -> None:
        from tdsproxy.agent import notices

        if result == "done":
            self._backed_up(name)
            return
        text = (
            f"BACKUP failed to complete the command BACKUP {statement.kind} {name}. Check the backup"
            " application log for detailed messages."
        )
        self.errors.error("Backup", 3041, 16, 1, text, database=name)
        self._alert(3041, 16, text, name)
        if result == "failed":
            self._failed(notices.FAILED_BACKUP, name, f"BACKUP {statement.kind} of '{name}' failed", seen)

    def _backed_up(self, name: str) -> None:
        assert self._env is not None
        found = self._env.catalog.operations.newest_backup(name)
        if found is None:
            return
        kind = _class(found["type"])
        values = _values(found)
        text = backup_text(kind, values)
        self.errors.write(
            "Backup", text, number=BACKUP_NUMBERS[kind], severity=10, database=values["database"]
        )
        self._alert(BACKUP_NUMBERS[kind], 10, text, name)
        word = {"D": "full", "I": "differential", "L": "log"}.get(kind, "file")
        self._counted().backed_up(
            str(values["database"]), word, int(str(found["compressed_backup_size"] or 0))
        )

    def _restored(self, name: str) -> None:
        assert self._env is not None
        found = self._env.catalog.operations.newest_restore(name)
        if found is None:
            return
        kind = _class(found["type"])
        values = {**_values(found), "database": name}
        text = restore_text(kind, values)
        self.errors.write("Backup", text, number=RESTORE_NUMBERS[kind], severity=10, database=name)
        self._alert(RESTORE_NUMBERS[kind], 10, text, name)

    def _failed(self, kind: str, subject: str, what: str, seen: _Seen) -> None:
        reason = seen.errors[0].text if seen.errors else "it ended without a message"
        self._told(kind, subject, f"{what}: {reason}")

    def _told(self, kind: str, subject: str, text: str) -> None:
        """An event: to whoever is to be told."""
        from tdsproxy.agent.notices import EVENT, Notice

        self._counted().notice(kind)
        self.errors.append("Server", text)
        self._sender().send(Notice(kind, subject, text, EVENT))

    def _counted(self) -> Counters:
        with self._guard:
            if self._counters is None:
                from tdsproxy.keeper.metrics import Counters

                self._counters = Counters()
            return self._counters

    # ------------------------------------------------------------------ the watch

    def start(self) -> None:
        """From now on it is looked whether what was promised holds."""
        self._thread = lasting_thread(self._watch, "supervision", self._stop)
        self._thread.start()
        self._alerting = lasting_thread(self._raise_alerts, "alerts", self._stop)
        self._alerting.start()

    def close(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._alerting is not None:
            self._events.put(None)
            self._alerting.join(_ALERT_SECONDS)
        if self._notifier is not None:
            self._notifier.close()
        if self._mail is not None:
            self._mail.close()
        logging.getLogger("tdsproxy").removeHandler(self._handler)

    def settings(self) -> Settings:
        """As they are now; those before, when they can't be read."""
        from tdsproxy.agent.settings import Settings, SettingsError, read_settings

        try:
            self._settings, self._settings_error = read_settings(self._store), None
        except (SettingsError, OSError) as error:
            if self._settings_error is None:
                _log.error("the settings of operation can't be used: %s", error)
            self._settings_error = str(error)
        return self._settings or Settings()

    def _sender(self) -> Notifier:
        from tdsproxy.agent.notifier import Mail, Notifier

        assert self._env is not None
        given = self.settings().notices
        with self._guard:
            mail = None
            if given.mail is not None:
                file = given.mail.password_file
                mail = Mail(
                    given.mail.host,
                    tuple(given.mail.to),
                    given.mail.sender,
                    given.mail.port,
                    given.mail.user,
                    None if file is None else Path(file),
                    given.mail.starttls,
                )
            wanted = (tuple(given.webhooks), mail)
            if self._notifier is None or self._notifier.goes_to != wanted:
                if self._notifier is not None:
                    self._notifier.close()
                self._notifier = Notifier(*wanted, self._env.identity.server_name)
            return self._notifier

    def mail(self, to: Sequence[str], subject: str, text: str) -> bool:
        """Sends a mail through the server of the notices; False when there is none."""
        from tdsproxy.agent.notifier import Letter

        return self._sender().post(Letter(tuple(to), subject, text))

    def _mailer(self) -> Mailing:
        from tdsproxy.keeper.mail_book import MailBook
        from tdsproxy.keeper.mailing import Mailing

        assert self._env is not None
        with self._guard:
            if self._mail is None:
                book = MailBook(self._store, self._env.catalog, self.settings)
                self._mail = Mailing(self._store, self._sender, book, self._env.identity.server_name)
            return self._mail

    def _mailing(self, name: str, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        return self._mailer().procedures[name](context, values)

    def _send_unsent(self) -> None:
        try:
            self._mailer().send_unsent()
        except _TROUBLE as error:
            _log.error("mails that were not sent can't be read: %s", error)

    def _watch(self) -> None:
        from tdsproxy.agent.notices import Watch

        assert self._env is not None
        self._examine()
        self._send_unsent()
        given = self.settings()
        watch = Watch(given.notices.repeat_hours * 3600)
        last_job = self._env.catalog.operations.last_job_run()
        began = time.monotonic()
        due = {"retention": began, "trials": began}
        while not self._stop.wait(given.notices.interval_seconds):
            given = self.settings()
            try:
                self._look(watch, given)
                last_job = self._look_at_jobs(last_job)
            except _TROUBLE as error:
                _log.error("the store can't be watched: %s", error)
            every = {"retention": given.retention.every_hours, "trials": given.trials.every_hours}
            for what, hours in every.items():
                if hours > 0 and time.monotonic() - due[what] >= hours * 3600:
                    due[what] = time.monotonic()
                    self._by_itself(what, given)

    def _examine(self) -> None:
        """The quick examination at the start: what it finds stands in the error log."""
        assert self._run is not None
        session = SessionContext("sa", server_roles=frozenset({"sysadmin"}), application="tdsproxy")
        request = NativeRequest("EXEC sp_doctor @a1", session, variables={"@a1": "1"})
        try:
            for reply in self._run(request, self._stop):
                for row in reply.rows if isinstance(reply, Rows) else ():
                    if row[0] != "ok":
                        self.errors.append("Server", f"{row[1]!s}: {row[2]!s} Remedy: {row[3]!s}")
        except _TROUBLE as error:
            _log.error("the store can't be examined: %s", error)

    def _look(self, watch: Any, given: Settings) -> None:
        from tdsproxy.agent.notices import conditions

        for notice in watch.look(conditions(self.facts(), given.notices.objectives), time.monotonic()):
            self._counted().notice(notice.kind)
            self.errors.append("Server", notice.text)
            self._sender().send(notice)
        self._conditions = watch.present

    def _look_at_jobs(self, last: int) -> int:
        from tdsproxy.agent.notices import FAILED_JOB

        assert self._env is not None
        for number, name, message in self._env.catalog.operations.failed_jobs(last):
            self._told(FAILED_JOB, name, f"The job '{name}' failed. {message}".strip())
            last = number
        return last

    def facts(self) -> Facts:
        """How the store stands now."""
        from tdsproxy.agent.notices import DatabaseFacts, Facts
        from tdsproxy.commands.status import database_statuses, trials_by_database

        env = self._env
        assert env is not None
        proven = trials_by_database(env)
        now = env.clock()
        found = []
        for item in database_statuses(env):
            database = env.catalog.databases.find(item.name)
            if database is None or database.source is not None:
                continue
            age = (now - database.created).total_seconds()
            tried = proven.get(item.name.lower())
            found.append(
                DatabaseFacts(
                    item.name,
                    age,
                    {kind: last.seconds_ago for kind, last in item.last.items()},
                    item.capture_lag is not None,
                    None if item.chain_ok else item.chain_reason or "commits may be missing",
                    item.capture_lag,
                    # What was tried before it was made was another database of its name.
                    tried if tried is None or tried <= age else None,
                )
            )
        free = {}
        for directory in {env.catalog.store, env.paths.backup_directory}:
            if directory.exists():
                usage = shutil.disk_usage(directory)
                free[str(directory)] = (usage.free, usage.total)
        taken = sum(item.compressed_size for item in env.catalog.history.listed(None))
        return Facts(tuple(found), free, taken)

    def _by_itself(self, what: str, given: Settings) -> None:
        """Retention or a trial restore, when it is due."""
        from tdsproxy.agent.notices import FAILED_RETENTION

        run, env = self._run, self._env
        assert run is not None
        assert env is not None
        text = "EXEC sp_retention @a1" if what == "retention" else "EXEC sp_trial_restore"
        if what == "retention" and not given.retention.databases:
            return
        session = SessionContext("sa", server_roles=frozenset({"sysadmin"}), application="tdsproxy")
        try:
            failed = []
            for reply in run(NativeRequest(text, session, variables={"@a1": "0"}), self._stop):
                if isinstance(reply, Message) and reply.severity >= _ERROR:
                    failed.append(reply.text)
                elif isinstance(reply, Rows):
                    failed += [f"{row[5]!s}: {row[6]!s}" for row in reply.rows if row[0] == "failed"]
            for reason in failed:
                self._told(FAILED_RETENTION if what == "retention" else "failed trial", "store", reason)
        except _TROUBLE as error:
            _log.error("%s can't run: %s", what, error)

    # ------------------------------------------------------------------ procedures

    def _retention(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        from tdsproxy.agent.policy_book import PolicyBook
        from tdsproxy.agent.retention_run import procedures

        rules = self.settings().retention
        book = PolicyBook(self._store, context.env.clock)
        try:
            policies = [policy for _, policy in book.all() if policy.retention is not None]
        finally:
            book.close()

        def rules_of(database: str) -> Retention | None:
            """The configured ones; else those of the first policy that covers the database."""
            found = rules.of(database)
            if found is not None:
                return found
            return next((policy.retention for policy in policies if policy.covers(database)), None)

        return procedures(rules_of)["sp_retention"](context, values)

    def _metrics(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        from tdsproxy.keeper.exposition import Metric
        from tdsproxy.keeper.metrics import store_metrics

        _require_admin(context, "sp_metrics")
        raised = Metric("tdsproxy_conditions", "gauge", "What is wrong now: 1 for each.")
        for item in self._conditions:
            raised.add(1, kind=item.kind, subject=item.subject)
        found = [*self._counted().metrics(), *store_metrics(context.env), raised]
        return [(json.dumps(metric.plain(), ensure_ascii=False),) for metric in found]

    def _doctor(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        from tdsproxy.commands.doctor import examine

        _require_admin(context, "sp_doctor")
        quick = bool(values) and str(values[0]) == "1"
        self.settings()
        rows = examine(context, quick=quick, settings_error=self._settings_error)
        return [(item.level, item.subject, item.text, item.remedy) for item in rows]

    def _trial(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        from tdsproxy.agent.notices import FAILED_VERIFY
        from tdsproxy.commands.trial_restores import trial_restore

        _require_admin(context, "sp_trial_restore")
        rows = trial_restore(context, values, self.settings().trials.databases)
        for row in rows:
            if row[2] != "1":
                self._told(
                    FAILED_VERIFY, str(row[0]), f"The trial restore of '{row[0]!s}' failed: {row[5]!s}"
                )
        return rows

    def _cycle(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        _require_admin(context, "sp_cycle_errorlog")
        self.errors.cycle()
        return []

    def _event(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        """What a statement has put into the event log: number, severity, state, text, session. Alerts are
        raised behind it: whoever waits for this may hold locks that they need."""
        number, severity, state = (int(str(value)) for value in values[:3])
        text, database = str(values[3]), context.session.database
        self.errors.error(f"spid{values[4]!s}", number, severity, state, text, database=database)
        self._events.put((number, severity, text, database))
        return []

    def _raise_alerts(self) -> None:
        """Until None is put."""
        while (event := self._events.get()) is not None:
            try:
                self._alert(*event)
            except _TROUBLE as error:
                _log.error("the alerts of error %s can't be raised: %s", event[0], error)

    def _logs(self, context: Context, values: Sequence[Value]) -> list[tuple[Value, ...]]:
        return [
            (str(number), dt.datetime.fromtimestamp(changed).isoformat(), str(size))
            for number, changed, size in self.errors.logs()
        ]


def only_looks(request: NativeRequest) -> bool:
    """Whether it is a question of those who watch, that comes again and again and leaves no trace."""
    words = request.text.split(None, 2)
    return len(words) > 1 and words[0].upper() == _PROCEDURE and words[1].lower() in _QUESTIONS


def _require_admin(context: Context, procedure: str) -> None:
    """Raises CommandError 229."""
    if not context.is_admin:
        raise fail(229, "EXECUTE", procedure, "mssqlsystemresource", "sys")


def _parsed(request: NativeRequest) -> ast.Statement | None:
    from tdsproxy.tsql.native import parse_native

    try:
        return parse_native(request.text, quoted_identifier=request.session.quoted_identifier)
    except SyntaxError_:
        return None


def _kind(statement: ast.Statement | None) -> str:
    match statement:
        case ast.Backup() if any(option.name.upper() == "DIFFERENTIAL" for option in statement.options):
            return "backup_differential"
        case ast.Backup():
            return f"backup_{statement.kind.lower()}"
        case ast.Restore():
            return f"restore_{statement.kind.lower()}"
        case None:
            return "other"
    return {"AlterDatabase": "alter_database", "CreateDatabase": "create_database"}.get(
        type(statement).__name__, "other"
    )


def _said(operand: ast.Operand | None, request: NativeRequest) -> str | None:
    if operand is None:
        return None
    if operand.variable is not None:
        value = request.variables.get(operand.variable.lower())
        return value if isinstance(value, str) else None
    return None if operand.value is None else str(operand.value)


def _class(kind: Value) -> str:
    """D, I, L or F (files and parts)."""
    return {"G": "I", "Q": "I", "P": "F"}.get(str(kind), str(kind))


def _values(found: dict[str, Value]) -> dict[str, Any]:
    created = found["database_creation_date"]
    return {
        "database": found["database_name"],
        "created": created.to_python() if isinstance(created, DateTime) else dt.datetime(1900, 1, 1),
        "pages": -(-int(str(found["backup_size"] or 0)) // _SHOWN_PAGE),
        "first": int(str(found["first_lsn"] or 0)),
        "last": int(str(found["last_lsn"] or 0)),
        "base": int(str(found["differential_base_lsn"] or 0)),
        "devices": str(found["devices"]).split("\n"),
        "position": int(str(found["position"] or 1)),
    }
