"""Killed at any step of a log or differential backup, of a restore sequence or of an undo: what was
acknowledged before is whole, and the step can be done again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tdsproxy.backup.operations import (
    apply_differential,
    apply_log,
    backup_database,
    backup_log,
    read_headers,
    restore_database,
    restore_image,
    undo_restore,
    verify_set,
)
from tdsproxy.store.install import remove_leftovers
from tests.backup.history import state_of
from tests.backup.making import description, disk
from tests.faults.operate import transactions
from tests.faults.test_kills import operate
from tests.store import processes


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("database") / "x.db"
    processes.build(path, rows=200)
    return path


@pytest.mark.parametrize(
    ("point", "acknowledged"),
    [
        ("backup.log-written:2", False),
        ("backup.trailer-written", None),
        ("backup.synced", None),
        ("backup.published", True),
    ],
)
def test_a_killed_log_backup(tmp_path: Path, point: str, acknowledged: bool | None) -> None:
    medium = disk(tmp_path / "m.bak")
    backup_log(transactions(3), medium, description(name="old"))
    assert operate("log", medium.path, 9, crash_at=point).returncode == -signal.SIGKILL
    info = read_headers(medium)
    assert info.damage is None
    for item in info.sets:
        verify_set(medium, item.position)
    names = [item.header.description.database_name for item in info.sets]
    assert names in (["old"], ["old", "new"])
    if acknowledged is not None:
        assert names == (["old", "new"] if acknowledged else ["old"])
    result = backup_log(transactions(5), medium, description(name="next"))
    assert result.position == len(names) + 1
    assert verify_set(medium, result.position).trailer.transaction_count == 5


@pytest.mark.parametrize("point", ["backup.run-written", "backup.map-kept", "backup.closed"])
def test_a_killed_differential_can_be_made_again(tmp_path: Path, point: str) -> None:
    source, medium, maps = tmp_path / "y.db", tmp_path / "m.bak", tmp_path / "maps"
    processes.build(source, rows=120)
    assert operate("backup", source, medium, f"map={maps}").stdout.startswith("done")
    processes.run("commit", source, "3")
    killed = operate("differential", source, medium, f"map={maps}", crash_at=point)
    assert killed.returncode == -signal.SIGKILL
    processes.run("commit", source, "3")
    assert operate("differential", source, medium, f"map={maps}").stdout.startswith("done")
    image = tmp_path / "image"
    restore_image(disk(medium), 1, image)
    apply_differential(disk(medium), len(read_headers(disk(medium)).sets), image)
    assert image.read_bytes() == state_of(source)


@pytest.mark.parametrize("point", ["restore.run-written:2", "restore.image-written", "restore.image-rolled"])
def test_a_killed_first_step_is_begun_again(tmp_path: Path, database: Path, point: str) -> None:
    medium, image = disk(tmp_path / "m.bak"), tmp_path / "image"
    backup_database(database, medium, description())
    assert operate("image", medium.path, image, crash_at=point).returncode == -signal.SIGKILL
    restore_image(medium, 1, image)
    assert image.read_bytes() == state_of(database)


@pytest.mark.parametrize("point", ["restore.pages-written", "restore.differential-written"])
def test_a_killed_differential_step_is_repeated(tmp_path: Path, point: str) -> None:
    source, medium, maps = tmp_path / "y.db", tmp_path / "m.bak", tmp_path / "maps"
    processes.build(source, rows=120)
    operate("backup", source, medium, f"map={maps}")
    processes.run("commit", source, "9")
    operate("differential", source, medium, f"map={maps}")
    image = tmp_path / "image"
    restore_image(disk(medium), 1, image)
    assert operate("apply", medium, 2, image, crash_at=point).returncode == -signal.SIGKILL
    apply_differential(disk(medium), 2, image)
    assert image.read_bytes() == state_of(source)


def test_a_killed_roll_forward_is_repeated(tmp_path: Path) -> None:
    medium, image, expected = disk(tmp_path / "m.bak"), tmp_path / "image", tmp_path / "expected"
    backup_log(transactions(20), medium, description(first_lsn=1, last_lsn=21))
    for path in (image, expected):
        path.write_bytes(bytes(4096 * 900))
    apply_log(medium, 1, expected, 1)
    assert (
        operate("apply", medium.path, 1, image, crash_at="restore.log-rolled").returncode == -signal.SIGKILL
    )
    # As if only some of the pages had come to the disk.
    content = bytearray(image.read_bytes())
    content[4096 * 10 : 4096 * 30] = bytes(4096 * 20)
    image.write_bytes(content)
    assert apply_log(medium, 1, image, 1).redo_lsn == 21
    assert image.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("point", "undone"),
    [("undo.copied", False), ("install.former-kept", False), ("install.renamed", True)],
)
def test_a_killed_undo_loses_nothing(tmp_path: Path, database: Path, point: str, undone: bool) -> None:
    """There is always the old content in one of the two places, and the new in the other."""
    target, medium = tmp_path / "y.db", disk(tmp_path / "m.bak")
    processes.build(target, rows=30)
    backup_database(database, medium, description())
    kept = restore_database(medium, 1, target, replace=True).undo
    assert kept is not None
    assert operate("undo", target, crash_at=point).returncode == -signal.SIGKILL
    assert len(processes.check(target)["content"]["plain"]) == (30 if undone else 200)
    remove_leftovers(tmp_path)
    if not undone:
        assert kept.exists()
        undo_restore(target, kept)
    found = processes.check(target)
    assert (len(found["content"]["plain"]), found["integrity"]) == (30, ["ok"])
    undo_restore(target)
    assert len(processes.check(target)["content"]["plain"]) == 200
