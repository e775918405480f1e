"""Each client sees the same with and without the proxy, and what is forwarded passes to the byte."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tests.clients.available import CLIENTS as INSTALLED
from tests.clients.available import need
from tests.clients.dbapi import CLIENTS, Client
from tests.clients.recorder import Recorder, recording
from tests.running import Running, running

HERE = Path(__file__).parent
BATTERY = HERE / "battery.json"


@dataclass(frozen=True)
class World:
    """``near`` is before the proxy, ``far`` behind it; ``through`` is the way by all three."""

    server: Running
    through: Running
    near: Recorder
    far: Recorder

    def settled(self) -> None:
        """All that was recorded on one side was on the other, too."""
        deadline = time.monotonic() + 60
        while not self._same() and time.monotonic() < deadline:
            time.sleep(0.05)  # a client may have gone before its last request was through
        pairs = list(zip(self.near.connections, self.far.connections, strict=True))
        assert pairs
        for near, far in pairs:
            assert near.requests() == far.requests()
            assert near.answers() == far.answers()
            assert near.requests()

    def _same(self) -> bool:
        near, far = self.near.connections, self.far.connections
        return [(each.requests(), each.answers()) for each in near] == [
            (each.requests(), each.answers()) for each in far
        ]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    store = tmp_path_factory.mktemp("transparent") / "store"
    with recording() as near, recording() as far, running(store, "--no-tls", command="server") as server:
        far.target = (server.host, server.port)
        upstream = ("--upstream", f"127.0.0.1:{far.port}", "--upstream-tls", "off")
        with running(store, "--no-tls", *upstream) as proxy:
            near.target = (proxy.host, proxy.port)
            yield World(server, replace(proxy, host="127.0.0.1", port=near.port), near, far)


@pytest.fixture(autouse=True)
def fresh(world: World) -> None:
    world.near.connections.clear()
    world.far.connections.clear()


def python_battery(client: Client, server: Running) -> list[Any]:
    seen: list[Any] = []
    with client.connect(server) as connection:
        cursor = connection.cursor()
        for batch in json.loads(BATTERY.read_text()):
            entry: list[Any] = [batch]
            try:
                cursor.execute(batch)
                for _ in itertools.count():
                    entry.append(cursor.rowcount)
                    if cursor.description:
                        entry.append([column[:2] for column in cursor.description])
                        entry.append([tuple(row) for row in cursor.fetchall()])
                    entry.append([str(each) for each in getattr(cursor, "messages", None) or ()])
                    if not cursor.nextset():
                        break
            except Exception as error:  # noqa: BLE001 - whatever the client raises is compared
                entry.append((type(error).__name__, str(error)))
                cursor = connection.cursor()
            seen.append(entry)
    return seen


@pytest.mark.parametrize("client", CLIENTS, ids=lambda client: client.name)
def test_python_clients(world: World, client: Client) -> None:
    need(client.name)
    direct = python_battery(client, world.server)
    assert len(direct) > 20
    assert python_battery(client, world.through) == direct
    world.settled()


def test_tedious(world: World) -> None:
    need("tedious")
    modules = str(INSTALLED / "node" / "node_modules")

    def battery(server: Running) -> Any:
        script = str(HERE / "battery.js")
        done = subprocess.run(
            ["node", script, server.host, str(server.port), server.password, modules, str(BATTERY)],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    direct = battery(world.server)
    assert battery(world.through) == direct
    world.settled()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the compiled program is."""
    if not shutil.which("javac"):
        pytest.skip("there is no Java compiler here")
    made = tmp_path_factory.mktemp("java")
    subprocess.run(
        ["javac", "-encoding", "UTF-8", "-d", str(made), str(HERE / "Battery.java")], check=True, timeout=200
    )
    return made


@pytest.mark.parametrize("driver", ["mssql-jdbc", "jtds"])
def test_java(world: World, driver: str, program: Path) -> None:
    need(driver)
    (jar,) = (INSTALLED / "java").glob(f"{driver}*.jar")

    def battery(server: Running) -> list[str]:
        address = f"{server.host}:{server.port}"
        url = (
            f"jdbc:sqlserver://{address};encrypt=false;loginTimeout=60"
            if driver == "mssql-jdbc"
            else f"jdbc:jtds:sqlserver://{address}/master"
        )
        done = subprocess.run(
            [
                *("java", "-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8", "-cp", f"{jar}:{program}"),
                *("Battery", url, server.password, str(BATTERY)),
            ],
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()

    direct = battery(world.server)
    assert len(direct) > 500
    assert battery(world.through) == direct
    world.settled()
