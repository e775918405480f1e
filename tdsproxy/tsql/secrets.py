"""Texts of statements as others may see them: without their passwords."""

from __future__ import annotations

import re
from typing import Final

_SECRET: Final = re.compile(r"\b(PASSWORD|SECRET|OLD_PASSWORD)(\s*=\s*N?)'(?:[^']|'')*(?:'|$)", re.IGNORECASE)


def masked(text: str) -> str:
    """``text`` with asterisks for each string that is given as PASSWORD or SECRET."""
    return _SECRET.sub(r"\1\2'***'", text)
