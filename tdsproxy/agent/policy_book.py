"""Policies in msdb: where they are kept, and the jobs that they become.

A policy's actions are jobs like all others, so that what they did, when they run next, and how to start one
by hand is where a DBA looks for it. Their ids come from the policy's name: one that is written again keeps
its history. The settings of managed backup become a policy of the source ``managed``.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

from tdsproxy.agent.book import sql_guid
from tdsproxy.agent.policies import Policy, document, from_document
from tdsproxy.agent.schedule import Frequency, Schedule, date_number
from tdsproxy.agent.timetable import CRON, parse_timetable
from tdsproxy.catalog.catalog import MSDB
from tdsproxy.catalog.file import CatalogFile
from tdsproxy.catalog.logins import SA_SID

FILE: Final = "file"
"""The source of the policies of the configuration file."""
SHELL: Final = "shell"
"""The source of those that ``tdsproxy agent schedule`` makes."""
CHANGE: Final = "change"
_CATEGORY: Final = 3
_FIELDS: Final = tuple(Schedule.__slots__)


def job_id(source: str, policy: str, action: str) -> UUID:
    """The job that does one action of a policy."""
    return uuid5(NAMESPACE_URL, f"tdsproxy:policy:{source}:{policy.lower()}:{action}")


def step_command(source: str, policy: str, action: str) -> str:
    """What the job's only step runs."""
    quoted = [f"N'{word.replace(chr(39), chr(39) * 2)}'" for word in (source, policy, action)]
    return f"EXEC msdb.managed_backup.sp_run_policy {', '.join(quoted)}"


