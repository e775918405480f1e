"""Comparing and matching text as SQL Server's collations do.

The default is SQL_Latin1_General_CP1_CI_AS: case does not count, accents do, trailing blanks do not;
punctuation sorts before digits and digits before letters; an accented letter sorts behind its plain one.
Other collations are known by their suffixes: ``_CS``, ``_AI``, ``_BIN`` and ``_BIN2``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import Final

_PUNCTUATION: Final = " -_,;:!?.'\"()[]{}@*/\\&#%`^+<=>|~$"
_WEIGHTS: Final = str.maketrans(
    {
        **{chr(code): "\x02" + chr(code + 0x40) for code in range(1, 32)},
        **{char: chr(0x0F + index) for index, char in enumerate(_PUNCTUATION)},
        "\0": None,
    }
)
_IGNORED: Final = frozenset("\u200d\u200e\ufeff\ufffd\ufffe\uffff")
"""Characters without a weight. U+FFFD is one; as it halves of UTF-16 pairs are stored."""
_ACCENTS: Final = "\u0301\u0300\u0302\u0308\u030c\u0306\u0304\u0303\u030a\u0328\u0327"
"""Combining marks in the order of their weights: acute, grave, circumflex, diaeresis ..."""


def collation_key(text: str) -> str:
    """A key that compares as ``text`` does under the default collation."""
    if text.isascii():
        return text.rstrip(" ").lower().translate(_WEIGHTS)
    return _wide_key(text)


def _wide_key(text: str) -> str:
    letters: list[str] = []
    marks: list[str] = []
    for char in unicodedata.normalize("NFD", text.rstrip(" ").casefold()):
        if char in _IGNORED or char > "\uffff" or "\ud800" <= char <= "\udfff":
            continue
        if unicodedata.combining(char) and letters:
            marks.extend(["\x01"] * (len(letters) - len(marks)))
            index = _ACCENTS.find(char)
            marks[-1] += chr(2 + index) if index >= 0 else char
        else:
            letters.append(char)
    primary = "".join(letters).translate(_WEIGHTS)
    return primary if not marks else f"{primary}\0{''.join(marks)}"


@lru_cache(maxsize=64)
def rules(collation: str | None) -> tuple[bool, bool, bool]:
    """(binary, case matters, accents matter)."""
    name = (collation or "").upper()
    binary = name.endswith(("_BIN", "_BIN2"))
    return binary, binary or "_CS" in name, "_AI" not in name


def key(text: str, collation: str | None = None) -> str:
    """A key under ``collation``; None and DATABASE_DEFAULT are the default one."""
    binary, case, accents = rules(collation)
    if binary:
        return text.rstrip(" ")
    if not accents:
        text = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    made = collation_key(text)
    # lower case sorts before upper case when nothing else differs
    return made + "\0\0" + text.rstrip(" ").swapcase() if case else made


def like(value: str, pattern: str, escape: str | None = None, collation: str | None = None) -> bool:
    """``value LIKE pattern``: ``%``, ``_``, ``[classes]`` and ESCAPE; trailing blanks of ``value``
    may be left over."""
    _, case, accents = rules(collation)
    if not accents:
        value, pattern = _plain(value), _plain(pattern)
    compiled = _compile(pattern, escape, case)
    if compiled.fullmatch(value):
        return True
    return value.endswith(" ") and compiled.fullmatch(value.rstrip(" ")) is not None


def _plain(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def pattern_index(pattern: str, value: str, collation: str | None = None) -> int:
    """PATINDEX: the 1-based place of the first match, 0 when there is none."""
    _, case, _ = rules(collation)
    inner = pattern
    leading = inner.startswith("%")
    if leading:
        inner = inner.lstrip("%")
    expression = _translate(inner, None, case)
    flags = re.DOTALL | (0 if case else re.IGNORECASE)
    if not leading:
        return 1 if re.compile(expression, flags).fullmatch(value) else 0
    if not inner:
        return 1
    found = re.compile(f"{expression}\\Z", flags).search(value)
    return found.start() + 1 if found else 0


@lru_cache(maxsize=512)
def _compile(pattern: str, escape: str | None, case: bool) -> re.Pattern[str]:
    return re.compile(_translate(pattern, escape, case), re.DOTALL | (0 if case else re.IGNORECASE))


def _translate(pattern: str, escape: str | None, case: bool) -> str:
    """A LIKE pattern as a regular expression."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if escape and char == escape and at + 1 < len(pattern):
            out.append(re.escape(pattern[at + 1]))
            at += 2
            continue
        if char == "%":
            if not out or out[-1] != ".*":
                out.append(".*")
        elif char == "_":
            out.append(".")
        elif char == "[":
            made, at = _class(pattern, at + 1, escape, case)
            out.append(made)
            continue
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)


def _class(pattern: str, at: int, escape: str | None, case: bool) -> tuple[str, int]:
    """The class that begins behind ``[``, and the place behind its ``]``."""
    negated = at < len(pattern) and pattern[at] == "^"
    at += negated
    members: list[str] = []
    while at < len(pattern):
        char = pattern[at]
        if char == "]":
            return _class_text(members, negated), at + 1
        if escape and char == escape and at + 1 < len(pattern):
            at += 1
            char = pattern[at]
        if at + 2 < len(pattern) and pattern[at + 1] == "-" and pattern[at + 2] != "]":
            members.append(_range(char, pattern[at + 2], case))
            at += 3
        else:
            members.append(_in_class(char))
            at += 1
    return "(?!)", len(pattern)


def _class_text(members: list[str], negated: bool) -> str:
    body = "".join(members)
    if not body:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{body}]"


def _in_class(char: str) -> str:
    return "\\" + char if char in "\\]^-[&~|" else char


@lru_cache(maxsize=256)
def _range(low: str, high: str, case: bool) -> str:
    """The characters between two, in the order of the collation for those of Latin-1."""
    if max(low, high) > "\xff" or min(low, high) < " ":
        return f"{_in_class(low)}-{_in_class(high)}" if low <= high else ""
    if case:
        chosen = [chr(c) for c in range(ord(low), ord(high) + 1)]
    else:
        first, last = collation_key(low), collation_key(high)
        chosen = [chr(c) for c in range(0x20, 0x100) if first <= (collation_key(chr(c)) or " ") <= last]
    return "".join(_in_class(char) for char in chosen)
