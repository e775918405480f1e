"""Statements that name what is not there, or say a thing twice: refused with SQL Server's numbers, not
accepted silently."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tdsproxy.commands.request import SessionContext
from tdsproxy.tsql.values import DateTime
from tests.commands.support import Workshop, messages, numbers, table

DATABASE = "RESTORE DATABASE r FROM DISK = 'full.bak' WITH MOVE 'd_log' TO 'r.ldf'"
READ_ONLY = ("HEADERONLY", "FILELISTONLY", "LABELONLY", "VERIFYONLY")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A database ``d`` in FULL with a full and a log backup; ``s`` is being restored from them."""
    workshop = Workshop(tmp_path_factory.mktemp("wrong"), logged=True)
    assert numbers(workshop.run("CREATE DATABASE d")) == []
    full = "BACKUP DATABASE d TO DISK = 'full.bak' WITH MEDIANAME = 'ours'"
    assert 3014 in numbers(workshop.run(full))
    assert 3014 in numbers(workshop.run("BACKUP DATABASE d TO DISK = 'diff.bak' WITH DIFFERENTIAL"))
    assert 3014 in numbers(workshop.run("BACKUP LOG d TO DISK = 'log.trn'"))
    begun = (
        "RESTORE DATABASE s FROM DISK = 'full.bak' WITH NORECOVERY, MOVE 'd' TO 's', MOVE 'd_log' TO 's_log'"
    )
    assert 3014 in numbers(workshop.run(begun))
    yield workshop
    workshop.close()


@pytest.mark.parametrize(
    ("text", "expected", "told"),
    [
        (f"{DATABASE}, MOVE 'd' TO 'r.mdf', MOVE 'D' TO 'r2.mdf'", [4353], "for file 'D'. Only a single"),
        (f"{DATABASE}, MOVE 'd' TO ''", [5105, 3156, 3119], "The physical file name '' may be incorrect."),
        ("RESTORE LOG s FROM DISK = 'log.trn' WITH NORECOVERY, MOVE 'x' TO 'y'", [3234], "'x' is not part"),
        ("RESTORE DATABASE s FROM DISK = 'diff.bak' WITH MOVE 'x' TO 'y'", [3234], "of database 's'"),
        ("RESTORE VERIFYONLY FROM DISK = 'full.bak' WITH MOVE 'x' TO 'y'", [3234], "of database 'd'"),
        (f"{DATABASE}, MOVE 'd' TO 'r.mdf', STANDBY = ''", [3170], "The STANDBY filename is invalid."),
        ("BACKUP LOG d TO DISK = 'tail.trn' WITH STANDBY = ' '", [3170], "The STANDBY filename is invalid."),
        ("BACKUP DATABASE d TO DISK = 'x.bak' WITH EXPIREDATE = 5", [3217], "for EXPIREDATE parameter."),
        ("BACKUP GROUP d TO DISK = 'x.bak'", [3015], "BACKUP GROUP is not"),
        ("BACKUP SERVER TO DISK = 'x.bak'", [3015], "BACKUP SERVER is not"),
        ("RESTORE BACKUPSETONLY FROM DISK = 'full.bak'", [3015], "RESTORE BACKUPSETONLY is not"),
        ("RESTORE DATABASE s WITH REPLACE", [3207], "requires at least one backup device."),
        ("RESTORE LOG s", [3207], "requires at least one backup device."),
        ("RESTORE DATABASE s WITH RECOVERY, STOPAT = '2001-02-03'", [4335], "is too early."),
        *(
            (f"RESTORE {form} FROM DISK = 'full.bak' WITH MEDIANAME = 'theirs'", [4037], '"theirs" does not')
            for form in READ_ONLY
        ),
    ],
)
def test_refused(shop: Workshop, text: str, expected: list[int], told: str) -> None:
    replies = shop.run(text)
    assert numbers(replies) == [*expected, 3013]
    assert told in messages(replies)[0].text


