"""Retention on media: stripes, mirrors, objects, interruptions, and what was added meanwhile."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.agent.policies import Retention
from tdsproxy.agent.retention_run import Outcome, run_retention
from tdsproxy.commands import trial_restores
from tdsproxy.commands.context import Context
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.request import NativeRequest
from tdsproxy.objects.store import Bucket
from tdsproxy.tsql.values import DateTime
from tests.commands.support import ADMIN, Workshop
from tests.objects.s3_server import IDENTITY, KEY, SECRET, s3_server

ONE = Retention(0, 0, 0, 0, count=1)


class Shop(Workshop):
    def context(self) -> Context:
        return Context(self.env, NativeRequest("EXEC x", ADMIN), Operands({}), 0)

    def retain(self, policy: Retention = ONE, *, dry: bool = False) -> Outcome:
        return run_retention(self.context(), lambda name: policy, dry=dry)

    def names(self) -> set[str]:
        return {path.name for path in self.media.iterdir()}

    def sets(self) -> int:
        return len(self.catalog.history.listed(None))


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    made = Shop(tmp_path)
    made.catalog.operations.make()
    made.run("CREATE DATABASE shop")
    yield made
    made.close()


def back_up(shop: Shop, *names: str, more: str = "") -> None:
    disks = ", ".join(f"DISK = '/tmp/{name}'" for name in names)
    shop.run(f"BACKUP DATABASE shop TO {disks} {more}")


def test_stripes_and_mirrors_go_as_a_whole(shop: Shop) -> None:
    back_up(shop, "a1", "a2", more="MIRROR TO DISK = '/tmp/m1', DISK = '/tmp/m2' WITH FORMAT")
    back_up(shop, "b")
    outcome = shop.retain(dry=True)
    assert len(outcome.deleted) == 1
    assert shop.names() == {"a1", "a2", "m1", "m2", "b"}
    assert len(shop.retain().deleted) == 1
    assert shop.names() == {"b"}
    assert shop.sets() == 1
    assert shop.retain().deleted == []


def test_a_medium_goes_only_with_all_that_is_on_it(shop: Shop) -> None:
    back_up(shop, "a")
    back_up(shop, "a")
    back_up(shop, "b")
    back_up(shop, "a")
    outcome = shop.retain()
    assert [Path(outcome.devices[item.set.guid]).name for item in outcome.deleted] == ["b"]
    assert shop.names() == {"a"}
    assert [item.reasons for item in outcome.kept][:1] != []


def test_the_full_set_that_was_restored_stays_for_its_differentials(shop: Shop) -> None:
    back_up(shop, "a")
    back_up(shop, "c")
    shop.run("RESTORE DATABASE shop FROM DISK = '/tmp/a' WITH REPLACE")
    shop.retain()
    assert shop.names() == {"a", "c"}
    back_up(shop, "d", more="WITH DIFFERENTIAL")
    shop.run("RESTORE DATABASE shop FROM DISK = '/tmp/a' WITH REPLACE, NORECOVERY")
    shop.run("RESTORE DATABASE shop FROM DISK = '/tmp/d'")
    database = shop.catalog.databases.find("shop")
    assert database is not None
    assert database.redo is None


def test_an_interrupted_deletion_is_finished(shop: Shop) -> None:
    back_up(shop, "a1", "a2")
    back_up(shop, "b")
    (first, _) = shop.catalog.operations.media()
    row: dict[str, Any] = {
        "deletion_date": DateTime.of(dt.datetime(2026, 1, 1)),
        "backup_set_uuid": first.sets[0].guid,
        "physical_device_names": "a",
    }
    shop.catalog.operations.announce_deletions([row])
    (shop.media / "a1").unlink()
    shop.retain()
    assert shop.names() == {"b"}
    assert shop.sets() == 1
    assert shop.catalog.operations.unfinished_deletions() == set()


def test_what_was_written_since_an_interrupted_deletion_stays(shop: Shop) -> None:
    """The same file every night: the run was killed when it had deleted one stripe."""
    back_up(shop, "a1", "a2")
    (first,) = shop.catalog.operations.media()
    row: dict[str, Any] = {
        "deletion_date": DateTime.of(dt.datetime(2026, 1, 1)),
        "backup_set_uuid": first.sets[0].guid,
        "physical_device_names": "a",
    }
    shop.catalog.operations.announce_deletions([row])
    (shop.media / "a1").unlink()
    back_up(shop, "a1")
    shop.retain()
    assert shop.names() == {"a1"}
    assert shop.sets() == 1
    assert shop.catalog.operations.unfinished_deletions() == set()


def test_what_is_missing_or_unreadable_stays_known(shop: Shop) -> None:
    back_up(shop, "a")
    back_up(shop, "b")
    back_up(shop, "c")
    (shop.media / "a").unlink()
    (shop.media / "b").write_bytes(b"no backup at all")
    outcome = shop.retain()
    assert [Path(outcome.devices[item.guid]).name for item in outcome.missing] == ["a"]
    assert outcome.deleted == []
    assert shop.sets() == 3
    assert any("can't be read" in reason for item in outcome.kept for reason in item.reasons)


def test_a_trial_restore_that_fails_is_noted(shop: Shop) -> None:
    back_up(shop, "a")
    content = bytearray((shop.media / "a").read_bytes())
    content[len(content) // 3] ^= 0xFF
    (shop.media / "a").write_bytes(content)
    (row,) = trial_restores.trial_restore(shop.context(), ["shop"], ["*"])
    assert row[2] == "0"
    (trial,) = shop.catalog.operations.trials()
    assert not trial["succeeded"]
    assert trial["message"]


def test_trial_restores_go_round(shop: Shop) -> None:
    shop.run("CREATE DATABASE other")
    back_up(shop, "a")
    shop.run("BACKUP DATABASE other TO DISK = '/tmp/o'")
    tried = [trial_restores.trial_restore(shop.context(), [], ["*"])[0][0] for _ in range(4)]
    assert sorted(map(str, tried[:2])) == ["other", "shop"]
    assert tried[2:] == tried[:2]
    assert trial_restores.trial_restore(shop.context(), [], ["sho?"])[0][0] == "shop"
    assert trial_restores.trial_restore(shop.context(), [], ["none"]) == []


@pytest.mark.slow
def test_objects_are_archived_and_deleted(shop: Shop) -> None:
    with s3_server() as s3:
        url = s3.bucket("kept")
        shop.run(f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'")
        shop.run(f"BACKUP DATABASE shop TO URL = '{url}/one.bak' WITH FORMAT")
        shop.run(f"BACKUP DATABASE shop TO URL = '{url}/two.bak' WITH FORMAT")
        cold = replace(ONE, count=2, archive_after_days=0.0, archive_class="STANDARD_IA")
        outcome = shop.retain(cold)
        assert outcome.failed == []
        assert s3.object("kept", "one.bak").storage_class == "STANDARD_IA"
        shop.run(f"RESTORE VERIFYONLY FROM URL = '{url}/one.bak'")
        puts = len([method for method, _, _ in s3.seen if method == "PUT"])
        shop.retain(cold)
        assert len([method for method, _, _ in s3.seen if method == "PUT"]) == puts
        frozen = shop.retain(replace(cold, archive_class="GLACIER"))
        assert "can't be read at once" in frozen.failed[0][1]
        assert len(shop.retain().deleted) == 1
        assert s3.keys("kept") == ["two.bak"]


@pytest.mark.slow
def test_what_is_not_whole_in_the_colder_class_is_not_taken_for_archived(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3_server() as s3:
        url = s3.bucket("cut")
        shop.run(f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'")
        shop.run(f"BACKUP DATABASE shop TO URL = '{url}/one.bak' WITH FORMAT")
        cold = replace(ONE, archive_after_days=0.0, archive_class="STANDARD_IA")
        size = s3.object("cut", "one.bak").size
        whole = Bucket.pieces

        def cut(self: Bucket, key: str, size: int = 4 << 20, offset: int = 0) -> Iterator[bytes]:
            yield b"".join(whole(self, key, size, offset))[:-1]

        def cancelling(self: Bucket, key: str, size: int = 4 << 20, offset: int = 0) -> Iterator[bytes]:
            for piece in whole(self, key, size, offset):
                shop.env.cancelled.set()
                yield piece

        for pieces, said in ((cut, "has changed"), (cancelling, "cancelled"), (whole, "cancelled")):
            monkeypatch.setattr(Bucket, "pieces", pieces)
            outcome = shop.retain(cold)
            assert [said in reason for _, reason in outcome.failed] == [True]
            assert s3.object("cut", "one.bak").size == size
            assert s3.object("cut", "one.bak").storage_class == "STANDARD"
            assert s3.open_uploads("cut") == 0
        shop.env.cancelled.clear()
        assert shop.retain(cold).failed == []
        assert s3.object("cut", "one.bak").storage_class == "STANDARD_IA"


@pytest.mark.slow
def test_what_is_archived_stays_encrypted_as_it_was(shop: Shop) -> None:
    with s3_server() as s3:
        url = s3.bucket("sealed")
        shop.run(f"CREATE CREDENTIAL [{url}] WITH IDENTITY = '{IDENTITY}', SECRET = '{KEY}:{SECRET}'")
        members = '{"s3": {"server_side_encryption": "aws:kms", "kms_key_id": "k1"}}'
        shop.run(f"BACKUP DATABASE shop TO URL = '{url}/one.bak' WITH FORMAT, BACKUP_OPTIONS = '{members}'")
        assert shop.retain(replace(ONE, archive_after_days=0.0, archive_class="STANDARD_IA")).failed == []
        found = s3.object("sealed", "one.bak")
        assert (found.storage_class, found.encryption, found.kms_key_id) == ("STANDARD_IA", "aws:kms", "k1")
