from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import apsw
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tdsproxy.backup.errors import OperationCancelled, TargetError, TargetExists, WrongSet
from tdsproxy.backup.operations import (
    BackupOptions,
    MediaInfo,
    backup_database,
    read_headers,
    read_set,
    restore_database,
    verify_set,
)
from tdsproxy.media.documents import DIFFERENTIAL
from tdsproxy.media.errors import MediaEmpty, MediaIncompatible, MediaMissing, NotMedia, SetMissing
from tdsproxy.media.null_device import NullDevice
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing
from tests.backup.making import description, disk
from tests.store import processes

COMPRESSED = BackupOptions(compression=True)


@pytest.mark.parametrize(
    ("page_size", "journal", "compression"),
    [(512, "wal", True), (4096, "wal", False), (4096, "delete", True), (65536, "wal", True)],
)
def test_a_restored_database_is_the_one_backed_up(
    tmp_path: Path, page_size: int, journal: str, compression: bool
) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, page_size=page_size, journal=journal, auto_vacuum=page_size % 3, free=True)
    before = processes.check(source)
    result = backup_database(source, medium, description(), BackupOptions(compression=compression))
    size = before["page_size"] * before["page_count"]
    assert (result.position, result.trailer.backup_size) == (1, size)
    assert [file.backup_size for file in result.header.description.files] == [size, 0]
    assert result.trailer.stored_size < size if compression else result.trailer.stored_size > size
    assert verify_set(medium, 1).header == result.header
    restored = restore_database(medium, 1, tmp_path / "y.db")
    assert restored.undo is None
    assert processes.check(tmp_path / "y.db") == before


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=8)
@given(
    options=st.fixed_dictionaries(
        {
            "page_size": st.sampled_from([512, 1024, 4096, 32768]),
            "auto_vacuum": st.sampled_from([0, 1, 2]),
            "rows": st.integers(0, 60),
            "free": st.booleans(),
            "seed": st.integers(0, 99),
            "empty": st.booleans(),
        }
    ),
    compression=st.booleans(),
)
def test_any_database_comes_back(
    tmp_path_factory: pytest.TempPathFactory, options: dict[str, Any], compression: bool
) -> None:
    folder = tmp_path_factory.mktemp("any")
    source = folder / "x.db"
    processes.build(source, **options)
    source.touch()
    before = processes.check(source)
    medium = disk(folder / "m.bak")
    backup_database(source, medium, description(), BackupOptions(compression=compression))
    restore_database(medium, 1, folder / "y.db")
    assert processes.check(folder / "y.db") == before


def test_sets_are_appended_replaced_and_formatted(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=5)
    first = backup_database(source, medium, description(name="one"), BackupOptions(media_name="tapes"))
    second = backup_database(source, medium, description(name="two"))
    assert (first.position, second.position) == (1, 2)
    assert first.media == second.media
    assert [item.header.description.database_name for item in read_headers(medium).sets] == ["one", "two"]
    assert read_set(medium, 2).trailer == second.trailer
    third = backup_database(source, medium, description(name="three"), BackupOptions(init=True))
    assert (third.position, third.media) == (1, first.media)
    fourth = backup_database(source, medium, description(), BackupOptions(format=True))
    assert fourth.media.media_set_id != first.media.media_set_id
    assert fourth.media.name is None
    assert len(read_headers(medium).sets) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bak", "x.db"]


def test_compression_sticks_to_the_medium(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=5)
    backup_database(source, medium, description(), COMPRESSED)
    again = backup_database(source, medium, description())
    assert again.header.compression == "ZSTD"
    for options in (BackupOptions(compression=False), BackupOptions(compression=False, init=True)):
        with pytest.raises(MediaIncompatible) as caught:
            backup_database(source, medium, description(), options)
        assert caught.value.reason == "compression"
    formatted = backup_database(source, medium, description(), BackupOptions(compression=False, format=True))
    assert formatted.header.compression is None


