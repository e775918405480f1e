"""``tdsproxy restore --all --from URL``: a whole store, on a machine that has nothing."""

from __future__ import annotations

import datetime as dt
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import typer

from tdsproxy.cli.errors import CommandError

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions
    from tdsproxy.keeper.fetch import Origin
    from tdsproxy.keeper.sync_layout import Manifest

SECRET_VARIABLE: Final = "TDSPROXY_OBJECT_SECRET"
_END_SECONDS: Final = 120.0
_POLL_SECONDS: Final = 0.05


def restore_all(
    options: ServeOptions,
    text: str,
    secret_file: Path | None,
    key_file: Path | None,
    *,
    as_json: bool,
    epoch: int | None = None,
    succeed: bool = False,
) -> None:
    """``epoch``: what a former writer left. ``succeed``: the new store is the writer there from now on.
    Raises CommandError."""
    begun = time.monotonic()
    origin = open_origin(options, text, secret_file)
    manifest, names = fetch_store(options, origin, key_file, epoch=epoch, succeed=succeed)
    fetched = time.monotonic()
    # It writes nowhere before somebody has looked at it.
    alone = replace(options, sync=None)
    states = {name: _restore(alone, name) for name in names}
    seconds = time.monotonic() - begun
    through = dt.datetime.fromtimestamp(manifest.through_ns / 1e9).astimezone()
    if as_json:
        import json

        shown = {
            "databases": states,
            "through": through.isoformat(),
            "seconds": round(seconds, 3),
            "fetched_seconds": round(fetched - begun, 3),
            "keys": manifest.has_service_key and key_file is not None,
            "from": manifest.about,
            "epoch": manifest.epoch,
        }
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        for name, state in states.items():
            typer.echo(f"{name}: {state or 'restored'}")
        typer.echo(
            f"The store is back as it was at {through:%Y-%m-%d %H:%M:%S%z}, in {seconds:.1f} seconds"
            f" ({fetched - begun:.1f} of them to fetch it)."
        )
        if not manifest.has_service_key or key_file is None:
            typer.echo(
                "The service master key was not brought along: RESTORE SERVICE MASTER KEY from its backup, or"
                " OPEN MASTER KEY by its password, before certificates and credentials are of use."
            )
    if any(states.values()):
        raise typer.Exit(1)


def open_origin(options: ServeOptions, text: str, secret_file: Path | None) -> Origin:
    """Raises CommandError."""
    from tdsproxy.keeper.fetch import Origin
    from tdsproxy.objects.errors import ObjectError
    from tdsproxy.objects.options import Reaching
    from tdsproxy.objects.secret import read_secret, secret_of
    from tdsproxy.objects.url import parse_url

    try:
        url = parse_url(text, object_needed=False)
        if secret_file is not None:
            secret = read_secret(url, secret_file)
        else:
            secret = secret_of(url, os.environ.get(SECRET_VARIABLE, ""))
        return Origin(url, secret, Reaching(options.s3_http, options.ca_file))
    except ObjectError as error:
        raise CommandError(f"The store at '{text}' can't be reached: {error}.") from error


