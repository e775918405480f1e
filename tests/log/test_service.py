from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import apsw
import pytest

from tdsproxy.log import lsn as lsns
from tdsproxy.log.chain_note import Chain, read_chain, write_chain
from tdsproxy.log.records import ArchiveDamaged, CaptureStopped
from tdsproxy.log.service import ChainState, LoggedDatabase, LogService
from tdsproxy.store.errors import DatabaseMissing

GUID = uuid.uuid4()


@pytest.fixture
def database(tmp_path: Path) -> LoggedDatabase:
    path = tmp_path / "x.db"
    connection = apsw.Connection(str(path))
    connection.execute("CREATE TABLE t(a)").fetchall()
    connection.close()
    return LoggedDatabase("x", path, GUID, uuid.uuid4(), lsns.FIRST)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[LogService]:
    made = LogService(tmp_path)
    yield made
    made.close()


def commit(database: LoggedDatabase, count: int = 1) -> None:
    connection = apsw.Connection(str(database.path))
    for _ in range(count):
        connection.execute("INSERT INTO t VALUES(randomblob(2000))").fetchall()
    connection.close()


def test_the_states_of_a_chain(tmp_path: Path, service: LogService, database: LoggedDatabase) -> None:
    assert service.status(GUID).state is ChainState.NOT_KEPT
    with pytest.raises(CaptureStopped):
        service.capture_now(GUID)
    service.start(database)
    service.start(database)
    assert service.is_kept(GUID)
    commit(database)
    assert service.status(GUID).state is ChainState.PSEUDO_SIMPLE
    first = service.capture_now(GUID)
    service.chain_begun(GUID, first)
    commit(database, 2)
    end = service.capture_now(GUID)
    status = service.status(GUID)
    assert (status.state, status.log_start, status.last_lsn) == (ChainState.UNBROKEN, first, end)
    # A later full backup does not move where the next log backup begins.
    service.chain_begun(GUID, end)
    assert service.status(GUID).log_start == first
    service.log_backed_up(GUID, end)
    assert service.status(GUID).log_start == end

    service.close()
    again = LogService(tmp_path)
    again.start(database)
    status = again.status(GUID)
    assert (status.state, status.log_start, status.last_lsn) == (ChainState.UNBROKEN, end, end)

    again.stop(GUID)
    connection = apsw.Connection(str(database.path))
    connection.execute("INSERT INTO t VALUES(1)").fetchall()
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    connection.close()
    again.start(database)
    status = again.status(GUID)
    assert (status.state, status.log_start) == (ChainState.BROKEN, None)
    assert "emptied" in (status.reason or "")
    healed = again.capture_now(GUID)
    again.chain_begun(GUID, healed)
    assert again.status(GUID).state is ChainState.UNBROKEN
    again.end_chain(GUID, database.fork)
    assert again.status(GUID).state is ChainState.PSEUDO_SIMPLE
    again.close()


def test_a_new_fork_begins_a_new_log(service: LogService, database: LoggedDatabase) -> None:
    service.start(database)
    service.chain_begun(GUID, service.capture_now(GUID))
    commit(database, 3)
    end = service.capture_now(GUID)
    forked = replace(database, fork=uuid.uuid4(), next_lsn=lsns.FIRST)
    service.restart_chain(forked)
    status = service.status(GUID)
    assert (status.state, status.last_lsn) == (ChainState.PSEUDO_SIMPLE, end)
    commit(forked)
    assert service.capture_now(GUID) > end
    old, new = service.archives(GUID)
    assert (old.fork, new.fork) == (database.fork, forked.fork)
    assert len(list(old.read(old.first_lsn()))) == 3
    assert len(list(new.read(end))) == 1
    assert service.archive(GUID) is new


def test_the_archive_of_a_stopped_database_can_be_read(service: LogService, database: LoggedDatabase) -> None:
    with pytest.raises(KeyError):
        service.archive(GUID)
    service.start(database)
    commit(database, 2)
    end = service.capture_now(GUID)
    service.stop(GUID)
    archive = service.archive(GUID)
    assert len(list(archive.read(archive.first_lsn(), end))) == 2
    service.start(database)
    commit(database)
    assert service.capture_now(GUID) > end
    assert len(list(service.archive(GUID).read(archive.first_lsn()))) == 3


