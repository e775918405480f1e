"""What a standby keeps of the log that it follows."""

from __future__ import annotations

import time
import zlib
from pathlib import Path

import msgspec
import pytest

from tdsproxy.commands.elsewhere import read_follow_state
from tdsproxy.keeper.follow import Follow
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.keeper.sync_layout import Manifest, SegmentEntry, encode
from tdsproxy.log import segment
from tests.commands.support import Workshop, numbers
from tests.keeper.shop import wait_for


def _segments(shop: Workshop) -> list[Path]:
    return sorted((shop.store / "log").rglob("*.seg"))


def test_log_that_the_other_store_gave_up_goes_when_it_has_been_applied(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, logged=True)
    logs = shop.env.logs
    assert logs is not None
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    database = shop.catalog.databases.find("a")
    assert database is not None
    applied: list[int] = []
    for value in range(5):
        shop.fill("a", f"INSERT INTO t VALUES ({value})")
        applied.append(logs.capture_now(database.guid))
        logs.archive(database.guid).begin_segment_soon(2 * time.time_ns())
    assert 3014 in numbers(shop.run("BACKUP LOG a TO DISK='/tmp/tail.trn' WITH NORECOVERY"))
    all_ = _segments(shop)
    assert len(all_) == 5
    restoring = shop.catalog.databases.find("a")
    assert restoring is not None
    assert restoring.redo is not None
    # The other store has the last two; of the others the first two have been applied here.
    entries = {str(path.relative_to(shop.store)): SegmentEntry("g", path.stat().st_size) for path in all_[3:]}
    follow = Follow(shop.env, SyncOptions(f"file://{tmp_path}/there/one", interval=0.05))
    behind = msgspec.structs.replace(restoring.redo, lsn=applied[1])
    shop.catalog.databases.update(restoring.id, redo=behind)
    follow._give_up(Manifest("other", 1, 1, segments=entries))
    assert _segments(shop) == all_[2:]
    # When it follows, the rest is applied.
    manifest = tmp_path / "there" / "one" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(encode(Manifest("other", 1, 7, segments=entries)))
    follow.start()
    wait_for(lambda: (read_follow_state(shop.store) or {}).get("through_ns") == 7)
    wait_for(lambda: _segments(shop) == all_[3:])
    follow.close()
    assert [row[0] for row in shop.rows("a", "SELECT x FROM t ORDER BY x")] == [0, 1, 2, 3, 4]
    state = read_follow_state(shop.store) or {}
    assert (state["error"], state["databases"]["a"]["error"]) == (None, None)
    shop.close()


@pytest.mark.slow
def test_log_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    """As if a newer version had written it."""
    shop = Workshop(tmp_path, logged=True)
    shop.run("CREATE DATABASE a")
    shop.fill("a", "CREATE TABLE t (x)")
    shop.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    assert 3014 in numbers(shop.run("BACKUP LOG a TO DISK='/tmp/tail.trn' WITH NORECOVERY"))
    (path,) = _segments(shop)
    newer = bytearray(path.read_bytes())
    newer[8] = 9
    sealed = segment.HEADER_SIZE - 4
    newer[sealed : sealed + 4] = zlib.crc32(newer[:sealed]).to_bytes(4, "little")
    path.write_bytes(newer)
    entry = SegmentEntry("g", len(newer))
    manifest = tmp_path / "there" / "one" / "manifest.json"
    manifest.parent.mkdir(parents=True)
    manifest.write_bytes(encode(Manifest("other", 1, 7, segments={str(path.relative_to(shop.store)): entry})))
    follow = Follow(shop.env, SyncOptions(f"file://{tmp_path}/there/one", interval=0.05))
    follow.start()
    wait_for(lambda: "a" in (read_follow_state(shop.store) or {}).get("databases", {}))
    follow.close()
    state = read_follow_state(shop.store) or {}
    assert "has version 9" in state["databases"]["a"]["error"]
    assert (state["error"], state["through_ns"]) == (None, None)
    shop.close()
