"""Grammar files are found in an installed package and beside a source tree."""

from __future__ import annotations

from pathlib import Path

import pytest

from tdsproxy.tsql import resources


def test_beside_the_source_tree() -> None:
    assert "SELECT" in resources.reserved_words()
    assert resources.grammar_text("tsql.ebnf").startswith("(*")


def test_within_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "_grammar").mkdir()
    (tmp_path / "_grammar" / "keywords.txt").write_text("PACKAGED", encoding="utf-8")
    monkeypatch.setattr(resources, "files", lambda package: tmp_path)
    assert resources.grammar_text("keywords.txt") == "PACKAGED"


def test_a_missing_file_is_named() -> None:
    with pytest.raises(FileNotFoundError, match=r"no\.such"):
        resources.grammar_text("no.such")
