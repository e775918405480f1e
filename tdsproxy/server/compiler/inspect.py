"""Looking into syntax trees."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass

from tdsproxy.server.compiler.aggregates import AGGREGATES
from tdsproxy.tsql import ast


def expressions_of(node: object) -> Iterator[object]:
    """Every node of a tree, the root first."""
    if isinstance(node, tuple):
        for item in node:
            yield from expressions_of(item)
    elif is_dataclass(node) and not isinstance(node, type):
        yield node
        for item in fields(node):
            value = getattr(node, item.name)
            if isinstance(value, tuple) or is_dataclass(value):
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
    if is_dataclass(node) and not isinstance(node, type):
        return any(contains_aggregate(getattr(node, item.name)) for item in fields(node))
    return False
