"""The parser against Microsoft's ScriptDom: what both accept, and where statements begin.

ScriptDom is no part of this project: scripts/install-clients brings it, and the runtime that it needs.
"""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.lexer import tokenize
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.resources import grammar_text
from tdsproxy.tsql.script import split_batches
from tests.clients.available import SCRIPTDOM, SCRIPTDOM_RUNTIME, need
from tests.tsql.sentences import WORDS, Sentences, read_grammar

pytestmark = pytest.mark.slow

SYNTAX = frozenset({102, 103, 105, 113, 117, 156, 166, 191, 195, 196, 319})
"""Errors of the grammar; any other that parsing finds SQL Server's binder finds, which ScriptDom has not."""
BINDING = frozenset({46016, 46046, 46049, 46063, 46084, 46094, 46097})
"""ScriptDom's errors about values and repeated options, and semicolons that SQL Server does not ask for."""
NEWER_RULES = ("[ WINDOW name AS window { ',' name AS window } ]", "[ ( RESPECT | IGNORE ) NULLS ]")
"""Of the grammar: SQL Server 2022 has them, the ScriptDom that is asked is of 2019."""
NEWER_WORDS = "IGNORE NULLS"
NOT_WALKED = frozenset({"SendStatement", "EndConversationStatement"})
"""Where ScriptDom's own offsets are not those of the statement."""


@dataclass
class Figures:
    """How often both say the same; ``differences`` has the rest."""

    asked: int = 0
    differences: list[str] = field(default_factory=list)

    @property
    def share(self) -> float:
        return 1 - len(self.differences) / self.asked


class Oracle:
    """A process that asks ScriptDom."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("scriptdom_process.py")), str(SCRIPTDOM)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(SCRIPTDOM_RUNTIME)},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == "ready"

    def ask(self, sql: str) -> dict[str, Any]:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({"sql": sql}) + "\n")
        self.process.stdin.flush()
        found: dict[str, Any] = json.loads(self.process.stdout.readline())
        return found

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    need("scriptdom")
    found = Oracle()
    try:
        yield found
    finally:
        found.close()


# ---------------------------------------------------------------------- our side


def inside(statement: ast.Statement) -> Iterable[ast.Statement]:
    """The statements in a statement."""
    if isinstance(statement, ast.Block):
        return statement.statements
    if isinstance(statement, ast.If):
        return [statement.then, *([statement.otherwise] if statement.otherwise else [])]
    if isinstance(statement, ast.While):
        return [statement.body]
    if isinstance(statement, ast.TryCatch):
        return statement.try_ + statement.catch
    body = getattr(statement, "body", ())
    return body if isinstance(body, tuple) else ()


def walk(statements: Iterable[ast.Statement]) -> Iterator[ast.Statement]:
    for each in statements:
        yield each
        yield from walk(inside(each))


def compare(oracle: Oracle, figures: Figures, sql: str) -> None:
    """Note whether both accept ``sql`` or refuse it, and where its statements begin."""
    answer = oracle.ask(sql)
    errors = [error for error in answer["errors"] if error[0] not in BINDING]
    figures.asked += 1
    shown = sql.replace("\n", "\\n")[:200]
    try:
        found = list(walk(parse(sql).statements))
    except SqlError as refusal:
        said = refusal.messages[0]
        if said.number in SYNTAX and not answer["errors"]:
            figures.differences.append(f"refused here with {said.number} {said.text}: {shown}")
        return
    if errors:
        figures.differences.append(f"refused there with {errors[0][2]}: {shown}")
        return
    if answer["errors"] or any(isinstance(each, ast.Unsupported) for each in found):
        return
    theirs = [start for kind, start, _length in answer["statements"] if kind not in NOT_WALKED and start >= 0]
    if theirs != [each.pos for each in found]:
        figures.differences.append(f"other statements: {shown}")


def told(name: str, figures: Figures) -> str:
    lines = [f"{name}: {figures.share:.2%} of {figures.asked} the same", *figures.differences[:40]]
    text = "\n".join(lines)
    print(text)
    return text


# ---------------------------------------------------------------------- texts


def masked(path: Path) -> str:
    """A script without what is newer than ScriptDom's grammar, and without the client's own lines."""
    text = re.sub(r"\bURL\b *=", "DISK =", path.read_text())
    text = text.replace("COMPRESSION (ALGORITHM = ZSTD, LEVEL = MEDIUM)", "COMPRESSION")
    return re.sub(r"^:.*$", "", text, flags=re.MULTILINE)


def admin_batches(shared: Path) -> list[str]:
    paths = sorted((shared / "admin-scripts").glob("*.sql"))
    return [batch.text for path in paths for batch in split_batches(masked(path))]


def kinds() -> list[str]:
    """A statement a line: every kind that there is and that ScriptDom knows, most in several forms."""
    lines = Path(__file__).with_name("statement_kinds.sql").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if NEWER_WORDS not in line]


def older_grammar() -> str:
    """The grammar without what is newer than ScriptDom's."""
    text = grammar_text("tsql.ebnf")
    for rule in NEWER_RULES:
        assert rule in text
        text = text.replace(rule, "")
    return text


