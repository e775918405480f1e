"""Threads that die: an error that nobody expects in each of the threads and tasks that work by themselves.

Whatever it is, it is loud: the error log or the client's answer has it. And it is safe: what was
acknowledged is there, the thread begins again, the log goes on without a gap, and a restore to now brings
what is there. Where it comes up again and again, the state says that the log is not captured, and a commit
that waits for it is told of. A case is an error.
"""

from __future__ import annotations

import contextlib
import json
import random
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from scripts.campaigns.outcome import Plan, Tally, Violation, check
from scripts.campaigns.product import LOST, Product, product, rows, run, until
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import ServeOptions
from tdsproxy.cli.shell import run_statement

LONG: Final = 180.0
"""Seconds after which a thread has not come again; some look every ten seconds only."""
ERRORS: Final = ("ZeroDivisionError", "MemoryError", "SystemExit")
_BOUND: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class Target:
    """A function that a thread of its own calls. ``sql`` makes it do so beside commits, ``page`` a request
    over HTTP; ``answers`` says that a client is told of the error in its answer."""

    name: str
    function: str
    sql: str = ""
    page: str = ""
    answers: bool = False
    in_loop: bool = False
    """Called by an event loop, which SystemExit ends, and its process, as it is meant to."""


_FULL = "BACKUP DATABASE day TO DISK = 'other.bak' WITH INIT, COPY_ONLY"
_AWAY = "BACKUP DATABASE day TO URL = '{bucket}/day.bak' WITH FORMAT, COPY_ONLY"
_LOG = "BACKUP LOG day TO DISK = 'log.bak' WITH NOINIT"
_JOB = "EXEC msdb.dbo.sp_start_job @job_name = N'nightly'"

TARGETS: Final = (
    Target("capture, waiting", "tdsproxy.log.capture:Capturer._wait"),
    Target("capture, a look", "tdsproxy.log.follower:Follower.capture", _LOG),
    Target("capture, storing", "tdsproxy.log.archive:Archive.append"),
    Target("checkpoint, a step", "tdsproxy.log.checkpointer:Checkpointer.step"),
    Target("checkpoint, its thread", "tdsproxy.log.checkpointer:Checkpointer._work"),
    Target("sync of the archive", "tdsproxy.log.archive:Archive.sync", _LOG),
    Target("a durable commit", "tdsproxy.keeper.log_events:LogEvents._make_durable"),
    Target("scheduler", "tdsproxy.agent.service:Agent.tick"),
    Target("scheduler, its book", "tdsproxy.agent.service:Agent._look"),
    Target("a job", "tdsproxy.agent.running:JobRun.run", _JOB),
    Target("watch", "tdsproxy.keeper.supervision:Supervision._look"),
    Target("watch, facts", "tdsproxy.keeper.supervision:Supervision.facts"),
    Target("retention", "tdsproxy.agent.retention_run:run_retention", page="retention", answers=True),
    Target("sending of the store", "tdsproxy.keeper.sync:_Sender.round"),
    Target("sending of files", "tdsproxy.keeper.sync:_Sender._write_manifest"),
    Target("upload", "tdsproxy.media.object_upload:Upload._pieces", _AWAY, answers=True),
    Target("backup, writing", "tdsproxy.backup.set_sink:SetSink._write", _FULL, answers=True),
    Target("backup, finishing", "tdsproxy.backup.set_sink:SetSink.finish", _FULL, answers=True),
    Target("metrics", "tdsproxy.keeper.metrics:store_metrics", page="/metrics"),
    Target("status page", "tdsproxy.commands.status:database_statuses", page="/status.json"),
    Target("pages", "tdsproxy.cli.web:Web._is_ours", page="/", answers=True, in_loop=True),
    Target("a session", "tdsproxy.server.session:Session.begin_request", "SELECT 1", answers=True),
)


