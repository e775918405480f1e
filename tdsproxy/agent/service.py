"""The agent of a store: knows what is due, starts jobs, stops them, and writes down how they went.

``tick`` does everything that is due at a moment and says when the next thing is; the thread of ``schedule``
calls it. Changes of msdb by other processes are seen by SQLite's data version.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol
from uuid import UUID

import apsw

from tdsproxy.agent.book import JobBook
from tdsproxy.agent.records import Alert, Attachment, HistoryRow, Job, JobSummary, RunStatus, Unfinished
from tdsproxy.agent.running import Invocation, JobRun, Outcome, RunState, Source, StepRunner, Zoned
from tdsproxy.agent.schedule import Frequency, date_of, instant, next_run, seconds_of
from tdsproxy.agent.timetable import CRON, next_cron
from tdsproxy.catalog.logins import Login
from tdsproxy.store.threads import ENDED, lasting_thread
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.values import Value

_LATE_SECONDS: Final = 60.0
"""A run that begins so much after its time is late, and says so."""
_LOOK_SECONDS: Final = 1.0
_PUT_BACK_SECONDS: Final = 60.0
"""A clock that is put back by more was wrong: what was planned by it is planned anew."""
_STOP_SECONDS: Final = 20.0
_END_SECONDS: Final = 20.0
"""So long a run may take, behind its outcome in msdb, to be over."""
_IDLE_SECONDS: Final = 600.0
_FOREVER: Final = dt.datetime.max.replace(tzinfo=dt.UTC)
_SHUTDOWN: Final = "Shutdown Sequence 0"
_log = logging.getLogger(__name__)


class Logins(Protocol):
    """Who may own a job."""

    def all(self) -> list[Login]: ...


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that ended, for who counts and tells."""

    job_id: UUID
    job: str
    status: RunStatus
    message: str
    ended: dt.datetime


@dataclass(slots=True)
class _Planned:
    attachment: Attachment
    due: dt.datetime | None


class Extra(Protocol):
    """More that is due at times: policies."""

    def tick(self, now: dt.datetime) -> dt.datetime | None:
        """Does what is due; when the next thing is."""
        ...


Mailer = Callable[[Sequence[str], str, str], bool]
"""Sends a mail: to whom, its subject, its text. False when there is no mail server."""


