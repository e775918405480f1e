"""The part of ``scripts/demo --tour`` about what happens by itself: a backup after changes, a job on a
schedule, and the rotation of what they leave. Each point is checked before it is told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

LIMIT = 60.0
EVERY = 10
"""Seconds: the shortest time between two runs that SQL Server's schedules have."""
COMMITS = 5
KEPT = 2

_JOB = f"""
EXEC msdb.dbo.sp_add_job @job_name = N'Ledger often';
EXEC msdb.dbo.sp_add_jobstep @job_name = N'Ledger often', @step_name = N'Back up', @command =
    N'BACKUP DATABASE Ledger TO DISK = N''often/Ledger_$(ESCAPE_SQUOTE(STRTDT))_$(ESCAPE_SQUOTE(STRTTM)).bak''
      WITH INIT, COMPRESSION, CHECKSUM';
EXEC msdb.dbo.sp_add_jobserver @job_name = N'Ledger often';
EXEC msdb.dbo.sp_add_jobschedule @job_name = N'Ledger often', @name = N'each {EVERY} seconds', @freq_type = 4,
    @freq_interval = 1, @freq_subday_type = 2, @freq_subday_interval = {EVERY};
"""
_RUNS = (
    "SELECT h.run_date, h.run_time, h.run_status, h.message FROM msdb.dbo.sysjobhistory h"
    " JOIN msdb.dbo.sysjobs j ON j.job_id = h.job_id"
    " WHERE j.name = N'Ledger often' AND h.step_id = 0 ORDER BY h.instance_id"
)
_RUNNING = (
    "SELECT 1 FROM msdb.dbo.sysjobactivity a JOIN msdb.dbo.sysjobs j ON j.job_id = a.job_id"
    " WHERE j.name = N'Ledger often' AND a.start_execution_date IS NOT NULL AND a.stop_execution_date IS NULL"
)
_SETS = (
    "SELECT b.name, f.physical_device_name, b.type FROM msdb.dbo.backupset b"
    " JOIN msdb.dbo.backupmediafamily f ON f.media_set_id = b.media_set_id"
    " WHERE b.database_name = N'Ledger' ORDER BY b.backup_set_id"
)


class AgentFailed(Exception):
    """Something that this part promises did not happen."""


def by_itself(cursor: Any, store: Path, say: Callable[[str], None]) -> None:
    """``cursor`` is one of pytds. Raises AgentFailed."""
    backups = store / "backup"
    (backups / "often").mkdir(parents=True)
    _run(cursor, "CREATE DATABASE Ledger")
    _run(cursor, "CREATE TABLE Ledger.dbo.Entry (Id int PRIMARY KEY, Cents int NOT NULL)")
    _run(
        cursor, "BACKUP DATABASE Ledger TO DISK = N'often/Ledger_first.bak' WITH INIT, COMPRESSION, CHECKSUM"
    )
    _run(cursor, _JOB)
    _after_change(cursor, store, say)
    _on_schedule(cursor, say)
    _rotation(cursor, store, say)


def _after_change(cursor: Any, store: Path, say: Callable[[str], None]) -> None:
    say(f"8. after a change: a log backup when Ledger has seen {COMMITS} commits")
    words = ["schedule", "Ledger", "--after-commits", str(COMMITS), "--at-most-every", "1s"]
    say(f"   > tdsproxy agent {' '.join(words)} --to changes")
    _tdsproxy("agent", *words, "--to", "changes", "--store", str(store))
    _wait(cursor, "SELECT 1 FROM msdb.dbo.sysjobs WHERE name LIKE N'policy Ledger%'", "the policy is no job")
    before = _log_backups(cursor)
    begun = time.monotonic()
    for number in range(COMMITS):
        _run(cursor, f"INSERT Ledger.dbo.Entry VALUES ({number}, 100)")
    _until(lambda: len(_log_backups(cursor)) > len(before), "no backup came after the changes")
    took = time.monotonic() - begun
    path = _log_backups(cursor)[-1]
    _run(cursor, f"RESTORE VERIFYONLY FROM DISK = N'{path}'")
    say(f"   {COMMITS} commits, and {took:.1f} s later there is {Path(path).name}; it verifies")
    _tdsproxy("agent", "unschedule", "Ledger", "--store", str(store))


