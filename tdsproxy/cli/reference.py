"""``docs/commands.md``: every command and option, from their declarations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from tdsproxy.cli.app import app
from tdsproxy.cli.options import ENVIRONMENT_PREFIX

_TITLE = """# Commands and options

Each option of `serve` and `server` can also stand in a TOML file (`--config FILE`, its name with underscores)
and in the environment. The command line beats the environment, the environment the file. Lists are
separated by semicolons in the environment. Tables of the file that are no options: `[databases]` (names to
files), `[policy.NAME]` (`docs/agent.md`), `[notices]`, `[retention]` and `[trials]` (`docs/operations.md`).

This page is made from the program (`scripts/options-document`), and a test holds it against it.
"""


def render() -> str:
    """The page, as Markdown."""
    root: Any = typer.main.get_command(app)
    parts = [_TITLE]
    for name, command in root.commands.items():
        parts += _command(f"tdsproxy {name}", command)
    return "\n".join(parts)


def _command(name: str, command: Any) -> Iterator[str]:
    yield f"## `{name}`\n"
    yield f"{_sentence(command.help or '')}\n"
    inner = getattr(command, "commands", {})
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    for argument in arguments:
        shown = argument.metavar or str(argument.name).upper()
        yield f"- `{shown}`: {_sentence(getattr(argument, 'help', None) or 'required.')}"
    if arguments:
        yield ""
    if options:
        served = name in ("tdsproxy serve", "tdsproxy server")
        yield "| option | environment | meaning |" if served else "| option | meaning |"
        yield "|---|---|---|" if served else "|---|---|"
        for option in options:
            shown = ", ".join(f"`{text}`" for text in (*option.opts, *option.secondary_opts))
            meaning = _sentence(option.help or "").replace("|", "\\|")
            variable = f" `{ENVIRONMENT_PREFIX}{option.name.upper()}` |" if served else ""
            yield f"| {shown} |{variable} {meaning} |"
        yield ""
    for other, command_ in inner.items():
        yield from _command(f"{name} {other}", command_)


def _sentence(text: str) -> str:
    return " ".join(text.split())
