"""docs/commands.md says what the program says."""

from __future__ import annotations

from pathlib import Path

from tdsproxy.cli.reference import render

PAGE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_page_of_commands_is_true() -> None:
    assert PAGE.read_text() == render(), "run scripts/options-document"


def test_every_command_and_option_has_a_meaning() -> None:
    for line in render().splitlines():
        if line.startswith("| `"):
            assert line.rstrip(" |").split("|")[-1].strip(), line
