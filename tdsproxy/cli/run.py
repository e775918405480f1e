"""``tdsproxy run``: scripts as sqlcmd runs them, against a server that is running."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, TextIO

import typer

from tdsproxy.cli.accounts import PASSWORD_FILE, given_password
from tdsproxy.cli.common import Config, PasswordFile, Server, Store, User
from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import OptionError, ServeOptions, parse_address, resolve
from tdsproxy.cli.tables import Layout, lines, plain
from tdsproxy.cli.tds_client import Target, TdsClient
from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.tokens import ColMetadata, Done, Row, ServerMessage, Token
from tdsproxy.tsql.sqlcmd import Batch, Exit, OnError, Reader, Redirect, Say, ScriptError, Step

FIRST_ERROR_SEVERITY: Final = 11
LOST_SEVERITY: Final = 20
"""From here on the connection is gone."""
STANDARD_INPUT: Final = "-"


@dataclass(slots=True)
class Output:
    """Where text goes. ``as_json``: a JSON object a line instead of text."""

    layout: Layout
    as_json: bool = False
    out: TextIO = field(default_factory=lambda: sys.stdout)
    errors: TextIO = field(default_factory=lambda: sys.stderr)
    _files: ExitStack = field(default_factory=ExitStack)

    def redirect(self, step: Redirect) -> None:
        """Raises CommandError."""
        standard = {"stdout": sys.stdout, "stderr": sys.stderr}
        target = standard.get(step.target.lower()) or self._open(step.target)
        if step.errors:
            self.errors = target
        else:
            self.out = target

    def _open(self, name: str) -> TextIO:
        try:
            return self._files.enter_context(Path(name).open("w", encoding="utf-8"))
        except OSError as error:
            raise CommandError(f"'{name}' cannot be written: {error.strerror}.") from error

    def close(self) -> None:
        self._files.close()

    def result(self, columns: Sequence[ColumnMeta], rows: Iterable[Sequence[Any]]) -> None:
        if not self.as_json:
            for line in lines(columns, rows, self.layout):
                print(line, file=self.out)
            return
        infos = [column.type_info for column in columns]
        values = [[plain(value, info) for value, info in zip(row, infos, strict=True)] for row in rows]
        self._object({"columns": [column.name for column in columns], "rows": values})

    def count(self, count: int) -> None:
        if not self.as_json:
            print(f"\n({count} row{'' if count == 1 else 's'} affected)", file=self.out)

    def message(self, said: ServerMessage) -> None:
        if self.as_json:
            self._object(
                {
                    "number": said.number,
                    "severity": said.severity,
                    "state": said.state,
                    "line": said.line,
                    "procedure": said.procedure,
                    "text": said.text,
                }
            )
        elif said.severity < FIRST_ERROR_SEVERITY:
            print(said.text, file=self.out, flush=True)
        else:
            procedure = f", Procedure {said.procedure}" if said.procedure else ""
            head = f"Msg {said.number}, Level {said.severity}, State {said.state}, Server {said.server}"
            self.out.flush()
            print(f"{head}{procedure}, Line {said.line}\n{said.text}", file=self.errors, flush=True)

    def say(self, text: str) -> None:
        print(text, end="", file=self.out)

    def _object(self, found: dict[str, Any]) -> None:
        print(json.dumps(found, ensure_ascii=False), file=self.out, flush=True)


class Runner:
    """Runs the steps of scripts on one session. ``status`` becomes 1 with the first error of the server."""

    def __init__(self, client: TdsClient, output: Output, *, stop: bool) -> None:
        self._client = client
        self._output = output
        self._stop = stop
        self.status = 0

    def run(self, steps: Iterator[Step]) -> bool:
        """Whether the next script may follow. Raises CommandError and ScriptError."""
        for step in steps:
            if isinstance(step, Batch):
                for _ in range(step.count):
                    if self._failed(step.text) and self._stop:
                        return False
            elif isinstance(step, OnError):
                self._stop = step.stop
            elif isinstance(step, Redirect):
                self._output.redirect(step)
            elif isinstance(step, Say):
                self._output.say(step.text)
            else:
                self._exit(step)
                return False
        return True

    def _exit(self, step: Exit) -> None:
        last: list[Any] = []
        if step.query and not self._failed(step.query, last):
            try:
                self.status = int(last[0]) & 0xFF
            except (IndexError, TypeError, ValueError):
                self.status = 0

    def _failed(self, text: str, last: list[Any] | None = None) -> bool:
        """Run a batch; whether the server refused any of it. ``last`` gets the last row's first column."""
        failed = False
        tokens = self._client.batch(text)
        for token in tokens:
            following: Token | None = token
            if isinstance(token, ColMetadata):
                rows = _Rows(tokens, last)
                self._output.result(token.columns, rows)
                following = rows.end
            if isinstance(following, ServerMessage):
                failed |= following.severity >= FIRST_ERROR_SEVERITY
                self._output.message(following)
            elif isinstance(following, Done) and following.row_count is not None:
                self._output.count(following.row_count)
        if failed:
            self.status = 1
        return failed