def mutated(text: str, dice: random.Random) -> str:
    """With one token less, twice, in the place of another, or behind the one after it."""
    tokens = [token for token in tokenize(text) if token.end > token.pos]
    index = dice.randrange(len(tokens))
    token = tokens[index]
    before, itself, behind = text[: token.pos], text[token.pos : token.end], text[token.end :]
    how = dice.randrange(4)
    if how == 0:
        return before + behind
    if how == 1:
        return f"{before}{itself} {itself}{behind}"
    if how == 2 and index + 1 < len(tokens):
        following = tokens[index + 1]
        swapped = text[following.pos : following.end]
        return f"{before}{swapped} {itself}{text[following.end :]}"
    other = dice.choice(tokens)
    return f"{before}{text[other.pos : other.end]}{behind}"


# ---------------------------------------------------------------------- the comparisons


def test_admin_scripts_are_read_alike(oracle: Oracle, shared: Path) -> None:
    figures = Figures()
    for batch in admin_batches(shared):
        compare(oracle, figures, batch)
    assert figures.asked > 150
    assert figures.differences == [], told("scripts", figures)


def test_every_kind_of_statement(oracle: Oracle) -> None:
    figures = Figures()
    for statement in kinds():
        compare(oracle, figures, statement)
    assert figures.share > 0.97, told("kinds", figures)


@pytest.mark.parametrize(
    ("rule", "count", "depth", "share"),
    [
        ("statement", 1500, 6, 0.96),
        ("query_statement", 800, 9, 0.94),
        ("expression", 800, 6, 0.99),
        ("predicate", 800, 6, 0.99),
    ],
)
def test_sentences_of_the_grammar(oracle: Oracle, rule: str, count: int, depth: int, share: float) -> None:
    # The clauses of statements about keys are read loosely, and judged where they run.
    words = {**WORDS, "key_statement": ()}
    sentences = Sentences(read_grammar(older_grammar()), words, seed=7)
    figures = Figures()
    for sql in sorted({sentences.one(rule, depth) for _ in range(count)}):
        compare(oracle, figures, sql)
    assert figures.share > share, told(rule, figures)


def test_mutations(oracle: Oracle, shared: Path) -> None:
    dice = random.Random(5)
    texts = []
    for batch in admin_batches(shared):
        texts += [batch[each.pos : each.end] for each in walk(parse(batch).statements)]
    texts = sorted({text for text in texts if len(text) < 700})
    figures = Figures()
    for _ in range(2500):
        compare(oracle, figures, mutated(dice.choice(texts), dice))
    assert figures.share > 0.99, told("mutations", figures)