class Agent:
    """Usable from any thread. ``report`` gets lines for the error log."""

    def __init__(
        self,
        book: JobBook,
        logins: Logins,
        steps: StepRunner,
        clock: Zoned,
        report: Callable[[str], None] = _log.warning,
        idle: Callable[[], bool] = lambda: False,
        mail: Mailer | None = None,
    ) -> None:
        self._book = book
        self._logins = logins
        self._steps = steps
        self._clock = clock
        self._report = report
        self._idle = idle
        self._mail = mail
        self._idle_since: dt.datetime | None = None
        self._guard = threading.RLock()
        self._session: int | None = None
        self._version: int | None = None
        self._first_look = True
        self._at_start: frozenset[tuple[UUID, int]] = frozenset()
        self._plan: dict[tuple[UUID, int], _Planned] = {}
        self._looked: dt.datetime | None = None
        self._runs: dict[UUID, RunState] = {}
        self._threads: set[threading.Thread] = set()
        self._stopping = threading.Event()
        self._wake = threading.Event()
        self._draining = False
        self._thread: threading.Thread | None = None
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self.listeners: list[Callable[[Finished], None]] = []
        self.extras: list[Extra] = []
        self._extra_due: dt.datetime | None = None

    # ------------------------------------------------------------------ life

    def begin(self) -> int:
        """Starts a session of the agent, once: runs that were cut off are shown as ended. Its number."""
        with self._guard:
            if self._session is None:
                now = self._clock.local(self._clock.now())
                for run in self._book.unfinished():
                    self._end_unfinished(run, now)
                self._at_start = self._starting_now()
                self._session = self._book.begin_session(now)
            return self._session

    def schedule(self) -> None:
        """Begins to run what is due, in a thread of its own; again after ``drain``."""
        with self._guard:
            self._draining = False
            if self._thread is None:
                self._thread = lasting_thread(self._loop, "agent", self._stopping)
                self._thread.start()
        self._wake.set()

    def drain(self) -> None:
        """Nothing new is started by a schedule."""
        self._draining = True

    @property
    def busy(self) -> bool:
        """Whether jobs run."""
        with self._guard:
            return bool(self._runs)

    @property
    def has_schedules(self) -> bool:
        """Whether a time will come at which something is to run."""
        with self._guard:
            planned = any(found.due is not None for found in self._plan.values())
        return self._thread is not None and (planned or self._extra_due is not None)

    def close(self) -> None:
        """Stops the jobs that run, and returns when they have ended."""
        self._stopping.set()
        self._wake.set()
        with self._guard:
            for state in self._runs.values():
                state.stopper = state.stopper or _SHUTDOWN
                state.cancelled.set()
            threads = [*self._threads, *([self._thread] if self._thread else [])]
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(_STOP_SECONDS)
        self._book.close()

    def _loop(self) -> None:
        self.begin()
        while not self._stopping.is_set():
            self._wake.clear()
            try:
                due = self.tick()
            except apsw.Error as error:
                self._report(f"the agent can't read msdb: {error}")
                due = None
            left = _LOOK_SECONDS if due is None else (due - self._clock.now()).total_seconds()
            self._wake.wait(min(max(left, 0.01), _LOOK_SECONDS))

    # ------------------------------------------------------------------ what is due

    def tick(self) -> dt.datetime | None:
        """Does what is due now; when the next thing is (UTC)."""
        session = self.begin()
        now = self._clock.now()
        self._look(session, now)
        self._look_at_clock(session, now)
        self._look_for_idleness(now)
        with self._guard:
            ready = [found for found in self._plan.values() if found.due is not None and found.due <= now]
        if not self._draining and not self._stopping.is_set():
            started: set[UUID] = set()
            for planned in sorted(ready, key=lambda found: found.due or now):
                if planned.attachment.job_id not in started:
                    self._launch_planned(planned, now)
                    started.add(planned.attachment.job_id)
                self._replan(planned, session, now)
            self._extra_due = min(filter(None, [extra.tick(now) for extra in self.extras]), default=None)
        with self._guard:
            dues = [found.due for found in self._plan.values()]
        return min(filter(None, [*dues, self._extra_due]), default=None)

    def history(self, job_id: UUID | None, limit: int) -> list[tuple[Value, ...]]:
        """The newest rows of sysjobhistory: see ``JobBook.history``."""
        return self._book.history(job_id, limit)

    def rows(self, table: str) -> list[tuple[Value, ...]]:
        """A table of jobs as it is."""
        return self._book.rows(table)

    def properties(self) -> dict[str, str]:
        """See ``JobBook.properties``."""
        return self._book.properties()

    def set_properties(self, values: Mapping[str, str]) -> None:
        """See ``JobBook.set_properties``."""
        self._book.set_properties(values)

    def jobs(self) -> list[JobSummary]:
        """All jobs, with their next runs."""
        now = self._clock.now()
        soonest: dict[UUID, dt.datetime] = {}
        for attachment in self._book.attachments():
            with self._guard:
                planned = self._plan.get((attachment.job_id, attachment.schedule_id))
            due = self._next(attachment, now) if planned is None else planned.due
            if due is not None and due < soonest.get(attachment.job_id, _FOREVER):
                soonest[attachment.job_id] = due
        return [
            replace(job, next_run=self._clock.local(soonest[job.id])) if job.id in soonest else job
            for job in self._book.jobs()
        ]

    def _look(self, session: int, now: dt.datetime) -> None:
        """Takes over what has changed in msdb."""
        version = self._book.version()
        if version == self._version:
            return
        first, self._first_look = self._first_look, False
        seen: dict[tuple[UUID, int], _Planned] = {}
        for attachment in self._book.attachments():
            key = (attachment.job_id, attachment.schedule_id)
            known = self._plan.get(key)
            unchanged = known is not None and (known.attachment.schedule, known.attachment.name) == (
                attachment.schedule,
                attachment.name,
            )
            if known is not None and unchanged and (attachment.next_run[0] or known.due is None):
                seen[key] = known
                continue
            planned = _Planned(attachment, None)
            missed = self._noted(attachment) if first else None
            if missed is not None and missed <= now:
                planned.due = missed
            else:
                self._replan(planned, session, now)
            if first and key in self._at_start:
                self._launch_planned(planned, now, Source.BOOT)
            seen[key] = planned
        with self._guard:
            self._plan = seen
        self._version = version

    def _look_at_clock(self, session: int, now: dt.datetime) -> None:
        """What a clock that went ahead has planned would wait until time comes there once more."""
        last, self._looked = self._looked, now
        if last is None or (last - now).total_seconds() <= _PUT_BACK_SECONDS:
            return
        self._report(f"the clock was put back from {last:%Y-%m-%d %H:%M:%S} UTC: schedules are planned anew")
        self._idle_since = None
        for planned in self._plan.values():
            if planned.due is None or planned.due > now:
                self._replan(planned, session, now)

    def _starting_now(self) -> frozenset[tuple[UUID, int]]:
        """What runs when the agent starts. A schedule made after its session began waits for the next one."""
        return frozenset(
            (found.job_id, found.schedule_id)
            for found in self._book.attachments()
            if found.schedule.freq_type == Frequency.AGENT_START
        )

    def _noted(self, attachment: Attachment) -> dt.datetime | None:
        """The next run that an earlier session of the agent noted, in UTC."""
        date, time = attachment.next_run
        if not date:
            return None
        wall = dt.datetime.combine(date_of(date), dt.time()) + dt.timedelta(seconds=seconds_of(time))
        return instant(wall, self._clock.zone)

    def _replan(self, planned: _Planned, session: int, now: dt.datetime) -> None:
        planned.due = self._next(planned.attachment, now)
        local = None if planned.due is None else self._clock.local(planned.due)
        self._book.note_next_run(planned.attachment, session, local)

    def _next(self, attachment: Attachment, now: dt.datetime) -> dt.datetime | None:
        if attachment.name.startswith(CRON):
            return next_cron(attachment.name.removeprefix(CRON), now, self._clock.zone)
        return next_run(attachment.schedule, now, self._clock.zone)

    def _look_for_idleness(self, now: dt.datetime) -> None:
        """Schedules for an idle machine run once in each time of idleness, when it has lasted a while."""
        waiting = [p for p in self._plan.values() if p.attachment.schedule.freq_type == Frequency.IDLE]
        if not waiting or not self._idle():
            self._idle_since = None
        elif self._idle_since is None:
            self._idle_since = now
        elif (now - self._idle_since).total_seconds() >= _IDLE_SECONDS:
            self._idle_since = _FOREVER
            for planned in waiting:
                self._launch_planned(planned, now, Source.IDLE)

    def _launch_planned(self, planned: _Planned, now: dt.datetime, source: Source = Source.SCHEDULE) -> None:
        attachment, due = planned.attachment, planned.due
        late = due is not None and (now - due).total_seconds() > _LATE_SECONDS
        invocation = Invocation(
            source,
            f"{attachment.schedule_id} ({attachment.name})",
            self._clock.local(due) if due is not None and late else None,
        )
        try:
            self._launch(attachment.job_id, invocation)
        except SqlError as error:
            self._report(error.messages[0].text)

    # ------------------------------------------------------------------ jobs

    def start_by(self, who: str, job_id: UUID) -> None:
        """As a schedule starts a job, for a reason that is no time. Raises as ``start``."""
        self.begin()
        job = self._book.job(job_id)
        if self._draining or job is None or not job.enabled:
            raise _refused(f"Request to run job {job_id} (from {who}) refused because the job is disabled")
        self._launch(job_id, Invocation(Source.ALERT, who))

    def start(self, job_id: UUID, step: str | None, login: str) -> None:
        """A user starts a job. Raises SqlError 14262, 22022."""
        self.begin()
        self._launch(job_id, Invocation(Source.USER, login, first_step=step))

    def stop(self, job_id: UUID, login: str) -> None:
        """A user stops a job. Raises SqlError 22022."""
        self._let_end(job_id)
        with self._guard:
            state = self._runs.get(job_id)
            if state is None:
                job = self._book.job(job_id)
                name = job.name if job is not None else str(job_id)
                raise _refused(
                    f"Request to stop job {name} (from User {login}) refused because the job is not currently"
                    " running"
                )
            state.stopper = f"User {login}"
            state.cancelled.set()

    def outcomes(self) -> Mapping[tuple[str, str], int]:
        """How many runs ended how, by job name and status in lower case."""
        with self._guard:
            return dict(self._outcomes)

    def runs(self) -> list[RunState]:
        """The jobs that run."""
        with self._guard:
            ending = [state.job_id for state in self._runs.values() if state.ending]
        for job_id in ending:
            self._let_end(job_id)
        with self._guard:
            return list(self._runs.values())

    def _let_end(self, job_id: UUID) -> None:
        """A run whose end can be read in msdb is not going on any more: what is left of it is waited for."""
        with self._guard:
            state = self._runs.get(job_id)
        if state is not None and state.ending and self._book.is_over(self.begin(), job_id):
            state.gone.wait(_END_SECONDS)

    def _launch(self, job_id: UUID, invocation: Invocation) -> None:
        job = self._book.job(job_id)
        if job is None:
            raise SqlError.of(14262, 16, 1, f"The specified @job_id ('{job_id}') does not exist.")
        by = "User" if invocation.source is Source.USER else "Schedule"
        self._let_end(job_id)
        with self._guard:
            running = self._runs.get(job_id)
            if running is not None or self._stopping.is_set():
                other = "User" if running and running.invocation.source is Source.USER else "Schedule"
                why = (
                    f"the job is already running from a request by {other} {running.invocation.who}"
                    if running
                    else "SQLServerAgent is stopping"
                )
                raise _refused(
                    f"Request to run job {job.name} (from {by} {invocation.who}) refused because {why}"
                )
            local = self._clock.local(self._clock.now())
            state = RunState(job_id, invocation, local, threading.Event())
            self._runs[job_id] = state
            thread = threading.Thread(target=self._run, args=(job, state), name=f"job {job.name}")
            thread.daemon = True
            self._threads.add(thread)
        thread.start()

    def _run(self, job: Job, state: RunState) -> None:
        session = self.begin()
        try:
            self._book.note_activity(
                session,
                job.id,
                {
                    "run_requested_date": state.started,
                    "run_requested_source": str(int(state.invocation.source)),
                    "queued_date": None,
                    "start_execution_date": state.started,
                    "last_executed_step_id": None,
                    "last_executed_step_date": None,
                    "stop_execution_date": None,
                    "job_history_id": None,
                },
            )
            run = JobRun(
                job, self._owner(job), state, _RunBook(self._book, session), self._steps, self._clock
            )
            self._finish(session, job, state, _outcome(run, job))
        except apsw.Error as error:
            self._report(f"the run of job '{job.name}' can't be written to msdb: {error}")
        finally:
            with self._guard:
                self._runs.pop(job.id, None)
                self._threads.discard(threading.current_thread())
            state.gone.set()

    def _owner(self, job: Job) -> str | None:
        for login in self._logins.all():
            if login.sid == job.owner_sid and not login.disabled:
                return login.name
        return None

    def _finish(self, session: int, job: Job, state: RunState, outcome: Outcome) -> None:
        ended = self._clock.local(self._clock.now())
        emailed, note = self._notify(job, state, outcome, ended)
        row = HistoryRow(
            job.id,
            0,
            "(Job outcome)",
            outcome.message + note,
            outcome.status,
            state.started,
            outcome.seconds,
            emailed=emailed,
        )
        state.ending = True
        self._book.note_outcome(session, row, ended)
        with self._guard:
            self._outcomes[job.name, outcome.status.name.lower()] += 1
        succeeded = outcome.status is RunStatus.SUCCEEDED
        if job.notify_eventlog & (1 if succeeded else 2):
            words = outcome.status.name.capitalize()
            self._report(
                f"SQL Server Scheduled Job '{job.name}' (0x{job.id.bytes_le.hex().upper()}) - Status: {words}"
                f" - Invoked on: {state.started:%Y-%m-%d %H:%M:%S} - Message: {outcome.message}"
            )
        if job.delete_level & (1 if succeeded else 2):
            self._book.delete_job(job.id)
        finished = Finished(job.id, job.name, outcome.status, outcome.message, ended)
        for listener in self.listeners:
            listener(finished)

    def _notify(self, job: Job, state: RunState, outcome: Outcome, ended: dt.datetime) -> tuple[int, str]:
        """Writes to the job's operator, when the outcome asks for that: whom, and what history adds."""
        if not job.notify_email & (1 if outcome.status is RunStatus.SUCCEEDED else 2):
            return 0, ""
        operator = self._book.operator(job.email_operator)
        if operator is None or not operator.enabled:
            return 0, ""
        hours, rest = divmod(int(outcome.seconds), 3600)
        minutes, seconds = divmod(rest, 60)
        started = state.started
        text = (
            f"JOB RUN:\t'{job.name}' was run on {started:%m/%d/%Y} at {started:%I:%M:%S %p}\n"
            f"DURATION:\t{hours} hours, {minutes} minutes, {seconds} seconds\n"
            f"STATUS: \t{outcome.status.name.capitalize()}\n"
            f"MESSAGES:\t{outcome.message}\n"
        )
        subject = f"SQL Server Job System: '{job.name}' completed on \\\\{self._book.server}"
        if operator.addresses and self._mail is not None and self._mail(operator.addresses, subject, text):
            self._book.note_emailed(operator.id, ended)
            return operator.id, ""
        self._report(f"the operator '{operator.name}' can't be told of the job '{job.name}': no mail server")
        return 0, f"  NOTE: Failed to notify '{operator.name}' via email."

    def alert(self, number: int, severity: int, text: str, database: str | None) -> None:
        """An event: the alerts that it raises run their jobs and write to their operators."""
        now = self._clock.local(self._clock.now())
        for alert in self._book.alerts(number, severity, text, database, now):
            self._book.note_alert(alert.id, now, answered=not alert.quiet)
            if not alert.quiet:
                self._answer(alert, text, now)

    def _answer(self, alert: Alert, text: str, now: dt.datetime) -> None:
        ran = "(None)"
        if alert.job_id is not None:
            try:
                self.start_by(f"{alert.id} ({alert.name})", alert.job_id)
                job = self._book.job(alert.job_id)
                ran = ran if job is None else job.name
            except SqlError as error:
                self._report(error.messages[0].text)
        subject = f"SQL Server Alert System: '{alert.name}' occurred on \\\\{self._book.server}"
        body = (
            f"DATE/TIME:\t{now:%m/%d/%Y %I:%M:%S %p}\n\nDESCRIPTION:\t{text}\n\n"
            f"COMMENT:\t{alert.comment or '(None)'}\n\nJOB RUN:\t{ran}\n"
        )
        for operator in alert.operators:
            if (
                operator.addresses
                and self._mail is not None
                and self._mail(operator.addresses, subject, body)
            ):
                self._book.note_emailed(operator.id, now)
            else:
                self._report(f"the operator '{operator.name}' can't be told of the alert '{alert.name}'")

    def write_to(self, name: str, subject: str, text: str) -> bool | None:
        """Mail to an operator, as sp_notify_operator sends: False without a mail server, None without the
        operator."""
        operator = self._book.operator_named(name)
        if operator is None:
            return None
        sent = self._mail is not None and bool(operator.addresses)
        sent = sent and self._mail is not None and self._mail(operator.addresses, subject, text)
        if sent:
            self._book.note_emailed(operator.id, self._clock.local(self._clock.now()))
        return sent

    def _end_unfinished(self, run: Unfinished, now: dt.datetime) -> None:
        parts = [f"The job was stopped prior to completion by {_SHUTDOWN}."]
        if run.step is not None:
            parts.append(f"The last step to run was step {run.step} ({run.step_name or 'unknown'}).")
        row = HistoryRow(
            run.job_id,
            0,
            "(Job outcome)",
            "  ".join(parts),
            RunStatus.CANCELED,
            run.started,
            (now - run.started).total_seconds(),
        )
        self._book.end_unfinished(run, row, now)
        self._report(f"job '{run.job_name}' was running when the agent ended: it is shown as stopped")


