"""msdb's tables of jobs, as the agent reads and writes them.

Each method is one short transaction; a writer that is in the way is waited for. Moments are local, as in SQL
Server; runs are written with the encodings of ``agent.schedule``.
"""

from __future__ import annotations

import datetime as dt
import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import apsw

from tdsproxy.agent.records import (
    Alert,
    Attachment,
    HistoryRow,
    Job,
    JobSummary,
    Operator,
    RunStatus,
    Step,
    Unfinished,
)
from tdsproxy.agent.schedule import (
    Schedule,
    date_number,
    date_of,
    duration_number,
    seconds_of,
    time_number,
)
from tdsproxy.catalog.agent_schema import AGENT_TABLES
from tdsproxy.catalog.catalog import MSDB
from tdsproxy.catalog.file import CatalogFile, Row
from tdsproxy.store.encoding import from_storage, to_storage
from tdsproxy.tsql.values import DateTime, Value

T = TypeVar("T")

MESSAGE_LIMIT: Final = 4000
ROWS: Final = "jobhistory_max_rows"
ROWS_OF_JOB: Final = "jobhistory_max_rows_per_job"
"""Properties of the agent: how many rows of history there are, and how many of one job."""
_DEFAULTS: Final = {ROWS: 1000, ROWS_OF_JOB: 100}
"""SQL Server's default limits of sysjobhistory."""
_TABLES: Final = {table.name: table for table in AGENT_TABLES}
_log = logging.getLogger(__name__)


