"""mssql-cli, the command line of the SQL Tools Service: installed into a virtual environment of its own, for
it pins old versions of what it needs; and what it prints, taken apart."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.clients import sql_tools_service
from tests.clients.sql_tools_service import LIBRARIES, icu_version

LIMIT = 240.0
REQUIREMENTS = (
    "click<8.1", "Pygments", "prompt_toolkit>=2.0,<2.1", "sqlparse<0.3", "configobj", "humanize<5",
    "cli-helpers==1.2.1", "tabulate<0.9", "applicationinsights", "future", "wheel", "setuptools",
)  # fmt: skip

_ERROR = re.compile(r"Msg (\d+), Level (\d+), State (\d+), Line \d+")
_AFFECTED = re.compile(r"\(\d+ rows? affected\)|Commands completed successfully\.")


def fetch(home: Path) -> None:
    """Make the virtual environment ``home``."""
    subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(home / "bin" / "pip"), "-q", "install"]
    subprocess.run([*pip, *REQUIREMENTS], check=True)
    subprocess.run([*pip, "--no-deps", "mssql-cli==1.0.0"], check=True)


def absent(home: Path, service: Path) -> str | None:
    """Why mssql-cli cannot run here, or None."""
    if not (home / "bin" / "mssql-cli").exists():
        return f"it is not in {home}"
    return sql_tools_service.absent(service)


@dataclass(frozen=True)
class Printed:
    """What a run printed: the messages' texts, numbers of errors, and result sets as lines of cells."""

    status: int
    messages: list[str]
    errors: list[int]
    sets: list[list[list[str]]]


def run(home: Path, service: Path, host: str, port: int, password: str, *arguments: str) -> Printed:
    version = icu_version()
    assert version, "no ICU library"
    with tempfile.TemporaryDirectory() as place:
        environment = {
            **os.environ,
            "HOME": place,
            "MSSQL_CLI_TELEMETRY_OPTOUT": "True",
            "CLR_ICU_VERSION_OVERRIDE": version,
            "LD_LIBRARY_PATH": str((service / LIBRARIES).resolve()),
            "PATH": f"{(home / 'bin').resolve()}:{os.environ['PATH']}",
            "PYTHONIOENCODING": "utf-8",
        }
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(
            ["mssql-cli", "-S", f"{host},{port}", "-U", "sa", "-P", password, *arguments],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            env=environment,
            stdin=subprocess.DEVNULL,
        )
    return parsed(done.returncode, done.stdout)


def parsed(status: int, text: str) -> Printed:
    """Tables are framed; an error is a line with its number, and its text behind it."""
    found = Printed(status, [], [], [])
    rules = 0
    for line in text.splitlines():
        if line.startswith("+--"):
            rules += 1
            if rules % 2:
                found.sets.append([])
        elif rules % 2 and line.startswith("|"):
            if not line.startswith("|--"):
                found.sets[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        elif error := _ERROR.match(line):
            found.errors.append(int(error[1]))
        elif line.strip() and not _AFFECTED.fullmatch(line):
            found.messages.append(line)
    return found


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
