"""A store kept up in an object store, and a machine that is lost."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.keeper import fetch, sync_log
from tdsproxy.keeper.elsewhere_metrics import elsewhere_metrics
from tdsproxy.keeper.exposition import exposition
from tdsproxy.keeper.fetch import NotFetched, Origin
from tdsproxy.keeper.sync_layout import Manifest, ManifestDamaged, SegmentEntry, decode, encode
from tdsproxy.keeper.sync_log import LogSender
from tdsproxy.log.archive import Archive
from tdsproxy.objects.errors import ObjectError
from tdsproxy.objects.lease import SECONDS, Lease, LeaseTaken
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import parse_url
from tests.keeper.shop import Shop, ids, read_state, tdsproxy, wait_for
from tests.log import support
from tests.objects.s3_server import IDENTITY, KEY, SECRET, S3Server, s3_server
from tests.running import running

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
        page = random.Random(lsn).randbytes(512)
        archive.append([support.transaction(lsn, {1: page}, 50, lsn)], [support.POSITION])


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


def test_only_what_is_durable_is_sent(tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """A standby would be ahead of a primary that has lost the rest in a power cut."""
    _, bucket = _bucket(s3, "durable")
    archive = support.open_archive(tmp_path / "log")
    sender = _sender(tmp_path / "log", bucket)
    done: list[str] = []
    sync, write = os.fdatasync, type(bucket).write

    def synced(descriptor: int) -> None:
        sync(descriptor)
        done.append(f"synced {os.fstat(descriptor).st_size}")

    def written(self: Bucket, name: str, *arguments: Any, **options: Any) -> str | None:
        done.append(f"sent {int(name.rpartition('-')[2])}")
        return write(self, name, *arguments, **options)

    monkeypatch.setattr(os, "fdatasync", synced)
    monkeypatch.setattr(type(bucket), "write", written)
    for _ in range(2):
        _append(archive, 1)
        done.clear()
        assert sender.send()
        (size,) = (path.stat().st_size for path in (tmp_path / "log").rglob("*.seg"))
        assert done == [f"synced {size}", f"sent {size}"]
    archive.close()


def test_a_segment_may_be_read_while_it_arrives(
    tmp_path: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A large piece ends within a record. Who looks then must leave what is there: what follows it is
    appended."""
    url, bucket = _bucket(s3, "half")
    archive = support.open_archive(tmp_path / "log")
    _append(archive, 6)
    archive.sync()
    monkeypatch.setattr(sync_log, "_PIECE_BYTES", 1000)
    sender = _sender(tmp_path / "log", bucket)
    sender.send()
    ((name, entry),) = sender.entries().items()
    origin = Origin(parse_url(f"{url}/one", object_needed=False), CREDENTIAL, Reaching())
    target = tmp_path / "there" / name
    found: list[int] = []
    read = type(origin._bucket).read

    def looked_at(self: Bucket, *arguments: Any, **options: Any) -> bytes:
        if target.exists():
            reading = Archive(target.parent, support.DATABASE, support.FORK, 0)
            found.append(len(list(reading.read(reading.first_lsn()))))
            reading.close()
        return read(self, *arguments, **options)

    monkeypatch.setattr(type(origin._bucket), "read", looked_at)
    # Unbuffered, as a piece of 8 MiB is: it is in the file before the next one is asked for.
    monkeypatch.setattr(fetch, "_private", lambda path, flags: path.open("ab", buffering=0))
    origin.segment(name, entry, target)
    assert len(found) > 3
    (sent,) = (tmp_path / "log").rglob("*.seg")
    assert target.read_bytes() == sent.read_bytes()
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
        shop.run("CREATE LOGIN bob WITH PASSWORD = 'Sup3r!pass'")
        shop.run(f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'")
        shop.insert(10)
        shop.run("BACKUP LOG shop TO DISK = 'shop.trn'")
        shop.insert(10)
        shop.shipped()
        shop.insert(5)
        safe = shop.state()["through_ns"]
        shop.crash()
    promised = shop.until(safe)
    assert len(promised) >= 20
    shutil.rmtree(tmp_path / "store")
    words = ("restore", "--all", "--from", url, "--store", str(tmp_path / "new"), "--json")
    done = tdsproxy(*words, "--secret-file", str(secret), "--key-file", str(key))
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["databases"] == {"shop": ""}
    assert told["keys"] is True
    assert 0 < told["fetched_seconds"] < told["seconds"]
    # What is there is not overwritten.
    assert tdsproxy(*words, "--secret-file", str(secret)).returncode == 1
    with running(tmp_path / "new") as server:
        server.connect(user="bob", password="Sup3r!pass").close()
        assert ids(server)[: len(promised)] == promised
        cursor = server.connect().cursor()
        # The secrets have come along, and so has the history.
        cursor.execute(f"BACKUP DATABASE shop TO URL = '{url}/after.bak'")
        cursor.execute("SELECT COUNT(*) FROM msdb.dbo.backupset")
        assert cursor.fetchall() == [(3,)]
        cursor.connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["object store", "folder"])
