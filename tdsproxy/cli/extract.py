"""``tdsproxy extract``: a database out of the media, as a plain SQLite file or as an OpenPGP one."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tdsproxy.cli import openpgp
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import resolve

if TYPE_CHECKING:
    from tdsproxy.commands.extraction import Extracted
    from tdsproxy.commands.key_sources import Unwrap

Position = Annotated[
    int | None, typer.Option("--file", min=1, help="Position of the backup set. [as far as the media lead]")
]
DatabaseName = Annotated[
    str | None, typer.Option("--database", help="Which database, where the media hold several.")
]
Store = Annotated[Path | None, typer.Option("--store", help="Store whose keys open encrypted sets. [./data]")]
Config = Annotated[Path | None, typer.Option("--config", help="TOML file with any of these options.")]
KeyFile = Annotated[
    Path | None,
    typer.Option("--key", help="Private key that opens encrypted sets: a PVK, PFX or PEM file."),
]
KeyPasswordFile = Annotated[
    Path | None, typer.Option("--key-password-file", help="File with the password of --key.")
]


def extract(
    files: Annotated[
        list[Path],
        typer.Argument(
            help="The media, also stripes, differentials and logs; then the file to write.",
            metavar="FILE... OUT",
        ),
    ],
    position: Position = None,
    database: DatabaseName = None,
    recipient: Annotated[
        Path | None,
        typer.Option("--openpgp", help="Encrypt OUT for the OpenPGP certificate in this file."),
    ] = None,
    key: KeyFile = None,
    key_password_file: KeyPasswordFile = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """A database out of the media, as a plain SQLite file."""
    if len(files) < 2:
        raise CommandError("Name the media and then the file to write.")
    *media, out = files
    with keys_for(key, key_password_file, store, config) as keys:
        if recipient is None:
            made = run(media, out, position, database, keys)
        else:
            made = _for_recipient(media, out, position, database, keys, recipient)
    for step in made.sets:
        typer.echo(f"Used the {step.shown}.")
    typer.echo(f"Database '{made.database}' is now the file '{out}'.")


def run(
    media: Sequence[Path], out: Path, position: int | None, database: str | None, keys: Unwrap
) -> Extracted:
    """Extract to a file. Raises CommandError."""
    from tdsproxy.commands.extraction import ExtractionError, extract

    try:
        return extract(media, out, position=position, database=database, keys=keys)
    except ExtractionError as error:
        raise CommandError(str(error)) from error


def _for_recipient(
    media: Sequence[Path],
    out: Path,
    position: int | None,
    database: str | None,
    keys: Unwrap,
    recipient: Path,
) -> Extracted:
    openpgp.check_recipient(recipient)
    if out.exists():
        raise CommandError(f"'{out}' exists already.")
    with scratch_directory(out) as directory:
        plain = directory / "database.db"
        made = run(media, plain, position, database, keys)
        sealed = directory / "sealed"
        openpgp.encrypt(plain, recipient, sealed)
        with sealed.open("rb") as file:
            os.fsync(file.fileno())
        try:
            os.link(sealed, out)
        except OSError as error:
            raise CommandError(f"'{out}' cannot be written: {error.strerror}.") from error
        return made


@contextmanager
def scratch_directory(beside: Path) -> Iterator[Path]:
    """A directory of this user's alone, on the file system of ``beside``, that does not outlive the block."""
    import shutil
    import tempfile

    try:
        directory = Path(tempfile.mkdtemp(prefix=f".{beside.name}.", dir=beside.parent))
    except OSError as error:
        raise CommandError(f"'{beside.parent}' cannot be written: {error.strerror}.") from error
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def keys_for(
    key: Path | None, password_file: Path | None, store: Path | None, config: Path | None
) -> Iterator[Unwrap]:
    """What opens encrypted sets: the key file if there is one, else the keys of the store. Raises
    CommandError."""
    from tdsproxy.catalog.certificates import KeyFileError
    from tdsproxy.commands.key_sources import file_keys, store_keys

    if key is None:
        with store_keys(resolve({"store": store}, os.environ, config).store) as keys:
            yield keys
        return
    try:
        password = None if password_file is None else password_file.read_text().rstrip("\r\n")
        found = file_keys(key.read_bytes(), password)
    except OSError as error:
        raise CommandError(f"'{error.filename}' cannot be read: {error.strerror}.") from error
    except KeyFileError as error:
        raise CommandError(f"'{key}' cannot be used: {error}.") from error
    yield found
