"""Patterns of database names: ``*`` and ``?``, in any case. Nothing else is special, no ``[`` either; ``[*]``
and ``[?]`` are these characters themselves."""

from __future__ import annotations

import re
from functools import cache
from typing import Final

_PART: Final = re.compile(r"\[([*?])\]|([*?])")


def matches(name: str, pattern: str) -> bool:
    """Whether the pattern, which may be the name itself, is for it."""
    return name.lower() == pattern.lower() or _compiled(pattern.lower()).fullmatch(name.lower()) is not None


def meant(pattern: str) -> str | None:
    """The one name that a pattern is for, None for one that has ``*`` or ``?``."""
    if any(found[2] for found in _PART.finditer(pattern)):
        return None
    return _PART.sub(r"\1", pattern)


def escaped(name: str) -> str:
    """The pattern that is for this name alone."""
    return re.sub(r"([*?])", r"[\1]", name)


@cache
def _compiled(pattern: str) -> re.Pattern[str]:
    text, at = "", 0
    for found in _PART.finditer(pattern):
        text += re.escape(pattern[at : found.start()])
        text += re.escape(found[1]) if found[1] else {"*": ".*", "?": "."}[found[2]]
        at = found.end()
    return re.compile(text + re.escape(pattern[at:]), re.DOTALL)
