"""The script language of sqlcmd: GO with a count, ``:setvar`` and ``$(name)``, ``:r``, ``:on error``.

All of it belongs to the client: a server never sees a colon command or a variable of this kind. The reader is
pure but for the one function that it is given to read included files; it yields what to do, in order, and
looks no further than it is asked to.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

MAX_INCLUDES: Final = 32
"""How deep ``:r`` may nest; a file that includes itself is found out by this."""


class ScriptError(Exception):
    """A script that can't be run further; the text is one sentence for the user."""


@dataclass(frozen=True, slots=True)
class Batch:
    """``text`` goes to the server ``count`` times; its first line is ``line`` of the file ``source``."""

    text: str
    source: str
    line: int
    count: int = 1


@dataclass(frozen=True, slots=True)
class OnError:
    """From here on an error ends the script (``stop``), or does not."""

    stop: bool


@dataclass(frozen=True, slots=True)
class Redirect:
    """Output, or with ``errors`` what the server refuses, goes to a file from here on: a path, or ``stdout``
    or ``stderr``."""

    target: str
    errors: bool


@dataclass(frozen=True, slots=True)
class Say:
    """Text that the reader itself has for the user."""

    text: str


@dataclass(frozen=True, slots=True)
class Exit:
    """The end of the script. The first column of the last row of ``query``, where there is one, is the exit
    status."""

    query: str = ""


Step = Batch | OnError | Redirect | Say | Exit

_GO: Final = re.compile(r"[^\S\n]*GO(?:[^\S\n]+(?P<count>\d+))?[^\S\n]*(?:--[^\n]*)?\r?\n?\Z", re.IGNORECASE)
_COMMAND: Final = re.compile(
    r"[^\S\n]*(?::(?P<colon>!!|[a-z]+)|(?P<bare>exit|quit|reset|ed|!!)(?![\w@#$]))(?P<rest>[^\n]*)",
    re.IGNORECASE,
)
_NAME: Final = re.compile(r"[^\s\"'$()]+")
_VARIABLE: Final = re.compile(r"\$\((?P<name>[^\s\"'$()]+)\)")
_EXIT_QUERY: Final = re.compile(r"\((?P<query>.*)\)\s*\Z", re.DOTALL)
_PIECE: Final = re.compile(r"--[^\n]*|/\*|'|\"|\[|[^-/'\"\[]+|.", re.DOTALL)
_CLOSES: Final = {"'": "'", '"': '"', "[": "]"}


