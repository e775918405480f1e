"""Native statements put together from a command line: names and values go as variables, never as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from tdsproxy.objects.url import is_url
from tdsproxy.tsql.values import Value


@dataclass(slots=True)
class Statement:
    """A statement's text, and the values of its variables."""

    text: str = ""
    variables: dict[str, Value] = field(default_factory=dict)
    options: list[str] = field(default_factory=list)
    _names: set[str] = field(default_factory=set)

    def value(self, value: Value) -> str:
        """The variable that stands for a value."""
        name = f"@v{len(self.variables)}"
        self.variables[name] = value
        return name

    def name(self, value: str) -> str:
        """The variable that stands for the name of a database."""
        variable = self.value(value)
        self._names.add(variable)
        return variable

    def devices(self, files: Iterable[str]) -> str:
        """Files, or objects by their URLs."""
        kinds = ((file, "URL" if is_url(file) else "DISK") for file in files)
        return ", ".join(f"{kind} = {self.value(file)}" for file, kind in kinds)

    def add(self, word: str, value: Value) -> None:
        """An option with a value; without one (None, empty, 0) it is left out."""
        if value:
            self.options.append(f"{word} = {self.value(value)}")

    def add_flags(self, flags: Iterable[tuple[str, bool]]) -> None:
        self.options += [word for word, given in flags if given]

    def whole(self) -> str:
        """The text with its options."""
        return f"{self.text} WITH {', '.join(self.options)}" if self.options else self.text

    def shown(self) -> str:
        """As a person would write it, with the values in it."""
        text = self.whole()
        for name in reversed(self.variables):
            value = self.variables[name]
            text = text.replace(name, bracketed(str(value)) if name in self._names else literal(value))
        return text


def bracketed(name: str) -> str:
    """A name as T-SQL writes it."""
    return "[" + name.replace("]", "]]") + "]"


def literal(value: Value) -> str:
    """A value as T-SQL writes it."""
    if isinstance(value, str):
        return "N'" + value.replace("'", "''") + "'"
    return str(value)


def names(values: Sequence[str]) -> str:
    """For a bar's title."""
    return ", ".join(values)
