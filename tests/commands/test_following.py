"""A standby's database whose log leads no further, though more of it has arrived."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tdsproxy.catalog.databases import Database
from tdsproxy.log import lsn as lsns
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import Gap
from tests.commands.support import Workshop, numbers, table


@pytest.fixture
def shop(logged: Workshop) -> Workshop:
    """A database ``a`` that is RESTORING, as far as its log leads."""
    logged.run("CREATE DATABASE a")
    logged.fill("a", "CREATE TABLE t (x)")
    logged.run("BACKUP DATABASE a TO DISK='/tmp/full.bak'")
    logged.fill("a", "INSERT INTO t VALUES (1)")
    assert 3014 in numbers(logged.run("BACKUP LOG a TO DISK='/tmp/tail.trn' WITH NORECOVERY"))
    assert follow(logged)[1] is None
    return logged


def follow(shop: Workshop) -> tuple[int, str | None]:
    """As the thread does that follows: up to which LSN, and why not further."""
    (row,) = (
        tuple(row.values()) for row in table(shop.run("EXEC sp_follow_log @a1", variables={"@a1": "a"}))
    )
    return int(str(row[0])), None if row[2] is None else str(row[2])


def database(shop: Workshop) -> Database:
    found = shop.catalog.databases.find("a")
    assert found is not None
    return found


def segments(shop: Workshop) -> list[Path]:
    return sorted((shop.store / "log").glob("*/*/*.seg"))


def append(shop: Workshop) -> Archive:
    """The archive, as the other store goes on with it."""
    found = database(shop)
    directory = segments(shop)[-1].parent
    return Archive(directory, found.guid, found.fork, lsns.FIRST)


def test_a_gap_is_told_with_its_reason(shop: Workshop) -> None:
    reached, _ = follow(shop)
    archive = append(shop)
    gap = Gap(reached, lsns.advance(reached, 512), time.time_ns(), "the WAL was emptied")
    archive.append_gap(gap, archive.position())
    archive.close()
    lsn, stuck = follow(shop)
    assert lsn == reached
    assert stuck == f"its log leads to LSN {reached}, where it is broken: the WAL was emptied"


def test_a_segment_that_went_on_otherwise_is_told(shop: Workshop) -> None:
    reached, _ = follow(shop)
    with segments(shop)[-1].open("ab") as file:
        file.write(bytes(500))
    assert follow(shop) == (
        reached,
        f"its log leads to LSN {reached}: what follows is not what had arrived of it before, or is damaged",
    )


@pytest.mark.slow
def test_log_that_was_given_up_is_told(shop: Workshop) -> None:
    reached, _ = follow(shop)
    (former,) = segments(shop)
    archive = append(shop)
    begin = lsns.advance(reached, 512)
    archive.close()
    former.unlink()
    found = database(shop)
    later = Archive(former.parent, found.guid, found.fork, begin)
    gap = Gap(begin, lsns.advance(begin, 512), time.time_ns(), "x")
    later.append_gap(gap, None)
    later.close()
    assert follow(shop) == (
        reached,
        f"its log leads to LSN {reached}: what has arrived begins at {begin}, the rest was given up",
    )


@pytest.mark.slow
def test_another_recovery_fork_is_told(shop: Workshop) -> None:
    reached, _ = follow(shop)
    found = database(shop)
    other = found.family
    directory = segments(shop)[-1].parent.with_name(str(other).upper())
    begin = lsns.advance(reached, 512)
    archive = Archive(directory, found.guid, other, begin)
    archive.append_gap(Gap(begin, lsns.advance(begin, 512), time.time_ns(), "x"), None)
    archive.close()
    lsn, stuck = follow(shop)
    assert lsn == reached
    assert stuck is not None
    assert stuck.endswith("the database was restored there and is on another recovery fork")
