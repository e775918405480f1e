"""Sources that are damaged, targets that have no room, pages alone, and what a restore replaced."""

from __future__ import annotations

import dataclasses
import os
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from tdsproxy.backup import image as image_module
from tdsproxy.backup import page_map as maps
from tdsproxy.backup import plan as plans
from tdsproxy.backup import verification
from tdsproxy.backup.errors import (
    BaseMissing,
    InsufficientSpace,
    NothingToUndo,
    OperationCancelled,
    SourceDamaged,
    TargetError,
    WrongSet,
)
from tdsproxy.backup.facts import FactCounter, hidden_name
from tdsproxy.backup.image import check_space, read_single_pages
from tdsproxy.backup.operations import (
    BackupOptions,
    apply_log,
    backup_database,
    backup_differential,
    backup_log,
    read_set,
    restore_database,
    restore_image,
    restore_pages,
    undo_restore,
    verify_restore,
    verify_set,
)
from tdsproxy.backup.plan import ForkLine, Moment, Point
from tdsproxy.backup.restart import Restart, RestartPoint
from tdsproxy.backup.source_check import SourceCheck
from tdsproxy.media import format as layout
from tdsproxy.media.device import DiskDevice, ReadHandle
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import DIFFERENTIAL, LOG, ContentFacts, Image
from tdsproxy.media.errors import DeviceError, MediaDamaged
from tdsproxy.media.log_blocks import pack_blocks, pack_page_list
from tdsproxy.store.errors import DatabaseBusy, InstallFailed
from tests.backup.history import History
from tests.backup.making import description, disk
from tests.media.making import Plan, make, plan, run, transactions
from tests.store import processes

SIZE = 4096
(BLOCK,) = pack_blocks(transactions(6))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    processes.build(path, rows=60)
    return path


def page_of(path: Path, number: int) -> bytes:
    with path.open("rb") as file:
        file.seek((number - 1) * SIZE)
        return file.read(SIZE)


# ---------------------------------------------------------------- WITH CHECKSUM


def test_damage_of_pages_is_found_before_anything_is_written(source: Path, tmp_path: Path) -> None:
    processes.run("overwrite", source, "2")
    with pytest.raises(SourceDamaged) as caught:
        backup_database(source, disk(tmp_path / "m.bak"), description(), check=SourceCheck())
    assert caught.value.page == 2
    assert not (tmp_path / "m.bak").exists()
    check = SourceCheck(tolerate=True)
    result = backup_database(source, disk(tmp_path / "m.bak"), description(), check=check)
    assert check.damaged
    assert 2 in check.pages
    assert result.trailer.is_damaged


def test_a_page_that_nobody_wrote_must_be_what_it_was(source: Path, tmp_path: Path) -> None:
    folder = maps.map_directory(tmp_path, uuid.uuid4())
    base = description()
    backup_database(source, disk(tmp_path / "full.bak"), base, page_map=folder, check=SourceCheck())
    last = source.stat().st_size // SIZE
    # A bit of a blob changes: SQLite's own check does not see that.
    sound = page_of(source, last)
    processes.run("flip", source, str(last * SIZE - 1))
    changed: list[Callable[[], list[int] | None]] = [lambda: None, list, lambda: [last]]
    told = []
    for written in changed:
        check = SourceCheck((folder, base.set_guid), written)
        try:
            backup_database(source, disk(tmp_path / "m.bak"), description(), check=check)
            told.append(None)
        except SourceDamaged as error:
            told.append(error.page)
    # Without the log nothing is known; a page that was written may differ.
    assert told == [None, last, None]
    check = SourceCheck((folder, base.set_guid), list, tolerate=True)
    result = backup_database(source, disk(tmp_path / "t.bak"), description(), check=check, page_map=folder)
    assert (check.pages, result.trailer.is_damaged) == ({last}, True)
    known = maps.load(folder, result.header.description.set_guid)
    assert known.differing(last, maps.page_hashes(memoryview(sound), SIZE)) == []
    # A base of which no hashes are kept says nothing.
    check = SourceCheck((folder, uuid.uuid4()), list)
    backup_database(source, disk(tmp_path / "n.bak"), description(), check=check)
    assert not check.damaged


