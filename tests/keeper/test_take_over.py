"""Two stores and one place that they are synchronised to: one writes, whatever happens to the other."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import apsw
import pytest
from typer.testing import CliRunner

from tdsproxy.catalog.databases import Database
from tdsproxy.cli.app import app
from tdsproxy.commands.elsewhere import read_follow_state
from tdsproxy.keeper.fetch import NotFetched, Origin
from tdsproxy.keeper.follow import Follow, StatementFailed
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync_claim import (
    FORMER_DAYS,
    Claim,
    Identity,
    NotOurs,
    claim,
    formers,
    protected,
    read_manifest,
    sweep,
)
from tdsproxy.keeper.sync_layout import FileEntry, Manifest, encode
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.folder import FolderBucket
from tdsproxy.objects.lease import SECONDS, LeaseTaken
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import Bucket, Found, open_bucket
from tdsproxy.objects.url import below, parse_url
from tests.commands.support import Workshop
from tests.keeper.shop import Shop, ids, read_state, wait_for
from tests.objects.faults import Environ
from tests.objects.s3_server import IDENTITY, KEY, SECRET, S3Server, s3_server
from tests.running import Running, running

CREDENTIAL = Secret(IDENTITY, f"{KEY}:{SECRET}")


@pytest.fixture(scope="module")
def s3() -> Iterator[S3Server]:
    with s3_server() as found:
        yield found


@pytest.fixture(params=["object store", "folder"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> Bucket:
    if request.param == "folder":
        return open_bucket(parse_url(f"file://{tmp_path}/there", object_needed=False), None, Reaching())
    url = s3.bucket(f"claims-{os.urandom(4).hex()}")
    return open_bucket(parse_url(url, object_needed=False), CREDENTIAL, Reaching())


def key(name: str) -> str:
    return f"one/{name}"


def _store(tmp_path: Path, name: str) -> Identity:
    (tmp_path / name).mkdir(exist_ok=True)
    return Identity(tmp_path / name)


def _publish(bucket: Bucket, claimed: Claim, **files: FileEntry) -> str | None:
    """What a writer writes when it holds a claim."""
    manifest = Manifest(
        claimed.owner,
        claimed.epoch,
        1,
        dict(files),
        instance=claimed.instance,
        about="somewhere",
        writers=claimed.writers,
    )
    data = encode(manifest)
    return bucket.write(key("manifest.json"), data, only=claimed.tag, new=claimed.tag is None)


def test_a_stranger_never_writes_over_what_is_there(tmp_path: Path, bucket: Bucket) -> None:
    now = [1000.0]
    first, stranger = _store(tmp_path, "first"), _store(tmp_path, "stranger")
    held = claim(bucket, key, first, clock=lambda: now[0])
    with pytest.raises(LeaseTaken, match="first"):
        claim(bucket, key, stranger, clock=lambda: now[0])
    _publish(bucket, held)
    now[0] += 10 * SECONDS
    # The lease has lapsed, and it asks for it by force: it is another store all the same.
    for take_over in (False, True):
        with pytest.raises(NotOurs, match="another store"):
            claim(bucket, key, stranger, take_over=take_over, clock=lambda: now[0])
    # The first one goes on, also after a crash: a new process of the same place.
    again = claim(bucket, key, first, clock=lambda: now[0])
    assert again.epoch > held.epoch
    assert claim(bucket, key, first, clock=lambda: now[0]).epoch > again.epoch


def test_a_copy_of_a_store_does_not_write_beside_it(tmp_path: Path, bucket: Bucket) -> None:
    now = [1000.0]
    first = _store(tmp_path, "first")
    held = claim(bucket, key, first, clock=lambda: now[0])
    _publish(bucket, held)
    copy = _store(tmp_path, "copy")
    memory = tmp_path / "first" / ".sync" / "identity.json"
    (tmp_path / "copy" / ".sync").mkdir()
    (tmp_path / "copy" / ".sync" / "identity.json").write_bytes(memory.read_bytes())
    with pytest.raises(LeaseTaken):
        claim(bucket, key, copy, clock=lambda: now[0])
    now[0] += 2 * SECONDS
    # It lapsed: the copy may go on where the other one was; that one then stops.
    claim(bucket, key, copy, clock=lambda: now[0])
    with pytest.raises(ObjectError):
        _publish(bucket, held)
    with pytest.raises(NotOurs, match="another copy of this store"):
        claim(bucket, key, first, clock=lambda: now[0])


def test_a_successor_fences_its_predecessor_at_once(
    tmp_path: Path, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = _store(tmp_path, "first"), _store(tmp_path, "second")
    now = [time.time()]
    held = claim(bucket, key, first, clock=lambda: now[0])
    names = {name: FileEntry(key(f"files/000001-0/{name}"), 1, "") for name in ("kept", "gone")}
    for entry in names.values():
        bucket.write(entry.key, b"x")
    tag = _publish(bucket, held, **names)
    second.descend(Manifest(held.owner, 1, 1))
    with pytest.raises(NotOurs, match="sync --take-over"):
        claim(bucket, key, second)
    taken = claim(bucket, key, second, take_over=True)
    assert taken.robbed is not None
    assert taken.robbed.endswith("first")
    assert taken.manifest is not None
    assert taken.manifest.files == names
    # The first one wakes up: under none of its tags is anything written.
    for known in (held.tag, tag):
        with pytest.raises(ObjectError) as caught:
            bucket.write(key("manifest.json"), b"{}", only=known, new=known is None)
        assert caught.value.reason in (Reason.CHANGED, Reason.EXISTS)
    now[0] += SECONDS * 0.6
    taken.lease.release()
    with pytest.raises(LeaseTaken, match="second"):
        held.lease.keep()
    with pytest.raises(NotOurs, match="has taken over"):
        claim(bucket, key, first)
    # What the first one had sent stays, though the second one needs less of it; what it sends now goes.
    bucket.write(key("files/000001-1/late"), b"x")
    bucket.write(key("files/mine.bak"), b"x")
    bucket.write(key("other/000001-1/x"), b"x")
    _publish(bucket, taken, kept=names["kept"])
    again = claim(bucket, key, second)
    assert sweep(bucket, key, again, protected(bucket, key)) == 1
    left = {item.key.removeprefix("one/") for item in bucket.list("one/files")}
    assert left == {"files/000001-0/kept", "files/000001-0/gone", "files/mine.bak"}
    ((epoch, at),) = formers(bucket, key).values()
    assert epoch == 1
    # Until it is old, and not only by a clock that is ahead.
    age = (FORMER_DAYS + 1) * 86400.0
    assert sweep(bucket, key, again, protected(bucket, key, lambda: at + age)) == 0
    assert len(formers(bucket, key)) == 1
    listed = type(bucket).list

    def written_then(self: Bucket, prefix: str) -> Iterator[Found]:
        for item in listed(self, prefix):
            assert item.modified is not None
            yield dataclasses.replace(item, modified=item.modified - age)

    monkeypatch.setattr(type(bucket), "list", written_then)
    assert sweep(bucket, key, again, protected(bucket, key)) == 0
    assert sweep(bucket, key, again, protected(bucket, key, lambda: at + age)) == 1
    assert formers(bucket, key) == {}
    # The first one may take it back.
    back = claim(bucket, key, first, take_over=True)
    assert back.writers == [held.owner, taken.owner]


def test_epochs_grow_without_the_lease(tmp_path: Path, bucket: Bucket) -> None:
    first = _store(tmp_path, "first")
    for _ in range(3):
        held = claim(bucket, key, first)
        _publish(bucket, held)
    bucket.remove([key("lease.json")])
    assert claim(bucket, key, first).epoch > held.epoch


def test_a_store_without_conditional_writes_is_refused(tmp_path: Path) -> None:
    class Careless(FolderBucket):
        def write(self, key: str, data: bytes, *, only: str | None = None, new: bool = False) -> str | None:
            return super().write(key, data)

    with pytest.raises(ObjectError) as caught:
        claim(Careless(tmp_path / "there"), key, _store(tmp_path, "first"))
    assert caught.value.reason is Reason.UNCONDITIONAL


def test_many_threads_and_one_folder(tmp_path: Path) -> None:
    """Of those who write in place of the same version, one wins."""
    tags: list[str | None] = [FolderBucket(tmp_path / "there").write("x", b"0", new=True)]
    won: list[int] = []
    for turn in range(20):
        start = threading.Barrier(4)

        def one(number: int, start: threading.Barrier = start, turn: int = turn) -> None:
            start.wait(60)
            with contextlib.suppress(ObjectError):
                tag = FolderBucket(tmp_path / "there").write(
                    "x", f"{turn}.{number}".encode(), only=tags[turn]
                )
                tags.append(tag)
                won.append(number)

        threads = [threading.Thread(target=one, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(won) == turn + 1


def test_a_standby_shows_no_lag_that_is_not_true_of_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, other = _store(tmp_path, "primary"), _store(tmp_path, "other")
    shop = Workshop(tmp_path)
    shop.run("CREATE DATABASE shop")
    there = FolderBucket(tmp_path / "there")
    held = claim(there, key, primary)
    _publish(there, held)
    follow = Follow(shop.env, SyncOptions(f"file://{tmp_path}/there/one", interval=0.05))
    failing = True

    def one(database: Database) -> None:
        if failing:
            raise StatementFailed("no full backup of it has arrived")

    monkeypatch.setattr(follow, "_follow", one)
    follow.start()
    wait_for(lambda: "shop" in (read_follow_state(shop.store) or {}).get("databases", {}))
    state = read_follow_state(shop.store) or {}
    assert state["databases"]["shop"]["error"] == "no full backup of it has arrived"
    assert state["through_ns"] is None
    failing = False
    wait_for(lambda: (read_follow_state(shop.store) or {})["through_ns"] == 1)
    # Another store, which does not descend from it, is not followed.
    there.remove([key("manifest.json"), key("lease.json")])
    _publish(there, claim(there, key, other))
    wait_for(lambda: "another store" in ((read_follow_state(shop.store) or {})["error"] or ""))
    follow.close()
    shop.close()


# --------------------------------------------------------------------------- real servers


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


def tdsproxy(*words: str) -> Done:
    """A command, in this process: that is quicker than one of its own."""
    found = CliRunner().invoke(app, list(words))
    return Done(found.exit_code, found.stdout, f"{found.stderr}{found.exception or ''}")


class Place:
    """What is where stores are synchronised to."""

    def __init__(self, tmp_path: Path, s3: S3Server, kind: str) -> None:
        folder = tmp_path / "shared"
        self.url = f"{s3.bucket(tmp_path.name[-40:].replace('_', '-').lower().strip('-'))}/one"
        if kind == "folder":
            self.url = f"file://{folder}"
        self.secret = tmp_path / "secret"
        self.secret.write_text(f"{KEY}:{SECRET}" if kind == "object store" else "")
        self.sync = ("--sync", self.url, "--sync-secret-file", str(self.secret), "--sync-interval", "0.2")
        self.follow = ("--follow", self.url, "--follow-secret-file", str(self.secret))
        self.follow += ("--follow-interval", "0.2")
        url = parse_url(self.url, object_needed=False)
        self.bucket = open_bucket(url, CREDENTIAL if kind == "object store" else None, Reaching())
        self.key = below(url)
        self.origin = Origin(url, CREDENTIAL if kind == "object store" else None, Reaching())

    def manifest(self) -> Manifest:
        found, _ = read_manifest(self.bucket, self.key)
        assert found is not None
        return found

    def restore(self, store: Path, *more: str) -> dict[str, Any]:
        words = ("restore", "--all", "--from", self.url, "--store", str(store), "--json")
        done = tdsproxy(*words, "--secret-file", str(self.secret), *more)
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))


def _state(server: Running) -> dict[str, Any]:
    return read_state(server.store, ".sync")


def _keeper(server: Running) -> int:
    return int((server.store / "keeper.lock").read_text())


def _error_log(server: Running) -> str:
    cursor = server.connect().cursor()
    try:
        cursor.execute("EXEC xp_readerrorlog")
        return "\n".join(str(row[2]) for row in cursor.fetchall())
    finally:
        cursor.connection.close()


def _rows(store: Path) -> list[int]:
    """Of a store that nobody serves."""
    with apsw.Connection(str(store / "shop.db")) as database:
        return [row[0] for row in database.execute("SELECT id FROM t ORDER BY id")]


@pytest.mark.slow
def test_a_second_server_is_refused_until_it_takes_over(tmp_path: Path, s3: S3Server) -> None:
    place = Place(tmp_path, s3, "folder")
    with running(tmp_path / "one", *place.sync) as server:
        shop = Shop(server)
        shop.insert(3)
        shop.shipped()
        with running(tmp_path / "stranger", *place.sync) as stranger:
            wait_for(lambda: bool(_state(stranger).get("refused")))
            assert "another store" in _state(stranger)["error"]
            done = tdsproxy("sync", "--take-over", "--store", str(stranger.store))
            assert done.returncode == 1
            assert "another store" in done.stderr
        copy = place.restore(tmp_path / "two")
        assert copy["databases"] == {"shop": ""}
        with running(tmp_path / "two", *place.sync) as second:
            wait_for(lambda: bool(_state(second).get("refused")))
            assert "tdsproxy sync --take-over" in _state(second)["error"]
            assert "another" not in _error_log(second)
            shop.insert(2)
            shop.shipped()
            sent = place.manifest()
            done = tdsproxy("sync", "--take-over", "--store", str(second.store), "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["taken"] > sent.epoch
            # The first one stops, and says so wherever one looks.
            wait_for(lambda: bool(_state(server).get("refused")))
            assert "has taken over" in _error_log(server)
            for command in ("status", "doctor"):
                told = tdsproxy(command, "--store", str(server.store))
                assert "has taken over" in told.stdout, command
            wait_for(lambda: not _state(second).get("error") and _state(second)["through_ns"] is not None)
            wait_for(lambda: place.manifest().instance != "" and place.manifest().epoch > sent.epoch + 1)
            # Rows of the two stores never mix: one has 3 and its own, the other all of its own.
            connection = second.connect()
            connection.cursor().execute("INSERT shop.dbo.t VALUES (100)")
            connection.cursor().execute("BACKUP DATABASE shop TO DISK = 'two.bak'")
            done_at = place.manifest().through_ns
            wait_for(
                lambda: place.manifest().through_ns > done_at and "backup/two.bak" in place.manifest().files
            )
            connection.close()
            shop.insert(2)
    place.restore(tmp_path / "three")
    place.restore(tmp_path / "four", "--epoch", str(sent.epoch))
    assert _rows(tmp_path / "three") == [0, 1, 2, 100]
    assert _rows(tmp_path / "four") == [0, 1, 2, 3, 4]
    with pytest.raises(NotFetched, match="Nothing is kept"):
        place.origin.manifest(99)


@pytest.mark.slow
def test_a_primary_that_wakes_after_the_take_over_writes_nothing(tmp_path: Path, s3: S3Server) -> None:
    """It is stopped (SIGSTOP), and what it publishes last arrives when its successor has taken over."""
    place = Place(tmp_path, s3, "object store")
    held, let = threading.Event(), threading.Event()
    armed = threading.Event()
    manifest = f"/{parse_url(place.url, object_needed=False).bucket}/one/manifest.json"

    def late(environ: Environ) -> tuple[int, str] | None:
        if armed.is_set() and environ["REQUEST_METHOD"] == "PUT" and environ["PATH_INFO"] == manifest:
            armed.clear()
            held.set()
            assert let.wait(120)
        return None

    with running(tmp_path / "one", *place.sync) as server:
        shop = Shop(server)
        shop.insert(5)
        shop.shipped()
        with running(tmp_path / "two", *place.follow) as standby, s3.fault(late):
            followed = shop.rows[-1]
            wait_for(lambda: (read_state(standby.store, ".follow").get("through_ns") or 0) > followed)
            wait_for(lambda: len(ids(standby)) == 5)
            armed.set()
            shop.insert(3)
            assert held.wait(120)
            os.kill(_keeper(server), signal.SIGSTOP)
            try:
                done = tdsproxy("restore", "--all", "--recovery", "--store", str(standby.store), "--json")
                assert done.returncode == 0, done.stderr
                assert json.loads(done.stdout)["primary_alive"] is None
                taken = place.manifest()
            finally:
                let.set()
                os.kill(_keeper(server), signal.SIGCONT)
            wait_for(lambda: bool(_state(server).get("refused")))
            assert "has taken over" in _state(server)["error"]
            # Nothing was shown as safe that the successor does not have.
            promised = shop.until(_state(server)["through_ns"])
            assert ids(standby)[: len(promised)] == promised
            assert ids(standby) == [0, 1, 2, 3, 4]
            assert place.manifest() == taken
            # Both go on, on recovery forks that can be told apart.
            shop.insert(20)
            shop.run("BACKUP LOG shop TO DISK = 'old.trn'")
            connection = standby.connect()
            cursor = connection.cursor()
            cursor.execute("INSERT shop.dbo.t VALUES (200)")
            cursor.execute("BACKUP DATABASE shop TO DISK = 'new.bak'")
            cursor.execute("INSERT shop.dbo.t VALUES (201)")
            cursor.execute("BACKUP LOG shop TO DISK = 'new.trn'")
            forks = []
            for of in (server, standby):
                there = of.connect()
                asked = there.cursor()
                asked.execute(
                    "SELECT TOP 1 first_recovery_fork_guid, last_recovery_fork_guid FROM msdb.dbo.backupset"
                    " WHERE type = 'L' ORDER BY backup_set_id DESC"
                )
                forks += asked.fetchall()
                there.close()
            (old_first, old_last), (new_first, new_last) = forks
            assert old_first == old_last
            assert new_first == new_last != old_last
            # The log of one does not go on what has the log of the other.
            stray = standby.backup_directory / "old.trn"
            stray.write_bytes((server.backup_directory / "old.trn").read_bytes())
            cursor.execute(
                "RESTORE DATABASE other FROM DISK = 'new.bak' WITH NORECOVERY,"
                " MOVE 'shop' TO 'other.mdf', MOVE 'shop_log' TO 'other.ldf'"
            )
            with pytest.raises(Exception, match=r"recovery path|too (early|recent)"):
                cursor.execute("RESTORE LOG other FROM DISK = 'old.trn' WITH NORECOVERY")
            cursor.execute("RESTORE LOG other FROM DISK = 'new.trn' WITH RECOVERY")
            cursor.execute("SELECT id FROM other.dbo.t WHERE id > 4 ORDER BY id")
            assert [row[0] for row in cursor.fetchall()] == [200, 201]
            connection.close()
    # The former standby is the one that may be synchronised there.
    with running(tmp_path / "two", *place.sync) as second:
        wait_for(lambda: place.manifest().epoch > taken.epoch and "backup/new.trn" in place.manifest().files)
        assert not _state(second).get("refused")
