"""What msdb's tables of jobs hold, row by row."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from enum import IntEnum
from uuid import UUID

from tdsproxy.agent.schedule import Schedule


class RunStatus(IntEnum):
    """sysjobhistory.run_status; ``last_run_outcome`` of a job that never ran is UNKNOWN."""

    FAILED = 0
    SUCCEEDED = 1
    RETRY = 2
    CANCELED = 3
    IN_PROGRESS = 4
    UNKNOWN = 5


@dataclass(frozen=True, slots=True)
class Step:
    """A row of sysjobsteps. Actions: 1 quit with success, 2 quit with failure, 3 next step, 4 step ``to``.
    ``user`` is the user of the database that it runs as, None for the owner's own."""

    number: int
    name: str
    subsystem: str
    command: str
    database: str
    on_success: int = 1
    on_success_to: int = 0
    on_fail: int = 2
    on_fail_to: int = 0
    retry_attempts: int = 0
    retry_minutes: int = 0
    output_file: str | None = None
    flags: int = 0
    user: str | None = None


@dataclass(frozen=True, slots=True)
class Job:
    """A row of sysjobs, with its steps in order. ``notify_eventlog``, ``notify_email`` and ``delete_level``:
    0 never, 1 when it succeeds, 2 when it fails, 3 always. ``email_operator``: whom to write to."""

    id: UUID
    name: str
    owner_sid: bytes
    start_step: int
    steps: tuple[Step, ...]
    enabled: bool = True
    has_target: bool = True
    notify_eventlog: int = 0
    delete_level: int = 0
    notify_email: int = 0
    email_operator: int = 0

    def step(self, number: int) -> Step | None:
        return next((step for step in self.steps if step.number == number), None)


@dataclass(frozen=True, slots=True)
class Operator:
    """A row of sysoperators, as far as mail goes. ``address`` may hold several, parted by semicolons."""

    id: int
    name: str
    enabled: bool
    address: str

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.address.split(";") if part.strip())


@dataclass(frozen=True, slots=True)
class Alert:
    """A row of sysalerts that an event may raise. ``quiet``: it was answered less than its delay ago."""

    id: int
    name: str
    severity: int
    comment: str
    job_id: UUID | None
    operators: tuple[Operator, ...]
    quiet: bool


@dataclass(frozen=True, slots=True)
class Attachment:
    """A schedule of a job. ``next_run`` is what was noted last: (yyyymmdd, hhmmss), zeros for nothing."""

    job_id: UUID
    schedule_id: int
    name: str
    schedule: Schedule
    next_run: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class JobSummary:
    """A job at a glance. ``last_run`` and ``next_run`` are local."""

    id: UUID
    name: str
    enabled: bool
    last_outcome: str
    last_run: str | None
    last_message: str | None
    next_run: dt.datetime | None = None


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A run that was going on when the agent ended."""

    job_id: UUID
    job_name: str
    started: dt.datetime
    step: int | None
    step_name: str | None
    source: str


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What is said of a step that ended, or (step 0) of a job."""

    job_id: UUID
    step: int
    step_name: str
    message: str
    status: RunStatus
    started: dt.datetime
    seconds: float
    number: int = 0
    severity: int = 0
    retries: int = 0
    emailed: int = 0