def test_the_check_can_be_cancelled(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    connection = apsw.Connection(str(path))
    connection.execute(
        "CREATE TABLE t (a); WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        " INSERT INTO t SELECT i FROM n"
    )
    connection.close()
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelled):
        SourceCheck().look(path, stop)


def test_hashes_that_are_damaged_are_as_good_as_none(source: Path, tmp_path: Path) -> None:
    folder = maps.map_directory(tmp_path, uuid.uuid4())
    base = description()
    backup_database(source, disk(tmp_path / "full.bak"), base, page_map=folder)
    (path,) = folder.iterdir()
    sound = path.read_bytes()
    other = uuid.uuid4()
    short = maps.PageMap(base.set_guid, SIZE, 0)
    short.page_count = 7
    for content in (b"", sound[:30], sound[:-1], sound[:100] + b"\xff" + sound[101:]):
        path.write_bytes(content)
        with pytest.raises(BaseMissing, match="is damaged"):
            maps.load(folder, base.set_guid)
    path.rename(folder / f"{other}.map")
    (folder / f"{other}.map").write_bytes(sound)
    with pytest.raises(BaseMissing, match="is no map of it"):
        maps.load(folder, other)
    short.save(folder)
    with pytest.raises(BaseMissing, match="is damaged"):
        maps.load(folder, base.set_guid)
    # With the log the pages are known without hashes.
    made = description(backup_type=DIFFERENTIAL, differential_base_guid=base.set_guid)
    done = backup_differential(source, [1, 2, 10**6], disk(tmp_path / "d.bak"), made, page_map=folder)
    assert done.trailer.page_count == 2
    with pytest.raises(BaseMissing):
        backup_differential(source, None, disk(tmp_path / "e.bak"), made, page_map=folder)
    maps.remove_maps(tmp_path, uuid.UUID(folder.name))
    maps.remove_maps(tmp_path, uuid.UUID(folder.name))
    assert not folder.exists()


def test_a_differential_backup_names_what_it_differs_from(source: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="names its base"):
        backup_differential(source, [1], disk(tmp_path / "d.bak"), description())
    made = description(differential_base_guid=uuid.uuid4())
    with pytest.raises(ValueError, match="neither pages nor a map"):
        backup_differential(source, None, disk(tmp_path / "d.bak"), made)
    processes.run("overwrite", source, "2")
    with pytest.raises(SourceDamaged):
        backup_differential(source, [1], disk(tmp_path / "d.bak"), made, check=SourceCheck())
    assert not (tmp_path / "d.bak").exists()
    found = maps.PageMap(made.differential_base_guid or uuid.uuid4(), 512, 3)
    found.save(tmp_path / "maps" / "x")
    check = SourceCheck(tolerate=True)
    with pytest.raises(BaseMissing, match="page size"):
        backup_differential(
            source, None, disk(tmp_path / "d.bak"), made, page_map=tmp_path / "maps" / "x", check=check
        )


# ---------------------------------------------------------------- targets


