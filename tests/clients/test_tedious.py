"""tedious, the Node.js driver: connect, types, parameters, messages as they come, backup and restore."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.clients.available import CLIENTS, need
from tests.running import Running


@pytest.mark.parametrize("encrypt", ["false", "true"])
def test_tedious(served: Running, encrypt: str) -> None:
    need("tedious")
    script = Path(__file__).with_name("tedious.js")
    modules = CLIENTS / "node" / "node_modules"
    run = subprocess.run(
        ["node", str(script), served.host, str(served.port), served.password, encrypt, str(modules)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    out = json.loads(run.stdout)
    assert "Login failed for user 'sa'" in out["wrong"]
    for type_, pairs in out["types"].items():
        for given, got in pairs:
            if type_ in ("real", "float") or "decimal" in type_ or "numeric" in type_ or "money" in type_:
                assert (given is None and got is None) or float(given) == pytest.approx(
                    float(got), rel=1e-15
                ), type_
            else:
                assert given == got, f"{type_}: {str(given)[:60]} came back as {str(got)[:60]}"
    assert out["parameterised"] == [["msdb"]]
    numbers = [number for number, _ in out["backup"]]
    assert numbers.count(3211) >= 1
    assert numbers[-3:] == [4035, 4035, 3014]
    assert out["deleted"] == [[0]]
    assert out["restored"] == [[1, "one"], [2, "two"]]