@pytest.mark.parametrize("text", ["BACKUP DATABASE d TO", "RESTORE DATABASE d FROM"])
def test_a_virtual_device_is_for_administrators(shop: Workshop, text: str) -> None:
    owner = SessionContext("joe", spid=60, database_roles={"d": frozenset({"db_owner"})})
    assert numbers(shop.run(f"{text} VIRTUAL_DEVICE = 'v'", session=owner)) == [3265, 3013]
    assert numbers(shop.run(f"{text} VIRTUAL_DEVICE = 'v'")) == [3015, 3013]


def test_who_may_not_alter_a_database_may_not_detach_it(shop: Workshop) -> None:
    joe = SessionContext("joe", spid=60)
    assert numbers(shop.run("EXEC sp_detach_db @a1", session=joe, variables={"@a1": "d"})) == [15247]


@pytest.mark.parametrize("form", READ_ONLY)
def test_the_right_media_name_is_accepted(shop: Workshop, form: str) -> None:
    replies = shop.run(f"RESTORE {form} FROM DISK = 'full.bak' WITH MEDIANAME = 'ours'")
    assert numbers(replies) == ([3262] if form == "VERIFYONLY" else [])


def test_a_tail_says_so_in_its_flags(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, logged=True)
    try:
        shop.run("CREATE DATABASE d")
        shop.run("BACKUP DATABASE d TO DISK = 'full.bak'")
        assert 3014 in numbers(shop.run("BACKUP LOG d TO DISK = 'log.trn'"))
        assert 3014 in numbers(shop.run("BACKUP LOG d TO DISK = 'log.trn' WITH NORECOVERY"))
        headers = table(shop.run("RESTORE HEADERONLY FROM DISK = 'log.trn'"))
        assert [header["Flags"] for header in headers] == [512, 512 | 64 | 256]
        assert shop.history("SELECT flags FROM backupset WHERE type = 'L'") == [(512,), (832,)]
    finally:
        shop.close()


def test_names_are_cut_to_their_columns(shop: Workshop) -> None:
    """With a character of two UTF-16 units across the end of what fits."""
    given = {"NAME": 127, "DESCRIPTION": 254, "MEDIANAME": 127, "MEDIADESCRIPTION": 254}
    words = ", ".join(f"{name} = '{'x' * count}\U0001f600tail'" for name, count in given.items())
    for _ in range(2):
        assert 3014 in numbers(shop.run(f"BACKUP DATABASE d TO DISK = 'names.bak' WITH COPY_ONLY, {words}"))
    (_, header) = table(shop.run("RESTORE HEADERONLY FROM DISK = 'names.bak'"))
    (label,) = table(shop.run("RESTORE LABELONLY FROM DISK = 'names.bak'"))
    assert (header["BackupName"], header["BackupDescription"]) == ("x" * 127, "x" * 254)
    assert (label["MediaName"], label["MediaDescription"]) == ("x" * 127, "x" * 254)
    whole = f"RESTORE VERIFYONLY FROM DISK = 'names.bak' WITH MEDIANAME = '{'x' * 127}\U0001f600tail'"
    assert numbers(shop.run(whole)) == [3262]


@pytest.mark.parametrize("place", ["DISK = @v", "DISK = 'x.bak' WITH NAME = @v"])
def test_bytes_are_no_text(shop: Workshop, place: str) -> None:
    replies = shop.run(f"BACKUP DATABASE d TO {place}", variables={"@v": b"a.bak"})
    assert numbers(replies) == [257, 3013]
    assert "data type varbinary to nvarchar" in messages(replies)[0].text


def test_values_of_other_types_become_text_as_conversions_write_it(shop: Workshop) -> None:
    variables = {"@n": DateTime.of(dt.datetime(2026, 1, 2, 3, 4)), "@d": UUID(int=10)}
    text = "BACKUP DATABASE d TO DISK = 'types.bak' WITH COPY_ONLY, NAME = @n, DESCRIPTION = @d"
    assert 3014 in numbers(shop.run(text, variables=variables))
    (header,) = table(shop.run("RESTORE HEADERONLY FROM DISK = 'types.bak'"))
    assert header["BackupName"] == "Jan  2 2026  3:04AM"
    assert header["BackupDescription"] == "00000000-0000-0000-0000-00000000000A"
