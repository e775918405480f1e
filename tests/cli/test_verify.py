"""tdsproxy verify: VERIFYONLY, and a restore into a scratch file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdsproxy.cli import verify as command
from tdsproxy.cli.app import app
from tdsproxy.cli.progress import Display, Nothing
from tdsproxy.cli.shell import Outcome, collect
from tdsproxy.tsql.values import Value
from tests.commands.support import Workshop, numbers


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workshop]:
    """A store whose statements run here instead of in a keeper."""
    workshop = Workshop(tmp_path, logged=True)

    def run(
        options: object,
        text: str,
        variables: Mapping[str, Value] | None = None,
        progress: Display | None = None,
        max_rate: int | None = None,
    ) -> Outcome:
        return collect(iter(workshop.run(text, variables=dict(variables or {}))), progress or Nothing())

    monkeypatch.setattr(command, "run_statement", run)
    yield workshop
    workshop.close()


def test_verify(shop: Workshop, tmp_path: Path) -> None:
    shop.run("CREATE DATABASE shop")
    shop.fill("shop", "CREATE TABLE t (x); INSERT INTO t VALUES (1), (2)")
    assert numbers(shop.run("BACKUP DATABASE shop TO DISK = '/tmp/shop.bak'"))[-1] == 3014
    runner = CliRunner()
    words = ["verify", "/tmp/shop.bak", "--store", str(shop.store)]
    done = runner.invoke(app, words)
    assert (done.exit_code, done.stdout) == (0, "The backup set on file 1 is valid.\n")
    done = runner.invoke(app, [*words, "--restore"])
    assert done.exit_code == 0
    assert done.stdout == "Database 'shop' (file 1) is sound: 1 tables, 2 rows; 2 compared.\n"
    checks = tmp_path / "checks.sql"
    checks.write_text("SELECT x FROM t WHERE x = 2")
    done = runner.invoke(app, [*words, "--run", str(checks), "--json"])
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert found["result"] == "damaged"
    assert found["problems"] == ["Check: SELECT x FROM t WHERE x = 2 gave (2,)."]