def _on_schedule(cursor: Any, say: Callable[[str], None]) -> None:
    say(f"9. on a schedule: a job of sp_add_job, sp_add_jobschedule, each {EVERY} s")
    _until(lambda: len(_rows(cursor, _RUNS)) >= KEPT, "the job did not run")
    first, second = _rows(cursor, _RUNS)[:2]
    for date, clock, status, message in (first, second):
        if status != 1:
            raise AgentFailed(message)
        say(f"   {date} {clock:06d}  {message.split('  The last')[0]}")
    between = (_seconds(second[1]) - _seconds(first[1])) % 86400
    if between == 0 or between % EVERY:
        raise AgentFailed(f"the runs were {between} s apart")
    _run(cursor, "EXEC msdb.dbo.sp_update_job @job_name = N'Ledger often', @enabled = 0")
    _until(lambda: not _rows(cursor, _RUNNING), "a run of the job does not end")
    _run(cursor, "EXEC msdb.dbo.sp_delete_job @job_name = N'Ledger often'")


def _rotation(cursor: Any, store: Path, say: Callable[[str], None]) -> None:
    folder = store / "backup" / "often"
    there = sorted(path.name for path in folder.iterdir())
    say(f"10. rotation: {len(there)} full backups lie there, the newest {KEPT} shall stay")
    words = ["agent", "retention", "Ledger", "--keep", "1,0,0,0", "--count", str(KEPT)]
    where = ("--store", str(store))
    say(f"   > tdsproxy {' '.join(words)}")
    asked = _tdsproxy(*words, "--dry-run", *where)
    if sorted(path.name for path in folder.iterdir()) != there:
        raise AgentFailed("the dry run deleted something")
    told = _tdsproxy(*words, *where)
    lines = told.replace(f"{folder.parent}/", "").splitlines()
    for line, reason in zip(lines, [*lines[1:], ""], strict=True):
        if " Ledger " in line:
            say(f"   | {line}")
            say(f"   | {reason}")
    left = {path.name for path in folder.iterdir()}
    gone = {name for name in there if name not in left}
    sets = {Path(row[1]).name for row in _rows(cursor, _SETS) if row[2] == "D"}
    if len(left) != KEPT or sets != left:
        raise AgentFailed(f"{sorted(left)} are left, msdb knows {sorted(sets)}")
    if any(name not in asked for name in gone):
        raise AgentFailed("the dry run had not said what would go")
    for name in sorted(left):
        _run(cursor, f"RESTORE VERIFYONLY FROM DISK = N'often/{name}'")
    say(
        f"   {len(gone)} gone as the dry run had said; the {len(left)} left verify, and msdb knows just these"
    )


def _log_backups(cursor: Any) -> list[str]:
    return [str(row[1]) for row in _rows(cursor, _SETS) if row[2] == "L"]


def _seconds(clock: int) -> int:
    return clock // 10000 * 3600 + clock // 100 % 100 * 60 + clock % 100


def _rows(cursor: Any, sql: str) -> list[tuple[Any, ...]]:
    cursor.execute(sql)
    return [tuple(row) for row in cursor.fetchall()]


def _run(cursor: Any, sql: str) -> None:
    cursor.execute(sql)
    while cursor.nextset():
        pass


def _wait(cursor: Any, sql: str, failure: str) -> None:
    _until(lambda: bool(_rows(cursor, sql)), failure)


def _until(true: Callable[[], bool], failure: str) -> None:
    deadline = time.monotonic() + LIMIT
    while not true():
        if time.monotonic() > deadline:
            raise AgentFailed(failure)
        time.sleep(0.05)


def _tdsproxy(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode != 0:
        raise AgentFailed(done.stdout + done.stderr)
    return done.stdout