def test_a_restore_that_does_not_fit_is_refused_before_it_begins(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    huge = Image(page_size=65536, page_count=2**32 - 2, wal=False)
    with pytest.raises(InsufficientSpace) as caught:
        check_space(tmp_path / "y.db", huge, False)
    assert caught.value.needed == huge.page_size * huge.page_count > caught.value.free
    with pytest.raises(InsufficientSpace):
        check_space(source, huge, True)
    check_space(tmp_path / "y.db", huge, False, huge.page_size * huge.page_count)
    with pytest.raises(TargetError):
        check_space(tmp_path / "missing" / "y.db", huge, False)
    medium = disk(tmp_path / "m.bak")
    backup_database(source, medium, description())
    before = source.read_bytes()

    def full(self: object) -> None:
        raise OSError(28, os.strerror(28))

    for name in ("fsync", "pwrite", "ftruncate"):
        with monkeypatch.context() as changed:
            changed.setattr(os, name, lambda *_: full(None))
            with pytest.raises(TargetError) as refused:
                restore_database(medium, 1, tmp_path / "y.db")
            assert refused.value.errno == 28
            with pytest.raises(TargetError):
                restore_image(medium, 1, tmp_path / "image")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bak", "x.db"]
    assert source.read_bytes() == before


def test_an_error_without_a_number_is_one_of_the_disk(tmp_path: Path) -> None:
    error = image_module.target_error(tmp_path, OSError("said somebody"))
    assert error.errno == 5


def test_single_pages_come_out_of_a_set(source: Path, tmp_path: Path) -> None:
    medium = disk(tmp_path / "m.bak")
    base = description()
    backup_database(source, medium, base, BackupOptions(compression=True))
    wanted = frozenset({2, 5, 10**6})
    image = tmp_path / "pages"
    restore_pages(medium, 1, image, wanted)
    assert read_single_pages(image, SIZE, wanted) == {number: page_of(source, number) for number in (2, 5)}
    assert read_single_pages(image, SIZE, [3])[3] == bytes(SIZE), "the rest is not there"
    made = description(backup_type=DIFFERENTIAL, differential_base_guid=base.set_guid)
    backup_differential(source, [3, 4, 9], medium, made)
    restore_pages(medium, 2, image, frozenset({4, 7}))
    assert read_single_pages(image, SIZE, [2, 4, 5]) == {
        number: page_of(source, number) for number in (2, 4, 5)
    }
    with pytest.raises(TargetError):
        restore_pages(medium, 1, tmp_path / "missing" / "pages", wanted)
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelled):
        restore_pages(medium, 1, image, wanted, cancel=stop)


def test_single_pages_are_rolled_forward_alone(tmp_path: Path) -> None:
    history = History(tmp_path / "x.db")
    medium = disk(tmp_path / "m.bak")
    history.work(5)
    backup_database(
        history.path, medium, history.full(5), log=history.tail(5, meanwhile=lambda: history.work(6))
    )
    info = read_set(medium, 1)
    assert info.trailer.transaction_count == 6
    image = tmp_path / "pages"
    state = history.states[11]
    count = len(state) // SIZE
    for numbers in (frozenset({1}), frozenset(range(1, count + 1))):
        image.unlink(missing_ok=True)
        restore_pages(medium, 1, image, numbers)
        # The state is compared as a file without a WAL.
        found = read_single_pages(image, SIZE, numbers)
        assert {n: data[28:] for n, data in found.items()} == {
            n: state[(n - 1) * SIZE : n * SIZE][28:] for n in numbers
        }
    history.close()


def test_steps_refuse_sets_of_other_kinds_and_images_that_are_gone(source: Path, tmp_path: Path) -> None:
    medium = disk(tmp_path / "m.bak")
    backup_database(source, medium, description())
    backup_database(source, medium, description(backup_type=LOG))
    with pytest.raises(WrongSet):
        restore_pages(medium, 2, tmp_path / "pages", frozenset({1}))
    with pytest.raises(WrongSet):
        restore_image(medium, 2, tmp_path / "image")
    with pytest.raises(WrongSet):
        verify_restore([(medium, 2)], tmp_path / "scratch")
    with pytest.raises(WrongSet):
        verify_restore([(medium, 1), (medium, 1)], tmp_path / "scratch")
    with pytest.raises(TargetError):
        verify_restore([(medium, 1)], tmp_path / "missing" / "scratch")
    with pytest.raises(TargetError) as caught:
        apply_log(medium, 2, tmp_path / "gone", 0)
    assert caught.value.errno == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m.bak", "x.db"]


# ---------------------------------------------------------------- undo


def test_nothing_is_undone_where_nothing_was_replaced(source: Path, tmp_path: Path) -> None:
    with pytest.raises(NothingToUndo) as caught:
        undo_restore(source)
    assert caught.value.path == source
    with pytest.raises(NothingToUndo):
        undo_restore(source, tmp_path / "missing.db")


