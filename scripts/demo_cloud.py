"""The cloud part of ``scripts/demo --tour``: a backup to S3, a store that is kept up in a bucket, the machine
that is lost, and everything back from the bucket alone. The S3 server is moto, on loopback; without it this
part is left out."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytds

ROOT = Path(__file__).resolve().parent.parent
LIMIT = 120.0


class CloudFailed(Exception):
    """Something that this part promises did not happen."""


def cloud(directory: Path, say: Callable[[str], None]) -> None:
    """Raises CloudFailed."""
    try:
        import moto.server  # noqa: F401
    except ImportError:
        say("   (left out: the S3 server for it, moto, is not installed: scripts/test brings it)")
        return
    sys.path.insert(0, str(ROOT))
    from tests.objects.s3_server import KEY, SECRET, s3_server

    with s3_server() as s3:
        bucket = s3.bucket("safe")
        secret, passphrase = directory / "s3.secret", directory / "s3.passphrase"
        for path, text in ((secret, f"{KEY}:{SECRET}"), (passphrase, secrets.token_hex(16))):
            path.touch(mode=0o600)
            path.write_text(text)
        say(f"   an S3 server, and tdsproxy serve --sync {bucket}/store")
        keys = ("--sync-secret-file", str(secret), "--sync-key-file", str(passphrase))
        password = f"Demo-{secrets.token_hex(6)}"
        store = directory / "cloud"
        server = _Server(store, password, "--sync", f"{bucket}/store", *keys)
        try:
            rows, lag = _fill(server, bucket, f"{KEY}:{SECRET}", say)
            server.kill()
        finally:
            server.end()
        shutil.rmtree(store)
        say("   the machine is lost: processes killed, the store's directory deleted")
        words = ("--from", f"{bucket}/store", "--secret-file", str(secret), "--key-file", str(passphrase))
        begun = time.monotonic()
        done = _tdsproxy("restore", "--all", *words, "--store", str(directory / "again"))
        took = time.monotonic() - begun
        server = _Server(directory / "again", password)
        try:
            found = server.ask("SELECT COUNT(*) FROM Stock.dbo.Item")
        finally:
            server.end()
        for line in done.splitlines():
            say(f"   | {line}")
        if found != rows:
            raise CloudFailed(f"{found} rows came back, not {rows}")
        say(f"   {found} rows are back, all that there were {lag:.1f} s after the last, in {took:.1f} s")


def _fill(server: _Server, bucket: str, secret: str, say: Callable[[str], None]) -> tuple[int, float]:
    """How many rows there are, and how long the last one took to be safe."""
    server.run(f"CREATE CREDENTIAL [{bucket}] WITH IDENTITY = 'S3 Access Key', SECRET = '{secret}'")
    server.run("CREATE DATABASE Stock")
    server.run("CREATE TABLE Stock.dbo.Item (Id int PRIMARY KEY)")
    for line in server.run(f"BACKUP DATABASE Stock TO URL = '{bucket}/Stock.bak' WITH FORMAT, COMPRESSION"):
        if "successfully" in line:
            say(f"   | {line}")
    rows = 50
    for number in range(rows):
        server.run(f"INSERT Stock.dbo.Item VALUES ({number})")
    last = time.time_ns()
    deadline = time.monotonic() + LIMIT
    while server.sent() <= last:
        if time.monotonic() > deadline:
            raise CloudFailed("the store was not synchronised")
        time.sleep(0.02)
    return rows, (time.time_ns() - last) / 1e9


class _Server:
    """A server of its own."""

    def __init__(self, store: Path, password: str, *more: str) -> None:
        self._store = store
        ready = store.with_suffix(".ready")
        log = store.with_suffix(".log")
        words = ("--store", str(store), "--listen", "127.0.0.1:0", "--ready-file", str(ready))
        with log.open("wb") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tdsproxy", "serve", *words, *more],
                env={**os.environ, "TDSPROXY_SA_PASSWORD": password},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
            )
        deadline = time.monotonic() + LIMIT
        while not ready.exists():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise CloudFailed(f"the server did not start:\n{log.read_text()}")
            time.sleep(0.01)
        answer = json.loads(ready.read_text())
        self._connection = pytds.connect(
            dsn=answer["host"], port=answer["port"], user="sa", password=password, autocommit=True
        )

    def run(self, sql: str) -> list[str]:
        """What the statement said."""
        cursor = self._connection.cursor()
        cursor.execute(sql)
        while cursor.nextset():
            pass
        return [str(message.args[0]) for _, message in cursor.messages]

    def ask(self, sql: str) -> Any:
        cursor = self._connection.cursor()
        cursor.execute(sql)
        return cursor.fetchall()[0][0]

    def sent(self) -> int:
        """Everything up to this time (ns) is in the object store."""
        try:
            return int(json.loads((self._store / ".sync" / "state.json").read_text())["through_ns"] or 0)
        except FileNotFoundError:
            return 0

    def kill(self) -> None:
        """Server and keeper, without a warning."""
        os.kill(int((self._store / "keeper.lock").read_text()), signal.SIGKILL)
        self._process.kill()
        self._process.wait(LIMIT)

    def end(self) -> None:
        if self._process.poll() is None:
            self._connection.close()
            self._process.terminate()
            self._process.wait(LIMIT)


def _tdsproxy(*words: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    if done.returncode != 0:
        raise CloudFailed(done.stdout + done.stderr)
    return done.stdout