@dataclass
class House:
    """The product with everything that works by itself, and what was acknowledged."""

    made: Product
    tally: Tally
    bucket: str
    web: dict[str, str] = field(default_factory=dict)
    control: Path = Path()
    number: int = 0
    acknowledged: int = 0
    told: list[str] = field(default_factory=list)
    """Errors that clients have got of the present sabotage."""

    def begin(self, secret: Path) -> None:
        self.control = self.made.directory / "sabotage"
        settings = {"notices": {"interval_seconds": 0.5}}
        self.made.store.mkdir(mode=0o700)
        path = self.made.store / "operation.json"
        path.touch(mode=0o600)
        path.write_text(json.dumps(settings))
        self.made.start(
            *("--capture", "sync", "--http", "127.0.0.1:0", "--metrics", "127.0.0.1:0"),
            *("--sync", f"{self.bucket}/store", "--sync-secret-file", str(secret)),
            PYTHONPATH=f"{Path(__file__).with_name('saboteur')}:{Path(__file__).parents[2]}",
            SABOTAGE=str(self.control),
        )
        self.web = json.loads(self.made.running.log.with_suffix(".ready").read_text())
        with self.made.cursor() as cursor:
            for statement in (
                f"CREATE CREDENTIAL [{self.bucket}] WITH IDENTITY = 'S3 Access Key',"
                f" SECRET = '{secret.read_text()}'",
                "CREATE DATABASE day",
                "CREATE TABLE day.dbo.t (n int PRIMARY KEY, body varchar(400))",
                "BACKUP DATABASE day TO DISK = 'full.bak' WITH INIT",
                "EXEC msdb.dbo.sp_add_job @job_name = N'nightly'",
                "EXEC msdb.dbo.sp_add_jobstep @job_name = N'nightly', @step_name = N'one',"
                " @command = N'BACKUP DATABASE day TO DISK = ''job.bak'' WITH INIT, COPY_ONLY'",
                "EXEC msdb.dbo.sp_add_jobserver @job_name = N'nightly'",
            ):
                run(cursor, statement)

    # ------------------------------------------------------------------ one error

    def sabotage(self, target: Target, error: str, times: int) -> None:
        self.number += 1
        self.told.clear()
        order = {"number": self.number, "target": target.function, "error": error, "times": times}
        made = self.control.with_suffix(".new")
        made.write_text(json.dumps(order))
        made.rename(self.control)

    def seen(self, kind: str) -> bool:
        return Path(f"{self.control}.{self.number}.{kind}").exists()

    def provoke(self, target: Target) -> None:
        """Whatever makes the function be called; what fails of it is kept."""
        self.commit()
        if target.sql:
            self.ask(target.sql.format(bucket=self.bucket))
        if target.page == "retention":
            try:
                self.keeper("EXEC sp_retention @a1", {"@a1": "1"})
            except CommandError as error:
                self.told.append(str(error))
        elif target.page:
            place = self.web["metrics" if target.page == "/metrics" else "http"]
            try:
                with urllib.request.urlopen(f"http://{place}{target.page}", timeout=60) as answer:
                    answer.read()
            except urllib.error.HTTPError as error:
                self.told.append(f"HTTP {error.code}")
            except OSError as error:
                raise Violation(f"no answer over HTTP: {error}") from error

    def ask(self, sql: str) -> None:
        try:
            with self.made.cursor() as cursor:
                run(cursor, sql)
        except LOST as error:
            self.told.append(str(error))

    def commit(self) -> None:
        try:
            with self.made.cursor() as cursor:
                run(cursor, f"INSERT INTO day.dbo.t VALUES ({self.acknowledged + 1}, REPLICATE('x', 300))")
        except LOST as error:
            self.told.append(str(error))
            with self.made.cursor() as cursor:
                # It says that it failed: then it may be there or not.
                self.acknowledged = rows(cursor, "SELECT COALESCE(MAX(n), 0) FROM day.dbo.t")[0][0]
        else:
            self.acknowledged += 1

    def case(self, target: Target, error: str) -> None:
        """Raises Violation."""
        self.sabotage(target, error, 1)

        def reached(kind: str) -> bool:
            if not self.seen(kind):
                self.provoke(target)
            return self.seen(kind)

        check(until(lambda: reached("hit"), LONG), "nobody calls it")
        check(until(lambda: reached("again"), LONG), "nobody calls it again: the thread is gone")
        check(self.made.listener_lives, "the listener has ended")
        check(until(self._is_told, LONG), "nothing tells of it")
        if target.answers:
            check(bool(self.told), "nobody was told that it failed")
        self._log_goes_on()
        self._result()

    def _is_told(self) -> bool:
        text = f"sabotage {self.number}"
        if any(text in told or "HTTP 500" in told or "severe error" in told for told in self.told):
            return text in self.made.log_text() or any(text in told for told in self.told)
        with self.made.cursor() as cursor:
            lines = [row[-1] for row in rows(cursor, "EXEC sp_readerrorlog")]
        return any(text in line for line in lines) or text in self.listener_log()

    def listener_log(self) -> str:
        return self.made.running.log.read_text(errors="replace")

    def _log_goes_on(self) -> None:
        """It may take a moment until the log is captured again."""
        failures: list[str] = []

        def backed_up() -> bool:
            try:
                with self.made.cursor() as cursor:
                    run(cursor, _LOG)
            except LOST as error:
                failures.append(str(error))
                return False
            return True

        check(until(backed_up), f"BACKUP LOG: {failures[-1:]}")

    def _result(self) -> None:
        with self.made.cursor() as cursor:
            count, last = rows(cursor, "SELECT COUNT(*), MAX(n) FROM day.dbo.t")[0]
            check(count == last == self.acknowledged, f"{count} commits to {last}, not {self.acknowledged}")
            now = rows(cursor, "SELECT CONVERT(varchar(30), SYSDATETIME(), 126)")[0][0]
            run(
                cursor,
                f"RESTORE DATABASE scratch FROM DISK = 'full.bak' WITH REPLACE, STOPAT = '{now}',"
                " MOVE 'day' TO 'scratch.mdf', MOVE 'day_log' TO 'scratch.ldf'",
            )
            found = rows(cursor, "SELECT COUNT(*), MAX(n) FROM scratch.dbo.t")[0]
            check(found == (count, last), f"restored to now: {found} instead of {(count, last)}")
            run(cursor, "DROP DATABASE scratch")

    # ------------------------------------------------------------------ again and again

    def lasting(self, error: str) -> None:
        """The capture fails each time: commits go on, and everything says that the log is not captured."""
        target = next(target for target in TARGETS if target.name == "capture, a look")
        self.sabotage(target, error, _BOUND)
        check(until(lambda: self.seen("hit"), LONG), "nobody calls it")
        text = f"sabotage {self.number}"
        check(until(lambda: text in str(self.status()), LONG), f"the state says nothing: {self.status()}")
        self.ask(_LOG)
        check(bool(self.told), "BACKUP LOG is acknowledged")
        begun = time.monotonic()
        self.commit()
        self.tally.peak("seconds of a commit that is not captured", time.monotonic() - begun)
        silent = "not durable" not in self.listener_log()
        check(not silent, "a commit was acknowledged as if its log were durable")
        # Somewhere that exists and that nobody calls.
        self.sabotage(Target("nothing", "tdsproxy.log.follower:main_stamp"), error, 0)
        check(until(lambda: text not in str(self.status()), LONG), f"it stays so: {self.status()}")
        self._log_goes_on()
        self._result()

    def keeper(self, statement: str, values: dict[str, str]) -> list[dict[str, Any]]:
        """The rows of a procedure of the keeper. Raises CommandError."""
        return list(run_statement(ServeOptions(store=self.made.store), statement, values).rows)

    def status(self) -> Any:
        try:
            (row,) = self.keeper("EXEC sp_status @a1", {"@a1": "plain"})
        except CommandError as error:
            return str(error)
        found = json.loads(str(next(iter(row.values()))))
        return [one for one in found["databases"] if one["name"] == "day"]