def test_a_dropped_database_leaves_nothing(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    service.start(database)
    commit(database)
    service.drop(GUID)
    assert list((tmp_path / "log").iterdir()) == []
    assert not service.is_kept(GUID)
    service.wake(GUID)
    service.note_commit(GUID, 1, 1)


def test_what_is_backed_up_is_given_up(tmp_path: Path, database: LoggedDatabase) -> None:
    service = LogService(tmp_path, keep_bytes=0)
    service.start(database)
    service.archive(GUID)._segment_bytes = 10_000
    service.chain_begun(GUID, service.capture_now(GUID))
    for _ in range(20):
        commit(database)
        service.capture_now(GUID)
    size = service.archive(GUID).size()
    middle = service.capture_now(GUID)
    commit(database, 2)
    service.capture_now(GUID)
    service.log_backed_up(GUID, middle)
    archive = service.archive(GUID)
    assert archive.size() < size
    assert len(list(archive.read(middle))) == 2
    service.close()


def test_what_is_backed_up_is_given_up_after_its_time(tmp_path: Path, database: LoggedDatabase) -> None:
    service = LogService(tmp_path, keep_seconds=3600.0)
    service.start(database)
    archive = service.archive(GUID)
    service.chain_begun(GUID, service.capture_now(GUID))
    commit(database)
    middle = service.capture_now(GUID)
    archive._is_old = True
    commit(database, 2)
    end = service.capture_now(GUID)
    service.log_backed_up(GUID, middle)
    assert archive.first_lsn() < middle
    service._keep_ns = 0
    service.tidy_all()
    assert archive.first_lsn() == middle
    # What is in no log backup stays, however old it is.
    archive._is_old = True
    commit(database)
    service.capture_now(GUID)
    service.tidy_all()
    assert archive.first_lsn() == middle
    service.log_backed_up(GUID, end)
    assert archive.first_lsn() == end
    service.close()


def test_a_segment_ends_after_a_part_of_the_time(tmp_path: Path, database: LoggedDatabase) -> None:
    service = LogService(tmp_path, keep_seconds=0.0)
    service.start(database)
    for _ in range(3):
        commit(database)
        service.capture_now(GUID)
        service.tidy(GUID)
    archive = service.archive(GUID)
    # Before the first full backup nothing of it is needed; the last segment is the one that goes on.
    assert len(list(archive.read(archive.first_lsn()))) == 1
    service.close()


def test_what_no_log_backup_holds_is_kept_and_said(tmp_path: Path, database: LoggedDatabase) -> None:
    said: list[str] = []
    service = LogService(tmp_path, keep_bytes=1000, report=said.append)
    service.start(database)
    service.archive(GUID)._segment_bytes = 1000
    begun = service.capture_now(GUID)
    service.chain_begun(GUID, begun)
    for _ in range(5):
        commit(database)
        service.capture_now(GUID)
    service.tidy(GUID)
    service.tidy(GUID)
    assert len(said) == 1
    assert "the log of x takes" in said[0]
    assert "BACKUP LOG" in said[0]
    assert len(list(service.archive(GUID).read(begun))) == 5
    service.log_backed_up(GUID, service.capture_now(GUID))
    assert len(list(service.archive(GUID).read(service.archive(GUID).first_lsn()))) <= 1
    assert len(said) == 1
    service.close()


def test_archives_of_forks_that_were_left_go_first(tmp_path: Path, database: LoggedDatabase) -> None:
    said: list[str] = []
    service = LogService(tmp_path, report=said.append)
    service.start(database)
    commit(database, 5)
    service.capture_now(GUID)
    forked = replace(database, fork=uuid.uuid4())
    service.restart_chain(forked)
    service.chain_begun(GUID, service.capture_now(GUID))
    commit(forked)
    end = service.capture_now(GUID)
    service.tidy(GUID)
    assert [archive.fork for archive in service.archives(GUID)] == [database.fork, forked.fork]
    service._keep_bytes = 0
    service.tidy(GUID)
    assert [archive.fork for archive in service.archives(GUID)] == [forked.fork]
    assert any("a restore has left it" in line for line in said)
    assert service.capture_now(GUID) == end
    service.close()


def test_what_is_not_kept_is_refused_or_passed_over(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    service.stop(GUID)
    service.end_chain(GUID, database.fork)
    service.tidy(GUID)
    service.drop(GUID)
    service.note_commit(GUID, 1, 2)
    service.wake(GUID)
    assert service.archives(GUID) == []
    for attempt in (
        lambda: service.chain_begun(GUID, 1),
        lambda: service.log_backed_up(GUID, 1),
        lambda: service.announce_mark(GUID, "m"),
        lambda: service.captured_until_ns(GUID),
    ):
        with pytest.raises(CaptureStopped, match="is not kept"):
            attempt()
    with pytest.raises(KeyError):
        service.archive(GUID)
    assert not (tmp_path / "log").exists()


def test_a_capture_that_cannot_begin_is_not_kept(service: LogService, database: LoggedDatabase) -> None:
    with pytest.raises(DatabaseMissing):
        service.start(replace(database, path=database.path.with_name("missing.db")))
    assert not service.is_kept(GUID)
    service.start(database)
    assert service.is_kept(GUID)


def test_what_is_said_of_a_commit_reaches_the_capture(service: LogService, database: LoggedDatabase) -> None:
    service.start(database)
    before = service.captured_until_ns(GUID)
    service.wake(GUID)
    service.announce_mark(GUID, "m", "d")
    commit(database)
    service.note_commit(GUID, 1, 5)
    service.capture_now(GUID)
    archive = service.archive(GUID)
    assert [(item.mark, item.mark_description) for item in archive.read(archive.first_lsn())] == [("m", "d")]
    assert service.captured_until_ns(GUID) > before


def test_archives_that_others_write_are_looked_at_anew(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    """As on a standby, whose segments come from elsewhere."""
    service.start(database)
    commit(database)
    service.capture_now(GUID)
    reader = LogService(tmp_path)
    (found,) = reader.archives(GUID)
    assert len(list(found.read(found.first_lsn()))) == 1
    commit(database)
    service.capture_now(GUID)
    reader.reopen(GUID)
    (found,) = reader.archives(GUID)
    assert len(list(found.read(found.first_lsn()))) == 2
    # What it had open is closed before the files are removed, or captured here.
    reader.drop(GUID)
    assert not (tmp_path / "log" / str(GUID).upper()).exists()
    reader.close()


def test_reading_before_capturing_leaves_one_archive(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    service.start(database)
    commit(database)
    service.stop(GUID)
    assert len(service.archives(GUID)) == 1
    service.start(database)
    commit(database)
    service.capture_now(GUID)
    (only,) = service.archives(GUID)
    assert len(list(only.read(only.first_lsn()))) == 2


def test_a_chain_whose_log_does_not_reach_back_far_enough_is_broken(
    service: LogService, database: LoggedDatabase
) -> None:
    service.start(database)
    service.log_backed_up(GUID, lsns.FIRST - 1)
    status = service.status(GUID)
    assert (status.state, status.reason) == (ChainState.BROKEN, "the archive does not reach back far enough")
    service.end_chain(GUID, database.fork)
    assert service.status(GUID).state is ChainState.PSEUDO_SIMPLE


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"{}", b'{"fork": "x", "log_start": null}', b"\xff"])
def test_a_damaged_note_of_the_chain_is_told(
    tmp_path: Path, service: LogService, database: LoggedDatabase, content: bytes
) -> None:
    service.start(database)
    service.stop(GUID)
    (note,) = (tmp_path / "log").glob("*/chain*")
    note.write_bytes(content)
    service.start(database)
    service.tidy_all()
    status = service.status(GUID)
    assert status.state is ChainState.BROKEN
    assert f"{note.name} is damaged" in (status.reason or "")
    assert note.read_bytes() == content
    # A full backup is the remedy.
    first = service.capture_now(GUID)
    service.chain_begun(GUID, first)
    assert (service.status(GUID).state, service.status(GUID).log_start) == (ChainState.UNBROKEN, first)


def test_a_note_that_the_disk_gives_back_wrong_once_is_damaged_once(
    service: LogService, database: LoggedDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    service.start(database)
    first = service.capture_now(GUID)
    service.chain_begun(GUID, first)
    answers = [True]

    def read(path: Path, guid: uuid.UUID) -> Chain | None:
        if answers:
            answers.pop()
            raise ArchiveDamaged(f"{path} is damaged")
        return read_chain(path, guid)

    monkeypatch.setattr("tdsproxy.log.service.read_chain", read)
    assert service.status(GUID).state is ChainState.BROKEN
    assert service.status(GUID).log_start == first
    for asked in (service.tidy, service.status, lambda guid: service.chain_begun(guid, first)):
        answers.append(False)
        asked(GUID)
    assert (service.status(GUID).state, service.status(GUID).log_start) == (ChainState.UNBROKEN, first)


def test_a_log_backup_that_is_complete_mends_a_note_that_was_damaged_meanwhile(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    service.start(database)
    service.chain_begun(GUID, service.capture_now(GUID))
    commit(database)
    end = service.capture_now(GUID)
    (note,) = (tmp_path / "log").glob("*/chain*")
    note.write_bytes(note.read_bytes()[:-9])
    service.log_backed_up(GUID, end)
    assert (service.status(GUID).state, service.status(GUID).log_start) == (ChainState.UNBROKEN, end)
    assert read_chain(note, GUID) == Chain(database.fork, end)


def test_any_changed_byte_of_the_note_of_the_chain_is_noticed(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    service.start(database)
    service.chain_begun(GUID, 39_0000000424_00001)
    (note,) = (tmp_path / "log").glob("*/chain*")
    content = note.read_bytes()
    assert service.status(GUID).log_start == 39_0000000424_00001
    for at in range(len(content)):
        for flip in (1 << at % 8,):
            changed = bytearray(content)
            changed[at] ^= flip
            note.write_bytes(changed)
            assert "is damaged" in (service.status(GUID).reason or "")
    for length in range(0, len(content), 9):
        note.write_bytes(content[:length])
        assert "is damaged" in (service.status(GUID).reason or "")
    # Another database's note, and one without a checksum, as earlier versions wrote it.
    written = json.loads(content)
    note.write_text(json.dumps({"fork": written["fork"], "log_start": written["log_start"]}))
    assert service.status(GUID).log_start == 39_0000000424_00001
    write_chain(note, uuid.uuid4(), Chain(database.fork, 39_0000000424_00001))
    assert "checksum" in (service.status(GUID).reason or "")


def test_what_is_no_archive_is_passed_over(
    tmp_path: Path, service: LogService, database: LoggedDatabase
) -> None:
    service.start(database)
    (tmp_path / "log" / str(GUID).upper() / "copied by hand").mkdir()
    assert [archive.fork for archive in service.archives(GUID)] == [database.fork]
    service.tidy_all()
