"""pymssql's own tests, from its source package on PyPI, directly at ``tdsproxy server`` and through
``tdsproxy serve --upstream`` in front of one: the same tests must pass and fail.

    .venv/bin/python -m scripts.driver_suite

Exit status 0 when both runs agree, 1 when they differ, 77 when the package can't be had. Nothing of it is
kept.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Final

from tests.running import PASSWORD, Running, running

SKIPPED: Final = 77
DOWNLOAD: Final = 300
"""Seconds to wait for the package index."""
RUN: Final = 1200
"""Seconds for one run of the suite."""
DATABASE: Final = "suite"
LEFT_OUT: Final = ("tests/test_sqlalchemy.py", "tests/run_sqlalchemy_tests.py", "tests/test_green.py")
"""They test SQLAlchemy and gevent."""


def fetch(place: Path) -> Path | None:
    """The unpacked source package of the pymssql that is installed; None when it can't be had."""
    wanted = f"pymssql=={version('pymssql')}"
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", "pymssql", wanted]
    try:
        subprocess.run([*command, "-d", str(place)], check=True, timeout=DOWNLOAD, capture_output=True)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        return None
    (archive,) = place.glob("pymssql-*.tar.gz")
    with tarfile.open(archive) as packed:
        packed.extractall(place, filter="data")
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def outcomes(source: Path, server: Running, report: Path) -> dict[str, str]:
    """Each test's outcome at a server."""
    with server.connect() as connection:
        connection.cursor().execute(f"CREATE DATABASE {DATABASE}")
    lines = ["[suite]", f"server = {server.host}", f"ipaddress = {server.host}", f"port = {server.port}"]
    lines += ["username = sa", f"password = {PASSWORD}", f"database = {DATABASE}", "instance ="]
    (source / "tests" / "tests.cfg").write_text("\n".join(lines) + "\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "-c",
        os.devnull,
        "--rootdir",
        ".",
    ]
    command += [f"--ignore={name}" for name in LEFT_OUT]
    command += ["--pymssql-section=suite", "--skip-slow", "--continue-on-collection-errors"]
    command += [f"--junitxml={report}", "tests"]
    # Its own copy of the package is not built: the installed one is tested.
    environment = {**os.environ, "PYTHONPATH": str(source)}
    subprocess.run(command, cwd=source, env=environment, timeout=RUN, check=False, capture_output=True)
    found = {}
    for case in ET.parse(report).getroot().iter("testcase"):
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        found[f"{case.get('classname')}.{case.get('name')}"] = kinds[0] if kinds else "passed"
    return found


def main() -> int:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        place = Path(name)
        source = fetch(place)
        if source is None:
            print("pymssql's source package can't be had here")
            return SKIPPED
        direct = stack.enter_context(running(place / "direct", command="server"))
        behind = stack.enter_context(running(place / "behind", command="server"))
        proxy = stack.enter_context(running(place / "proxy", "--upstream", f"{behind.host}:{behind.port}"))
        first = outcomes(source, direct, place / "direct.xml")
        second = outcomes(source, proxy, place / "proxy.xml")
    different = sorted(test for test in first.keys() | second.keys() if first.get(test) != second.get(test))
    for title, found in (("directly", first), ("through the proxy", second)):
        counts = Counter(found.values())
        print(f"{title}: " + ", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    for test in sorted(test for test, kind in first.items() if kind in ("failure", "error")):
        print(f"fails: {test}")
    for test in different:
        print(f"differs: {test}: {first.get(test)} directly, {second.get(test)} through the proxy")
    return 1 if different or not first else 0


if __name__ == "__main__":
    sys.exit(main())
