"""Killed at any point, the capture goes on afterwards without a gap, or says that there is one."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tdsproxy.log import lsn as lsns
from tdsproxy.log import roll
from tdsproxy.log.archive import Archive
from tdsproxy.store.crashpoints import VARIABLE
from tests.log import capture_process, support

pytestmark = pytest.mark.slow

SCRIPT = Path(capture_process.__file__)
ROOT = SCRIPT.parent.parent.parent
POINTS = [
    "log.append:40",
    "log.before-sync",
    "log.after-sync:2",
    "log.captured:60",
    "log.copied",
    "log.barrier",
    "log.checkpointed",
]


LIMIT = 120


def grown(journal: Path, beyond: int) -> None:
    """Waits until a writer has committed more."""
    deadline = time.monotonic() + LIMIT
    while not journal.exists() or journal.stat().st_size <= beyond:
        assert time.monotonic() < deadline, "no commit"
        time.sleep(0.001)


@contextmanager
def capture(
    path: Path, directory: Path, crash_at: str = "", checkpoint_bytes: int = 4 << 20
) -> Iterator[subprocess.Popen[str]]:
    """A process that captures; killed at the end, or at the named place."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), VARIABLE: crash_at}
    process = subprocess.Popen(
        [sys.executable, str(SCRIPT), str(path), str(directory), str(checkpoint_bytes)],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline().strip() == "ready"
        # Without it writers soon wait, however long it takes until there is another.
        following = path.with_name(f"{path.name}.capturing.new")
        following.write_text(str(process.pid))
        following.replace(path.with_name(f"{path.name}.capturing"))
        yield process
    finally:
        process.kill()
        process.communicate(timeout=60)


def check(
    path: Path, directory: Path, full: Path, first: int, journals: list[Path], tmp_path: Path
) -> list[str]:
    """Capture the rest here. What is there without a gap must be right; returns why there are gaps, and
    without any, everything that was acknowledged must be there."""
    archive = Archive(directory, support.DATABASE, support.FORK, lsns.FIRST)
    with support.capturing(path, archive) as capturer:
        end = capturer.capture_now()
    lines = support.journal_lines(journals)
    gaps = archive.gaps()
    image = tmp_path / "now.db"
    shutil.copy(full, image)
    roll.apply(image, archive.read(first, gaps[0].lsn if gaps else end))
    support.make_plain(image)
    found = support.verify(journals, [image])[str(image)]
    archive.close()
    assert found[1], found
    assert gaps or found[0] == len(lines)
    return [gap.reason for gap in gaps]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("empty") / "x.db"
    support.run("init", path, "{}")
    return path


def prepared(empty: Path, tmp_path: Path) -> tuple[Path, Path, Path, int]:
    """(database, archive's directory, full image, its first LSN)."""
    path = tmp_path / "x.db"
    shutil.copy(empty, path)
    archive = support.open_archive(tmp_path)
    full = tmp_path / "full.db"
    with support.capturing(path, archive) as capturer:
        first, _ = support.full_image(path, capturer, full)
    archive.close()
    return path, archive.directory, full, first


@pytest.fixture
def kept(empty: Path, tmp_path: Path) -> Iterator[tuple[Path, Path, Path, int]]:
    """As ``prepared``, while another process has the database open."""
    found = prepared(empty, tmp_path)
    keeper = support.start("keep", found[0])
    yield found
    keeper.kill()
    keeper.communicate()


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_named_point_nothing_is_missing(
    tmp_path: Path, kept: tuple[Path, Path, Path, int], point: str
) -> None:
    path, directory, full, first = kept
    journal = tmp_path / "journal"
    with capture(path, directory, point) as process:
        # Nobody but the capture checkpoints.
        writer = support.start("write", path, journal, 7, LIMIT, 0)
        process.wait(timeout=LIMIT)
    assert process.returncode == -9
    (tmp_path / "journal.stop").touch()
    support.finish([writer])
    with capture(path, directory):
        pass
    assert check(path, directory, full, first, [journal], tmp_path) == []


@pytest.mark.parametrize("autocheckpoint", [0, 100])
def test_killed_at_random_while_others_write(
    tmp_path: Path, kept: tuple[Path, Path, Path, int], autocheckpoint: int
) -> None:
    path, directory, full, first = kept
    journals = [tmp_path / f"journal{number}" for number in range(2)]
    rng = random.Random(4)
    with capture(path, directory):
        writers = [
            support.start("write", path, journal, 11 + number, LIMIT, autocheckpoint)
            for number, journal in enumerate(journals)
        ]
    for _ in range(6):
        # With so much of the former generation left in the WAL, it shows that it was reset only once.
        with capture(path, directory, checkpoint_bytes=1 << 19 if autocheckpoint else 8 << 20):
            time.sleep(rng.uniform(0.02, 0.3))
    for journal in journals:
        Path(f"{journal}.stop").touch()
    support.finish(writers)
    gaps = check(path, directory, full, first, journals, tmp_path)
    assert autocheckpoint or gaps == []


def test_a_killed_writer_harms_nothing(tmp_path: Path, empty: Path) -> None:
    path, directory, _, first = prepared(empty, tmp_path)
    journals = [tmp_path / f"journal{number}" for number in range(5)]
    rng = random.Random(9)
    with capture(path, directory) as process:
        for number, journal in enumerate(journals):
            writer = support.start("write", path, journal, 20 + number, LIMIT)
            grown(journal, 0)
            time.sleep(rng.uniform(0.1, 0.4))
            writer.kill()
            writer.communicate()
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        assert int(process.stdout.readline()) > first
    archive = Archive(directory, support.DATABASE, support.FORK, 0)
    assert archive.gaps() == ()
    archive.close()
