"""``tdsproxy headers``: what lies on the media."""

from __future__ import annotations

from typing import Annotated

import typer

from tdsproxy.cli.common import AllowDir, BackupDir, Config, Json, Media, PathMap, Store, place
from tdsproxy.cli.native import Statement
from tdsproxy.cli.shell import run_statement, show


def headers(
    files: Media,
    file_list: Annotated[
        bool, typer.Option("--files", help="RESTORE FILELISTONLY: the database files of a backup set.")
    ] = False,
    label: Annotated[bool, typer.Option("--label", help="RESTORE LABELONLY: the media set.")] = False,
    position: Annotated[
        int, typer.Option("--file", min=1, help="Position of the backup set, for --files.")
    ] = 1,
    as_json: Json = False,
    store: Store = None,
    backup_dir: BackupDir = None,
    allow_dir: AllowDir = None,
    path_map: PathMap = None,
    config: Config = None,
) -> None:
    """What is on the media: RESTORE HEADERONLY."""
    statement = Statement()
    kind = "LABELONLY" if label else "FILELISTONLY" if file_list else "HEADERONLY"
    statement.text = f"RESTORE {kind} FROM {statement.devices(files)}"
    if file_list:
        statement.add("FILE", position)
    options = place(store, config, backup_dir, allow_dir, path_map)
    show(
        run_statement(options, statement.whole(), statement.variables),
        as_json=as_json,
    )
