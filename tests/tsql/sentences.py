"""Sentences of grammar/tsql.ebnf, put together at random from a fixed seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from dataclasses import dataclass

_TOKEN = re.compile(r"\(\*.*?\*\)|'[^']*'|\w+|[\[\](){}|=;,]", re.DOTALL)
DEEP = 1000


@dataclass(frozen=True)
class Rule:
    name: str


@dataclass(frozen=True)
class Word:
    text: str


@dataclass(frozen=True)
class Sequence_:
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Choice:
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class Optional_:
    part: Part


@dataclass(frozen=True)
class Repeated:
    part: Part


Part = Rule | Word | Sequence_ | Choice | Optional_ | Repeated


def read_grammar(text: str) -> dict[str, Part]:
    """The rules of the grammar's own notation."""
    tokens = [token for token in _TOKEN.findall(text) if not token.startswith("(*")]
    rules: dict[str, Part] = {}
    pos = 0

    def choice() -> Part:
        nonlocal pos
        parts = [sequence()]
        while tokens[pos] == "|":
            pos += 1
            parts.append(sequence())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def sequence() -> Part:
        parts = []
        while tokens[pos] not in ("|", ")", "]", "}", ";"):
            parts.append(item())
        return parts[0] if len(parts) == 1 else Sequence_(tuple(parts))

    def item() -> Part:
        nonlocal pos
        token = tokens[pos]
        pos += 1
        if token in ("(", "[", "{"):
            inner = choice()
            assert tokens[pos] == {"(": ")", "[": "]", "{": "}"}[token], tokens[pos - 5 : pos + 5]
            pos += 1
            return {"(": lambda part: part, "[": Optional_, "{": Repeated}[token](inner)
        if token.startswith("'"):
            return Word(token[1:-1])
        return Rule(token) if token[0].islower() else Word(token)

    while pos < len(tokens):
        name = tokens[pos]
        assert tokens[pos + 1] == "=", (name, tokens[pos + 1])
        pos += 2
        rules[name] = choice()
        assert tokens[pos] == ";", (name, tokens[pos - 3 : pos + 3])
        pos += 1
    return rules


ANY = {
    "option": ("MAXDOP 2", "RECOMPILE", "MAXRECURSION 10, HASH JOIN", "OPTIMIZE FOR (@v = 1)"),
    "group": ("(a), (b, c), ()",),
    "common_table": ("'u' AS p",),
}
"""What stands for ``any`` in a rule; elsewhere what needs it is left out."""

TERMINALS: dict[str, Callable[[random.Random], str]] = {
    "name": lambda dice: dice.choice(("a", "b", "t1", "Orders", "[odd name]", '"q"', "x_1", "[sel]", "c")),
    "string": lambda dice: dice.choice(("'x'", "N'y'", "''", "'it''s'")),
    "integer": lambda dice: dice.choice(("0", "1", "42")),
    "decimal": lambda dice: dice.choice(("1.5", ".5", "2.")),
    "float": lambda dice: dice.choice(("1e3", "2.5E-1")),
    "money": lambda dice: dice.choice(("$1.5", "$2")),
    "binary": lambda dice: dice.choice(("0x", "0x1F")),
    "collation": lambda _dice: "Latin1_General_CI_AS",
    "time": lambda _dice: "'00:00:01'",
    "variable": lambda dice: dice.choice(("@v", "@w", "@x1")),
    "global": lambda dice: dice.choice(("@@ERROR", "@@ROWCOUNT", "@@TRANCOUNT")),
    "backup": lambda dice: dice.choice(("BACKUP DATABASE a TO DISK = 'x' WITH INIT", "BACKUP LOG a TO b")),
    "restore": lambda dice: dice.choice(
        ("RESTORE DATABASE a FROM DISK = @v WITH REPLACE", "RESTORE HEADERONLY FROM DISK = 'x'")
    ),
}