def test_a_standby_takes_over(tmp_path: Path, s3: S3Server, kind: str) -> None:
    folder = tmp_path / "shared"
    url = f"{s3.bucket('standby')}/one" if kind == "object store" else f"file://{folder}"
    secret = tmp_path / "secret"
    secret.write_text(f"{KEY}:{SECRET}" if kind == "object store" else "")
    sync = ("--sync", url, "--sync-secret-file", str(secret), "--sync-interval", "0.2")
    follow = ("--follow", url, "--follow-secret-file", str(secret), "--follow-interval", "0.2")
    with running(tmp_path / "store", *sync) as server:
        shop = Shop(server)
        shop.insert(3)
        shop.run("BACKUP LOG shop TO DISK = 'shop.trn'")
        shop.insert(3)
        shop.shipped()
        with running(tmp_path / "standby", *follow) as standby:

            def followed() -> dict[str, Any]:
                return read_state(standby.store, ".follow")

            for _ in range(2 if kind == "object store" else 1):
                shop.insert(5)
                last = shop.rows[-1]
                wait_for(lambda last=last: (followed().get("through_ns") or 0) > last)
                wait_for(lambda: len(ids(standby)) == len(shop.rows))
            cursor = standby.connect().cursor()
            with pytest.raises(Exception, match="read-only"):
                cursor.execute("INSERT shop.dbo.t VALUES (-1)")
            cursor.execute("SELECT is_in_standby FROM sys.databases WHERE name = 'shop'")
            assert cursor.fetchall() == [(True,)]
            shop.insert(5)
            shown = followed()["through_ns"]
            shop.crash()
            done = tdsproxy("restore", "--all", "--recovery", "--store", str(standby.store), "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["databases"] == {"shop": ""}
            promised = shop.until(shown)
            assert len(promised) >= 11
            assert ids(standby)[: len(promised)] == promised
            cursor.execute("INSERT shop.dbo.t VALUES (-1)")
            cursor.connection.close()
        if kind == "folder":
            return
        # It follows no more when it is started again as it was.
        with running(tmp_path / "standby", *follow) as standby:
            assert ids(standby)[0] == -1
            assert read_state(standby.store, ".follow")["ended"]


def test_a_folder_is_as_good_as_a_bucket(tmp_path: Path) -> None:
    bucket = open_bucket(parse_url(f"file://{tmp_path}/x", object_needed=False), None, Reaching())
    tag = bucket.write("a/b", b"1", new=True)
    with pytest.raises(ObjectError, match="exists"):
        bucket.write("a/b", b"2", new=True)
    other = bucket.write("a/b", b"22", only=tag)
    with pytest.raises(ObjectError, match="changed"):
        bucket.write("a/b", b"3", only=tag)
    assert bucket.read_all("a/b") == (b"22", other)
    bucket.upload("c", [bytes(1 << 20)] * 7, 5 << 20, 2)
    assert {found.key: found.size for found in bucket.list("")} == {"a/b": 2, "c": 7 << 20}
    bucket.remove(["a/b", "not/there"])
    assert [found.key for found in bucket.list("")] == ["c"]
    for text in ("file://relative", "file:///a/../b"):
        with pytest.raises(ObjectError):
            parse_url(text, object_needed=False)
    with pytest.raises(ObjectError):
        parse_url("file:///a/b")


def test_lags_are_metrics(tmp_path: Path) -> None:
    assert all(not metric.samples for metric in elsewhere_metrics(tmp_path))
    now = time.time_ns()
    for folder, state in (
        (".sync", {"through_ns": now - 5_000_000_000, "files_waiting": 2, "unprotected": ["a"]}),
        (".follow", {"through_ns": now, "databases": {"a": {"error": None}, "b": {"error": "no"}}}),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "state.json").write_text(json.dumps(state))
    found = {metric.name: metric for metric in elsewhere_metrics(tmp_path)}
    text = exposition(found.values())
    assert "tdsproxy_sync_files_waiting 2\n" in text
    assert "tdsproxy_sync_unprotected 1\n" in text
    assert 'tdsproxy_standby_ok{database="a"} 1\n' in text
    assert 'tdsproxy_standby_ok{database="b"} 0\n' in text
    (line,) = (line for line in text.splitlines() if line.startswith("tdsproxy_sync_lag_seconds "))
    assert float(line.split()[1]) >= 5
