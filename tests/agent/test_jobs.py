"""Jobs by a clock of the test: what runs when, where its steps lead, what history says of it."""

from __future__ import annotations

import datetime as dt
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest

from tdsproxy.agent.book import JobBook
from tdsproxy.agent.running import StepError, StepWork
from tdsproxy.agent.service import Agent, Finished
from tdsproxy.catalog.catalog import Catalog, initialise
from tdsproxy.catalog.file import CatalogFile
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message

BERLIN = ZoneInfo("Europe/Berlin")
START = dt.datetime(2027, 3, 27, 12, 0, tzinfo=dt.UTC)
LIMIT = 60.0


class FakeClock:
    """Time goes on when the test says so, and by the seconds that somebody waits."""

    def __init__(self) -> None:
        self.zone = BERLIN
        self.time = START

    def now(self) -> dt.datetime:
        return self.time

    def local(self, moment: dt.datetime) -> dt.datetime:
        return moment.astimezone(self.zone).replace(tzinfo=None)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        self.time += dt.timedelta(seconds=seconds)
        return event.is_set()

    def go_to(self, text: str) -> None:
        self.time = dt.datetime.fromisoformat(text).replace(tzinfo=BERLIN).astimezone(dt.UTC)


class FakeSteps:
    """Commands are words: ``ok``, ``fail``, ``fail N`` (the first N times), ``wait`` (until cancelled)."""

    def __init__(self) -> None:
        self.ran: list[str] = []
        self.waiting = threading.Event()
        self.output: dict[str, list[str]] = {}

    def run(self, work: StepWork, cancelled: threading.Event) -> Iterator[Message | str]:
        self.ran.append(work.text)
        words = work.text.split()
        if work.subsystem != "TSQL":
            raise StepError(f"The {work.subsystem} subsystem failed to load")
        if words[0] == "wait":
            self.waiting.set()
            assert cancelled.wait(LIMIT)
        elif words[0] == "fail" and (len(words) == 1 or self.ran.count(work.text) <= int(words[1])):
            yield Message(208, 16, 1, "Invalid object name 'x'.")
        else:
            yield Message(0, 0, 1, "done")
            yield "a line"

    def write_output(self, name: str, lines: Sequence[str], *, append: bool) -> None:
        self.output[name] = [*(self.output.get(name, []) if append else []), *lines]


