"""Changed copies of syntax trees."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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
