"""The language as data: files of ``grammar/``, shipped inside the package as ``tdsproxy/_grammar``."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

import tdsproxy


def grammar_text(name: str) -> str:
    """Return the text of the grammar file ``name``.

    An installed wheel has the files inside the package; a source tree (editable install) beside it.
    Raises FileNotFoundError when neither has it.
    """
    packaged = files(tdsproxy).joinpath("_grammar", name)
    if packaged.is_file():
        return packaged.read_text(encoding="utf-8")
    package = Path(tdsproxy.__file__).resolve().parent
    return (package.parent / "grammar" / name).read_text(encoding="utf-8")


@cache
def reserved_words() -> frozenset[str]:
    """The words, in upper case, that T-SQL takes as identifiers only in brackets or quotes."""
    lines = (line.partition("#")[0] for line in grammar_text("keywords.txt").splitlines())
    return frozenset(word for line in lines for word in line.split())
