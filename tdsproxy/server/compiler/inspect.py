"""Looking into syntax trees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.compiler.aggregates import AGGREGATES
from tdsproxy.tsql import ast

_INNER: Final = (tuple, ast.Node)


def expressions_of(node: object) -> Iterator[object]:
    """Every node of a tree, the root first."""
    if isinstance(node, tuple):
        for item in node:
            yield from expressions_of(item)
    elif isinstance(node, ast.Node):
        yield node
        for name in ast.field_names(node):
            value = getattr(node, name)
            if isinstance(value, _INNER):
                yield from expressions_of(value)


def contains_aggregate(node: object) -> bool:
    """Whether an aggregate (without OVER) is applied in ``node`` itself, not in a subquery of it."""
    if isinstance(node, tuple):
        return any(contains_aggregate(item) for item in node)
    if isinstance(node, ast.Query):
        return False
    if isinstance(node, ast.FunctionCall):
        own = node.over is None and node.name.schema is None and node.name.object.upper() in AGGREGATES
        return own or any(contains_aggregate(arg) for arg in node.args) or contains_aggregate(node.over)
    if isinstance(node, ast.Node):
        return any(contains_aggregate(getattr(node, name)) for name in ast.field_names(node))
    return False