class _Rows:
    """The rows that come next among tokens; ``end`` is the token behind them."""

    def __init__(self, tokens: Iterator[Token], last: list[Any] | None) -> None:
        self._tokens = tokens
        self._last = last
        self.end: Token | None = None

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for token in self._tokens:
            if isinstance(token, Row):
                if self._last is not None:
                    self._last[:] = token.values[:1]
                yield token.values
            elif isinstance(token, Done | ServerMessage):
                self.end = token
                return


def run(
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="Scripts, one after the other on one session. [standard input]", metavar="FILE..."
        ),
    ] = None,
    query: Annotated[
        str | None, typer.Option("--query", "-q", "-Q", help="Run this text instead of a file.")
    ] = None,
    server: Server = None,
    user: User = "sa",
    password_file: PasswordFile = None,
    database: Annotated[
        str, typer.Option("--database", "-d", help="Current database at the start. [the login's]")
    ] = "",
    variable: Annotated[
        list[str] | None,
        typer.Option("--variable", "-v", help="NAME=VALUE for $(NAME) in the scripts; repeatable."),
    ] = None,
    stop: Annotated[
        bool, typer.Option("--stop-on-error", "-b", help="End with the first batch that has an error.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write. [standard output]")
    ] = None,
    separator: Annotated[str, typer.Option("--separator", "-s", help="What stands between columns.")] = " ",
    trim: Annotated[bool, typer.Option("--trim", "-W", help="No blanks to fill columns.")] = False,
    no_headers: Annotated[bool, typer.Option("--no-headers", help="No names above rows.")] = False,
    no_substitution: Annotated[
        bool, typer.Option("--no-substitution", "-x", help="Leave $(NAME) as it is.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="A JSON object a line.")] = False,
    ca: Annotated[
        Path | None,
        typer.Option("--ca", help="Authorities (PEM) that the server's certificate must come from. [any]"),
    ] = None,
    store: Store = None,
    config: Config = None,
) -> None:
    """Run T-SQL as sqlcmd does. Scripts may hold GO, :setvar, $(NAME), :r and :on error."""
    options = resolve({"store": store}, os.environ, config)
    reader = Reader(_read, _variables(variable or []), _environment(), substitute=not no_substitution)
    target = Target(
        parse_address(server) if server else options.listen,
        user,
        password_of(options, password_file),
        database,
        ca,
    )
    written = Output(Layout(separator, not no_headers, trim), as_json)
    if output is not None:
        written.redirect(Redirect(str(output), errors=False))
    client = TdsClient(target)
    try:
        runner = Runner(client, written, stop=stop)
        for text, name in _scripts(files or [], query):
            if not runner.run(reader.steps(text, name)):
                break
    except ScriptError as error:
        raise CommandError(str(error)) from error
    finally:
        written.close()
        client.close()
    raise typer.Exit(runner.status)


def _scripts(files: Sequence[str], query: str | None) -> Iterator[tuple[str, str]]:
    """Texts with their names. Raises CommandError."""
    if query is not None:
        yield query, "query"
        return
    for name in files or [STANDARD_INPUT]:
        if name == STANDARD_INPUT:
            yield sys.stdin.read(), "standard input"
            continue
        try:
            yield _read(name, ""), name
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise CommandError(f"'{name}' can't be read: {reason}.") from error


def _read(name: str, source: str) -> str:
    """A script's text: UTF-8, or UTF-16 with a mark. Where there is no such file in the current directory, it
    is looked for beside ``source``, which names it."""
    path = Path(name)
    if not path.exists() and (beside := Path(source).parent / path).exists():
        path = beside
    data = path.read_bytes()
    marked = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return data.decode("utf-16" if marked else "utf-8-sig")


def _variables(given: Sequence[str]) -> dict[str, str]:
    """Raises OptionError."""
    found = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise OptionError(f"'{each}' is not of the form NAME=VALUE.")
        found[name] = value.removeprefix('"').removesuffix('"') if value[:1] == value[-1:] == '"' else value
    return found


def _environment() -> dict[str, str]:
    """What a script may ask of the environment: no passwords."""
    return {name: value for name, value in os.environ.items() if "PASSWORD" not in name.upper()}


def password_of(options: ServeOptions, file: Path | None) -> str:
    """Raises OptionError when there is none."""
    found = given_password(file or options.sa_password_file, os.environ)
    if found is None and (options.store / PASSWORD_FILE).exists():
        found = given_password(options.store / PASSWORD_FILE, {})
    if found is None:
        raise OptionError("There is no password: give --password-file or TDSPROXY_SA_PASSWORD.")
    return found
