"""What goes wrong below, in SQL Server's words."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tdsproxy.backup.errors import InsufficientSpace, OperationCancelled, TargetError, WrongSet
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.media_failures import backup_media_failure, media_failure, sql_failures
from tdsproxy.media import errors as media
from tdsproxy.store.errors import DatabaseBusy, DatabaseMissing, InstallFailed
from tests.commands.support import Workshop, messages, numbers, table

FULL = "112(There is not enough space on the disk.)"


def lines(error: CommandError) -> list[tuple[int, int, str]]:
    return [(m.number, m.state, m.text) for m in error.messages]


@pytest.mark.parametrize(
    ("error", "number", "part"),
    [
        (media.DeviceError("d", "write", errno.ENOSPC, ""), 3202, f'Write on "d" failed: {FULL}'),
        (media.DeviceError("d", "write", errno.EIO, ""), 3202, "1117("),
        (media.DeviceError("d", "read", errno.EIO, ""), 3203, 'Read on "d" failed: 1117('),
        (media.MediaMissing("d", "open", errno.ENOENT, ""), 3201, "2(The system cannot find the file"),
        (media.DeviceError("d", "open", errno.EACCES, ""), 3201, "5(Access is denied.)"),
        (media.NotMedia("d", ""), 3241, "'d'"),
        (media.UnsupportedVersion("d", ""), 3241, "'d'"),
        (media.MediaEmpty("d", ""), 3254, "'d'"),
        (media.SetMissing("d", 4, 2), 3287, "The file ID 4 on device 'd'"),
        (media.MediaDamaged("d", "media header", 0, ""), 3241, "'d'"),
        (media.MediaDamaged("d", "index", 9, ""), 3189, "Damage"),
        (media.MediaDamaged("d", "pages", 9, "", page=7), 3183, '(1:7) in database "x"'),
        (media.MediaDamaged("d", "pages", 9, "", cut_off=True), 3203, "38(Reached the end of the file.)"),
        (media.FamiliesMissing("d", 3, 2), 3132, "has 3 media families but only 2"),
        (media.FamilyCountWrong("d", 1, 2), 3231, "support 1 media families, but 2"),
        (media.FamilyTwice("d", 2, "e"), 3227, '"d" is part of media family 2 which has already'),
        (media.ForeignFamily("d", ""), 3258, '"d" is not part'),
        (media.SetMismatch("d", 2, 1), 3232, "sequence number 1 of media family 2"),
        (media.MirrorsMissing("d", ""), 3240, "all mirrors"),
        (media.NotMirrored("d", ""), 3215, "WITH FORMAT"),
        (media.MediaIncompatible("d", "encryption", ""), 3095, "'ENCRYPTION'"),
        (media.MediaIncompatible("d", "encrypted", ""), 3097, "incompatible version"),
    ],
)
def test_media(error: media.MediaError, number: int, part: str) -> None:
    *places, (found, _, text) = lines(media_failure(error, "x"))
    assert found == number
    assert part in text
    damaged = isinstance(error, media.MediaDamaged)
    assert [place[0] for place in places] == ([0] if damaged else [])
    if damaged:
        assert f"at byte {error.offset} of 'd'" in places[0][2]


def test_media_that_are_written() -> None:
    missing = backup_media_failure(media.MediaMissing("d", "open", errno.ENOENT, ""), None)
    assert lines(missing)[0][:2] == (3201, 1)
    assert "5(Access is denied.)" in lines(missing)[0][2]
    mixed = backup_media_failure(media.MediaIncompatible("d", "compression", ""), True)
    assert "because 'COMPRESSION' was requested" in lines(mixed)[0][2]
    damaged = backup_media_failure(media.MediaDamaged("d", "pages", 9, ""), None)
    assert [line[0] for line in lines(damaged)] == [0, 3266]


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (OperationCancelled(""), [3204]),
        (DatabaseBusy(Path("x"), ""), [3101]),
        (DatabaseMissing(Path("x"), ""), [945]),
        (InstallFailed(Path("x"), ""), [3271]),
        (TargetError(Path("x"), errno.ENOSPC, ""), [3202]),
        (InsufficientSpace(Path("/s/x.db"), 10, 5), [3257, 3119]),
        (WrongSet(2), [3135]),
    ],
)
def test_operations(error: Exception, expected: list[int]) -> None:
    with pytest.raises(CommandError) as caught, sql_failures("d", "/var/opt/mssql/data/d.mdf"):
        raise error
    assert [number for number, _, _ in lines(caught.value)] == expected


SCRIPT = """
import json, resource, sys
from pathlib import Path
import apsw
from tests.commands.support import Workshop, messages
shop = Workshop(Path(sys.argv[1]))
shop.run("CREATE DATABASE d")
assert 3014 in [m.number for m in messages(shop.run("BACKUP DATABASE d TO DISK='/tmp/d.bak'"))]
c = apsw.Connection(str(shop.store / "d.db"))
c.execute("CREATE TABLE t(b); INSERT INTO t VALUES (randomblob(3000000)); PRAGMA wal_checkpoint(TRUNCATE)")
c.close()
resource.setrlimit(resource.RLIMIT_FSIZE, (1000000, 1000000))
found = shop.run("BACKUP DATABASE d TO DISK='/tmp/d.bak' WITH STATS = 100")
print(json.dumps([m.text for m in messages(found)]))
"""


def test_a_full_disk_leaves_earlier_sets(tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the kernel refuses in the middle of a write."""
    root = str(Path(__file__).resolve().parent.parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        timeout=60,
        env=os.environ | {"PYTHONPATH": root},
    )
    assert done.returncode == 0, done.stderr.decode()
    texts = json.loads(done.stdout)
    assert texts == [
        f'Write on "/tmp/d.bak" failed: {FULL}',
        "BACKUP DATABASE is terminating abnormally.",
    ]
    (tmp_path / "again").mkdir()
    shop = Workshop(tmp_path / "again")
    (tmp_path / "media" / "d.bak").rename(shop.media / "d.bak")
    assert len(table(shop.run("RESTORE HEADERONLY FROM DISK='/tmp/d.bak'"))) == 1
    assert numbers(shop.run("RESTORE VERIFYONLY FROM DISK='/tmp/d.bak'")) == [3262]
    shop.catalog.close()