def test_a_copy_that_is_named_comes_back_also_where_the_database_is_gone(
    source: Path, tmp_path: Path
) -> None:
    before = processes.check(source)
    copy = tmp_path / "copy.db"
    copy.write_bytes(source.read_bytes())
    source.unlink()
    asked: list[bool] = []
    undo_restore(source, copy, locked=lambda: asked.append(source.exists()))
    assert asked == [False]
    assert processes.check(source)["content"] == before["content"]
    assert copy.exists()


def test_an_undo_that_cannot_be_leaves_what_is_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy.db"
    processes.build(copy, rows=3)
    before = processes.check(source)
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelled):
        undo_restore(source, copy, cancel=stop)
    with processes.started("hold", source, "write") as process:
        assert processes.read_line(process) == "held"
        with pytest.raises(DatabaseBusy):
            undo_restore(source, copy, busy_milliseconds=0)

    def cancelled() -> None:
        late.set()
        raise InstallFailed(source, "cancelled meanwhile")

    late = threading.Event()
    with pytest.raises(OperationCancelled):
        undo_restore(source, copy, cancel=late, locked=cancelled)
    with monkeypatch.context() as changed:

        def full(descriptor: int) -> None:
            raise OSError(28, os.strerror(28))

        changed.setattr(os, "fsync", full)
        with pytest.raises(TargetError):
            undo_restore(source, copy)
    assert processes.check(source) == before
    assert not list(tmp_path.glob(".*restoring*"))


# ---------------------------------------------------------------- facts and trial restores


def test_a_trial_restore_goes_the_whole_way(tmp_path: Path) -> None:
    history = History(tmp_path / "x.db")
    medium = disk(tmp_path / "m.bak")
    history.work(8)
    full = history.full(8)
    backup_database(history.path, medium, full, log=history.tail(8, meanwhile=lambda: history.work(2)))
    history.work(5)
    begin = history.count
    backup_differential(
        history.path,
        history.changed_since(8),
        medium,
        history.differential(begin, full),
        log=history.tail(begin),
    )
    found = verify_restore([(medium, 1), (medium, 2)], tmp_path / "scratch")
    assert found.problems == ()
    assert found.info.header.description.backup_type == DIFFERENTIAL
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelled):
        verify_restore([(medium, 1)], tmp_path / "scratch", cancel=stop)
    assert not list(tmp_path.glob("scratch*"))
    history.close()


def test_counting_can_be_left_at_any_time(source: Path) -> None:
    counter = FactCounter(source)
    counter.close()
    counter.close()
    counter = FactCounter(source)
    counter.begin()
    counter.close()
    counter = FactCounter(source)
    assert counter.end(None) is None, "it was never begun"
    counter = FactCounter(source)
    counter.begin()
    guid = uuid.uuid4()
    facts = counter.end(lambda name: hidden_name(guid, name), 0)
    assert facts is not None
    assert facts.hidden
    assert not any("plain" in name for name in (*facts.objects, *facts.rows))


