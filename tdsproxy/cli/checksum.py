"""``tdsproxy checksum``: SHA-256 of media files, in the format of sha256sum."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Annotated

import typer

from tdsproxy.cli.errors import CommandError

_LINE = re.compile(r"(\\?)([0-9a-fA-F]{64}) [ *](.+)")


def checksum(
    files: Annotated[
        list[Path], typer.Argument(help="The files; with --check: lists of sums.", metavar="FILE...")
    ],
    check: Annotated[
        bool, typer.Option("--check", help="Read sums from the files and compare, as sha256sum -c does.")
    ] = False,
) -> None:
    """SHA-256 of files, as sha256sum writes and reads it."""
    if not check:
        for file in files:
            typer.echo(line(digest(file), str(file)))
        return
    failed = 0
    for sums in files:
        for expected, name in read(sums):
            same = digest(Path(name)) == expected
            failed += not same
            typer.echo(f"{name}: {'OK' if same else 'FAILED'}")
    if failed:
        raise CommandError(f"{failed} of the files are not what their checksums say.")


def digest(file: Path) -> str:
    """In hexadecimal. Raises CommandError."""
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CommandError(f"'{file}' cannot be read: {error.strerror}.") from error


def line(sum_: str, name: str) -> str:
    """A name with a backslash or a line break is written with escapes, behind a backslash."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{sum_}  {escaped}"


def read(sums: Path) -> list[tuple[str, str]]:
    """(digest, name) of each line. Raises CommandError."""
    try:
        lines = sums.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise CommandError(f"'{sums}' cannot be read: {error.strerror}.") from error
    found = []
    for number, text in enumerate(lines, 1):
        match = _LINE.fullmatch(text)
        if match is None:
            raise CommandError(f"Line {number} of '{sums}' is no checksum of sha256sum.")
        name = match[3]
        if match[1]:
            name = re.sub(r"\\([\\nr])", lambda m: {"\\": "\\", "n": "\n", "r": "\r"}[m[1]], name)
        found.append((match[2].lower(), name))
    if not found:
        raise CommandError(f"'{sums}' holds no checksums.")
    return found
