"""Every message that the code raises by number is there, and gets as many values as its text has places."""

from __future__ import annotations

import ast
import string
from pathlib import Path

import pytest

import tdsproxy
from tdsproxy.commands.key_messages import _TABLE as KEY_TABLE
from tdsproxy.commands.messages import _TABLE

_RAISE = {"fail": _TABLE, "message": _TABLE, "info": _TABLE, "key_fail": KEY_TABLE, "key_message": KEY_TABLE}
_ROOMS = ("commands", "keeper", "agent")


def raised(path: Path) -> list[tuple[str, int, int, bool]]:
    """Function, number, how many values, and whether that is known, of each call with a literal number."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not node.args or not isinstance(node.args[0], ast.Constant):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        number = node.args[0].value
        if name in _RAISE and isinstance(number, int):
            known = not any(isinstance(value, ast.Starred) for value in node.args)
            found.append((name, number, len(node.args) - 1, known))
    return found


def places(text: str) -> int:
    names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    return len(set(names)) if any(names) else len(names)


@pytest.mark.parametrize("room", _ROOMS)
def test_numbers_and_values(room: str) -> None:
    count = 0
    for path in sorted((Path(tdsproxy.__file__).parent / room).rglob("*.py")):
        for name, number, given, known in raised(path):
            table = _RAISE[name]
            assert number in table, f"{path.name}: {name}({number})"
            assert not known or given == places(table[number][-1]), f"{path.name}: {name}({number})"
            count += 1
    assert room != "commands" or count > 200
