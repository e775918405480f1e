"""docs/commands.md says what the program says."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdsproxy.cli.app import app
from tdsproxy.cli.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_of_commands_is_true() -> None:
    assert PAGE.read_text() == render(), "run scripts/options-document"


def test_every_command_and_option_has_a_meaning() -> None:
    for line in render().splitlines():
        if line.startswith("| `"):
            assert line.rstrip(" |").split("|")[-1].strip(), line


@pytest.mark.parametrize("words", [["--help"], ["agent", "--help"]])
def test_the_list_of_commands_says_whole_sentences(words: list[str]) -> None:
    shown = CliRunner().invoke(app, words, terminal_width=80).output
    assert [line for line in shown.splitlines() if line.startswith("  ") and line.endswith("...")] == []


def test_the_version() -> None:
    said = CliRunner().invoke(app, ["--version"]).output
    assert said == f"tdsproxy {importlib.metadata.version('tdsproxy')}\n"
