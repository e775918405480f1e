"""A folder as an object store: what is shown of it when its disk fails, and what killed writers left."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.objects.errors import ObjectError
from tdsproxy.objects.folder import FolderBucket
from tdsproxy.objects.lease import SECONDS, Lease


def test_a_folder_that_cannot_be_read_is_not_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = FolderBucket(tmp_path)
    bucket.write("former/1", b"x")
    assert [item.key for item in bucket.list("former")] == ["former/1"]
    assert [item.key for item in bucket.list("nothing")] == []
    assert [item.key for item in bucket.list("former/1")] == []
    scan = os.scandir

    def failing(path: Any) -> Iterator[Any]:
        if str(path).endswith("former"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return scan(path)

    monkeypatch.setattr(os, "scandir", failing)
    for prefix in ("former", ""):
        with pytest.raises(ObjectError):
            list(bucket.list(prefix))


def test_what_a_killed_writer_has_begun_goes_after_a_day(tmp_path: Path) -> None:
    bucket = FolderBucket(tmp_path)
    bucket.write("one/a", b"x")
    old, young, other = (tmp_path / name for name in ("one/.writing-1", "one/.writing-2", ".writing-3"))
    for path, age in ((old, 90000), (young, 80000), (other, 90000)):
        path.write_bytes(b"half of it")
        at = (tmp_path / "one" / "a").stat().st_mtime - age
        os.utime(path, (at, at))
    bucket.tidy("one/")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        ".writing-2",
        ".writing-3",
        "a",
    ]
    bucket.tidy("")
    assert not other.exists()
    assert young.exists()
    bucket.tidy("not/there")


def test_a_lease_is_renewed_when_the_clock_is_put_back(tmp_path: Path) -> None:
    """Others would see it as over."""
    bucket = FolderBucket(tmp_path)
    now = [10_000.0]
    held = Lease(bucket, "lease.json", "first", "first", lambda: now[0])
    held.keep()
    held.prove()
    before = bucket.read_all("lease.json")
    now[0] += SECONDS / 3
    held.keep()
    assert bucket.read_all("lease.json") == before
    now[0] = 5_000.0
    held.keep()
    assert bucket.read_all("lease.json") != before
    before = bucket.read_all("lease.json")
    now[0] += SECONDS / 3
    held.keep()
    assert bucket.read_all("lease.json") == before
    now[0] += SECONDS
    held.keep()
    assert bucket.read_all("lease.json") != before
    assert held.epoch == 1
