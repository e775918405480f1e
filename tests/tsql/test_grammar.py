"""grammar/tsql.ebnf against the parser that it describes: what the one makes the other reads."""

from __future__ import annotations

import pytest

from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.resources import grammar_text
from tests.tsql.sentences import TERMINALS, WORDS, Part, Rule, Sentences, read_grammar

SYNTAX = frozenset({102, 156, 319})
LEXICAL = frozenset({"any", "word", "on_off_option", "value_option", *TERMINALS})


@pytest.fixture(scope="module")
def rules() -> dict[str, Part]:
    return read_grammar(grammar_text("tsql.ebnf"))


def references(part: object) -> set[str]:
    """The rules that a part names."""
    if isinstance(part, Rule):
        return {part.name}
    inner = getattr(part, "parts", None) or (getattr(part, "part", None),)
    return {name for each in inner if each is not None for name in references(each)}


def test_every_rule_is_there_and_used(rules: dict[str, Part]) -> None:
    used = {name for part in rules.values() for name in references(part)}
    assert used - set(rules) - LEXICAL == set()
    assert set(rules) - used == {"batch"}


@pytest.mark.parametrize(
    ("rule", "count", "depth"), [("statement", 600, 6), ("query_statement", 150, 8), ("predicate", 200, 6)]
)
def test_its_sentences_are_read(rules: dict[str, Part], rule: str, count: int, depth: int) -> None:
    sentences = Sentences(rules, WORDS, seed=11)
    texts = sorted({sentences.one(rule, depth) for _ in range(count)})
    refused = []
    for text in texts:
        try:
            parse(f"IF {text} SELECT 1" if rule == "predicate" else text)
        except SqlError as error:
            if error.messages[0].number in SYNTAX:
                refused.append((error.messages[0].text, text))
    assert len(refused) <= len(texts) // 100, refused