class World:
    """A store with msdb, and an agent on a clock that the test turns."""

    def __init__(self, store: Path) -> None:
        self.catalog: Catalog = initialise(store)
        self.catalog.logins.create("sa", "x")
        self.file = CatalogFile(store / "msdb.db")
        self.store = store
        self.clock = FakeClock()
        self.steps = FakeSteps()
        self.reports: list[str] = []
        self.agent = self.new_agent()

    def new_agent(self) -> Agent:
        book = JobBook(self.store, "SERVER")
        self.agent = Agent(book, self.catalog.logins, self.steps, self.clock, self.reports.append)
        return self.agent

    def job(self, *steps: str, name: str = "nightly", **columns: int) -> UUID:
        """``steps`` are commands, with ``|`` and further columns behind them: ``fail|on_fail_action=3``."""
        number = uuid4()
        values = {"notify_level_eventlog": 0, "delete_level": 0, "start_step_id": 1, **columns}
        self.file.read(
            "INSERT INTO sysjobs VALUES (?, 0, ?, 1, NULL, ?, 0, ?, ?, 0, 0, 0, 0, 0, 0, ?,"
            " '2027-01-01 00:00:00.000', '2027-01-01 00:00:00.000', 1)",
            (
                *(str(number).upper(), name, values["start_step_id"], b"\x01"),
                *(values["notify_level_eventlog"], values["delete_level"]),
            ),
        )
        self.file.read("INSERT INTO sysjobservers VALUES (?, 0, 5, NULL, 0, 0, 0)", (str(number).upper(),))
        for place, text in enumerate(steps, 1):
            command, *more = text.split("|")
            self.file.read(
                "INSERT INTO sysjobsteps (job_id, step_id, step_name, subsystem, command, flags,"
                " cmdexec_success_code, on_success_action, on_success_step_id, on_fail_action,"
                " on_fail_step_id, database_name, retry_attempts, retry_interval, os_run_priority,"
                " last_run_outcome, last_run_duration, last_run_retries, last_run_date, last_run_time)"
                " VALUES (?, ?, ?, 'TSQL', ?, 0, 0, ?, 0, 2, 0, 'master', 0, 0, 0, 0, 0, 0, 0, 0)",
                (str(number).upper(), place, f"s{place}", command, 1 if place == len(steps) else 3),
            )
            for change in more:
                column, value = change.split("=")
                self.file.read(
                    f"UPDATE sysjobsteps SET {column} = ? WHERE job_id = ? AND step_id = ?",
                    (value, str(number).upper(), place),
                )
        return number

    def schedule(self, job: UUID, **columns: int) -> None:
        values = {
            "freq_type": 4,
            "freq_interval": 1,
            "freq_subday_type": 1,
            "freq_subday_interval": 0,
            "freq_relative_interval": 0,
            "freq_recurrence_factor": 1,
            "active_start_date": 20270101,
            "active_end_date": 99991231,
            "active_start_time": 23000,
            "active_end_time": 235959,
            **columns,
        }
        with self.file.write():
            self.file.read(
                f"INSERT INTO sysschedules (schedule_uid, originating_server_id, name, owner_sid, enabled,"
                f" {', '.join(values)}, date_created, date_modified, version_number)"
                f" VALUES ('x', 0, 'plan', x'01', 1, {', '.join('?' * len(values))}, '', '', 1)",
                tuple(values.values()),
            )
            number = self.file.last_row_id()
            self.file.read("INSERT INTO sysjobschedules VALUES (?, ?, 0, 0)", (number, str(job).upper()))

    def tick(self) -> None:
        """Everything that is due now, to its end."""
        self.agent.tick()
        self.settle()

    def settle(self) -> None:
        deadline = time.monotonic() + LIMIT
        while self.agent.busy:
            assert time.monotonic() < deadline
            time.sleep(0.002)

    def history(self) -> list[tuple[object, ...]]:
        return self.file.read(
            "SELECT step_id, run_status, retries_attempted, run_date, run_time FROM sysjobhistory"
            " ORDER BY instance_id"
        )

    def outcomes(self) -> list[str]:
        rows = self.file.read("SELECT message FROM sysjobhistory WHERE step_id = 0 ORDER BY instance_id")
        return [str(row[0]) for row in rows]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "store")
    yield made
    made.agent.close()
    made.file.close()
    made.catalog.close()


def test_a_daily_job_runs_once_over_each_change_of_the_clock(world: World) -> None:
    world.schedule(world.job("ok"))
    world.tick()
    assert world.file.read("SELECT next_run_date, next_run_time FROM sysjobschedules") == [(20270328, 30000)]
    for hour in range(48):
        world.clock.time = START + dt.timedelta(hours=hour)
        world.tick()
    assert world.history() == [(step, 1, 0, day, 30000) for day in (20270328, 20270329) for step in (1, 0)]
    world.clock.go_to("2027-10-30T12:00")
    world.tick()
    before = len(world.outcomes())
    for minutes in range(0, 24 * 60, 15):
        world.clock.go_to("2027-10-30T12:00")
        world.clock.time += dt.timedelta(minutes=minutes)
        world.tick()
    assert len(world.outcomes()) == before + 1


def test_where_steps_lead(world: World) -> None:
    job = world.job(
        "ok|on_success_action=4|on_success_step_id=3",
        "never",
        "fail|on_fail_action=4|on_fail_step_id=5",
        "never",
        "ok|on_success_action=2",
        notify_level_eventlog=2,
    )
    world.agent.start(job, None, "sa")
    world.settle()
    assert world.steps.ran == ["ok", "fail", "ok"]
    assert [(row[0], row[1]) for row in world.history()] == [(1, 1), (3, 0), (5, 1), (0, 0)]
    assert world.outcomes() == [
        "The job failed.  The Job was invoked by User sa.  The last step to run was step 5 (s5)."
    ]
    assert "Status: Failed" in world.reports[0]
    assert world.file.read("SELECT last_run_outcome, last_run_date, last_run_time FROM sysjobservers") == [
        (0, 20270327, 130000)
    ]
    assert world.agent.outcomes() == {("nightly", "failed"): 1}