class Sentences:
    """Sentences of a grammar. ``words``: what ``word`` and other loose rules are, by the rule they stand in
    or by their own name."""

    def __init__(self, rules: dict[str, Part], words: dict[str, tuple[str, ...]], seed: int) -> None:
        self._rules = rules
        self._words = words
        self._dice = random.Random(seed)
        self._cost: dict[str, int] = dict.fromkeys(rules, DEEP)
        changed = True
        while changed:
            changed = False
            for name, part in rules.items():
                cost = min(DEEP, 1 + self._least(part, name))
                if cost < self._cost[name]:
                    self._cost[name], changed = cost, True

    def one(self, rule: str, depth: int) -> str:
        """A sentence that goes down ``depth`` rules, then takes the shortest way to its end."""
        text = " ".join(self._make(Rule(rule), rule, depth))
        return re.sub(r"\b(lbl|Again) :", r"\1:", text)

    def _loose(self, name: str, inside: str) -> tuple[str, ...] | None:
        if name == "any":
            return ANY.get(inside, ())
        return self._words.get(f"{inside}.{name}", self._words.get(name))

    def _least(self, part: Part, inside: str) -> int:
        """How many rules deep the shallowest sentence is."""
        if isinstance(part, Rule):
            loose = self._loose(part.name, inside)
            if loose is not None:
                return 0 if loose else DEEP
            return 0 if part.name in TERMINALS else self._cost.get(part.name, DEEP)
        if isinstance(part, Sequence_):
            return max((self._least(each, inside) for each in part.parts), default=0)
        if isinstance(part, Choice):
            return min(self._least(each, inside) for each in part.parts)
        return 0

    def _make(self, part: Part, inside: str, depth: int) -> list[str]:
        dice = self._dice
        if isinstance(part, Word):
            return [part.text]
        if isinstance(part, Rule):
            loose = self._loose(part.name, inside)
            if loose is not None:
                return [dice.choice(loose)]
            if part.name in TERMINALS:
                return [TERMINALS[part.name](dice)]
            return self._make(self._rules[part.name], part.name, depth - 1)
        if isinstance(part, Sequence_):
            return [word for each in part.parts for word in self._make(each, inside, depth)]
        if isinstance(part, Choice):
            fit = [each for each in part.parts if self._least(each, inside) < max(depth, 1)]
            least = min(self._least(each, inside) for each in part.parts)
            fit = fit or [each for each in part.parts if self._least(each, inside) == least]
            return self._make(dice.choice(fit), inside, depth)
        times = dice.choice((0, 1) if isinstance(part, Optional_) else (0, 0, 1, 1, 2))
        if self._least(part.part, inside) >= max(depth, 1):
            times = 0
        return [word for _ in range(times) for word in self._make(part.part, inside, depth)]


WORDS: dict[str, tuple[str, ...]] = {
    "word": (),
    "on_off_option": ("NOCOUNT", "XACT_ABORT", "ANSI_NULLS", "ARITHABORT"),
    "value_option": ("ROWCOUNT", "LOCK_TIMEOUT", "DATEFIRST"),
    "call.word": ("day", "month", "hh"),
    "label.word": ("lbl", "Again"),
    "goto.word": ("lbl", "Again"),
    "trigger.word": ("INSERT", "UPDATE", "DELETE"),
    "module_option.word": ("CALLER", "OWNER", "SELF"),
    "words": ("SELECT", "INSERT", "EXECUTE", "CONTROL", "VIEW DEFINITION"),
    "securable.words": ("OBJECT", "SCHEMA"),
    "hint.word": ("NOLOCK", "UPDLOCK", "HOLDLOCK", "TABLOCK", "ROWLOCK"),
    "module": (),
    "into": (),
    "newer": (),
    "for_json": ("ROOT ( 'x' )", "INCLUDE_NULL_VALUES"),
    "for_xml": ("TYPE", "ROOT", "ELEMENTS XSINIL", "BINARY BASE64"),
}