class PolicyBook:
    """The policies of a store. For any thread."""

    def __init__(self, store: Path, now: Callable[[], dt.datetime]) -> None:
        self._file = CatalogFile(store / MSDB)
        self._now = now

    def close(self) -> None:
        self._file.close()

    def all(self) -> list[tuple[str, Policy]]:
        """Sources and policies, by name."""
        rows = self._file.read("SELECT source, definition FROM __tds_policies ORDER BY name, source")
        return [(str(source), from_document(str(text))) for source, text in rows]

    def find(self, source: str, name: str) -> Policy | None:
        rows = self._file.read(
            "SELECT definition FROM __tds_policies WHERE source = ? AND name = ?", (source, name)
        )
        return from_document(str(rows[0][0])) if rows else None

    def put(self, source: str, policies: Sequence[Policy], *, all_of_source: bool) -> None:
        """Writes policies and their jobs; with ``all_of_source`` others of the source go."""
        with self._file.write():
            known = {
                str(name): str(text)
                for name, text in self._file.read(
                    "SELECT name, definition FROM __tds_policies WHERE source = ?", (source,)
                )
            }
            wanted = {policy.name.lower() for policy in policies}
            for name in known:
                if all_of_source and name.lower() not in wanted:
                    self._remove(source, name)
            for policy in policies:
                text = document(policy)
                if known.get(policy.name) == text:
                    continue
                self._file.read(
                    "INSERT OR REPLACE INTO __tds_policies VALUES (?, ?, ?)", (source, policy.name, text)
                )
                self._make_jobs(source, policy)

    def remove(self, source: str, name: str) -> bool:
        """Whether there was such a policy."""
        with self._file.write():
            found = self.find(source, name) is not None
            self._remove(source, name)
        return found

    def _remove(self, source: str, name: str) -> None:
        self._file.read("DELETE FROM __tds_policies WHERE source = ? AND name = ?", (source, name))
        for action in ("full", "differential", "log", "verify", CHANGE):
            self._drop_job(job_id(source, name, action), history=True)

    def managed(self) -> dict[str, str]:
        """The settings of managed backup as JSON, by database, ``*`` for the instance."""
        rows = self._file.read("SELECT database_name, settings FROM __tds_managed_backup")
        return {str(name): str(text) for name, text in rows}

    def put_managed(self, name: str, settings: str) -> None:
        with self._file.write():
            self._file.read("INSERT OR REPLACE INTO __tds_managed_backup VALUES (?, ?)", (name, settings))

    def rename_managed(self, old: str, new: str) -> bool:
        """Whether there were settings of its own for the database, which are the new name's now."""
        with self._file.write():
            changed = self._file.read(
                "UPDATE OR REPLACE __tds_managed_backup SET database_name = ? WHERE database_name = ?"
                " RETURNING 1",
                (new, old),
            )
        return bool(changed)

    # ------------------------------------------------------------------ the jobs

    def _make_jobs(self, source: str, policy: Policy) -> None:
        for action in ("full", "differential", "log", "verify", CHANGE):
            number = job_id(source, policy.name, action)
            self._drop_job(number, history=False)
            words = policy.timetables().get(action)
            if words is not None or (action == CHANGE and policy.after_change is not None):
                self._make_job(number, source, policy, action)
            if words is not None:
                self._make_schedule(number, policy, action, words)

    def _make_job(self, number: UUID, source: str, policy: Policy, action: str) -> None:
        now = self._now().isoformat(" ", "milliseconds")
        words = {"verify": "trial restore", CHANGE: "backup after changes"}.get(action, f"{action} backup")
        self._file.read(
            "INSERT INTO sysjobs VALUES (?, 0, ?, 1, ?, 1, ?, ?, 2, 0, 0, 0, 0, 0, 0, 0, ?, ?, 1)",
            (
                sql_guid(number),
                f"policy {policy.name}: {words}",
                f"Made by the policy '{policy.name}' ({source}).",
                _CATEGORY,
                SA_SID,
                now,
                now,
            ),
        )
        self._file.read(
            "INSERT INTO sysjobsteps (job_id, step_id, step_name, subsystem, command, flags,"
            " cmdexec_success_code, on_success_action, on_success_step_id, on_fail_action, on_fail_step_id,"
            " database_name, retry_attempts, retry_interval, os_run_priority, last_run_outcome,"
            " last_run_duration, last_run_retries, last_run_date, last_run_time, step_uid)"
            " VALUES (?, 1, ?, 'TSQL', ?, 0, 0, 1, 0, 2, 0, 'msdb', 0, 0, 0, 0, 0, 0, 0, 0, ?)",
            (sql_guid(number), words, step_command(source, policy.name, action), sql_guid(number)),
        )
        self._file.read(
            "INSERT OR IGNORE INTO sysjobservers VALUES (?, 0, 5, NULL, 0, 0, 0)", (sql_guid(number),)
        )

    def _make_schedule(self, number: UUID, policy: Policy, action: str, words: str) -> None:
        found = parse_timetable(words)
        now = self._now()
        name = f"{policy.name}: {words}"
        if isinstance(found, str):
            name, found = f"{CRON}{found}", Schedule(Frequency.DAILY)
        values = {field: getattr(found, field) for field in _FIELDS}
        values["active_start_date"] = date_number(now)
        self._file.read(
            f"INSERT INTO sysschedules (schedule_uid, originating_server_id, name, owner_sid, enabled,"
            f" {', '.join(values)}, date_created, date_modified, version_number)"
            f" VALUES (?, 0, ?, ?, 1, {', '.join('?' * len(values))}, ?, ?, 1)",
            (
                *(sql_guid(number), name, SA_SID, *values.values()),
                *[now.isoformat(" ", "milliseconds")] * 2,
            ),
        )
        self._file.read(
            "INSERT INTO sysjobschedules VALUES (?, ?, 0, 0)", (self._file.last_row_id(), sql_guid(number))
        )

    def _drop_job(self, number: UUID, *, history: bool) -> None:
        key = (sql_guid(number),)
        self._file.read(
            "DELETE FROM sysschedules WHERE schedule_id IN"
            " (SELECT schedule_id FROM sysjobschedules WHERE job_id = ?)",
            key,
        )
        tables = ["sysjobschedules", "sysjobsteps", "sysjobs"]
        if history:
            tables += ["sysjobservers", "sysjobhistory", "sysjobactivity"]
        for table in tables:
            self._file.read(f"DELETE FROM {table} WHERE job_id = ?", key)
