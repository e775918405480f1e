from __future__ import annotations

import uuid
from pathlib import Path

import apsw
import pytest

from tdsproxy.backup.errors import BaseMissing, OperationCancelled, WrongSet
from tdsproxy.backup.operations import (
    BackupOptions,
    apply_differential,
    backup_database,
    backup_differential,
    restore_image,
    verify_set,
)
from tdsproxy.backup.page_map import load, map_directory, remove_maps
from tests.backup.history import History, state_of
from tests.backup.making import disk


@pytest.mark.parametrize(
    ("page_size", "auto_vacuum", "compression"), [(4096, 0, False), (512, 1, True), (65536, 2, False)]
)
def test_a_differential_by_the_log(
    tmp_path: Path, page_size: int, auto_vacuum: int, compression: bool
) -> None:
    """Both backups run while others commit: each restores the state at its LastLSN."""
    history = History(tmp_path / "x.db", page_size=page_size, auto_vacuum=auto_vacuum)
    medium = disk(tmp_path / "m.bak")
    options = BackupOptions(compression=compression)
    history.work(25)
    full = history.full(25)
    backup_database(
        history.path, medium, full, options, log=history.tail(25, meanwhile=lambda: history.work(3))
    )
    history.work(12)
    begin = history.count
    result = backup_differential(
        history.path,
        history.changed_since(25),
        medium,
        history.differential(begin, full),
        options,
        log=history.tail(begin, meanwhile=lambda: history.work(4)),
    )
    assert result.last_lsn == history.lsn(begin + 4)
    assert result.trailer.transaction_count == 4
    assert verify_set(medium, 2).header == result.header
    image = tmp_path / "image"
    restore_image(medium, 1, image)
    assert image.read_bytes() == history.states[28]
    info = apply_differential(medium, 2, image).info
    assert info.trailer == result.trailer
    assert image.read_bytes() == history.states[begin + 4]
    history.close()


def test_only_what_changed_is_stored(tmp_path: Path) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    for _ in range(400):
        history.connection.execute("INSERT INTO t(body) VALUES(randomblob(9000))").fetchall()
    history.states[-1] = state_of(history.path)
    maps = tmp_path / "maps"
    full = history.full(0)
    complete = backup_database(history.path, medium, full, page_map=maps)
    pages = complete.header.image.page_count
    for row in (3, 90, 91, 250):
        history.commit("UPDATE t SET body = zeroblob(9000) WHERE id = ?", row)
    changed = {number for item in history.transactions for number, _ in item.pages}
    assert 8 <= len(changed) <= 20
    by_log = backup_differential(
        history.path, [*changed, 0, pages + 9], medium, history.differential(4, full)
    )
    by_hash = backup_differential(history.path, None, medium, history.differential(4, full), page_map=maps)
    for position, result in ((2, by_log), (3, by_hash)):
        assert result.trailer.page_count == len(changed)
        assert result.header.description.files[0].backup_size == len(changed) * 4096
        assert result.trailer.stored_size < complete.trailer.stored_size * len(changed) / pages * 1.1 + 4096
        image = tmp_path / f"image{position}"
        restore_image(medium, 1, image)
        apply_differential(medium, position, image)
        assert image.read_bytes() == history.states[-1]
    history.close()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_differentials_by_hashes_build_on_each_other(tmp_path: Path, journal: str) -> None:
    """A page that is as in the base again, but was not in an earlier differential, comes back, too."""
    path, medium = tmp_path / "x.db", disk(tmp_path / "m.bak")
    maps = map_directory(tmp_path, uuid.uuid4())
    history = History(tmp_path / "describer.db")
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA journal_mode={journal}").fetchall()
    connection.execute("CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)").fetchall()
    for _ in range(60):
        connection.execute("INSERT INTO t(body) VALUES(zeroblob(4000))").fetchall()
    full = history.full(0)
    backup_database(path, medium, full, page_map=maps)
    states = [state_of(path)]
    for statement in (
        "UPDATE t SET body = randomblob(4000) WHERE id IN (5, 40)",
        "UPDATE t SET body = zeroblob(4000) WHERE id = 5",
        "DELETE FROM t WHERE id > 30",
        "VACUUM",
        "INSERT INTO t(body) SELECT randomblob(4000) FROM t",
    ):
        connection.execute(statement).fetchall()
        backup_differential(path, None, medium, history.differential(0, full), page_map=maps)
        states.append(state_of(path))
    for chain in ([1], [1, 2], [1, 2, 3, 4, 5], [2, 4], [5], [3, 5]):
        image = tmp_path / "image"
        restore_image(medium, 1, image)
        for number in chain:
            apply_differential(medium, number + 1, image)
        assert image.read_bytes() == states[chain[-1]]
    connection.close()
    history.close()


def test_hashes_belong_to_one_full_backup(tmp_path: Path) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    maps = map_directory(tmp_path, history.database)
    fulls = [history.full(0) for _ in range(3)]
    for full in fulls:
        backup_database(history.path, medium, full, page_map=maps)
    copy_only = history.full(0)
    backup_database(history.path, medium, copy_only)
    assert load(maps, fulls[2].set_guid).page_count == len(history.states[0]) // 4096
    load(maps, fulls[1].set_guid)
    for base in (fulls[0], copy_only):
        with pytest.raises(BaseMissing):
            backup_differential(history.path, None, medium, history.differential(0, base), page_map=maps)
    path = maps / f"{fulls[2].set_guid}.map"
    content = bytearray(path.read_bytes())
    for at in (0, 20, 30, 70, len(content) - 1):
        changed = bytearray(content)
        changed[at] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BaseMissing):
            load(maps, fulls[2].set_guid)
    path.write_bytes(content[:40])
    with pytest.raises(BaseMissing):
        load(maps, fulls[2].set_guid)
    remove_maps(tmp_path, history.database)
    remove_maps(tmp_path, history.database)
    with pytest.raises(BaseMissing):
        load(maps, fulls[1].set_guid)
    history.close()


def test_a_backup_that_fails_leaves_the_hashes(tmp_path: Path) -> None:
    """The hashes of a full backup exist only if it does; a failed one does not take the old ones away."""
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    maps = tmp_path / "maps"
    full = history.full(0)
    backup_database(history.path, medium, full, page_map=maps)
    before = {path.name: path.read_bytes() for path in maps.iterdir()}

    def fail(done: int, total: int) -> None:
        if done == total:
            raise OperationCancelled("enough")

    with pytest.raises(OperationCancelled):
        backup_database(history.path, medium, history.full(0), progress=fail, page_map=maps)
    history.work(3)
    with pytest.raises(OperationCancelled):
        backup_differential(
            history.path, None, medium, history.differential(3, full), progress=fail, page_map=maps
        )
    assert {path.name: path.read_bytes() for path in maps.iterdir()} == before
    history.close()


def test_a_full_set_is_no_differential(tmp_path: Path) -> None:
    history, medium = History(tmp_path / "x.db"), disk(tmp_path / "m.bak")
    full = history.full(0)
    backup_database(history.path, medium, full)
    backup_differential(history.path, [1], medium, history.differential(0, full))
    image = tmp_path / "image"
    restore_image(medium, 1, image)
    before = image.read_bytes()
    with pytest.raises(WrongSet):
        apply_differential(medium, 1, image)
    with pytest.raises(WrongSet):
        restore_image(medium, 2, tmp_path / "other")
    assert image.read_bytes() == before
    assert not (tmp_path / "other").exists()
    history.close()
