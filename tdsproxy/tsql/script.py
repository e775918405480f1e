"""Scripts into batches, as sqlcmd and SSMS do it before a server sees anything."""

from __future__ import annotations

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ScriptBatch:
    """``text`` runs ``count`` times (``GO 3``); its first line is line ``first_line`` of the script."""

    text: str
    first_line: int = 1
    count: int = 1


_STEP = re.compile(
    r"""
      (?P<go>^[^\S\n]*GO(?:[^\S\n]+(?P<count>\d+))?[^\S\n]*(?:--[^\n]*)?(?:\n|\Z))
    | --[^\n]*+
    | (?P<comment>/\*)
    | '(?:[^']++|'')*+'?
    | "(?:[^"]++|"")*+"?
    | \[(?:[^\]]++|\]\])*+\]?
    | \n
    | [^\n'"\[/-]++
    | .
    """,
    re.VERBOSE | re.MULTILINE | re.IGNORECASE | re.DOTALL,
)
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def split_batches(text: str) -> list[ScriptBatch]:
    """Split ``text`` at its GO lines (any case, a count behind it); GO within comments and quotes is text.

    Batches of blanks alone are left out. ``GO;`` is no separator: it is sent, and the server refuses it.
    """
    batches: list[ScriptBatch] = []
    pos = begin = 0
    line = 1
    while pos < len(text):
        step = _STEP.match(text, pos)
        assert step is not None  # the last alternative takes any character
        if step["go"] is not None:
            _append(batches, text[begin:pos], line, int(step["count"] or 1))
            line += text.count("\n", begin, step.end())
            begin = step.end()
        pos = _comment_end(text, step.end()) if step["comment"] else step.end()
    _append(batches, text[begin:], line, 1)
    return batches


def _append(batches: list[ScriptBatch], text: str, line: int, count: int) -> None:
    if text.strip("\ufeff \t\r\n"):
        batches.append(ScriptBatch(text, line, count))


def _comment_end(text: str, pos: int) -> int:
    depth = 1
    while depth:
        edge = _COMMENT_EDGE.search(text, pos)
        if edge is None:
            return len(text)
        depth += 1 if edge.group() == "/*" else -1
        pos = edge.end()
    return pos
