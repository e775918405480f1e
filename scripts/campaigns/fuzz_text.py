"""Damaging T-SQL, and text that is made of its pieces."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from pathlib import Path

_TOKEN = re.compile(r"N?'(?:[^']|'')*'|\[[^\]]*\]|[@#]*\w+(?:\.\w+)*|\s+|--[^\n]*|.", re.DOTALL)
_ODD = [
    *Path(__file__).with_name("odd_tokens.txt").read_text(encoding="utf-8").splitlines(),
    "N'\0'",
    "N'" + "long " * 2000 + "'",
    "(" * 300,
    "\n",
]
"""Pieces that are unusual, or unusual where they come to stand."""


def tokens(text: str) -> list[str]:
    return _TOKEN.findall(text)


class TextMutator:
    """Makes batches of sound ones."""

    def __init__(self, statements: Sequence[str]) -> None:
        self._lists = [tokens(statement) for statement in statements]
        self._pool = sorted({token for listed in self._lists for token in listed} - {" "})

    def any(self, rng: random.Random) -> str:
        """Of either kind."""
        return self.soup(rng) if rng.random() < 0.15 else self.damaged(rng)

    def damaged(self, rng: random.Random) -> str:
        """A sound batch with some tokens damaged."""
        made = list(rng.choice(self._lists))
        for _ in range(rng.choice((0, 1, 1, 2, 3, 6))):
            at = rng.randrange(len(made) + 1)
            kind = rng.randrange(7)
            if kind == 0:
                del made[at : at + rng.choice((1, 1, 3))]
            elif kind == 1:
                made[at:at] = [" ", rng.choice(self._pool), " "]
            elif kind == 2 and at < len(made):
                made[at] = rng.choice(self._pool)
            elif kind == 3 and at < len(made):
                made[at] = rng.choice(_ODD)
            elif kind == 4:
                other = rng.choice(self._lists)
                start = rng.randrange(len(other))
                made[at:at] = [" ", *other[start : start + rng.choice((2, 6, 20))], " "]
            elif kind == 5:
                made[at:at] = made[at : at + rng.choice((1, 4))] * rng.choice((1, 2, 60))
            else:
                made[at:at] = [" ", rng.choice(_ODD), " "]
        return "".join(made)

    def soup(self, rng: random.Random) -> str:
        """Tokens in no order."""
        pool = [*self._pool, *_ODD]
        return " ".join(rng.choice(pool) for _ in range(rng.choice((3, 10, 40, 200))))


_PIECES = (
    *("(", ")", "[", "]", "'", "''", '"', "/*", "*/", "--", "-", "~", "+1", ",1", ".", "a.", "[a].", "\n"),
    *(";", "@", "@a ", "N'", "0x0", "1e", "NOT ", "CASE WHEN 1=1 THEN ", "SELECT (", "(SELECT ", "BEGIN "),
    *(
        "IF 1=1 ",
        "WHILE 1=1 ",
        "BEGIN TRY ",
        " AND 1=1",
        " OR x LIKE 'a'",
        " UNION SELECT 1",
        " JOIN t ON 1=1",
    ),
    *(
        "EXEC p ",
        "DECLARE @a int ",
        "x=",
        ", DISK='a'",
        " NORECOVERY,",
        "MOVE 'a' TO 'b', ",
        "GO\n",
        ":r a\n",
    ),
    *("$(a)", "GO 9\n", "WITH a AS (", "CAST(", "ISNULL(", "{", "😀", "\0", " ", "\t", "\r", "é", "\ud800"),
)
_BEGINNINGS = (
    *("", "SELECT ", "SELECT * FROM t WHERE ", "BACKUP DATABASE x TO DISK='a'", "RESTORE DATABASE x FROM "),
    *("CREATE PROCEDURE p AS ", "INSERT INTO t VALUES ", "SELECT 1 ORDER BY ", "CREATE TABLE t (", "'", "/*"),
)


def repeated(rng: random.Random, longest: int) -> str:
    """A beginning, and one or two pieces over and over: what nests, and what takes quadratic time."""
    piece = "".join(rng.choice(_PIECES) for _ in range(rng.choice((1, 1, 1, 2))))
    count = rng.choice((100, 1_000, longest // max(1, len(piece))))
    return rng.choice(_BEGINNINGS) + piece * count