@dataclass(slots=True)
class Reader:
    """Reads scripts. ``variables`` are those of the command line, found in any case; ``:setvar`` changes
    them. ``environment`` is asked where there is none. ``read`` gives the text of a file named by ``:r`` in
    the file named second; it raises OSError."""

    read: Callable[[str, str], str]
    variables: dict[str, str] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)
    substitute: bool = True
    _lines: list[str] = field(default_factory=list)
    _first: int = 1
    _open: str = ""
    _depth: int = 0

    def __post_init__(self) -> None:
        self.variables = {name.upper(): value for name, value in self.variables.items()}

    def steps(self, text: str, source: str) -> Iterator[Step]:
        """What to do for the script ``text``. Raises ScriptError."""
        ended = False
        for step in self._file(text, source, 0):
            ended = ended or isinstance(step, Exit)
            yield step
            if ended:
                return
        yield from self._batch(source, 1)

    # ------------------------------------------------------------------ lines

    def _file(self, text: str, source: str, depth: int) -> Iterator[Step]:
        if depth > MAX_INCLUDES:
            raise ScriptError(f"'{source}' is included more than {MAX_INCLUDES} files deep.")
        for number, line in enumerate(text.removeprefix("\ufeff").splitlines(keepends=True), 1):
            if not self._open:
                if go := _GO.match(line):
                    yield from self._batch(source, 1 if go["count"] is None else int(go["count"]))
                    continue
                if command := _COMMAND.match(line):
                    name = (command["colon"] or command["bare"]).lower()
                    yield from self._command(name, command["rest"].strip(), source, number, depth)
                    continue
            if not self._lines:
                self._first = number
            self._lines.append(self._replaced(line, source, number))

    def _batch(self, source: str, count: int) -> Iterator[Step]:
        text = "".join(self._lines)
        self._lines.clear()
        self._open, self._depth = "", 0
        if text.strip() and count:
            yield Batch(text, source, self._first, count)

    def _replaced(self, line: str, source: str, number: int) -> str:
        """The line with its variables, but for those in comments; what it leaves open is noted."""
        parts = []
        pos = 0
        while pos < len(line):
            if self._open:
                comment = self._open == "/*"
                end = self._end_of_open(line, pos)
                piece = line[pos:end]
            else:
                found = _PIECE.match(line, pos)
                assert found is not None  # the last alternative takes any character
                piece, end = found.group(), found.end()
                comment = piece.startswith("--") or piece == "/*"
                if piece == "/*":
                    self._open, self._depth = "/*", 1
                elif piece in _CLOSES:
                    self._open = piece
            parts.append(piece if comment else self._with_values(piece, source, number))
            pos = end
        return "".join(parts)

    def _end_of_open(self, line: str, pos: int) -> int:
        """Where what is open ends, or the line."""
        if self._open != "/*":
            end = line.find(_CLOSES[self._open], pos)
            if end < 0:
                return len(line)
            self._open = ""
            return end + 1
        for edge in re.finditer(r"/\*|\*/", line[pos:]):
            self._depth += 1 if edge.group() == "/*" else -1
            if not self._depth:
                self._open = ""
                return pos + edge.end()
        return len(line)

    # ------------------------------------------------------------------ variables

    def _with_values(self, text: str, source: str, number: int) -> str:
        if not self.substitute or "$(" not in text:
            return text

        def value(found: re.Match[str]) -> str:
            name = found["name"]
            known = self.variables.get(name.upper(), self.environment.get(name))
            if known is None:
                raise ScriptError(f"{source}, line {number}: '{name}' scripting variable not defined.")
            return known

        return _VARIABLE.sub(value, text)

    def _setvar(self, rest: str, source: str, number: int) -> None:
        name = _NAME.match(rest)
        if name is None:
            raise _syntax(source, number, ":setvar")
        value = self._with_values(rest[name.end() :].strip(), source, number)
        if value.startswith('"'):
            if len(value) < 2 or not value.endswith('"'):
                raise _syntax(source, number, ":setvar")
            value = value[1:-1].replace('""', '"')
        elif re.search(r"\s", value):
            raise _syntax(source, number, ":setvar")
        elif not value:
            self.variables.pop(name.group().upper(), None)
            return
        self.variables[name.group().upper()] = value

    # ------------------------------------------------------------------ commands

    def _command(self, name: str, rest: str, source: str, number: int, depth: int) -> Iterator[Step]:
        if name == "setvar":
            self._setvar(rest, source, number)
        elif name == "r":
            yield from self._include(rest, source, number, depth)
        elif name == "on":
            yield self._on_error(rest, source, number)
        elif name in ("out", "error"):
            if not rest:
                raise _syntax(source, number, f":{name}")
            yield Redirect(_unquoted(self._with_values(rest, source, number)), name == "error")
        elif name == "listvar":
            yield Say("".join(f'{each} = "{value}"\n' for each, value in sorted(self.variables.items())))
        elif name == "list":
            yield Say("".join(self._lines))
        elif name == "reset":
            self._lines.clear()
        elif name == "quit":
            self._lines.clear()
            yield Exit()
        elif name == "exit":
            yield from self._exit(rest, source, number)
        elif name in _REFUSED:
            raise ScriptError(f"{source}, line {number}: {name} is not supported: {_REFUSED[name]}.")
        else:
            raise _syntax(source, number, f":{name}")

    def _include(self, rest: str, source: str, number: int, depth: int) -> Iterator[Step]:
        if not rest:
            raise _syntax(source, number, ":r")
        name = _unquoted(self._with_values(rest, source, number))
        try:
            text = self.read(name, source)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not text"
            raise ScriptError(f"{source}, line {number}: '{name}' can't be read: {reason}.") from error
        yield from self._file(text, name, depth + 1)

    def _on_error(self, rest: str, source: str, number: int) -> OnError:
        words = rest.lower().split()
        if len(words) != 2 or words[0] != "error" or words[1] not in ("exit", "ignore"):
            raise _syntax(source, number, ":on error")
        return OnError(words[1] == "exit")

    def _exit(self, rest: str, source: str, number: int) -> Iterator[Step]:
        """``exit`` leaves at once, ``exit()`` behind the batch, ``exit(query)`` with a status of its own."""
        if not rest:
            self._lines.clear()
            yield Exit()
            return
        query = _EXIT_QUERY.match(rest)
        if query is None:
            raise _syntax(source, number, ":exit")
        yield from self._batch(source, 1)
        yield Exit(self._with_values(query["query"].strip(), source, number))


_REFUSED: Final = {
    "!!": "no programs are started",
    "ed": "there is no editor",
    "connect": "a script runs on one connection",
    "xml": "results are written as text",
    "serverlist": "servers are not looked for",
    "perftrace": "there are no such figures",
    "help": "this is not a console",
}


def _syntax(source: str, number: int, command: str) -> ScriptError:
    return ScriptError(f"{source}, line {number}: Syntax error near command '{command}'.")


def _unquoted(text: str) -> str:
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text
