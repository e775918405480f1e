"""Errors of the operating system at any write or sync: reported as such, and nothing is harmed."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.backup.errors import InsufficientSpace, TargetError
from tdsproxy.backup.operations import (
    BackupOptions,
    backup_database,
    read_headers,
    restore_database,
    verify_set,
)
from tdsproxy.media.errors import DeviceError
from tdsproxy.store.errors import InstallFailed
from tests.backup.making import description, disk
from tests.store import processes


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "x.db"
    processes.build(path, rows=700)
    return path


class Failing:
    """Makes the n-th call of a function of ``os`` fail with ``number``; counts the calls."""

    def __init__(self, name: str, at: int, number: int, patch: pytest.MonkeyPatch) -> None:
        self.calls = 0
        self._at = at
        self._number = number
        self._real: Callable[..., Any] = getattr(os, name)
        patch.setattr(os, name, self)

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        if self.calls == self._at:
            raise OSError(self._number, os.strerror(self._number))
        return self._real(*arguments)


def error_of(work: Callable[[], object], *expected: type[Exception]) -> Exception | None:
    """The error in which ``work`` ends, which must be one of ``expected``; None if it ends well."""
    try:
        work()
    except expected as error:
        return error
    return None


@pytest.mark.parametrize("mode", ["new", "append", "init"])
@pytest.mark.parametrize(
    ("function", "number"),
    [("writev", errno.ENOSPC), ("fsync", errno.EIO), ("pwrite", errno.EIO), ("ftruncate", errno.EIO)],
)
def test_a_failing_write_of_a_backup(
    tmp_path: Path, source: Path, function: str, number: int, mode: str
) -> None:
    medium = disk(tmp_path / "m.bak")
    if mode != "new":
        backup_database(source, medium, description(name="old"))
    before = medium.path.read_bytes() if mode != "new" else None
    failed = 0
    for at in range(1, 30):
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(function, at, number, patch)
            error = error_of(
                lambda: backup_database(
                    source, medium, description(name="new"), BackupOptions(init=mode == "init")
                ),
                DeviceError,
            )
        if error is None:
            assert failing.calls < at
            break
        assert isinstance(error, DeviceError)
        assert (error.errno, error.operation) == (number, "write")
        failed += 1
        # The last sync is that of the directory: then the set is there already, and is a whole one.
        if medium.path.exists() and medium.path.read_bytes() != before:
            assert function == "fsync"
            names = [item.header.description.database_name for item in read_headers(medium).sets]
            assert names[-1] == "new"
            assert verify_set(medium, len(names))
            return
        assert sorted(path.name for path in tmp_path.iterdir()) == (["m.bak"] if before else [])
    assert failed > 0 or (function, mode) in [("ftruncate", "init")]


@pytest.mark.parametrize(("function", "number"), [("pwrite", errno.ENOSPC), ("fsync", errno.EIO)])
@pytest.mark.parametrize("existing", [False, True])
def test_a_failing_write_of_a_restore(
    tmp_path: Path, source: Path, function: str, number: int, existing: bool
) -> None:
    medium, target = disk(tmp_path / "m.bak"), tmp_path / "y.db"
    backup_database(source, medium, description())
    if existing:
        processes.build(target, rows=3)
    for at in range(1, 20):
        with pytest.MonkeyPatch.context() as patch:
            failing = Failing(function, at, number, patch)
            error = error_of(
                lambda: restore_database(medium, 1, target, replace=True), TargetError, InstallFailed
            )
        if error is None:
            assert len(processes.check(target)["content"]["plain"]) == 700
            if failing.calls < at:
                break
            # What fails while a rename is prepared leaves the way through SQLite.
            assert existing
            target.unlink()
            processes.build(target, rows=3)
            continue
        assert isinstance(error, InstallFailed) or getattr(error, "errno", None) == number
        if target.exists() and not existing:
            # Only making the rename durable failed.
            assert function == "fsync"
            break
        if existing:
            assert len(processes.check(target)["content"]["plain"]) == 3
        assert not list(tmp_path.glob(".y.db*"))
        assert not list(tmp_path.glob(".undo/.*"))
    assert len(processes.check(target)["content"]["plain"]) == 700


def test_space_is_checked_before_anything_is_written(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium, target = disk(tmp_path / "m.bak"), tmp_path / "y.db"
    backup_database(source, medium, description())
    real = os.statvfs(tmp_path)

    class Full:
        f_bavail = 2
        f_frsize = real.f_frsize

    monkeypatch.setattr(os, "statvfs", lambda path: Full())
    with pytest.raises(InsufficientSpace) as caught:
        restore_database(medium, 1, target)
    assert caught.value.free == 2 * real.f_frsize
    assert caught.value.needed == source.stat().st_size
    assert not target.exists()