def _outcome(run: JobRun, job: Job) -> Outcome:
    """Of the whole run; a failure that nobody expected is one, too. Raises apsw.Error."""
    begun = time.monotonic()
    try:
        return run.run()
    except apsw.Error:
        raise
    except BaseException as error:  # noqa: BLE001 - a job that fails in any way fails in its history
        _log.exception("the job '%s' ended by an internal error", job.name, extra={ENDED: f"job {job.name}"})
        told = (
            f"The job failed.  It was ended by an internal error ({type(error).__name__}); see the error log."
        )
        return Outcome(RunStatus.FAILED, told, time.monotonic() - begun)


class _RunBook:
    """Implements ``running.RunBook``."""

    def __init__(self, book: JobBook, session: int) -> None:
        self._book = book
        self._session = session

    def begin_step(self, job_id: UUID, step: int, now: dt.datetime) -> None:
        self._book.note_activity(
            self._session, job_id, {"last_executed_step_id": step, "last_executed_step_date": now}
        )

    def note_step(self, row: HistoryRow) -> None:
        self._book.note_step(row)

    def write_log(self, job_id: UUID, step: int, text: str, now: dt.datetime, *, append: bool) -> None:
        self._book.write_log(job_id, step, text, now, append=append)


def _refused(why: str) -> SqlError:
    return SqlError.of(22022, 16, 1, f"SQLServerAgent Error: {why}.")