def fetch_store(
    options: ServeOptions,
    origin: Origin,
    key_file: Path | None,
    *,
    epoch: int | None = None,
    succeed: bool = False,
) -> tuple[Manifest, list[str]]:
    """The files of the store, into one that is empty; the names of its databases, which are to be restored.
    Raises CommandError."""
    from tdsproxy.keeper.arrival import arrive
    from tdsproxy.keeper.fetch import NotFetched, fetch
    from tdsproxy.keeper.process import StoreOwned, take_lock
    from tdsproxy.keeper.sync_claim import Identity, NotOurs, Superseded
    from tdsproxy.objects.errors import ObjectError
    from tdsproxy.objects.lease import LeaseTaken

    store = options.store
    directory = (options.backup_dir or store / "backup").absolute()
    try:
        store.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.suffix == ".db" for path in store.iterdir()):
            raise CommandError(f"The store '{store}' is not empty: a whole store is restored into a new one.")
        lock = take_lock(store)
    except StoreOwned as error:
        raise CommandError(f"The store '{store}' is being served.") from error
    except OSError as error:
        raise CommandError(f"The store '{store}' can't be made: {error.strerror}.") from error
    try:
        passphrase = None if key_file is None else key_file.read_text(encoding="utf-8").strip()
        identity = Identity(store)
        identity.descend(origin.manifest(epoch))
        if succeed:
            # First, so that nothing is sent there any more that would not be fetched.
            origin.take_over(store).lease.release()
        manifest = fetch(origin, store, directory, passphrase, epoch)
        identity.descend(manifest)
        databases = arrive(store, directory, manifest.backup_directory)
    except NotFetched as error:
        raise CommandError(str(error)) from error
    except (NotOurs, LeaseTaken, Superseded) as error:
        raise CommandError(f"It can't be taken over: {error}.") from error
    except ObjectError as error:
        raise CommandError(f"The object store failed: {error}.") from error
    except OSError as error:
        raise CommandError(f"The store '{store}' can't be written: {error.strerror}.") from error
    finally:
        os.close(lock)
    return manifest, [database.name for database in databases]


def _restore(options: ServeOptions, database: str) -> str:
    """As near to the end as its backups and its log lead; empty, or what was in the way."""
    from tdsproxy.cli.restore import LEFT_RESTORING, latest_statements, plan
    from tdsproxy.cli.shell import run_statement

    try:
        steps = plan(options, database, None)
        for statement in latest_statements(options, database, steps, None, replace=True):
            outcome = run_statement(options, statement.whole(), statement.variables)
            if LEFT_RESTORING in outcome.numbers:
                return "left RESTORING"
    except CommandError as error:
        return str(error)
    return ""


def take_over(options: ServeOptions, *, as_json: bool) -> None:
    """A standby follows no more, and its databases are open to their users. Raises CommandError."""
    from tdsproxy.cli.shell import run_statement
    from tdsproxy.commands.elsewhere import FOLLOW_DIRECTORY, read_follow_state
    from tdsproxy.keeper.follow import END_FILE
    from tdsproxy.keeper.launch import is_listening

    begun = time.monotonic()
    state = read_follow_state(options.store)
    if state is None:
        raise CommandError(f"The store '{options.store}' is no standby.")
    if not state.get("ended"):
        (options.store / FOLLOW_DIRECTORY / END_FILE).touch()
        # A keeper that follows does so once more; without one, what has arrived is what there is.
        while is_listening(options.store) and not (read_follow_state(options.store) or {}).get("ended"):
            if time.monotonic() - begun > _END_SECONDS:
                raise CommandError("The keeper of the standby does not stop following.")
            time.sleep(_POLL_SECONDS)
    state = read_follow_state(options.store) or {}
    states: dict[str, str] = {}
    for name, known in state.get("databases", {}).items():
        if known.get("lsn") is None and known.get("error"):
            states[name] = str(known["error"])
            continue
        try:
            run_statement(options, "RESTORE DATABASE @n WITH RECOVERY", {"@n": name})
            states[name] = ""
        except CommandError as error:
            states[name] = str(error)
    seconds = time.monotonic() - begun
    through = state.get("through_ns")
    moment = dt.datetime.fromtimestamp(through / 1e9).astimezone() if through else None
    if as_json:
        import json

        shown = {
            "databases": states,
            "through": None if moment is None else moment.isoformat(),
            "seconds": round(seconds, 3),
            "primary_alive": state.get("primary_alive"),
        }
        typer.echo(json.dumps(shown, ensure_ascii=False))
    else:
        for name, problem in states.items():
            typer.echo(f"{name}: {problem or 'recovered'}")
        typer.echo(f"Everything up to {moment} is here; it took {seconds:.1f} seconds.")
        if state.get("primary_alive"):
            typer.echo(
                f"The former primary could not be stopped from sending: {state['primary_alive']}. See that it"
                " is down, then 'tdsproxy sync --take-over'."
            )
    if any(states.values()):
        raise typer.Exit(1)