def test_the_check_sees_the_medium_and_forbids(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=5)
    seen: list[MediaInfo | None] = []

    def note(device: str, info: MediaInfo | None) -> None:
        assert device == medium.name
        seen.append(info)

    backup_database(source, medium, description(), BackupOptions(check=note))

    def refuse(device: str, info: MediaInfo | None) -> None:
        note(device, info)
        raise RuntimeError("not expired")

    before = medium.path.read_bytes()
    with pytest.raises(RuntimeError):
        backup_database(source, medium, description(), BackupOptions(init=True, check=refuse))
    assert seen[0] is None
    assert seen[1] is not None
    assert [item.position for item in seen[1].sets] == [1]
    assert medium.path.read_bytes() == before


def test_foreign_files_are_left_alone_unless_formatted(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=5)
    medium.path.write_bytes(b"a letter to the bank")
    for options in (BackupOptions(), BackupOptions(init=True)):
        with pytest.raises(NotMedia):
            backup_database(source, medium, description(), options)
    assert medium.path.read_bytes() == b"a letter to the bank"
    with pytest.raises(NotMedia):
        read_headers(medium)
    backup_database(source, medium, description(), BackupOptions(format=True))
    assert verify_set(medium, 1)


def test_an_empty_file_is_a_new_medium(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=5)
    medium.path.touch()
    with pytest.raises(MediaEmpty):
        read_headers(medium)
    assert backup_database(source, medium, description()).position == 1


def test_positions_that_are_not_there(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    with pytest.raises(MediaMissing):
        read_headers(medium)
    processes.build(source, rows=5)
    backup_database(source, medium, description())
    for position in (0, 2, -1):
        with pytest.raises(SetMissing):
            restore_database(medium, position, tmp_path / "y.db")
    assert not (tmp_path / "y.db").exists()


def test_a_missing_source_leaves_no_medium(tmp_path: Path) -> None:
    with pytest.raises(DatabaseMissing):
        backup_database(tmp_path / "x.db", disk(tmp_path / "m.bak"), description())
    assert list(tmp_path.iterdir()) == []


def test_nul_takes_a_backup(tmp_path: Path) -> None:
    processes.build(tmp_path / "x.db", rows=5)
    result = backup_database(tmp_path / "x.db", NullDevice(), description())
    assert result.trailer.page_count > 0


@pytest.mark.parametrize("existing", [False, True])
@pytest.mark.parametrize("options", [BackupOptions(), BackupOptions(init=True)])
def test_a_cancelled_backup_leaves_what_was_there(
    tmp_path: Path, existing: bool, options: BackupOptions
) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=400)
    if existing:
        backup_database(source, medium, description())
    before = medium.path.read_bytes() if existing else None
    cancel = threading.Event()

    def progress(done: int, total: int) -> None:
        assert done <= total
        if done:
            cancel.set()

    with pytest.raises(OperationCancelled):
        backup_database(source, medium, description(), options, progress, cancel)
    assert (medium.path.read_bytes() if medium.path.exists() else None) == before
    names = {path.name for path in tmp_path.iterdir()}
    assert names == ({"m.bak", "x.db"} if existing else {"x.db"})


def test_a_failing_progress_leaves_no_thread_and_no_file(tmp_path: Path) -> None:
    processes.build(tmp_path / "x.db", rows=400)

    def progress(done: int, total: int) -> None:
        if done:
            raise RuntimeError(f"{done} of {total}")

    with pytest.raises(RuntimeError):
        backup_database(tmp_path / "x.db", disk(tmp_path / "m.bak"), description(), BackupOptions(), progress)
    assert not (tmp_path / "m.bak").exists()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("backup")]


@pytest.mark.parametrize("existing", [False, True])
def test_a_cancelled_restore_leaves_what_was_there(tmp_path: Path, existing: bool) -> None:
    source, target, medium = tmp_path / "x.db", tmp_path / "y.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=400)
    backup_database(source, medium, description())
    if existing:
        processes.build(target, rows=3)
    cancel = threading.Event()
    with pytest.raises(OperationCancelled):
        restore_database(
            medium, 1, target, replace=True, progress=lambda done, total: done and cancel.set(), cancel=cancel
        )
    assert target.exists() == existing
    if existing:
        assert len(processes.check(target)["content"]["plain"]) == 3
    assert {path.name for path in tmp_path.iterdir()} <= {"x.db", "y.db", "m.bak"}


