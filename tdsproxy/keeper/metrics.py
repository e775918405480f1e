"""What the keeper counts, and what it can tell of the store at any moment."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Sequence
from typing import Final

from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.status import DatabaseStatus, database_statuses
from tdsproxy.keeper.exposition import Metric
from tdsproxy.log.service import ChainState
from tdsproxy.tsql.values import DateTime

BUCKETS: Final = (0.1, 0.5, 1.0, 5.0, 30.0, 120.0, 600.0, 3600.0)
"""Of the durations of native statements, in seconds."""

_JOB_RESULTS: Final = {0: "failed", 1: "succeeded", 2: "retried", 3: "canceled"}


class Counters:
    """Native statements by kind and result, with their durations; notices. Usable from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._results: dict[tuple[str, str], int] = defaultdict(int)
        self._buckets: dict[str, list[int]] = {}
        self._seconds: dict[str, float] = defaultdict(float)
        self._bytes: dict[tuple[str, str], int] = defaultdict(int)
        self._notices: dict[str, int] = defaultdict(int)
        self._ended: dict[str, int] = defaultdict(int)

    def statement(self, kind: str, result: str, seconds: float) -> None:
        """One has ended: ``result`` is done, failed or cancelled."""
        with self._lock:
            self._results[kind, result] += 1
            buckets = self._buckets.setdefault(kind, [0] * (len(BUCKETS) + 1))
            for place, limit in enumerate((*BUCKETS, float("inf"))):
                buckets[place] += seconds <= limit
            self._seconds[kind] += seconds

    def backed_up(self, database: str, kind: str, size: int) -> None:
        """So many bytes were written for a backup set."""
        with self._lock:
            self._bytes[database, kind] += size

    def notice(self, kind: str) -> None:
        with self._lock:
            self._notices[kind] += 1

    def thread_ended(self, name: str) -> None:
        """A thread or task has ended by an error that nobody expected."""
        with self._lock:
            self._ended[name] += 1

    def metrics(self) -> list[Metric]:
        with self._lock:
            statements = Metric(
                "tdsproxy_native_statements_total", "counter", "Native statements by kind and result."
            )
            for (kind, result), number in sorted(self._results.items()):
                statements.add(number, kind=kind, result=result)
            seconds = Metric(
                "tdsproxy_native_statement_seconds", "histogram", "How long native statements took."
            )
            for kind, buckets in sorted(self._buckets.items()):
                for limit, number in zip((*BUCKETS, float("inf")), buckets, strict=True):
                    shown = "+Inf" if limit == float("inf") else f"{limit:g}"
                    seconds.add(number, "_bucket", kind=kind, le=shown)
                seconds.add(self._seconds[kind], "_sum", kind=kind)
                seconds.add(buckets[-1], "_count", kind=kind)
            written = Metric(
                "tdsproxy_backup_written_bytes_total", "counter", "Bytes of backup sets written."
            )
            for (database, kind), size in sorted(self._bytes.items()):
                written.add(size, database=database, type=kind)
            notices = Metric("tdsproxy_notices_total", "counter", "Notices raised, by what they are about.")
            for kind, number in sorted(self._notices.items()):
                notices.add(number, kind=kind)
            ended = Metric(
                "tdsproxy_thread_errors_total", "counter", "Threads that ended by an unexpected error."
            )
            for name, number in sorted(self._ended.items()):
                ended.add(number, thread=name)
        return [statements, seconds, written, notices, ended]


def store_metrics(env: CommandEnvironment) -> list[Metric]:
    """Of the databases, their chains and backups, jobs and trial restores, and of what is kept elsewhere."""
    from tdsproxy.keeper.elsewhere_metrics import elsewhere_metrics  # only who is asked needs it

    databases = database_statuses(env)
    found = [*_databases(databases), *_backups(databases), *_trials(env), *_jobs(env), _running(env)]
    return [*found, *elsewhere_metrics(env.catalog.store)]