def test_retries(world: World) -> None:
    job = world.job("fail 2|retry_attempts=3|retry_interval=5")
    world.agent.start(job, None, "sa")
    world.settle()
    assert world.history() == [
        (1, 2, 0, 20270327, 130000),
        (1, 2, 1, 20270327, 130500),
        (1, 1, 2, 20270327, 131000),
        (0, 1, 0, 20270327, 130000),
    ]
    assert world.file.read("SELECT last_run_retries, last_run_outcome FROM sysjobsteps") == [(2, 1)]


def test_a_started_step_and_a_late_owner(world: World) -> None:
    job = world.job("ok|flags=4", "ok|output_file_name=out.txt", "fail|subsystem=CmdExec")
    world.agent.start(job, "S2", "sa")
    world.settle()
    heading, blank, *lines = world.steps.output["out.txt"]
    assert heading == "Job 'nightly' : Step 2, 's2' : Began Executing 2027-03-27 13:00:00"
    assert [blank, *lines] == ["", "done [SQLSTATE 01000]", "a line"]
    assert world.outcomes()[0].endswith(
        "The last step to run was step 3 (s3).  The job was requested to start at step 2 (s2)."
    )
    world.agent.start(job, "s1", "sa")
    world.settle()
    shown = world.file.read("SELECT message FROM sysjobhistory WHERE step_id < 3 ORDER BY instance_id")
    assert ["a line" in str(row[0]) for row in shown if "Executed" in str(row[0])] == [False, True, False]
    failure = world.file.read("SELECT message FROM sysjobhistory WHERE step_id = 3")[0][0]
    assert failure == "Executed as user: sa. The CmdExec subsystem failed to load.  The step failed."
    world.file.read("UPDATE sysjobs SET owner_sid = x'99'")
    world.agent.start(job, None, "sa")
    world.settle()
    assert world.outcomes()[2] == "The job failed.  The owner () of job nightly does not have server access."


def test_stopping(world: World) -> None:
    job = world.job("wait", "never")
    with pytest.raises(SqlError) as refused:
        world.agent.stop(job, "bob")
    assert refused.value.number == 22022
    world.agent.start(job, None, "sa")
    assert world.steps.waiting.wait(LIMIT)
    with pytest.raises(SqlError) as twice:
        world.agent.start(job, None, "bob")
    assert (
        "Request to run job nightly (from User bob) refused because the job is already running from a"
        in str(twice.value.messages[0].text)
    )
    world.agent.stop(job, "bob")
    world.settle()
    assert [(row[0], row[1]) for row in world.history()] == [(1, 3), (0, 3)]
    assert world.outcomes() == [
        "The job was stopped prior to completion by User bob.  The Job was invoked by User sa."
        "  The last step to run was step 1 (s1)."
    ]