def test_a_schema_that_cannot_be_read_is_noted_as_far_as_it_can(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    processes.build(path, rows=3)
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA writable_schema = ON").fetchall()
    connection.execute("UPDATE sqlite_schema SET sql = 'CREATE TABLE plain(' WHERE name = 'plain'").fetchall()
    connection.close()
    medium = disk(tmp_path / "m.bak")
    result = backup_database(path, medium, description())
    assert result.trailer.facts is None
    found = verify_restore([(medium, 1)], tmp_path / "scratch")
    assert any("malformed" in problem for problem in found.problems)
    assert found.compared is None


# ---------------------------------------------------------------- sets that do not hold what they say


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (plan(runs=[run(1, 8)], log=[]), "8 pages instead of 20 are there"),
        (
            plan(kind=layout.PAGE_LIST, log=[], runs=[(1, 2, bytes(2 * (512 + 4)))]),
            "a page list is out of order",
        ),
        (
            plan(kind=layout.PAGE_LIST, log=[], runs=[(2, 1, bytes(pack_page_list([3], bytes(512))))]),
            "a page list does not fit the database",
        ),
        (
            plan(kind=layout.PAGE_LIST, log=[], runs=[(2, 1, bytes(pack_page_list([77], bytes(512))))]),
            "a page list does not fit the database",
        ),
        (plan(log=[dataclasses.replace(BLOCK, data=BLOCK.data[:-1])]), "pages are cut off"),
    ],
)
def test_a_set_that_holds_something_else_than_it_says_is_not_restored(
    tmp_path: Path, wrong: Plan, words: str
) -> None:
    devices = make([tmp_path / "m.bak"], wrong)
    with pytest.raises(MediaDamaged, match=words):
        restore_image(devices, 1, tmp_path / "image")
    assert not (tmp_path / "image").exists()
    if "instead of" not in words:
        with pytest.raises(MediaDamaged, match=words):
            verify_set(devices, 1)


class Failing(DiskDevice):
    """A device that breaks down after so many bytes."""

    def __init__(self, path: Path, left: int) -> None:
        super().__init__(path)
        self.left = left

    def open_read(self) -> ReadHandle:
        handle = super().open_read()
        read = handle.read_at

        def read_at(offset: int, length: int) -> bytes:
            self.left -= length
            if self.left < 0:
                raise DeviceError(self.name, "read", 5, "Input/output error")
            return read(offset, length)

        handle.read_at = read_at  # type: ignore[method-assign]
        return handle


def test_a_restore_goes_on_where_its_device_broke_down(tmp_path: Path, source: Path) -> None:
    medium = disk(tmp_path / "m.bak")
    options = BackupOptions(run_bytes=16384)
    backup_database(source, medium, description(), options)
    restore_image(medium, 1, tmp_path / "whole")
    expected = (tmp_path / "whole").read_bytes()
    image = tmp_path / "image"
    noted: list[RestartPoint] = []
    # Before anything is noted nothing is kept.
    with pytest.raises(DeviceError):
        restore_image(Failing(medium.path, 20_000), 1, image, restart=Restart(noted.append, every=1))
    assert not image.exists()
    assert noted == []
    failing = Failing(medium.path, medium.path.stat().st_size // 2)
    with pytest.raises(DeviceError):
        restore_image(failing, 1, image, restart=Restart(noted.append, every=1))
    assert image.exists()
    point = noted[-1]
    assert 0 < point.records < read_set(medium, 1).trailer.run_count
    progress: list[int] = []
    again = Restart(noted.append, point, every=1 << 30)
    restore_image(medium, 1, image, lambda done, total: progress.append(done), restart=again)
    assert progress[0] == point.size
    assert image.read_bytes() == expected
    # A restore that was cancelled is not gone on with.
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelled):
        restore_image(medium, 1, image, cancel=stop, restart=Restart(noted.append, point))
    assert not image.exists()


def test_what_the_log_of_a_full_backup_writes_is_no_more_as_its_hashes_say(tmp_path: Path) -> None:
    history = History(tmp_path / "x.db")
    folder = maps.map_directory(tmp_path, uuid.uuid4())
    history.work(6)
    full = history.full(6)
    check = SourceCheck()
    backup_database(
        history.path,
        disk(tmp_path / "m.bak"),
        full,
        log=history.tail(6, meanwhile=lambda: history.work(1)),
        page_map=folder,
        check=check,
    )
    known = maps.load(folder, full.set_guid)
    state = memoryview(history.states[-1])
    written = set(history.changed_since(6))
    differing = set(known.changed(1, maps.page_hashes(state, SIZE)))
    assert written
    assert written <= differing
    assert not set(known.differing(1, maps.page_hashes(state, SIZE))) & written
    history.close()


