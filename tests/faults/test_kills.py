"""Killed at any durable step, a backup or restore leaves the old or the new, never half."""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from tdsproxy.backup.operations import (
    BackupOptions,
    backup_database,
    read_headers,
    restore_database,
    verify_set,
)
from tdsproxy.store.crashpoints import VARIABLE
from tests.backup.making import description, disk
from tests.store import processes

SCRIPT = Path(__file__).with_name("operate.py")
ROWS = 500


@functools.cache
def _server() -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), "serve"],
        env={name: value for name, value in os.environ.items() if name != VARIABLE},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    atexit.register(_end, process)
    return process


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(60)


@dataclass(frozen=True)
class Done:
    returncode: int
    stdout: str


def operate(*arguments: object, crash_at: str = "") -> Done:
    """One operation in a process of its own."""
    process = _server()
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps([[str(argument) for argument in arguments], crash_at]) + "\n")
    process.stdin.flush()
    status, printed = json.loads(process.stdout.readline())
    return Done(status, printed)


def operate_alone(*arguments: object) -> Done:
    """One operation in a process that never did anything else."""
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    return Done(done.returncode, done.stdout)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of a few MiB, so of several runs."""
    path = tmp_path_factory.mktemp("built") / "x.db"
    processes.build(path, rows=ROWS)
    return path


BACKUP_POINTS = [
    "backup.header-written",
    "backup.run-written",
    "backup.run-written:3",
    "backup.trailer-written",
    "backup.synced",
    "backup.closed",
    "backup.before-publish",
    "backup.published",
]


@pytest.mark.parametrize(
    ("point", "mode"),
    [*((point, "append") for point in BACKUP_POINTS), *((point, "init") for point in BACKUP_POINTS[-3:])],
)
def test_a_killed_backup_leaves_earlier_sets(tmp_path: Path, built: Path, point: str, mode: str) -> None:
    killed_backup(tmp_path, built, point, mode)


@pytest.mark.parametrize("point", ["backup.run-written", "backup.synced", "backup.closed"])
def test_a_killed_first_backup(tmp_path: Path, built: Path, point: str) -> None:
    killed_backup(tmp_path, built, point, "new")


def killed_backup(tmp_path: Path, source: Path, point: str, mode: str) -> None:
    medium = disk(tmp_path / "m.bak")
    if mode != "new":
        backup_database(source, medium, description(name="old"))
    done = operate("backup", source, medium.path, mode, crash_at=point)
    assert done.returncode == -signal.SIGKILL
    assert "done" not in done.stdout
    names = []
    if medium.path.exists() and medium.path.stat().st_size:
        info = read_headers(medium)
        assert info.damage is None
        for item in info.sets:
            verify_set(medium, item.position)
            names.append(item.header.description.database_name)
    old = [] if mode == "new" else ["old"]
    assert names in ([*old, "new"], old, ["new"] if mode != "append" else old)
    if point == "backup.published":
        assert names == (["new"] if mode == "init" else [*old, "new"])
    # The next backup finds its way, and leaves nothing of the dead one.
    backup_database(source, medium, description(name="new"), BackupOptions(init=mode == "init"))
    after = [item.header.description.database_name for item in read_headers(medium).sets]
    assert after == (["new"] if mode == "init" else [*names, "new"])
    assert [path.name for path in tmp_path.iterdir()] == ["m.bak"]


RESTORE_POINTS = {
    "restore.run-written:2": "old",
    "restore.image-written": "old",
    "restore.image-ready": "old",
    "install.locked": "old",
    "install.alone": "old",
    "install.former-kept": "old",
    "install.renamed": "new",
    "install.undo-kept": "old",
    "install.copying": "old",
    "install.after-commit": "new",
}
OPEN_POINTS = ("install.locked", "install.undo-kept", "install.copying", "install.after-commit")
"""Passed, too, when another process has the database open, and some only then."""


@pytest.mark.parametrize(
    ("point", "journal", "is_open"),
    [
        *((point, "wal", False) for point in RESTORE_POINTS if point not in OPEN_POINTS[1:3]),
        *((point, "wal", True) for point in OPEN_POINTS),
        ("install.copying", "delete", False),
        ("install.locked", "delete", False),
    ],
)
def test_a_killed_restore_leaves_old_or_new(
    tmp_path: Path, built: Path, point: str, journal: str, is_open: bool
) -> None:
    target, medium = tmp_path / "y.db", disk(tmp_path / "m.bak")
    processes.build(target, rows=30, journal=journal)
    backup_database(built, medium, description())
    old = processes.check(target)["content"]
    with contextlib.ExitStack() as others:
        if is_open:
            reader = others.enter_context(processes.started("hold", target, "read"))
            assert processes.read_line(reader) == "held"
        done = operate("restore", medium.path, target, crash_at=point)
    assert done.returncode == -signal.SIGKILL
    found = processes.check(target)
    assert found["integrity"] == ["ok"]
    assert (found["content"] == old) == (RESTORE_POINTS[point] == "old")
    assert len(found["content"]["plain"]) in (30, ROWS)
    restore_database(medium, 1, target, replace=True)
    assert len(processes.check(target)["content"]["plain"]) == ROWS
    assert {path.name for path in tmp_path.iterdir()} == {"y.db", "m.bak", ".undo"}
    assert len(list((tmp_path / ".undo").iterdir())) == 1


@pytest.mark.parametrize(
    ("point", "exists"),
    [("restore.image-written", False), ("install.before-rename", False), ("install.after-rename", True)],
)
def test_a_killed_restore_to_a_new_name(tmp_path: Path, built: Path, point: str, exists: bool) -> None:
    target, medium = tmp_path / "y.db", disk(tmp_path / "m.bak")
    backup_database(built, medium, description())
    assert operate("restore", medium.path, target, crash_at=point).returncode == -signal.SIGKILL
    assert target.exists() == exists
    restore_database(medium, 1, target, replace=True)
    assert len(processes.check(target)["content"]["plain"]) == ROWS
    assert {path.name for path in tmp_path.iterdir()} <= {"y.db", "m.bak", ".undo"}


@pytest.mark.parametrize("mode", ["new", "append", "init"])
def test_a_full_disk_harms_nothing(tmp_path: Path, built: Path, mode: str) -> None:
    source, medium = built, disk(tmp_path / "m.bak")
    if mode != "new":
        backup_database(source, medium, description(name="old"))
    before = medium.path.read_bytes() if mode != "new" else None
    size = len(before or b"")
    # Not below what the WAL index takes.
    for limit in (50_000, 2_000_000):
        # Appending starts behind what is there; the limit counts from the start of the file.
        limit += size if mode == "append" else 0
        done = operate("backup", source, medium.path, mode, f"limit={limit}")
        assert done.returncode == 1
        assert done.stdout.startswith("DeviceError")
        assert "write failed: 27(" in done.stdout
        assert (medium.path.read_bytes() if medium.path.exists() else None) == before
    assert {path.name for path in tmp_path.iterdir()} <= {"m.bak"}


def test_a_full_disk_harms_no_restore(tmp_path: Path, built: Path) -> None:
    source, target, medium = built, tmp_path / "y.db", disk(tmp_path / "m.bak")
    processes.build(target, rows=30)
    backup_database(source, medium, description())
    old = processes.check(target)
    image = source.stat().st_size
    for limit, is_open in ((1000, False), (image // 2, False), (image + 100, True)):
        with contextlib.ExitStack() as others:
            if is_open:
                # The pages go through the WAL, which needs more room than they do.
                reader = others.enter_context(processes.started("hold", target, "read"))
                assert processes.read_line(reader) == "held"
            done = operate("restore", medium.path, target, f"limit={limit}")
        assert done.returncode == 1, done.stdout
        assert done.stdout.split()[0] in ("TargetError", "InstallFailed"), done.stdout
        assert processes.check(target) == old
        assert not (tmp_path / ".y.db.restoring").exists()
    for limit in (image // 2,):
        done = operate("restore", medium.path, tmp_path / "z.db", f"limit={limit}")
        assert done.stdout.startswith("TargetError")
        assert not (tmp_path / "z.db").exists()


@pytest.mark.slow
def test_memory_does_not_grow_with_the_database(tmp_path: Path) -> None:
    peaks: dict[str, list[int]] = {"backup": [], "restore": []}
    for size in (2, 40):
        source, medium = tmp_path / f"{size}.db", tmp_path / f"{size}.bak"
        processes.build(source, rows=5, megabytes=size)
        for command, arguments in (
            ("backup", (source, medium, "zstd")),
            ("restore", (medium, tmp_path / f"{size}-restored.db")),
        ):
            done = operate_alone(command, *arguments)
            assert done.stdout.startswith("done"), done.stdout
            peaks[command].append(int(done.stdout.split()[1]))
    for small, large in peaks.values():
        assert large - small < 20 << 10, "more than 20 MiB more for a database of 40 MiB"
