"""What docs/operations.md says is so."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import typer.main

from tdsproxy.agent.settings import settings_of
from tdsproxy.catalog.operations import OPERATION_TABLES
from tdsproxy.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def test_the_configuration_can_be_used() -> None:
    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    settings = settings_of(tomllib.loads(text))
    assert settings.notices.objectives.log_minutes == 30
    rules = settings.retention.of("Shop1")
    assert rules is not None
    assert (rules.daily, rules.window_days, rules.archive_class) == (7, 14, "STANDARD_IA")
    assert settings.retention.of("other") is None
    assert settings.trials.databases == ("shop*",)


def test_the_commands_can_be_read() -> None:
    command = typer.main.get_command(app)
    lines = re.findall(r"`tdsproxy ([^`]+)`", PAGE)
    assert len(lines) > 6
    for line in lines:
        words = shlex.split(line)
        current = command
        with current.make_context("tdsproxy", words, resilient_parsing=True):
            while hasattr(current, "commands"):
                current = current.commands[words.pop(0)]
            with current.make_context(current.name or "", words, resilient_parsing=False):
                pass


def test_the_tables_are_those_of_msdb() -> None:
    named = set(re.findall(r"msdb\.dbo\.(\w+)", PAGE))
    assert named == {table.name for table in OPERATION_TABLES}