def test_a_database_without_a_page_is_backed_up_too(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    medium = disk(tmp_path / "m.bak")
    backup_database(tmp_path / "empty.db", medium, description(), page_map=tmp_path / "maps" / "x")
    restore_database(medium, 1, tmp_path / "y.db")
    assert (tmp_path / "y.db").read_bytes() == b""


def test_a_trial_restore_rolls_logs_forward_and_forgets_no_problem(tmp_path: Path) -> None:
    history = History(tmp_path / "x.db")
    medium = disk(tmp_path / "m.bak")
    history.work(4)
    backup_database(history.path, medium, history.full(4), log=history.tail(4))
    history.work(6)
    backup_log(history.log(4, 10), medium, history.log_set(4, 10))
    found = verify_restore([(medium, 1), (medium, 2)], tmp_path / "scratch")
    assert found.problems == ()
    assert found.info.header.description.backup_type == LOG
    many = "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500) SELECT i FROM n"
    found = verify_restore([(medium, 1)], tmp_path / "scratch", checks=many)
    assert len(found.problems) == 100
    history.close()


def test_everything_about_a_trial_restore_can_be_cancelled(tmp_path: Path) -> None:
    connection = apsw.Connection(":memory:")
    connection.execute("CREATE TABLE p (id INTEGER PRIMARY KEY); CREATE TABLE c (p REFERENCES p (id))")
    connection.execute(
        "WITH n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)"
        " INSERT INTO c SELECT NULL FROM n"
    )
    devices = disk(tmp_path / "m.bak")
    path = tmp_path / "x.db"
    processes.build(path, rows=3)
    info = backup_database(path, devices, description())
    connection.set_progress_handler(lambda: True, 1)
    facts = ContentFacts(objects={}, rows={"c": 1})
    for attempt in (
        lambda: verification.compare(connection, facts, read_set(devices, 1)),
        lambda: list(verification.foreign_key_problems(connection)),
        lambda: verification.run_checks(connection, "SELECT count(*) FROM c"),
        lambda: verification._counted(connection, "c"),
        lambda: verification._users_tables(connection),
    ):
        with pytest.raises(apsw.InterruptError):
            attempt()
    connection.close()
    assert info.position == 1


def test_tables_that_cannot_be_counted_are_left_out(source: Path) -> None:
    connection = apsw.Connection(str(source))
    assert verification._counted(connection, "missing") is None
    connection.close()


def test_a_backup_that_is_cancelled_while_the_database_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    processes.build(path, journal="delete", rows=3)
    owner = apsw.Connection(str(path))
    owner.execute("BEGIN EXCLUSIVE").fetchall()
    stop = threading.Event()
    stop.set()
    with pytest.raises(OperationCancelled):
        backup_database(path, disk(tmp_path / "m.bak"), description(), cancel=stop)
    owner.close()
    assert not (tmp_path / "m.bak").exists()


def test_a_backup_goes_at_the_pace_that_it_is_given(tmp_path: Path, source: Path) -> None:
    moved: list[int] = []
    medium = disk(tmp_path / "m.bak")
    backup_database(source, DeviceSet((medium,), pace=moved.append), description())
    written = sum(moved)
    assert written >= medium.path.stat().st_size - 1024
    verify_set(DeviceSet((medium,), pace=moved.append), 1)
    assert sum(moved) >= 2 * written - 4096


def test_a_set_of_a_fork_that_does_not_descend_leads_nowhere() -> None:
    one, two, three = (uuid.UUID(int=number) for number in (1, 2, 3))
    start = Point(100, one, None, 0, 0)
    moment = Moment(time_ns=50)
    lines = [
        ForkLine(one, None, None, 0, 0),
        # Of a parent that nobody knows, of itself, and from before the start.
        ForkLine(two, three, 120, 20, 120),
        ForkLine(uuid.UUID(int=5), uuid.UUID(int=5), 120, 30, 120),
        ForkLine(uuid.UUID(int=6), one, 90, 40, 90),
    ]
    path = plans._path(start, lines, moment)
    assert [(stretch.fork, stretch.until) for stretch in path] == [(one, None)]
    assert [stretch.fork for stretch in plans._path(Point(1, three, None, 0, 0), [], moment)] == [three]