def _databases(databases: Sequence[DatabaseStatus]) -> list[Metric]:
    size = Metric("tdsproxy_database_bytes", "gauge", "Size of the database file.")
    chain = Metric(
        "tdsproxy_chain_ok", "gauge", "1 unless the log chain is broken; no sample where no log is kept."
    )
    lag = Metric(
        "tdsproxy_capture_lag_seconds", "gauge", "How far the archive of the log is behind the database."
    )
    archive = Metric("tdsproxy_log_archive_bytes", "gauge", "Size of the captured log.")
    online = Metric("tdsproxy_database_online", "gauge", "1 for a database that is ONLINE.")
    for item in databases:
        size.add(item.size, database=item.name)
        online.add(int(item.state == "ONLINE"), database=item.name)
        if item.chain != ChainState.NOT_KEPT.value:
            chain.add(int(item.chain_ok), database=item.name)
            archive.add(item.log_bytes, database=item.name)
        if item.capture_lag is not None:
            lag.add(item.capture_lag, database=item.name)
    return [size, online, chain, lag, archive]


def _backups(databases: Sequence[DatabaseStatus]) -> list[Metric]:
    age = Metric(
        "tdsproxy_last_good_backup_seconds", "gauge", "Seconds since the last good backup of a type."
    )
    size = Metric("tdsproxy_last_backup_bytes", "gauge", "Size of the last backup of a type on its media.")
    ratio = Metric("tdsproxy_last_backup_ratio", "gauge", "Size on the media by the size of what is in it.")
    risk = Metric(
        "tdsproxy_unprotected_seconds", "gauge", "Since when there are commits that are in no backup."
    )
    for item in databases:
        for kind, last in item.last.items():
            age.add(last.seconds_ago, database=item.name, type=kind)
            size.add(last.compressed_size, database=item.name, type=kind)
            if last.size:
                ratio.add(last.compressed_size / last.size, database=item.name, type=kind)
        if item.at_risk is not None:
            risk.add(item.at_risk, database=item.name)
    return [age, size, ratio, risk]


def _trials(env: CommandEnvironment) -> list[Metric]:
    age = Metric(
        "tdsproxy_last_proven_restore_seconds", "gauge", "Seconds since a trial restore last succeeded."
    )
    results = Metric("tdsproxy_trial_restores", "gauge", "Trial restores in msdb, by result.")
    newest: dict[str, float] = {}
    counted: dict[tuple[str, str], int] = defaultdict(int)
    now = env.clock()
    for row in env.catalog.operations.trials():
        name = str(row["database_name"])
        counted[name, "succeeded" if row["succeeded"] else "failed"] += 1
        moment = row["trial_date"]
        if row["succeeded"] and isinstance(moment, DateTime) and name not in newest:
            newest[name] = max(0.0, (now - moment.to_python()).total_seconds())
    for name, seconds in newest.items():
        age.add(seconds, database=name)
    for (name, result), number in counted.items():
        results.add(number, database=name, result=result)
    return [age, results]


def _jobs(env: CommandEnvironment) -> list[Metric]:
    jobs = Metric("tdsproxy_job_runs", "gauge", "Runs of jobs in sysjobhistory, by result.")
    for status, number in sorted(env.catalog.operations.job_results().items()):
        jobs.add(number, result=_JOB_RESULTS.get(status, "other"))
    ended = Metric("tdsproxy_job_runs_total", "counter", "Runs of jobs since the keeper began, by result.")
    if env.agent is not None:
        for (job, result), number in sorted(env.agent.outcomes().items()):
            ended.add(number, job=job, result=result)
    return [jobs, ended]


def _running(env: CommandEnvironment) -> Metric:
    running = Metric("tdsproxy_native_statements_running", "gauge", "Native statements that run now.")
    running.add(sum(bool(item.command) for item in env.running.progress()))
    return running
