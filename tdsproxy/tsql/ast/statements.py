"""What every statement is, and the batch of them."""

from __future__ import annotations

from tdsproxy.tsql.ast.node import Node


class Statement(Node, kw_only=True):
    pos: int = 0
    end: int = 0
    line: int = 1


class Batch(Node):
    """One parsed batch. ``text`` is what the positions index."""

    text: str
    statements: tuple[Statement, ...]