@contextlib.contextmanager
def house(tally: Tally) -> Iterator[House]:
    from tests.objects.s3_server import KEY, SECRET, s3_server

    with s3_server() as s3, product() as made:
        secret = made.directory / "secret"
        secret.touch(mode=0o600)
        secret.write_text(f"{KEY}:{SECRET}")
        found = House(made, tally, s3.bucket("threads"))
        found.begin(secret)
        yield found


def main(plan: Plan, tally: Tally) -> None:
    """Raises Violation."""
    end = time.monotonic() + plan.seconds
    cases = [
        (target, error)
        for target in TARGETS
        for error in ERRORS
        if not (target.in_loop and error == "SystemExit")
    ]
    random.Random(plan.seed).shuffle(cases)
    with house(tally) as found:
        for target, error in cases[: max(1, round(len(cases) * plan.share))]:
            if time.monotonic() > end:
                print("no time left for all threads", flush=True)
                break
            guarded(found, f"{target.name}, {error}", lambda: found.case(target, error), tally)  # noqa: B023
        # Half a minute each: a commit waits that long for its log.
        for error in ERRORS[: round(len(ERRORS) * plan.share)]:
            guarded(found, f"the capture always, {error}", lambda: found.lasting(error), tally)  # noqa: B023


def guarded(found: House, name: str, work: Any, tally: Tally) -> None:
    tally.add("errors")
    begun = time.monotonic()
    try:
        work()
        print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)
    except (Violation, *LOST) as violation:
        tally.violated(f"{name}: {violation}; clients were told {found.told[-3:]}")
