"""Changed copies of syntax trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tdsproxy.server.compiler.typed import error
from tdsproxy.tsql import ast


def rewritten(node: Any, change: Callable[[ast.Node], ast.Node | None]) -> Any:
    """A copy of a tree in which ``change`` has replaced nodes: it answers the new node, or None to go on
    within."""
    if isinstance(node, tuple):
        items = tuple(rewritten(item, change) for item in node)
        return items if any(new is not old for new, old in zip(items, node, strict=True)) else node
    if not isinstance(node, ast.Node):
        return node
    made = change(node)
    if made is not None:
        return made
    changes: dict[str, Any] = {}
    for name in ast.field_names(node):
        value = getattr(node, name)
        if isinstance(value, tuple | ast.Node):
            new = rewritten(value, change)
            if new is not value:
                changes[name] = new
    return ast.replace(node, **changes) if changes else node


def with_variables(node: Any, values: Mapping[str, ast.Expr]) -> Any:
    """The tree with expressions in place of variables, which are keyed by their lower-case names."""

    def change(part: ast.Node) -> ast.Node | None:
        return values.get(part.name.lower()) if isinstance(part, ast.Variable) else None

    return rewritten(node, change)


def with_windows(query: ast.Select) -> ast.Select:
    """The query with the windows of its WINDOW clause in the places where they are named. Raises SqlError
    4123, 5362, 5365, 16211."""
    windows = {name.lower(): over for name, over in query.windows}
    if len(windows) < len(query.windows):
        raise error(16211, "Cannot repeat window name in the WINDOW clause.", query.line, severity=15)

    def change(part: ast.Node) -> ast.Node | None:
        if not isinstance(part, ast.Over) or part.window is None:
            return None
        made, seen = part, set()
        while made.window is not None:
            name = made.window.lower()
            base = windows.get(name)
            if base is None or (base.window is not None and base.window.lower() == name):
                raise error(5362, f"Window '{made.window}' is undefined.", query.line, severity=15, state=3)
            if name in seen:
                raise error(5365, "Cyclic window references are not permitted.", query.line, severity=15)
            seen.add(name)
            if any(getattr(made, part) and getattr(base, part) for part in ("partition", "order", "frame")):
                words = "Window element in OVER clause can not also be specified in WINDOW clause."
                raise error(4123, words, query.line, severity=15, state=2 if base.frame else 3)
            made = ast.replace(
                made,
                partition=made.partition or base.partition,
                order=made.order or base.order,
                frame=made.frame or base.frame,
                window=base.window,
            )
        return made

    found: ast.Select = rewritten(query, change)
    return found