def test_a_run_whose_outcome_can_be_read_is_in_nobodys_way(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, is_over = threading.Event(), JobBook.is_over

    def noticed(self: JobBook, session: int, job_id: UUID) -> bool:
        found = is_over(self, session, job_id)
        asked.set()
        return found

    monkeypatch.setattr(JobBook, "is_over", noticed)
    told = threading.Event()

    def listen(finished: Finished) -> None:
        """The first run is held here until somebody has asked for it."""
        told.set()
        assert asked.wait(LIMIT)

    world.agent.listeners.append(listen)
    job = world.job("ok")
    world.agent.start(job, None, "sa")
    assert told.wait(LIMIT)
    assert len(world.outcomes()) == 1
    world.agent.start(job, None, "sa")
    world.settle()
    assert len(world.outcomes()) == 2
    told.clear()
    asked.clear()
    world.agent.start(job, None, "sa")
    assert told.wait(LIMIT)
    with pytest.raises(SqlError, match="not currently running"):
        world.agent.stop(job, "sa")


def test_a_clock_that_was_put_back_lets_no_run_wait_for_years(world: World) -> None:
    """The machine begins in a wrong year, until its time server answers."""
    world.schedule(world.job("ok"))
    world.clock.go_to("2031-06-01 12:00")
    world.tick()
    world.clock.go_to("2027-06-01 12:00")
    world.tick()
    assert any("the clock was put back" in line for line in world.reports)
    world.clock.go_to("2027-06-02 02:30")
    world.tick()
    assert world.steps.ran == ["ok"]
    assert world.file.read("SELECT next_run_date FROM sysjobschedules")[0][0] == 20270603


def test_a_missed_run_is_made_up_once_and_says_so(world: World) -> None:
    world.schedule(world.job("ok"))
    world.tick()
    world.agent.close()
    world.clock.time += dt.timedelta(days=5)
    world.new_agent()
    world.tick()
    world.tick()
    assert world.outcomes() == [
        "The job succeeded.  The Job was invoked by Schedule 1 (plan).  The last step to run was step 1 (s1)."
        "  The run was late: it was due at 2027-03-28 03:00:00."
    ]
    assert world.file.read("SELECT next_run_date, next_run_time FROM sysjobschedules") == [(20270402, 23000)]


def test_a_run_that_was_cut_off_is_shown_as_stopped(world: World) -> None:
    job = world.job("wait")
    world.agent.start(job, None, "sa")
    assert world.steps.waiting.wait(LIMIT)
    cut = world.agent
    world.clock.time += dt.timedelta(minutes=10)
    world.new_agent().begin()  # the process of the first one is gone, as far as msdb knows
    assert world.outcomes() == [
        "The job was stopped prior to completion by Shutdown Sequence 0."
        "  The last step to run was step 1 (s1)."
    ]
    assert world.file.read("SELECT run_status, run_duration FROM sysjobhistory") == [(3, 1000)]
    assert world.file.read(
        "SELECT COUNT(*) FROM sysjobactivity WHERE start_execution_date IS NOT NULL"
        " AND stop_execution_date IS NULL"
    ) == [(0,)]
    cut.close()


def test_what_no_clock_starts_and_what_deletes_itself(world: World) -> None:
    idle = [False]
    world.schedule(world.job("ok", name="boot"), freq_type=64)
    world.schedule(world.job("ok", name="idle"), freq_type=128)
    world.schedule(
        world.job("ok", name="once", delete_level=3),
        freq_type=1,
        active_start_date=20270327,
        active_start_time=140000,
    )
    agent = Agent(
        JobBook(world.store, "SERVER"), world.catalog.logins, world.steps, world.clock, idle=lambda: idle[0]
    )
    world.agent.close()
    world.agent = agent
    names: list[str] = []
    agent.listeners.append(lambda finished: names.append(finished.job))
    world.tick()
    assert names == ["boot"]
    world.clock.time += dt.timedelta(hours=1)
    world.tick()
    assert names == ["boot", "once"]
    assert world.file.read("SELECT COUNT(*) FROM sysjobs WHERE name = 'once'") == [(0,)]
    idle[0] = True
    for _ in range(4):
        world.tick()
        world.clock.time += dt.timedelta(minutes=6)
    assert names == ["boot", "once", "idle"]


def test_a_changed_schedule_counts_at_once(world: World) -> None:
    world.schedule(world.job("ok"))
    world.tick()
    with world.file.write():
        world.file.read("UPDATE sysschedules SET active_start_time = 131500")
        world.file.read("UPDATE sysjobschedules SET next_run_date = 0, next_run_time = 0")
    world.tick()
    assert world.file.read("SELECT next_run_date, next_run_time FROM sysjobschedules") == [(20270327, 131500)]
    world.clock.time += dt.timedelta(minutes=15)
    world.tick()
    assert len(world.outcomes()) == 1
    world.file.read("UPDATE sysjobs SET enabled = 0")
    world.clock.time += dt.timedelta(days=1)
    world.tick()
    assert len(world.outcomes()) == 1
