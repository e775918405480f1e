"""``tdsproxy restore``: RESTORE DATABASE and LOG, from media that are named or from what msdb knows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from tdsproxy.cli.common import (
    AllowDir,
    BackupDir,
    CaFile,
    Config,
    Json,
    MaxRate,
    PathMap,
    S3Http,
    Store,
    place,
    rate_of,
)
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.native import Statement
from tdsproxy.cli.offline import restore_offline
from tdsproxy.cli.progress import display
from tdsproxy.cli.restore_all import restore_all, take_over
from tdsproxy.cli.shell import Outcome, run_statement, show

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions


LEFT_RESTORING: Final = 4322


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a way back, as ``sp_restore_plan`` says it."""

    what: str
    devices: tuple[str, ...]
    position: str | None
    through: str
    model: str

    def __str__(self) -> str:
        place = f"{', '.join(self.devices)} (file {self.position})" if self.devices else "of the store"
        return f"{self.what:<12}  {place}, up to {self.through}"


def restore(
    database: Annotated[str | None, typer.Argument(help="Name of the database.", metavar="[NAME]")] = None,
    files: Annotated[
        list[str] | None,
        typer.Argument(help="The media, as DISK names them; several are stripes.", metavar="[FILE]..."),
    ] = None,
    position: Annotated[int, typer.Option("--file", min=1, help="Position of the backup set.")] = 1,
    log: Annotated[bool, typer.Option("--log", help="RESTORE LOG.")] = False,
    replace: Annotated[bool, typer.Option("--replace", help="Replace an existing database.")] = False,
    stop_at: Annotated[
        str | None, typer.Option("--stop-at", help="Restore the state at this time of the server's clock.")
    ] = None,
    norecovery: Annotated[
        bool, typer.Option("--norecovery", help="Further backups are to be restored on it.")
    ] = False,
    recovery: Annotated[
        bool, typer.Option("--recovery", help="Without media: end a sequence of restores.")
    ] = False,
    standby: Annotated[
        str | None, typer.Option("--standby", help="Readable between log restores; names the undo file.")
    ] = None,
    checksum: Annotated[bool, typer.Option("--checksum", help="WITH CHECKSUM.")] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Go on where the same restore was interrupted."),
    ] = False,
    latest: Annotated[
        bool,
        typer.Option(
            "--latest", help="Without media: as near to now, or to --stop-at, as what msdb knows leads."
        ),
    ] = False,
    source: Annotated[
        str | None, typer.Option("--of", help="With --latest: the database whose backups are meant. [NAME]")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only print what would be used, and the statements.")
    ] = False,
    all_: Annotated[
        bool,
        typer.Option(
            "--all",
            help="A whole store that was synchronised (serve --sync), from --from; with --recovery: a standby"
            " (serve --follow) takes over.",
        ),
    ] = False,
    origin: Annotated[
        str | None, typer.Option("--from", help="With --all: the URL of the object store.", metavar="URL")
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            "--secret-file", help="With --all: its credential, as SECRET has it. [TDSPROXY_OBJECT_SECRET]"
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="With --all: the passphrase that sealed the service master key."),
    ] = None,
    succeed: Annotated[
        bool,
        typer.Option(
            "--take-over",
            help="With --all --from: the new store is the writer there from now on; the old one is refused.",
        ),
    ] = False,
    epoch: Annotated[
        int | None,
        typer.Option(
            "--epoch", help="With --all --from: what a writer had sent before another one took over from it."
        ),
    ] = None,
    undo: Annotated[
        str | None,
        typer.Option("--undo", help="Bring back what the last restore replaced; history --points names it."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="For master, while nothing serves the store.")
    ] = False,
    max_rate: MaxRate = None,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    s3_http: S3Http = None,
    ca_file: CaFile = None,
    config: Config = None,
) -> None:
    """RESTORE DATABASE or LOG, also while the store is being served."""
    if all_ or origin is not None:
        if all_ and recovery and origin is None and database is None:
            take_over(
                place(store, config, backup_dir, allow_dir, path_map, s3_http, ca_file), as_json=as_json
            )
            return
        if not all_ or origin is None or database is not None:
            raise CommandError("--all and --from go together, and without the name of a database.")
        options = place(store, config, backup_dir, allow_dir, path_map, s3_http, ca_file)
        if succeed and epoch is not None:
            raise CommandError("--take-over goes on from what is there now, not from a former --epoch.")
        restore_all(options, origin, secret_file, key_file, as_json=as_json, epoch=epoch, succeed=succeed)
        return
    if succeed or epoch is not None:
        raise CommandError("--take-over and --epoch go with --all and --from.")
    if database is None:
        raise CommandError("Name the database.")
    if sum((bool(files), latest, recovery, undo is not None)) != 1:
        raise CommandError("Name the media, or say --latest, --recovery or --undo.")
    if restart and not files:
        raise CommandError("--restart goes with the media of the restore that was interrupted.")
    if source is not None and not latest:
        raise CommandError("--of goes with --latest.")
    options = place(store, config, backup_dir, allow_dir, path_map, s3_http, ca_file)
    if offline:
        restore_offline(options, database, files or [], position)
        return
    steps: list[Step] = []
    if undo is not None:
        statement = Statement()
        former = statement.value(undo)
        statement.text = f"RESTORE DATABASE {statement.name(database)} FROM DATABASE_SNAPSHOT = {former}"
        statements = [statement]
    elif recovery:
        statement = Statement(options=["RECOVERY"])
        statement.text = f"RESTORE DATABASE {statement.name(database)}"
        statements = [statement]
    elif latest:
        steps = plan(options, source or database, stop_at)
        statements = latest_statements(
            options, database, steps, stop_at, replace=replace, norecovery=norecovery
        )
    else:
        statement = Statement(options=["STATS = 1", f"FILE = {position}"])
        _name_media(statement, "LOG" if log else "DATABASE", database, files or [])
        statement.add_flags(
            (
                ("REPLACE", replace),
                ("NORECOVERY", norecovery),
                ("CHECKSUM", checksum),
                ("RESTART", restart),
            )
        )
        statement.add("STANDBY", standby)
        statement.add("STOPAT", stop_at)
        if not log:
            _move(options, statement, database, files or [], position)
        statements = [statement]
    if dry_run:
        _show_plan(steps, statements, as_json=as_json)
        return
    whole = Outcome()
    rate = rate_of(max_rate)
    for statement in statements:
        with display(f"restore of {database}", quiet=as_json) as progress:
            outcome = run_statement(options, statement.whole(), statement.variables, progress, rate)
        whole.messages += outcome.messages
        whole.numbers += outcome.numbers
    show(whole, as_json=as_json)
    if stop_at is not None or latest:
        _require_recovered(whole, database, norecovery=norecovery)


