"""``tdsproxy restore master --offline``: while nothing serves the store."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from tdsproxy.cli.errors import CommandError

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions


def restore_offline(options: ServeOptions, database: str, files: Sequence[str], position: int) -> None:
    """Restore master. Raises CommandError."""
    from tdsproxy.commands.master_restore import MasterNotRestored, restore_master
    from tdsproxy.keeper.process import StoreOwned, take_lock

    if database.lower() != "master":
        raise CommandError("--offline is for master: other databases are restored while the store is served.")
    if not files:
        raise CommandError("Name the media.")
    options.store.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        lock = take_lock(options.store)
    except StoreOwned as error:
        raise CommandError(
            f"The store '{options.store}' is being served: stop that. Its keeper ends a few seconds later."
        ) from error
    directory = options.backup_dir or options.store / "backup"
    media = [Path(name) if Path(name).is_absolute() else directory / name for name in files]
    try:
        done = restore_master(options.store, media, position)
    except MasterNotRestored as error:
        raise CommandError(str(error)) from error
    finally:
        os.close(lock)
    typer.echo("The master database has been successfully restored.")
    if done.undo is not None:
        typer.echo(f"What was there before is '{done.undo}'.")
