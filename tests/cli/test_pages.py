"""The commands that the pages of the documentation name, and the configuration that they show."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
import typer.main

from tdsproxy.cli.app import app
from tests.cli.pages import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMAND = re.compile(r"`tdsproxy\s+([^`]+)`|^(?:    )?tdsproxy ((?!is ).+)$", re.MULTILINE)
ROOT_COMMAND: Any = typer.main.get_command(app)
TOML = re.compile(r"```toml\n(.*?)```", re.DOTALL)


def commands(page: Path) -> list[str]:
    """As they stand in text and blocks, without comments; those that are only a form are left out."""
    found = [
        " ".join((match[1] or match[2]).split("#")[0].split()) for match in COMMAND.finditer(page.read_text())
    ]
    return [line for line in found if "..." not in line and "|" not in line]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_program_knows_every_command(page: Path) -> None:
    current: Any
    for line in commands(page):
        words = shlex.split(line)
        current = ROOT_COMMAND
        while hasattr(current, "commands") and words:
            assert words[0] in current.commands, line
            current = current.commands[words.pop(0)]
        with current.make_context("tdsproxy", words, resilient_parsing=True) as context:
            known = {name for option in current.params for name in (*option.opts, *option.secondary_opts)}
            given = {word.partition("=")[0] for word in words if re.fullmatch(r"--?[a-zA-Z][\w=-]*", word)}
            assert given <= known | {"--help"}, line
            assert context is not None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_configurations_are_toml(page: Path) -> None:
    for block in TOML.findall(page.read_text()):
        assert tomllib.loads(block)
