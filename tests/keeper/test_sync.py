"""A store kept up in an object store, and a machine that is lost."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.keeper.fetch import NotFetched, Origin
from tdsproxy.keeper.sync_layout import Manifest, ManifestDamaged, SegmentEntry, decode, encode
from tdsproxy.keeper.sync_log import LogSender
from tdsproxy.log.archive import Archive
from tdsproxy.objects.lease import SECONDS, Lease, LeaseTaken
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import parse_url
from tests.log import support
from tests.objects.s3_server import IDENTITY, KEY, SECRET, S3Server, s3_server
from tests.running import Running, running

CREDENTIAL = Secret(IDENTITY, f"{KEY}:{SECRET}")
PASSPHRASE = "correct horse"


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


def _bucket(s3: S3Server, name: str) -> tuple[str, Bucket]:
    url = s3.bucket(name)
    return url, open_bucket(parse_url(url, object_needed=False), CREDENTIAL, Reaching())


def test_one_holder_of_a_lease_at_a_time(s3: S3Server) -> None:
    _, bucket = _bucket(s3, "lease")
    now = [1000.0]
    first, second = (
        Lease(bucket, "lease.json", owner, owner, clock=lambda: now[0]) for owner in ("first", "second")
    )
    first.keep()
    with pytest.raises(LeaseTaken, match="first"):
        second.keep()
    now[0] += SECONDS * 0.6
    first.keep()
    now[0] += SECONDS * 0.6
    with pytest.raises(LeaseTaken):
        second.keep()
    now[0] += SECONDS
    second.keep()
    assert (first.epoch, second.epoch) == (1, 2)
    with pytest.raises(LeaseTaken, match="second"):
        first.keep()
    second.release()
    first.keep()
    assert first.epoch == 3
    # The same owner again, after a restart: without waiting, in the same epoch.
    again = Lease(bucket, "lease.json", "first", "first", clock=lambda: now[0])
    again.keep()
    assert again.epoch == 3


def test_a_manifest_names_nothing_outside_the_store() -> None:
    for path in ("../x", "/etc/x", "a/../../b", ""):
        with pytest.raises(ManifestDamaged):
            decode(encode(Manifest("s", 1, 0, {}, {path: SegmentEntry("g", 1)})))
    with pytest.raises(ManifestDamaged):
        decode(b"{}")
    with pytest.raises(ManifestDamaged):
        decode(encode(Manifest("s", 1, 0, version=99)))


def _sender(root: Path, bucket: Bucket) -> LogSender:
    return LogSender(root, bucket, lambda name: f"one/{name}")


def _receive(url: str, sender: LogSender, into: Path) -> None:
    origin = Origin(parse_url(f"{url}/one", object_needed=False), CREDENTIAL, Reaching())
    for name, entry in sender.entries().items():
        origin.segment(name, entry, into / name)


def _append(archive: Archive, count: int) -> None:
    for _ in range(count):
        lsn = archive.last_lsn()
        archive.append([support.transaction(lsn, {1: os.urandom(512)}, 50, lsn)], [support.POSITION])


def test_segments_arrive_piece_by_piece(tmp_path: Path, s3: S3Server) -> None:
    url, bucket = _bucket(s3, "segments")
    archive = support.open_archive(tmp_path / "log", segment_bytes=6000)
    sender = _sender(tmp_path / "log", bucket)
    there = tmp_path / "there"
    for _ in range(6):
        _append(archive, 3)
        assert sender.send()
        sender.send()  # pieces of a segment that is full become one
        assert not sender.send()
        _receive(url, sender, there)
    sent = sorted((tmp_path / "log").rglob("*.seg"))
    assert len(sent) > 1
    for path in sent:
        assert (there / "log" / path.relative_to(tmp_path / "log")).read_bytes() == path.read_bytes()
    # A part of a transaction that may yet be taken back is not sent.
    lsn = archive.last_lsn()
    archive.append_part(support.transaction(lsn, {1: bytes(512)}, 50, lsn))
    assert not sender.send()
    archive.drop_parts()
    # What was rewritten is sent anew, under other keys; what is gone goes.
    last = sent[-1]
    before = sender.entries()
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(bytes(data))
    sender.send()
    (name,) = (name for name in before if name.endswith(last.name))
    after = sender.entries().get(name)
    assert after is None or after.generation != before[name].generation
    assert sender.take_obsolete()
    archive.close()


def test_a_missing_piece_is_noticed(tmp_path: Path, s3: S3Server) -> None:
    url, bucket = _bucket(s3, "pieces")
    archive = support.open_archive(tmp_path / "log")
    sender = _sender(tmp_path / "log", bucket)
    for _ in range(3):
        _append(archive, 1)
        sender.send()
    keys = [found.key for found in bucket.list("one")]
    assert len(keys) == 3
    bucket.remove([keys[1]])
    with pytest.raises(NotFetched, match="missing"):
        _receive(url, sender, tmp_path / "there")
    archive.close()


class Shop:
    """Rows that are acknowledged, with the time of the acknowledgement."""

    def __init__(self, server: Running) -> None:
        self._server = server
        self._connection = server.connect()
        self.rows: list[int] = []

    def run(self, text: str) -> None:
        cursor = self._connection.cursor()
        cursor.execute(text)
        while cursor.nextset():
            pass

    def insert(self) -> None:
        number = len(self.rows)
        self.run(f"INSERT shop.dbo.t VALUES ({number})")
        self.rows.append(time.time_ns())

    def state(self) -> dict[str, Any]:
        try:
            return dict(json.loads((self._server.store / ".sync" / "state.json").read_text()))
        except FileNotFoundError:
            return {}

    def wait(self, wanted: Callable[[dict[str, Any]], bool]) -> None:
        deadline = time.monotonic() + 60
        while not wanted(self.state()):
            assert time.monotonic() < deadline, self.state()
            time.sleep(0.05)

    def shipped(self) -> None:
        """Waits until all rows are in the object store."""
        last = self.rows[-1]
        self.wait(lambda state: (state.get("through_ns") or 0) > last and not state.get("files_waiting"))

    def crash(self) -> None:
        """Server and keeper are killed."""
        os.kill(int((self._server.store / "keeper.lock").read_text()), signal.SIGKILL)
        self._server.process.kill()
        self._server.process.wait(60)


def _tdsproxy(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tdsproxy", *words], capture_output=True, text=True, timeout=120, check=False
    )


@pytest.mark.slow
def test_a_lost_machine_comes_back_from_the_object_store_alone(tmp_path: Path, s3: S3Server) -> None:
    url = f"{s3.bucket('lost')}/one"
    secret, key = tmp_path / "secret", tmp_path / "key"
    secret.write_text(f"{KEY}:{SECRET}")
    key.write_text(PASSPHRASE)
    config = tmp_path / "tdsproxy.toml"
    config.write_text(
        f'[sync]\nurl = "{url}"\nsecret_file = "{secret}"\nkey_file = "{key}"\ninterval = 0.2\n'
    )
    with running(tmp_path / "store", "--config", str(config)) as server:
        shop = Shop(server)
        shop.run("CREATE DATABASE shop")
        shop.run("CREATE TABLE shop.dbo.t (id int)")
        shop.run("BACKUP DATABASE shop TO DISK = 'shop.bak'")
        shop.run("CREATE LOGIN bob WITH PASSWORD = 'Sup3r!pass'")
        shop.run(f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'")
        for _ in range(10):
            shop.insert()
        shop.run("BACKUP LOG shop TO DISK = 'shop.trn'")
        for _ in range(10):
            shop.insert()
        shop.shipped()
        while not shop.state().get("through_ns", 0) > shop.rows[-1]:
            shop.insert()
        safe = shop.state()["through_ns"]
        shop.crash()
    promised = [number for number, at in enumerate(shop.rows) if at <= safe]
    shutil.rmtree(tmp_path / "store")
    words = ("restore", "--all", "--from", url, "--store", str(tmp_path / "new"), "--json")
    done = _tdsproxy(*words, "--secret-file", str(secret), "--key-file", str(key))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["databases"] == {"shop": ""}
    assert told["keys"] is True
    assert 0 < told["fetched_seconds"] < told["seconds"]
    assert _tdsproxy(*words, "--secret-file", str(secret)).returncode == 1
    with running(tmp_path / "new") as server:
        server.connect(user="bob", password="Sup3r!pass").close()
        cursor = server.connect().cursor()
        cursor.execute("SELECT id FROM shop.dbo.t ORDER BY id")
        found = [row[0] for row in cursor.fetchall()]
        assert found[: len(promised)] == promised
        # The secrets have come along, and so has the history.
        cursor.execute(f"BACKUP DATABASE shop TO URL = '{url}/after.bak'")
        cursor.execute("SELECT COUNT(*) FROM msdb.dbo.backupset")
        assert cursor.fetchall() == [(3,)]
        cursor.connection.close()
