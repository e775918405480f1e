"""The commands as processes: ready, served, stopped; and what they say when they can't."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.running import running, start


def command(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, **environment},
    )


def listeners(port: int) -> set[str]:
    """The sockets that listen on a port of this machine, as the kernel numbers them."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {row[9] for row in rows if row[1].endswith(f":{port:04X}") and row[3] == "0A"}


@pytest.mark.parametrize("name", ["serve", "server"])
def test_serves_until_sigterm(tmp_path: Path, name: str) -> None:
    server = start(tmp_path / "store", command=name)
    try:
        with server.connect() as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]
        assert f"ready: {server.host}:{server.port}\n" in server.log.read_text()
        before = listeners(server.port)
        assert before
    finally:
        assert server.stop() == 0
    assert stat.S_IMODE((server.store / "tls" / "key.pem").stat().st_mode) == 0o600
    assert not list(tmp_path.glob("*.ready"))
    # Somebody else may have the port by now.
    assert not before & listeners(server.port), "the port still answers"


def test_the_end_waits_for_a_running_statement(tmp_path: Path) -> None:
    server = start(tmp_path / "store")
    with server.connect() as connection:
        cursor = connection.cursor()
        # The message arrives while the statement runs, so the signal finds it at work.
        cursor.execute("RAISERROR('begun', 0, 1) WITH NOWAIT; SELECT 1; WAITFOR DELAY '00:00:01'; SELECT 2")
        server.process.send_signal(signal.SIGTERM)
        found = [cursor.fetchall()]
        while cursor.nextset():
            if cursor.description:
                found.append(cursor.fetchall())
    assert [(2,)] in found
    assert server.stop() == 0


def test_a_password_is_made_and_said(tmp_path: Path) -> None:
    store = tmp_path / "store"
    environment = {key: value for key, value in os.environ.items() if key != "TDSPROXY_SA_PASSWORD"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tdsproxy", "serve", "--store", str(store), "--listen", "127.0.0.1:0"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stderr is not None
        lines = []
        for line in process.stderr:
            lines.append(line)
            if line.startswith("ready:"):
                break
        path = store / "sa_password"
        assert str(path) in "".join(lines)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    finally:
        process.terminate()
        assert process.wait(60) == 0
        process.stderr.close()


def test_a_proxy_in_front_of_a_server_on_the_same_store(tmp_path: Path) -> None:
    store = tmp_path / "store"
    with (
        running(store, command="server") as server,
        running(store, "--upstream", f"{server.host}:{server.port}") as proxy,
        proxy.connect() as connection,
    ):
        cursor = connection.cursor()
        cursor.execute("CREATE DATABASE shop")
        cursor.execute("BACKUP DATABASE shop TO DISK = N'shop.bak' WITH INIT")
        cursor.execute("SELECT COUNT(*) FROM sys.databases WHERE name = 'shop'")
        assert cursor.fetchall() == [(1,)]
        assert (store / "backup" / "shop.bak").exists()


@pytest.mark.parametrize(
    ("words", "sentence", "status"),
    [
        (["serve", "--listen", "h:x"], "does not name a TCP port", 2),
        (["serve", "--tls", "perhaps"], "one of strict, required, wanted, login, off", 2),
        (["serve", "--config", "/nowhere/x.toml"], "can't be read", 2),
        (["serve", "--tls-cert", "a.pem"], "go together", 2),
        (["serve", "--no-such-option"], "No such option", 2),
        (["server", "--upstream", "h:1"], "No such option", 2),
        (["serve", "--sa-password-file", "/nowhere/pw"], "can't be read", 2),
        (["serve", "--store", "/proc/nowhere"], "can't be made", 1),
    ],
)
def test_mistakes_are_told_in_a_sentence(words: list[str], sentence: str, status: int) -> None:
    done = command(*words)
    assert done.returncode == status
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = command(
            "serve",
            "--store",
            str(tmp_path / "s"),
            "--listen",
            f"127.0.0.1:{port}",
            TDSPROXY_SA_PASSWORD="Demo-pass-1",
        )
    assert done.returncode == 1
    assert "Nothing can listen on" in done.stderr
    assert "Traceback" not in done.stderr


def test_certificates_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "c.pem").write_text("no certificate")
    words = ["--tls-cert", str(tmp_path / "c.pem"), "--tls-key", str(tmp_path / "c.pem")]
    done = command("serve", "--store", str(tmp_path / "s"), *words)
    assert done.returncode == 1
    assert "can't be used" in done.stderr
    assert "Traceback" not in done.stderr


def test_options_of_the_environment_and_the_file(tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('tls = "required"\nlog-json = true\n')
    environment = {"TDSPROXY_TLS": "off"}
    with running(tmp_path / "s", "--config", str(config), env=environment) as server, server.connect():
        assert not (server.store / "tls").exists()
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    assert any(line["message"] == "stopping" for line in lines)


def test_help_lists_the_commands_in_order() -> None:
    text = command("--help").stdout
    assert 0 < text.index("serve ") < text.index("server ")
