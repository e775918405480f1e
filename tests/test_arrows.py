"""The rooms import each other only along the arrows of ARCHITECTURE.md; the table there is the one here."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "tdsproxy"

MAY_IMPORT: dict[str, set[str]] = {
    "tds": set(),
    "tsql": set(),
    "store": {"tsql"},
    "log": {"store", "tsql"},
    "objects": set(),
    "media": {"objects", "store", "tsql"},
    "catalog": {"store", "tsql"},
    "backup": {"log", "media", "store", "tsql"},
    "commands": {"backup", "catalog", "log", "media", "objects", "store", "tsql"},
    "agent": {"backup", "catalog", "commands", "log", "media", "objects", "store", "tsql"},
    "keeper": {"agent", "backup", "catalog", "commands", "log", "media", "objects", "store", "tsql"},
    "frontend": {"tds", "tsql"},
    "server": {"catalog", "commands", "frontend", "keeper", "store", "tds", "tsql"},
    "proxy": {"commands", "frontend", "keeper", "tds", "tsql"},
    "cli": {
        "agent",
        "catalog",
        "commands",
        "frontend",
        "keeper",
        "objects",
        "proxy",
        "server",
        "store",
        "tds",
        "tsql",
    },
}
"""What each room may import besides itself."""

# ``server`` and ``proxy`` reach commands through the keeper: of these rooms they may use these modules only.
ONLY_MODULES: dict[tuple[str, str], set[str]] = {
    ("server", "commands"): {"request"},
    ("proxy", "commands"): {"request"},
    ("server", "keeper"): {"client", "port"},
    ("proxy", "keeper"): {"client", "port"},
}


def imports_of(path: Path) -> set[tuple[str, ...]]:
    """The dotted tails of everything under ``tdsproxy.`` that the file imports."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; say where it comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        found.update(tuple(name.split(".")[1:]) for name in names if name.startswith("tdsproxy."))
    return found


def test_every_room_is_in_the_table() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(MAY_IMPORT)


def test_no_import_goes_against_the_arrows() -> None:
    wrong = []
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        if room not in MAY_IMPORT:
            continue
        for target in imports_of(path):
            other = target[0]
            if other == room or other not in MAY_IMPORT:
                continue
            if other not in MAY_IMPORT[room]:
                wrong.append(f"{path.relative_to(ROOT)} imports {'.'.join(target)}")
            allowed = ONLY_MODULES.get((room, other))
            if allowed is not None and (len(target) < 2 or target[1] not in allowed):
                wrong.append(
                    f"{path.relative_to(ROOT)} imports {'.'.join(target)}, not only {sorted(allowed)}"
                )
    assert not wrong, "\n".join(wrong)


def test_the_arrows_have_no_circle() -> None:
    done: set[str] = set()
    left = dict(MAY_IMPORT)
    while left:
        free = [room for room, needs in left.items() if needs <= done]
        assert free, f"a circle among {sorted(left)}"
        for room in free:
            done.add(room)
            del left[room]


def test_the_architecture_page_shows_the_same_arrows() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8")
    for room, needs in MAY_IMPORT.items():
        row = re.search(rf"^\| `{room}/` \|[^|]*\|([^|]*)\|", page, re.M)
        assert row, f"{room} has no row in ARCHITECTURE.md"
        if room == "cli":
            continue
        named = set(re.findall(r"`(\w+)`", row[1]))
        if "below" in row[1]:
            named |= set().union(*(MAY_IMPORT[name] for name in named))
        assert named == needs, f"{room}: the page says {sorted(named)}, the table {sorted(needs)}"
