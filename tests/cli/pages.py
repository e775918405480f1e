"""Runs the blocks of a page of the documentation, in their order, as its reader would."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.running import Running

ROOT = Path(__file__).parents[2]
SECTION = re.compile(r"^## (?:\d+\. )?(.*)$", re.MULTILINE)
BLOCK = re.compile(r"```(sql|sh|python)\n(.*?)```", re.DOTALL)
PLACEHOLDER_TIME = "2026-11-23T10:15:30.123"


def sections(page: Path) -> dict[str, list[tuple[str, str]]]:
    """The blocks below each heading, as (language, text)."""
    text = page.read_text()
    heads = [*SECTION.finditer(text)]
    ends = [head.start() for head in heads[1:]] + [len(text)]
    return {
        head[1]: [(block[1], block[2]) for block in BLOCK.finditer(text, head.end(), end)]
        for head, end in zip(heads, ends, strict=True)
    }


class Reader:
    """Follows a page in ``directory``, beside the store ``data`` there.

    ``NAME`` stands for the kept content that the last block named, the page's example of a time for the
    time that a query of the page, ``SELECT SYSDATETIME() AS [before]``, gave.
    """

    def __init__(self, directory: Path, server: Running) -> None:
        self.directory = directory
        self.server = server
        self.noted = ""
        self.said = ""

    def sql(self, text: str) -> list[list[tuple[Any, ...]]]:
        """The results of all batches of the text."""
        results: list[list[tuple[Any, ...]]] = []
        with self.server.connect() as connection:
            cursor = connection.cursor()
            for batch in re.split(r"^GO$", text, flags=re.MULTILINE):
                cursor.execute(batch.replace(PLACEHOLDER_TIME, self.noted))
                while True:
                    if cursor.description:
                        rows = list(cursor.fetchall())
                        if cursor.description[0][0] == "before":
                            self.noted = rows[0][0].isoformat()
                        results.append(rows)
                    if not cursor.nextset():
                        break
        return results

    def shell(self, text: str) -> str:
        """What the commands of a block print. Raises AssertionError when one fails."""
        kept = re.search(r"\bShop-\d{8}T\d+", self.said)
        for name, value in (("NAME", kept and kept[0]), (PLACEHOLDER_TIME, self.noted)):
            text = text.replace(name, value or name)
        done = subprocess.run(
            ["bash", "-euc", f'tdsproxy() {{ {shlex.quote(sys.executable)} -m tdsproxy "$@"; }}\n{text}'],
            cwd=self.directory,
            env={
                **os.environ,
                "TDSPROXY_SA_PASSWORD": self.server.password,
                "TDSPROXY_LISTEN": f"{self.server.host}:{self.server.port}",
                "PYTHONPATH": str(ROOT),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=250,
            check=False,
        )
        self.said = done.stdout
        assert done.returncode == 0, f"{done.stdout}{done.stderr}"
        return done.stdout