def test_history_that_cannot_be_written(shop: Workshop) -> None:
    shop.run("CREATE DATABASE d")
    shop.catalog._msdb.read("DROP TABLE backupfilegroup")
    replies = shop.run("BACKUP DATABASE d TO DISK='/tmp/d.bak'")
    assert numbers(replies) == [4035, 4035, 3009, 3014]


def test_the_null_device(shop: Workshop) -> None:
    shop.run("CREATE DATABASE d")
    assert numbers(shop.run("BACKUP DATABASE d TO DISK='NUL' WITH COMPRESSION")) == [4035, 4035, 3014]
    assert shop.history("SELECT physical_device_name FROM backupmediafamily") == [("NUL",)]
    assert numbers(shop.run("RESTORE HEADERONLY FROM DISK='NUL'")) == [3254, 3013]


@pytest.mark.parametrize("name", ["master", "msdb", "model"])
def test_system_databases_can_be_backed_up(shop: Workshop, name: str) -> None:
    assert numbers(shop.run(f"BACKUP DATABASE {name} TO DISK='{name}.bak'")) == [4035, 4035, 3014]
    assert messages(shop.run(f"RESTORE VERIFYONLY FROM DISK='{name}.bak'"))[0].number == 3262


def test_tempdb_and_master_are_special(shop: Workshop) -> None:
    assert numbers(shop.run("BACKUP DATABASE tempdb TO DISK='x.bak'")) == [3147, 3013]
    shop.run("BACKUP DATABASE master TO DISK='m.bak'")
    assert numbers(shop.run("RESTORE DATABASE master FROM DISK='m.bak'")) == [3108, 3013]
    assert numbers(shop.run("BACKUP LOG master TO DISK='x.bak'")) == [4212, 3013]
    assert numbers(shop.run("BACKUP DATABASE master TO DISK='x.bak' WITH DIFFERENTIAL")) == [3024, 3013]