class JobBook:
    """For any thread. ``stopping`` ends waiting for a writer that does not end."""

    def __init__(self, store: Path, server: str, stopping: threading.Event | None = None) -> None:
        self._file = CatalogFile(store / MSDB)
        self._server = server
        self._stopping = stopping or threading.Event()

    def close(self) -> None:
        self._file.close()

    @property
    def server(self) -> str:
        """The server's name."""
        return self._server

    def version(self) -> int:
        """A number that changes when another connection has written to msdb."""
        return int(str(self._file.read("PRAGMA data_version")[0][0]))

    # ------------------------------------------------------------------ reading

    def job(self, job_id: UUID) -> Job | None:
        rows = self._file.read(
            "SELECT job_id, name, owner_sid, start_step_id, enabled, notify_level_eventlog, delete_level,"
            " EXISTS (SELECT 1 FROM sysjobservers s WHERE s.job_id = j.job_id), notify_level_email,"
            " notify_email_operator_id FROM sysjobs j WHERE job_id = ?",
            (sql_guid(job_id),),
        )
        if not rows:
            return None
        row = rows[0]
        steps = self._file.read(
            "SELECT step_id, step_name, subsystem, command, database_name, on_success_action,"
            " on_success_step_id, on_fail_action, on_fail_step_id, retry_attempts, retry_interval,"
            " output_file_name, flags, database_user_name FROM sysjobsteps WHERE job_id = ? ORDER BY step_id",
            (sql_guid(job_id),),
        )
        return Job(
            UUID(str(row[0])),
            str(row[1]),
            _bytes(row[2]),
            _int(row[3]),
            tuple(_step(found) for found in steps),
            bool(row[4]),
            bool(row[7]),
            _int(row[5]),
            _int(row[6]),
            _int(row[8]),
            _int(row[9]),
        )

    def operator(self, number: int) -> Operator | None:
        rows = self._file.read(
            "SELECT name, enabled, email_address FROM sysoperators WHERE id = ?", (number,)
        )
        if not rows:
            return None
        return Operator(number, str(rows[0][0]), bool(rows[0][1]), str(rows[0][2] or ""))

    def operator_named(self, name: str) -> Operator | None:
        """In any case."""
        rows = self._file.read("SELECT id FROM sysoperators WHERE name = ? COLLATE NOCASE", (name,))
        return self.operator(_int(rows[0][0])) if rows else None

    def alerts(
        self, number: int, severity: int, text: str, database: str | None, now: dt.datetime
    ) -> list[Alert]:
        """The enabled alerts that an event raises: those of its number, else those of its severity."""
        rows = self._file.read(
            "SELECT id, name, message_id, severity, notification_message, job_id, delay_between_responses,"
            " last_response_date, last_response_time, event_description_keyword, database_name"
            " FROM sysalerts WHERE enabled = 1 AND performance_condition IS NULL"
            " AND (message_id = ?1 AND ?1 > 0 OR message_id = 0 AND severity = ?2 AND ?2 > 0) ORDER BY id",
            (number, severity),
        )
        fitting = [
            row
            for row in rows
            if (not row[9] or str(row[9]).lower() in text.lower())
            and (not row[10] or str(row[10]).lower() == (database or "").lower())
        ]
        of_number = [row for row in fitting if row[2]]
        return [self._alert(row, now) for row in of_number or fitting]

    def _alert(self, row: Row, now: dt.datetime) -> Alert:
        answered = None
        if row[7]:
            seconds = seconds_of(_int(row[8]))
            answered = dt.datetime.combine(date_of(_int(row[7])), dt.time()) + dt.timedelta(seconds=seconds)
        wait = dt.timedelta(seconds=_int(row[6]))
        told = self._file.read(
            "SELECT operator_id FROM sysnotifications WHERE alert_id = ? AND notification_method & 1",
            (_int(row[0]),),
        )
        operators = [self.operator(_int(number)) for (number,) in told]
        job = UUID(str(row[5]))
        return Alert(
            _int(row[0]),
            str(row[1]),
            _int(row[3]),
            str(row[4] or ""),
            job if job.int else None,
            tuple(found for found in operators if found is not None and found.enabled),
            answered is not None and bool(wait) and now.replace(tzinfo=None) - answered < wait,
        )

    def note_alert(self, number: int, now: dt.datetime, *, answered: bool) -> None:
        """An alert was raised, at a local time, and perhaps answered."""
        date, time = date_number(now), time_number(now)

        def work() -> None:
            self._file.read(
                "UPDATE sysalerts SET occurrence_count = occurrence_count + 1, last_occurrence_date = ?,"
                " last_occurrence_time = ? WHERE id = ?",
                (date, time, number),
            )
            if answered:
                self._file.read(
                    "UPDATE sysalerts SET last_response_date = ?, last_response_time = ? WHERE id = ?",
                    (date, time, number),
                )

        self._write(work)

    def note_emailed(self, number: int, now: dt.datetime) -> None:
        """An operator was written to, at a local time."""
        self._write(
            lambda: self._file.read(
                "UPDATE sysoperators SET last_email_date = ?, last_email_time = ? WHERE id = ?",
                (date_number(now), time_number(now), number),
            )
        )

    def jobs(self) -> list[JobSummary]:
        """All jobs, by name."""
        rows = self._file.read(
            "SELECT j.job_id, j.name, j.enabled, s.last_run_outcome, s.last_run_date, s.last_run_time,"
            " s.last_outcome_message FROM sysjobs j LEFT JOIN sysjobservers s ON s.job_id = j.job_id"
            " ORDER BY j.name"
        )
        return [
            JobSummary(
                UUID(str(row[0])),
                str(row[1]),
                bool(row[2]),
                RunStatus(_int(row[3] if row[3] is not None else 5)).name.lower(),
                None if not row[4] else f"{date_of(_int(row[4]))} {_clock(_int(row[5]))}",
                None if row[6] is None else str(row[6]),
            )
            for row in rows
        ]

    def rows(self, name: str) -> list[tuple[Value, ...]]:
        """A table as it is, its columns in order."""
        table = _TABLES[name]
        found = self._file.read(f"SELECT {', '.join(c.name for c in table.columns)} FROM {name}")
        return [
            tuple(from_storage(value, column.type) for value, column in zip(row, table.columns, strict=True))
            for row in found
        ]

    def properties(self) -> dict[str, str]:
        """What sp_set_sqlagent_properties has set."""
        return {
            str(name): str(value)
            for name, value in self._file.read("SELECT name, value FROM __tds_agent_properties")
        }

    def set_properties(self, values: Mapping[str, str]) -> None:
        """Beside those that are set already."""

        def work() -> None:
            for name, value in values.items():
                self._file.read("INSERT OR REPLACE INTO __tds_agent_properties VALUES (?, ?)", (name, value))

        self._write(work)

    def history(self, job_id: UUID | None, limit: int) -> list[tuple[Value, ...]]:
        """The newest rows as text: job, step, its name, status, date, time, duration, message."""
        rows = self._file.read(
            "SELECT j.name, h.step_id, h.step_name, h.run_status, h.run_date, h.run_time, h.run_duration,"
            " h.message FROM sysjobhistory h JOIN sysjobs j ON j.job_id = h.job_id"
            " WHERE ?1 IS NULL OR h.job_id = ?1 ORDER BY h.instance_id DESC LIMIT ?2",
            (None if job_id is None else sql_guid(job_id), limit),
        )
        return [tuple(str(value) for value in row) for row in rows]

    def attachments(self) -> list[Attachment]:
        """The enabled schedules of enabled jobs that have a server."""
        rows = self._file.read(
            "SELECT js.job_id, s.schedule_id, s.name, js.next_run_date, js.next_run_time, s.freq_type,"
            " s.freq_interval, s.freq_subday_type, s.freq_subday_interval, s.freq_relative_interval,"
            " s.freq_recurrence_factor, s.active_start_date, s.active_end_date, s.active_start_time,"
            " s.active_end_time FROM sysjobschedules js JOIN sysschedules s ON s.schedule_id = js.schedule_id"
            " JOIN sysjobs j ON j.job_id = js.job_id WHERE j.enabled = 1 AND s.enabled = 1"
            " AND EXISTS (SELECT 1 FROM sysjobservers t WHERE t.job_id = j.job_id)"
        )
        return [
            Attachment(
                UUID(str(row[0])),
                _int(row[1]),
                str(row[2]),
                Schedule(*(_int(value) for value in row[5:])),
                (_int(row[3]), _int(row[4])),
            )
            for row in rows
        ]

    def unfinished(self) -> list[Unfinished]:
        """The runs that no agent has ended."""
        rows = self._file.read(
            "SELECT a.job_id, j.name, a.start_execution_date, a.last_executed_step_id, s.step_name,"
            " a.run_requested_source FROM sysjobactivity a JOIN sysjobs j ON j.job_id = a.job_id"
            " LEFT JOIN sysjobsteps s ON s.job_id = a.job_id AND s.step_id = a.last_executed_step_id"
            " WHERE a.start_execution_date IS NOT NULL AND a.stop_execution_date IS NULL"
        )
        return [
            Unfinished(
                UUID(str(row[0])),
                str(row[1]),
                dt.datetime.fromisoformat(str(row[2])),
                None if row[3] is None else _int(row[3]),
                None if row[4] is None else str(row[4]),
                str(row[5] or ""),
            )
            for row in rows
        ]

    def is_over(self, session: int, job_id: UUID) -> bool:
        """Whether the last run of a job has its outcome."""
        rows = self._file.read(
            "SELECT 1 FROM sysjobactivity WHERE session_id = ? AND job_id = ?"
            " AND stop_execution_date IS NOT NULL",
            (session, sql_guid(job_id)),
        )
        return bool(rows)

    # ------------------------------------------------------------------ writing

    def begin_session(self, now: dt.datetime) -> int:
        """A new row of syssessions; its number."""

        def work() -> int:
            self._insert("syssessions", {"agent_start_date": _moment(now)})
            return self._file.last_row_id()

        return self._write(work)

    def note_next_run(self, attachment: Attachment, session: int, next_run: dt.datetime | None) -> None:
        """``next_run`` is local; None for none."""
        date, time = (0, 0) if next_run is None else (date_number(next_run), time_number(next_run))

        def work() -> None:
            self._file.read(
                "UPDATE sysjobschedules SET next_run_date = ?, next_run_time = ? WHERE job_id = ?"
                " AND schedule_id = ?",
                (date, time, sql_guid(attachment.job_id), attachment.schedule_id),
            )
            self._activity(session, attachment.job_id, {"next_scheduled_run_date": _moment(next_run)})

        self._write(work)

    def note_activity(self, session: int, job_id: UUID, values: Mapping[str, Value | dt.datetime]) -> None:
        """Columns of the job's row of sysjobactivity."""
        self._write(lambda: self._activity(session, job_id, values))

    def note_step(self, row: HistoryRow) -> None:
        """A step has ended: its history, and what its row remembers."""

        def work() -> None:
            self._history(row)
            self._file.read(
                "UPDATE sysjobsteps SET last_run_outcome = ?, last_run_duration = ?, last_run_retries = ?,"
                " last_run_date = ?, last_run_time = ? WHERE job_id = ? AND step_id = ?",
                (
                    int(row.status),
                    duration_number(row.seconds),
                    row.retries,
                    date_number(row.started),
                    time_number(row.started),
                    sql_guid(row.job_id),
                    row.step,
                ),
            )

        self._write(work)

    def write_log(self, job_id: UUID, step: int, text: str, now: dt.datetime, *, append: bool) -> None:
        """What a step put out, into sysjobstepslogs: behind what is there, or instead of it."""

        def work() -> None:
            found = self._file.read(
                "SELECT p.step_uid, l.log_id, l.log FROM sysjobsteps p LEFT JOIN sysjobstepslogs l"
                " ON l.step_uid = p.step_uid WHERE p.job_id = ? AND p.step_id = ? AND p.step_uid NOT NULL",
                (sql_guid(job_id), step),
            )
            if not found:
                return  # the step was deleted while it ran
            step_uid, log_id, before = found[0]
            log = f"{before}{text}" if append and isinstance(before, str) else text
            moment = _moment(now)
            values: dict[str, Value] = {
                "log": log,
                "date_modified": moment,
                "log_size": len(log.encode("utf-16-le")),
            }
            if log_id is None:
                values |= {"date_created": moment, "step_uid": UUID(str(step_uid))}
                self._insert("sysjobstepslogs", values)
                return
            table = _TABLES["sysjobstepslogs"]
            self._file.read(
                f"UPDATE sysjobstepslogs SET {', '.join(f'{name} = ?' for name in values)} WHERE log_id = ?",
                (*(to_storage(value, table.column(name).type) for name, value in values.items()), log_id),
            )

        self._write(work)

    def note_outcome(self, session: int, row: HistoryRow, ended: dt.datetime) -> int:
        """A job has ended; the number of its history row."""

        def work() -> int:
            number = self._history(row)
            self._file.read(
                "UPDATE sysjobservers SET last_run_outcome = ?, last_outcome_message = ?, last_run_date = ?,"
                " last_run_time = ?, last_run_duration = ? WHERE job_id = ?",
                (
                    int(row.status),
                    row.message[:MESSAGE_LIMIT],
                    date_number(row.started),
                    time_number(row.started),
                    duration_number(row.seconds),
                    sql_guid(row.job_id),
                ),
            )
            self._activity(
                session, row.job_id, {"stop_execution_date": _moment(ended), "job_history_id": number}
            )
            self._prune(row.job_id)
            return number

        return self._write(work)

    def end_unfinished(self, run: Unfinished, row: HistoryRow, ended: dt.datetime) -> None:
        """As ``note_outcome``, for a run of an agent that is gone."""

        def work() -> None:
            number = self._history(row)
            self._file.read(
                "UPDATE sysjobservers SET last_run_outcome = ?, last_outcome_message = ? WHERE job_id = ?",
                (int(row.status), row.message, sql_guid(run.job_id)),
            )
            self._file.read(
                "UPDATE sysjobactivity SET stop_execution_date = ?, job_history_id = ? WHERE job_id = ?"
                " AND start_execution_date IS NOT NULL AND stop_execution_date IS NULL",
                (str(ended.isoformat(" ", "milliseconds")), number, sql_guid(run.job_id)),
            )

        self._write(work)

    def delete_job(self, job_id: UUID) -> None:
        """As sp_delete_job does."""

        def work() -> None:
            schedules = self._file.read(
                "SELECT schedule_id FROM sysjobschedules WHERE job_id = ?", (sql_guid(job_id),)
            )
            self._file.read(
                "DELETE FROM sysjobstepslogs WHERE step_uid IN (SELECT step_uid FROM sysjobsteps"
                " WHERE job_id = ?)",
                (sql_guid(job_id),),
            )
            for table in ("sysjobschedules", "sysjobhistory", "sysjobservers", "sysjobsteps", "sysjobs"):
                self._file.read(f"DELETE FROM {table} WHERE job_id = ?", (sql_guid(job_id),))
            for (number,) in schedules:
                self._file.read(
                    "DELETE FROM sysschedules WHERE schedule_id = ? AND schedule_id NOT IN"
                    " (SELECT schedule_id FROM sysjobschedules)",
                    (number,),
                )

        self._write(work)

    # ------------------------------------------------------------------ within a transaction

    def _activity(self, session: int, job_id: UUID, values: Mapping[str, Value | dt.datetime]) -> None:
        columns = {name: _moment(v) if isinstance(v, dt.datetime) else v for name, v in values.items()}
        self._file.read(
            "INSERT OR IGNORE INTO sysjobactivity (session_id, job_id) VALUES (?, ?)",
            (session, sql_guid(job_id)),
        )
        table = _TABLES["sysjobactivity"]
        self._file.read(
            f"UPDATE sysjobactivity SET {', '.join(f'{name} = ?' for name in columns)}"
            " WHERE session_id = ? AND job_id = ?",
            (
                *(to_storage(value, table.column(name).type) for name, value in columns.items()),
                session,
                sql_guid(job_id),
            ),
        )

    def _history(self, row: HistoryRow) -> int:
        self._insert(
            "sysjobhistory",
            {
                "job_id": row.job_id,
                "step_id": row.step,
                "step_name": row.step_name,
                "sql_message_id": row.number,
                "sql_severity": row.severity,
                "message": row.message[:MESSAGE_LIMIT],
                "run_status": int(row.status),
                "run_date": date_number(row.started),
                "run_time": time_number(row.started),
                "run_duration": duration_number(row.seconds),
                "operator_id_emailed": row.emailed,
                "operator_id_netsent": 0,
                "operator_id_paged": 0,
                "retries_attempted": row.retries,
                "server": self._server,
            },
        )
        return self._file.last_row_id()

    def _prune(self, job_id: UUID) -> None:
        """The newest rows stay, up to the agent's limits."""
        given = self.properties()
        most, of_job = (_int(given.get(name, default)) for name, default in _DEFAULTS.items())
        if most < 0:
            return
        self._file.read(
            "DELETE FROM sysjobhistory WHERE job_id = ?1 AND instance_id <= (SELECT instance_id FROM"
            " sysjobhistory WHERE job_id = ?1 ORDER BY instance_id DESC LIMIT 1 OFFSET ?2)",
            (sql_guid(job_id), of_job),
        )
        self._file.read(
            "DELETE FROM sysjobhistory WHERE instance_id <= (SELECT instance_id FROM sysjobhistory"
            " ORDER BY instance_id DESC LIMIT 1 OFFSET ?)",
            (most,),
        )

    def _insert(self, name: str, values: Mapping[str, Value]) -> None:
        table = _TABLES[name]
        self._file.read(
            f"INSERT INTO {name} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})",
            [to_storage(value, table.column(column).type) for column, value in values.items()],
        )

    def _write(self, work: Callable[[], T]) -> T:
        """In one transaction. A session may hold msdb for long: its end is waited for."""
        while True:
            try:
                with self._file.write():
                    return work()
            except apsw.BusyError:
                if self._stopping.is_set():
                    raise
                _log.warning("msdb is locked by a transaction: the agent waits for it")


def sql_guid(value: UUID) -> str:
    """As a uniqueidentifier lies in SQLite."""
    return str(value).upper()


def _clock(number: int) -> str:
    return f"{number // 10000:02d}:{number // 100 % 100:02d}:{number % 100:02d}"


def _moment(value: dt.datetime | None) -> DateTime | None:
    return None if value is None else DateTime.of(value.replace(tzinfo=None))


def _int(value: Any) -> int:
    return int(value or 0)


def _bytes(value: object) -> bytes:
    return value if isinstance(value, bytes) else b""


def _step(row: Row) -> Step:
    success, success_to, fail, fail_to, attempts, minutes = (_int(value) for value in row[5:11])
    return Step(
        _int(row[0]),
        str(row[1]),
        str(row[2]),
        str(row[3] or ""),
        str(row[4] or "master"),
        success,
        success_to,
        fail,
        fail_to,
        attempts,
        minutes,
        None if row[11] is None else str(row[11]),
        _int(row[12]),
        None if not row[13] else str(row[13]),
    )