def _require_recovered(outcome: Outcome, database: str, *, norecovery: bool) -> None:
    """SQL Server only informs when the backups end before the moment. Raises CommandError."""
    if not norecovery and LEFT_RESTORING in outcome.numbers:
        raise CommandError(
            f"The backups end before the moment: '{database}' is left RESTORING; restore a later log, or"
            " end with --recovery."
        )


def plan(options: ServeOptions, database: str, stop_at: str | None) -> list[Step]:
    """What leads to the moment, the full backup first. Raises CommandError, also when nothing does."""
    found = run_statement(options, "EXEC sp_restore_plan @a1, @a2", {"@a1": database, "@a2": stop_at})
    steps = []
    for row in found.rows:
        what, devices, position, through, model = (row[f"c{place}"] for place in range(5))
        names = tuple(str(devices).split("\n")) if devices is not None else ()
        at = None if position is None else str(position)
        steps.append(Step(str(what), names, at, str(through), str(model)))
    if not steps:
        where = "" if stop_at is None else f" as early as {stop_at}"
        raise CommandError(f"msdb knows of no full backup of '{database}'{where} that can be read.")
    return steps


def latest_statements(
    options: ServeOptions,
    database: str,
    steps: Sequence[Step],
    stop_at: str | None,
    *,
    replace: bool,
    norecovery: bool = False,
) -> list[Statement]:
    """Of a database with a log one statement, which finds the rest itself; else one a step."""
    full = steps[0]
    if full.model != "SIMPLE" and not norecovery:
        statement = _step(database, full, replace=replace)
        statement.add("STOPAT", stop_at or steps[-1].through)
        _move(options, statement, database, full.devices, int(full.position or 1))
        return [statement]
    statements = []
    for number, step in enumerate(step for step in steps if step.devices):
        statement = _step(database, step, replace=replace and number == 0)
        statement.options.append("NORECOVERY")
        if step is full:
            _move(options, statement, database, full.devices, int(full.position or 1))
        elif step.what == "log":
            statement.add("STOPAT", stop_at)
        statements.append(statement)
    if not norecovery:
        statements[-1].options.remove("NORECOVERY")
    return statements


def _step(database: str, step: Step, *, replace: bool) -> Statement:
    statement = Statement(options=["STATS = 1", f"FILE = {step.position}"])
    _name_media(statement, "LOG" if step.what == "log" else "DATABASE", database, step.devices)
    statement.add_flags((("REPLACE", replace),))
    return statement


def _name_media(statement: Statement, kind: str, database: str, files: Sequence[str]) -> None:
    statement.text = f"RESTORE {kind} {statement.name(database)} FROM {statement.devices(files)}"


def _move(
    options: ServeOptions, statement: Statement, database: str, files: Sequence[str], position: int
) -> None:
    """MOVE the files of the backup to names of the database: two databases can't show the same ones."""
    asked = Statement(options=[f"FILE = {position}"])
    asked.text = f"RESTORE FILELISTONLY FROM {asked.devices(files)}"
    listed = run_statement(options, asked.whole(), asked.variables)
    for row in listed.rows:
        logical = statement.value(str(row["LogicalName"]))
        physical = statement.value(moved(str(row["PhysicalName"]), database))
        statement.options.append(f"MOVE {logical} TO {physical}")


def moved(physical: str, database: str) -> str:
    """The name that a file of the backup is shown under when it belongs to ``database``."""
    directory, _, name = physical.rpartition("/")
    is_log = name.lower().endswith(".ldf")
    return f"{directory}/{database}{'_log.ldf' if is_log else '.mdf'}"


def _show_plan(steps: Sequence[Step], statements: Sequence[Statement], *, as_json: bool) -> None:
    import json

    lines = [statement.shown() for statement in statements]
    if as_json:
        shown = [
            {"what": step.what, "devices": step.devices, "file": step.position, "through": step.through}
            for step in steps
        ]
        typer.echo(json.dumps({"steps": shown, "statements": lines}, ensure_ascii=False))
        return
    for step in steps:
        typer.echo(str(step))
    for line in lines:
        typer.echo(f"{line};")
