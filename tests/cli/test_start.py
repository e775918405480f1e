"""What a start does without, so that it stays short."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import PASSWORD

# Runs a command until it is ready, then leaves the names of all loaded modules where the port should stand.
PROGRAM = """
import json, os, signal, sys
from tdsproxy.cli import entry, runtime

def ready(path, host, port, *places):
    path.with_suffix(".modules").write_text(json.dumps(sorted(sys.modules)))
    os.kill(os.getpid(), signal.SIGTERM)

runtime._write_ready = ready
entry.run()
"""

NOT_NEEDED = {
    "apsw.ext",
    "argparse",
    "click",
    "construct",
    "cryptography",
    "lark",
    "pydantic",
    "pytds",
    "rich",
    "tdsproxy.backup",
    "tdsproxy.log",
    "tdsproxy.media",
    "tdsproxy.tds.client",
    "typer",
}


def modules_of(store: Path, *words: str) -> set[str]:
    ready = store.parent / "ready"
    subprocess.run(
        [
            *(sys.executable, "-c", PROGRAM, *words),
            *("--store", str(store), "--listen=127.0.0.1:0", "--ready-file", str(ready)),
        ],
        check=True,
        timeout=200,
        env={**os.environ, "TDSPROXY_SA_PASSWORD": PASSWORD},
    )
    return set(json.loads(ready.with_suffix(".modules").read_text()))


@pytest.mark.parametrize(
    "words", [("serve",), ("server",), ("serve", "--upstream", "127.0.0.1:1")], ids=["serve", "server", "up"]
)
def test_a_start_loads_nothing_that_it_does_not_need(tmp_path: Path, words: tuple[str, ...]) -> None:
    modules_of(
        tmp_path / "store", *words
    )  # makes the certificate, the one thing that only a first start needs
    assert not modules_of(tmp_path / "store", *words) & NOT_NEEDED


def test_the_keeper_is_launched_before_anything_large_is_loaded() -> None:
    program = "import sys, tdsproxy.cli.runtime, tdsproxy.keeper.launch; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True, timeout=200
    )
    loaded = {name for name in done.stdout.split() if name.startswith("tdsproxy.")}
    assert "tdsproxy.keeper.launch" in loaded
    small = {"tdsproxy.store", "tdsproxy.store.threads"}  # an empty package, and what tells of a thread's end
    assert {name.split(".")[1] for name in loaded - small} == {"cli", "keeper"}
    assert "apsw" not in done.stdout.split()
