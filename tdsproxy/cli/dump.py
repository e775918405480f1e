"""``tdsproxy dump``: a database as a SQL script that any SQLite tool runs, or its tables as CSV or JSON."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, TextIO

import typer

from tdsproxy.cli import extract as extraction
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.extract import Config, DatabaseName, KeyFile, KeyPasswordFile, Position
from tdsproxy.cli.options import OptionError, resolve


def dump(
    names: Annotated[
        list[str],
        typer.Argument(help="A database of the store, or media as for extract.", metavar="NAME|FILE..."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [standard output]")
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", help="Write a CSV file per table into this directory, SCHEMA.TABLE.csv."),
    ] = None,
    as_json: Annotated[
        Path | None,
        typer.Option("--json", help="Write a file of JSON lines per table, SCHEMA.TABLE.jsonl, there."),
    ] = None,
    position: Position = None,
    database: DatabaseName = None,
    key: KeyFile = None,
    key_password_file: KeyPasswordFile = None,
    store: Annotated[
        Path | None, typer.Option("--store", help="Directory of the databases. [./data]")
    ] = None,
    config: Config = None,
) -> None:
    """A database as a SQL script, or its tables as CSV or JSON. Also while the store is being served."""
    if sum(given is not None for given in (output, csv, as_json)) > 1:
        raise OptionError("Only one of --output, --csv and --json can be given.")
    directory = resolve({"store": store}, os.environ, config).store
    source = None if len(names) > 1 else _database(directory, names[0])
    if source is not None:
        _write_all(source, output, csv, as_json)
        return
    import tempfile

    media = [Path(name) for name in names]
    for path in media:
        if not path.exists():
            raise CommandError(f"There is neither a database nor a file '{path}'.")
    with (
        extraction.keys_for(key, key_password_file, store, config) as keys,
        tempfile.TemporaryDirectory(prefix="tdsproxy-") as scratch,
    ):
        image = Path(scratch) / "database.db"
        extraction.run(media, image, position, database, keys)
        _write_all(image, output, csv, as_json)


def _database(store: Path, name: str) -> Path | None:
    """The file of a database of the store."""
    from tdsproxy.catalog.catalog import MASTER, Catalog

    if not (store / MASTER).exists():
        return None
    with Catalog(store) as catalog:
        catalog.databases.refresh()
        found = catalog.databases.find(name)
        return found.path(store) if found is not None and found.file else None


def _write_all(source: Path, output: Path | None, csv: Path | None, as_json: Path | None) -> None:
    if csv is not None:
        _write_tables(source, csv, as_json=False)
    elif as_json is not None:
        _write_tables(source, as_json, as_json=True)
    elif output is None:
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        try:
            _write(source, sys.stdout)
            sys.stdout.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise CommandError(f"The standard output cannot be written: {error.strerror}.") from error
    else:
        with _outputs() as outputs, outputs.file(output) as out:
            _write(source, out)


def _write_tables(source: Path, directory: Path, *, as_json: bool) -> None:
    """One file per table; none of them may be there already. All hold the same committed state."""
    import apsw

    from tdsproxy.store.table_files import csv_lines, json_lines, reading, tables

    make, ending = (json_lines, "jsonl") if as_json else (csv_lines, "csv")
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"'{directory}' cannot be written: {error.strerror}.") from error
    try:
        with reading(source) as connection, _outputs() as outputs:
            for table in tables(connection):
                with outputs.file(directory / f"{table.stem}.{ending}") as out:
                    out.writelines(make(connection, table))
    except apsw.Error as error:
        raise CommandError(f"'{source.name}' cannot be read: {error}.") from error


def _write(source: Path, out: TextIO) -> None:
    import apsw

    from tdsproxy.store.dump import dump_file

    try:
        for line in dump_file(source):
            out.write(f"{line}\n")
    except apsw.Error as error:
        raise CommandError(f"'{source.name}' cannot be read: {error}.") from error


class _Outputs:
    """Files that are there when all of them are whole and durable: what has half a table must not be taken
    for one."""

    def __init__(self) -> None:
        self._written: list[tuple[Path, Path]] = []

    @contextmanager
    def file(self, path: Path) -> Iterator[TextIO]:
        """Raises CommandError when it exists or cannot be written."""
        temporary = path.with_name(f".tdsproxy-{secrets.token_hex(8)}")
        with _failures(path):
            if os.path.lexists(path):
                raise FileExistsError
            with temporary.open("x", encoding="utf-8", newline="\n") as out:
                self._written.append((temporary, path))
                yield out
                out.flush()
                os.fsync(out.fileno())

    def publish(self) -> None:
        """Give them their names. Raises CommandError."""
        from tdsproxy.store.files import fsync_directory

        made: list[Path] = []
        try:
            for temporary, path in self._written:
                with _failures(path):
                    _name(temporary, path)
                    made.append(path)
            for directory in {path.parent for path in made}:
                with _failures(directory):
                    fsync_directory(directory)
        except CommandError:
            for path in made:
                path.unlink()
            raise

    def discard(self) -> None:
        """What has no name yet goes."""
        for temporary, _ in self._written:
            temporary.unlink(missing_ok=True)


@contextmanager
def _outputs() -> Iterator[_Outputs]:
    outputs = _Outputs()
    try:
        yield outputs
        outputs.publish()
    finally:
        outputs.discard()


def _name(temporary: Path, path: Path) -> None:
    """Over nothing that is there. Raises OSError."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system that has no links
        if os.path.lexists(path):
            raise FileExistsError from None
        temporary.rename(path)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as error:
        raise CommandError(f"'{path}' exists already.") from error
    except OSError as error:
        raise CommandError(f"'{path}' cannot be written: {error.strerror}.") from error