def test_progress_reaches_the_end(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=300)
    for operation in ("backup", "verify", "restore"):
        seen: list[tuple[int, int]] = []

        def note(done: int, total: int, seen: list[tuple[int, int]] = seen) -> None:
            seen.append((done, total))

        if operation == "backup":
            backup_database(source, medium, description(), BackupOptions(), note)
        elif operation == "verify":
            verify_set(medium, 1, progress=note)
        else:
            restore_database(medium, 1, tmp_path / "y.db", progress=note)
        total = processes.check(source)["page_count"] * 4096
        assert seen[0] == (0, total)
        assert seen[-1] == (total, total)
        assert seen == sorted(seen)
        assert len(seen) > 2


def test_an_existing_database_needs_replace(tmp_path: Path) -> None:
    source, target, medium = tmp_path / "x.db", tmp_path / "y.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=20)
    processes.build(target, rows=3)
    backup_database(source, medium, description())
    with pytest.raises(TargetExists):
        restore_database(medium, 1, target)
    handle = apsw.Connection(str(target))
    assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(3,)]
    result = restore_database(medium, 1, target, replace=True)
    assert handle.execute("SELECT count(*) FROM plain").fetchall() == [(20,)]
    handle.close()
    assert result.undo is not None
    assert len(processes.check(result.undo)["content"]["plain"]) == 3


def test_a_busy_database_is_left_as_it_is(tmp_path: Path) -> None:
    source, target, medium = tmp_path / "x.db", tmp_path / "y.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=20)
    processes.build(target, rows=3)
    backup_database(source, medium, description())
    with processes.started("hold", target, "write") as process:
        assert processes.read_line(process) == "held"
        with pytest.raises(DatabaseBusy):
            restore_database(medium, 1, target, replace=True, busy_milliseconds=50)
    assert len(processes.check(target)["content"]["plain"]) == 3


def test_only_full_backups_are_restored_alone(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=2)
    backup_database(source, medium, description(backup_type=DIFFERENTIAL))
    with pytest.raises(WrongSet):
        restore_database(medium, 1, tmp_path / "y.db")


def test_a_target_that_cannot_be_written(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    processes.build(source, rows=2)
    backup_database(source, medium, description())
    with pytest.raises(TargetError):
        restore_database(medium, 1, tmp_path / "missing" / "y.db")


def test_a_backup_under_a_writer_is_a_prefix_of_its_commits(tmp_path: Path) -> None:
    source, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    # Large enough for many commits to fall into the time of the backup.
    processes.build(source, rows=3000)
    with processes.started("commit", source, "1000") as process:
        assert processes.read_line(process) == "ready"
        before = int(processes.read_line(process))
        lines: list[str] = []
        halfway = threading.Event()

        def drain() -> None:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(line.strip())
                if len(lines) == 150:
                    halfway.set()

        reader = threading.Thread(target=drain)

        def progress(done: int, total: int) -> None:
            if not reader.ident:
                reader.start()
            if done > total // 2:
                assert halfway.wait(60)

        backup_database(source, medium, description(), BackupOptions(), progress)
        during = len(lines)
        reader.join(60)
    assert lines[-1] == "done 0"
    assert during >= 100
    restore_database(medium, 1, tmp_path / "y.db")
    assert processes.check(tmp_path / "y.db")["integrity"] == ["ok"]
    restored = apsw.Connection(str(tmp_path / "y.db"))
    numbers = [row[0] for row in restored.execute("SELECT n FROM log ORDER BY n")]
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) >= before
    accounts = restored.execute("SELECT value FROM account ORDER BY id").fetchall()
    assert accounts == [(-len(numbers),), (len(numbers),)]
    restored.close()
