"""Retention on media in object stores: what is kept and why, what goes, what is only told, and the tiers."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.agent.policies import Retention
from tdsproxy.agent.retention_run import Outcome, run_retention
from tdsproxy.commands.context import Context
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.request import NativeRequest
from tdsproxy.commands.url_devices import open_url
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.options import Reaching, Secret
from tdsproxy.objects.store import Bucket, open_bucket
from tdsproxy.objects.url import parse_url
from tests.clients.available import CLIENTS, need
from tests.commands.support import ADMIN, Workshop, messages
from tests.objects.azure_server import ACCOUNT, KEY, AzureServer
from tests.objects.faults import Environ
from tests.objects.gcs_server import GcsServer
from tests.objects.s3_server import S3Server
from tests.objects.stores import ObjectStore, object_store

pytestmark = pytest.mark.slow

ONE = Retention(0, 0, 0, 0, count=1)
_AZURITE = CLIENTS / "azurite" / "node_modules" / ".bin" / "azurite-blob"
_COLD = {"s3": "STANDARD_IA", "azure": "Cool", "gcs": "NEARLINE"}


@pytest.fixture(scope="module", params=["s3", "azure", "gcs"])
def there(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    if request.param == "azure":
        need("azurite")
    with object_store(request.param, tmp_path_factory.mktemp("objects"), _AZURITE) as found:
        yield found


class Shop(Workshop):
    """``url`` is an empty bucket."""

    def __init__(self, directory: Path, there: ObjectStore) -> None:
        super().__init__(directory, logged=True)
        self.catalog.operations.make()
        self.there = there
        self.name = f"kept{random.SystemRandom().getrandbits(32):x}"
        self.url = there.server.bucket(self.name)
        self.ask(
            f"CREATE CREDENTIAL [{self.url}] WITH IDENTITY = '{there.identity}', SECRET = '{there.secret}'"
        )
        self.ask("CREATE DATABASE shop")
        self.ask("ALTER DATABASE shop SET RECOVERY FULL")
        self.fill("shop", "CREATE TABLE t (id INTEGER)")
        self.number = 0

    def ask(self, text: str) -> None:
        replies = self.run(text)
        assert [found.text for found in messages(replies) if found.severity > 10] == []

    def grow(self) -> None:
        self.number += 1
        self.fill("shop", f"INSERT INTO t VALUES ({self.number})")

    def take(self, what: str, *names: str, more: str = "") -> None:
        self.grow()
        urls = ", ".join(f"URL = '{self.url}/{name}'" for name in names)
        self.ask(f"BACKUP {what} shop TO {urls} WITH FORMAT{more}")

    def retain(self, policy: Retention = ONE, *, dry: bool = False) -> Outcome:
        context = Context(self.env, NativeRequest("EXEC x", ADMIN), Operands({}), 0)
        return run_retention(context, lambda name: policy, dry=dry)

    @property
    def bucket(self) -> Bucket:
        return open_url(self.env, self.url)[1]

    def keys(self) -> list[str]:
        return sorted(self.there.server.keys(self.name))

    def tier(self, key: str) -> str:
        """As the server has it."""
        server = self.there.server
        if isinstance(server, S3Server):
            return str(server.object(self.name, key).storage_class)
        if isinstance(server, AzureServer):
            return server.tiers(self.name)[key]
        assert isinstance(server, GcsServer)
        return server.buckets[self.name][key].storage_class


@pytest.fixture
def shop(tmp_path: Path, there: ObjectStore) -> Iterator[Shop]:
    made = Shop(tmp_path, there)
    yield made
    made.close()


def _names(shop: Shop, decisions: Any, outcome: Outcome) -> dict[str, str]:
    return {
        outcome.devices[item.set.guid].replace(f"{shop.url}/", "").replace("\n", "+"): "; ".join(item.reasons)
        for item in decisions
    }


def test_a_chain_of_objects_is_kept_while_it_is_needed(shop: Shop) -> None:
    shop.take("DATABASE", "f1a", "f1b")
    shop.take("DATABASE", "d1", more=", DIFFERENTIAL")
    shop.take("LOG", "l1")
    shop.take("DATABASE", "f2")
    shop.take("LOG", "l2")
    everything = shop.keys()
    # A dry run tells of each why, and deletes nothing.
    outcome = shop.retain(dry=True)
    assert set(_names(shop, outcome.deleted, outcome)) == {"f1a+f1b", "d1", "l1"}
    assert all(_names(shop, [*outcome.deleted, *outcome.kept], outcome).values())
    assert shop.keys() == everything
    # A differential that stays keeps its base: both stripes.
    two = shop.retain(replace(ONE, count=2), dry=True)
    kept = _names(shop, two.kept, two)
    assert "what builds on them" in kept["f1a+f1b"]
    # So does a window, as far as it goes back.
    window = shop.retain(replace(ONE, window_days=1.0), dry=True)
    assert window.deleted == []
    assert set(_names(shop, shop.retain().deleted, outcome)) == {"f1a+f1b", "d1", "l1"}
    assert shop.keys() == ["f2", "l2"]
    assert shop.retain().deleted == []
    shop.ask(f"RESTORE DATABASE other FROM URL = '{shop.url}/f2' WITH NORECOVERY, MOVE 'shop' TO 'other.mdf',"
             " MOVE 'shop_log' TO 'other.ldf'")  # fmt: skip
    shop.ask(f"RESTORE LOG other FROM URL = '{shop.url}/l2'")
    assert shop.rows("other", "SELECT count(*) FROM t") == [[shop.number]]


def test_strange_objects_are_told_and_left_alone(shop: Shop) -> None:
    shop.take("DATABASE", "year/one")
    shop.take("DATABASE", "year/two")
    medium = b"".join(shop.bucket.pieces("year/one"))
    shop.bucket.write("year/copy", medium)
    shop.bucket.write("year/notes.txt", b"not ours")
    shop.bucket.write("year/empty", b"")
    shop.bucket.write("elsewhere/notes.txt", b"nobody looks here")
    outcome = shop.retain()
    assert [(item.name, item.size) for item in outcome.orphaned] == [(f"{shop.url}/year/copy", len(medium))]
    assert {item.name for item in outcome.unknown} == {f"{shop.url}/year/notes.txt", f"{shop.url}/year/empty"}
    assert shop.keys() == ["elsewhere/notes.txt", "year/copy", "year/empty", "year/notes.txt", "year/two"]
    # What somebody else has deleted is missing; it takes nothing along.
    shop.take("DATABASE", "year/three")
    shop.bucket.remove(["year/two"])
    outcome = shop.retain()
    assert [outcome.devices[item.guid] for item in outcome.missing] == [f"{shop.url}/year/two"]
    assert outcome.deleted == []


def test_nothing_goes_while_a_store_does_not_answer(shop: Shop) -> None:
    shop.take("DATABASE", "one")
    shop.take("DATABASE", "two")

    def denied(environ: Environ) -> tuple[int, str] | None:
        return 403, "AccessDenied"

    with shop.there.server.fault(denied):
        outcome = shop.retain()
        assert (outcome.deleted, outcome.missing) == ([], [])
        assert all("can't be read" in reason for item in outcome.kept for reason in item.reasons)

    def undeletable(environ: Environ) -> tuple[int, str] | None:
        bulk = environ["REQUEST_METHOD"] == "POST" and environ["QUERY_STRING"].startswith(
            ("delete", "comp=batch")
        )
        return (403, "AccessDenied") if environ["REQUEST_METHOD"] == "DELETE" or bulk else None

    with shop.there.server.fault(undeletable):
        outcome = shop.retain()
        assert outcome.deleted == []
        assert len(outcome.failed) == 1
    # The next run finishes what that one had begun.
    shop.retain()
    assert shop.keys() == ["two"]


def test_old_media_move_to_the_colder_tier(shop: Shop) -> None:
    shop.take("DATABASE", "old")
    shop.take("DATABASE", "new")
    cold = replace(ONE, count=2, archive_after_days=0.0, archive_class=_COLD[shop.there.kind])
    before = shop.tier("old")
    assert shop.retain(cold, dry=True).failed == []
    assert shop.tier("old") == before
    assert shop.retain(cold).failed == []
    assert shop.tier("old") == _COLD[shop.there.kind]
    shop.ask(f"RESTORE VERIFYONLY FROM URL = '{shop.url}/old'")
    # What is cold goes like everything else.
    assert len(shop.retain().deleted) == 1
    assert shop.keys() == ["new"]


def test_random_histories_keep_what_is_promised(tmp_path: Path) -> None:
    """What stays at the object store restores each moment of the window that could be restored before."""
    with object_store("s3", tmp_path, _AZURITE) as there:
        shop = Shop(tmp_path, there)
        chance = random.Random(7)
        policy = replace(ONE, window_days=0.0, daily=1)
        for turn in range(8):
            kinds = ["DATABASE", "DIFFERENTIAL", "LOG", "LOG"] if turn else ["DATABASE"]
            kind = chance.choice(kinds)
            more = ", DIFFERENTIAL" if kind == "DIFFERENTIAL" else ""
            names = [f"{turn:02d}{letter}" for letter in "ab"[: chance.choice([1, 2])]]
            shop.take("LOG" if kind == "LOG" else "DATABASE", *names, more=more)
            outcome = shop.retain(policy)
            assert outcome.failed == []
            assert (outcome.missing, outcome.orphaned, outcome.unknown) == ([], [], [])
            # Everything that is there is known, and the newest of it can be restored with the rest.
            known = {name.rpartition("/")[2] for item in outcome.kept
                     for name in outcome.devices[item.set.guid].split("\n")}  # fmt: skip
            assert set(shop.keys()) == known
            restored = f"check{turn}"
            for number, (what, there_) in enumerate(_chain(shop, outcome)):
                urls = ", ".join(f"URL = '{name}'" for name in there_)
                move = f", MOVE 'shop' TO '{restored}.mdf', MOVE 'shop_log' TO '{restored}.ldf'"
                shop.ask(f"RESTORE {what} {restored} FROM {urls} WITH NORECOVERY{'' if number else move}")
            shop.ask(f"RESTORE DATABASE {restored} WITH RECOVERY")
            assert shop.rows(restored, "SELECT count(*) FROM t") == [[shop.number]]
            shop.ask(f"DROP DATABASE {restored}")
        shop.close()


def _chain(shop: Shop, outcome: Outcome) -> list[tuple[str, list[str]]]:
    """From the last full backup to the end, by what is at the object store alone."""
    kept = sorted((item.set for item in outcome.kept), key=lambda item: outcome.devices[item.guid])
    full = max(place for place, item in enumerate(kept) if item.is_full)
    changes = [
        place for place, item in enumerate(kept) if place > full and item.base_guid and not item.is_full
    ]
    after = max([full, *changes])
    logs = [place for place, item in enumerate(kept) if place > after and item.log is not None]
    chosen = [kept[place] for place in (full, *changes[-1:], *logs)]
    return [("LOG" if item.log else "DATABASE", outcome.devices[item.guid].split("\n")) for item in chosen]


def test_a_blob_goes_with_an_accounts_key(tmp_path: Path) -> None:
    need("azurite")
    with object_store("azure", tmp_path, _AZURITE) as there:
        url = parse_url(there.server.bucket("signed"), object_needed=False)
        good, bad = (Secret(ACCOUNT, key) for key in (KEY, KEY.replace("E", "F")))
        bucket = open_bucket(url, good, Reaching())
        names = ["a b&c/1", "2", "+3", "4%"]
        for name in names:
            bucket.write(name, b"x")
        with pytest.raises(ObjectError) as caught:
            open_bucket(url, bad, Reaching()).remove(names[:1])
        assert caught.value.reason is Reason.DENIED
        bucket.remove([*names, "never"])
        assert list(bucket.list("")) == []
        with pytest.raises(ObjectError):
            open_bucket(url, Secret(ACCOUNT, "no base64"), Reaching())
