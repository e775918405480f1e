"""Scripts split at GO lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tsql.script import ScriptBatch, split_batches


@pytest.mark.parametrize(
    ("text", "batches"),
    [
        ("", []),
        (" \n\r\n", []),
        ("a", [("a", 1, 1)]),
        ("a\nGO", [("a\n", 1, 1)]),
        ("a\ngo\nb", [("a\n", 1, 1), ("b", 3, 1)]),
        ("a\n  Go  \t\nb\n", [("a\n", 1, 1), ("b\n", 3, 1)]),
        ("a\r\nGO\r\nb\r\n", [("a\r\n", 1, 1), ("b\r\n", 3, 1)]),
        ("a\nGO 3\nb", [("a\n", 1, 3), ("b", 3, 1)]),
        ("a\nGO -- then\nb", [("a\n", 1, 1), ("b", 3, 1)]),
        ("GO\n\nGO\na", [("a", 4, 1)]),
        ("a\nGO;\nb", [("a\nGO;\nb", 1, 1)]),
        ("a\nGO b\n", [("a\nGO b\n", 1, 1)]),
        ("a GO\nb", [("a GO\nb", 1, 1)]),
        ("GOTO x\ngo", [("GOTO x\n", 1, 1)]),
        ("'\nGO\n'\nGO\nb", [("'\nGO\n'\n", 1, 1), ("b", 5, 1)]),
        ("[\nGO\n]", [("[\nGO\n]", 1, 1)]),
        ("/*\nGO\n/* */\nGO\n*/\nGO\nb", [("/*\nGO\n/* */\nGO\n*/\n", 1, 1), ("b", 7, 1)]),
        ("-- it's\nGO\nb", [("-- it's\n", 1, 1), ("b", 3, 1)]),
    ],
)
def test_split(text: str, batches: list[tuple[str, int, int]]) -> None:
    assert split_batches(text) == [ScriptBatch(*batch) for batch in batches]


@given(st.lists(st.sampled_from(["a", "\n", "GO", " ", "'", "/*", "*/", "--", "3", "[", "]"])))
def test_every_batch_is_a_piece_of_the_script(parts: list[str]) -> None:
    text = "".join(parts)
    lines = text.split("\n")
    for batch in split_batches(text):
        assert "\n".join(lines[batch.first_line - 1 :]).startswith(batch.text)
