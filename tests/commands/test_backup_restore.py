"""BACKUP and RESTORE as SQL Server 2022 answers them: the expected messages are those of captures."""

from __future__ import annotations

import re
import threading
from dataclasses import replace
from decimal import Decimal

import pytest

from tdsproxy.catalog.databases import DatabaseState, UserAccess
from tdsproxy.commands.dispatch import run
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.store import crashpoints
from tdsproxy.tsql.replies import Done, Message
from tests.commands.support import ADMIN, Workshop, dones, messages, numbers, table

FOO = "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT NOT NULL); INSERT INTO t(v) VALUES ('a'), ('b')"
BACKUP = "BACKUP DATABASE foo TO DISK=N'/tmp/foo.bak' WITH FORMAT, NAME=N'foo', COMPRESSION"
MOVE = (
    "MOVE N'foo' TO N'/var/opt/mssql/data/foo_copy.mdf', "
    "MOVE N'foo_log' TO N'/var/opt/mssql/data/foo_copy.ldf'"
)


@pytest.fixture
def foo(shop: Workshop) -> Workshop:
    """With database foo, and its backup in /tmp/foo.bak."""
    shop.run("CREATE DATABASE foo")
    shop.fill("foo", FOO)
    assert 3014 in numbers(shop.run(BACKUP))
    return shop


def normal(text: str) -> str:
    """Counts, times and rates as the captures write them."""
    text = re.sub(r"rocessed \d+ pages", "rocessed <n> pages", text)
    return re.sub(r"in \d+\.\d{3} seconds \(\d+\.\d{3} MB/sec\)", "in <t> seconds (<r> MB/sec)", text)


def test_each_info_message_of_a_backup_has_a_done_of_its_own(foo: Workshop) -> None:
    replies = foo.run(BACKUP)
    assert [type(reply) for reply in replies] == [Message, Done] * 3
    assert {(done.command, done.count, done.error) for done in dones(replies)} == {(228, None, False)}
    assert [(m.number, m.severity, m.state, normal(m.text)) for m in messages(replies)] == [
        (4035, 0, 1, "Processed <n> pages for database 'foo', file 'foo' on file 1."),
        (4035, 0, 1, "Processed <n> pages for database 'foo', file 'foo_log' on file 1."),
        (
            3014,
            0,
            1,
            "BACKUP DATABASE successfully processed <n> pages in <t> seconds (<r> MB/sec).",
        ),
    ]


def test_progress_comes_before_the_summaries(foo: Workshop) -> None:
    replies = foo.run(
        "BACKUP DATABASE foo TO DISK=N'/tmp/foo.bak'"
        " WITH STATS=50, DESCRIPTION=N'second', CHECKSUM, COPY_ONLY"
    )
    assert numbers(replies) == [3211, 3211, 4035, 4035, 3014]
    assert [m.text for m in messages(replies)[:2]] == ["50 percent processed.", "100 percent processed."]
    assert messages(replies)[2].text.endswith("on file 2.")


def test_headeronly_lists_the_sets_with_their_marks(foo: Workshop) -> None:
    foo.run("BACKUP DATABASE foo TO DISK=N'/tmp/foo.bak' WITH DESCRIPTION=N'second', CHECKSUM, COPY_ONLY")
    replies = foo.run("RESTORE HEADERONLY FROM DISK=N'/tmp/foo.bak'")
    assert [(d.command, d.count) for d in dones(replies)] == [(230, 2), (250, None)]
    first, second = table(replies)
    assert len(first) == 59
    assert (first["BackupName"], first["Flags"], first["Compressed"]) == ("foo", 512, 1)
    # On a compressed medium later sets are compressed without being asked.
    assert (second["BackupName"], second["Flags"], second["Compressed"]) == (None, 1552, 1)
    assert (second["BackupDescription"], second["Position"]) == ("second", 2)
    assert first["CompressionAlgorithm"] == "ZSTD"
    assert first["ServerName"] == "SERVER"
    assert first["MachineName"] == "MACHINE"
    assert first["FamilyGUID"] == second["FamilyGUID"]
    assert isinstance(first["FirstLSN"], Decimal)
    assert first["FirstLSN"] <= first["CheckpointLSN"] <= first["LastLSN"] < second["FirstLSN"]
    assert first["DatabaseBackupLSN"] == 0
    assert second["DatabaseBackupLSN"] == first["CheckpointLSN"]


def test_an_uncompressed_set_says_so(foo: Workshop) -> None:
    foo.run("BACKUP DATABASE foo TO DISK='/tmp/plain.bak' WITH INIT")
    (row,) = table(foo.run("RESTORE HEADERONLY FROM DISK='/tmp/plain.bak'"))
    assert (row["Compressed"], row["CompressionAlgorithm"]) == (0, None)
    assert numbers(foo.run("BACKUP DATABASE foo TO DISK='/tmp/plain.bak' WITH COMPRESSION")) == [3098, 3013]


def test_filelistonly_shows_a_data_and_a_log_file(foo: Workshop) -> None:
    replies = foo.run("RESTORE FILELISTONLY FROM DISK=N'/tmp/foo.bak' WITH FILE=1, NOUNLOAD")
    assert [(d.command, d.count) for d in dones(replies)] == [(230, 2), (376, None)]
    data, log = table(replies)
    assert (data["LogicalName"], data["PhysicalName"], data["Type"], data["FileGroupName"]) == (
        "foo",
        "/var/opt/mssql/data/foo.mdf",
        "D",
        "PRIMARY",
    )
    assert (log["LogicalName"], log["PhysicalName"], log["Type"], log["FileGroupName"]) == (
        "foo_log",
        "/var/opt/mssql/data/foo_log.ldf",
        "L",
        None,
    )
    assert (data["MaxSize"], log["MaxSize"]) == (35184372080640, 2199023255552)
    assert (data["FileId"], log["FileId"]) == (1, 2)


def test_restore_under_a_new_name(foo: Workshop) -> None:
    replies = foo.run(
        f"RESTORE DATABASE foo_copy FROM DISK=N'/tmp/foo.bak' WITH REPLACE, {MOVE}, RECOVERY, STATS=50"
    )
    assert [(m.number, normal(m.text)) for m in messages(replies)] == [
        (3211, "50 percent processed."),
        (3211, "100 percent processed."),
        (4035, "Processed <n> pages for database 'foo_copy', file 'foo' on file 1."),
        (4035, "Processed <n> pages for database 'foo_copy', file 'foo_log' on file 1."),
        (3014, "RESTORE DATABASE successfully processed <n> pages in <t> seconds (<r> MB/sec)."),
    ]
    assert [type(reply) for reply in replies] == [Message, Done] * 5
    assert foo.rows("foo_copy", "SELECT id, v FROM t ORDER BY id") == [[1, "a"], [2, "b"]]
    source, copy = foo.catalog.databases.find("foo"), foo.catalog.databases.find("FOO_COPY")
    assert source is not None
    assert copy is not None
    assert copy.family == source.family
    assert copy.fork != source.fork
    assert copy.data_path == "/var/opt/mssql/data/foo_copy.mdf"
    # The same family needs no REPLACE.
    again = foo.run(f"RESTORE DATABASE foo_copy FROM DISK=N'/tmp/foo.bak' WITH {MOVE}")
    assert numbers(again) == [4035, 4035, 3014]


def test_restore_brings_the_old_rows_back(foo: Workshop) -> None:
    foo.fill("foo", "DELETE FROM t")
    assert 3014 in numbers(foo.run("RESTORE DATABASE foo FROM DISK='/tmp/foo.bak' WITH REPLACE"))
    assert foo.rows("foo", "SELECT count(*) FROM t") == [[2]]


def test_msdb_knows_the_backup_and_the_restores(foo: Workshop) -> None:
    foo.run(f"RESTORE DATABASE foo_copy FROM DISK=N'/tmp/foo.bak' WITH REPLACE, {MOVE}")
    (backup,) = foo.history(
        "SELECT s.name, s.type, s.position, s.flags, s.user_name, s.compression_algorithm,"
        " m.is_compressed, f.physical_device_name, f.device_type FROM backupset s"
        " JOIN backupmediaset m USING (media_set_id) JOIN backupmediafamily f USING (media_set_id)"
    )
    assert backup == ("foo", "D", 1, 512, "sa", "ZSTD", 1, "/tmp/foo.bak", 2)
    files = foo.history("SELECT logical_name, file_type, page_size, physical_drive FROM backupfile")
    assert files == [("foo", "D", 8192, "C:\\"), ("foo_log", "L", None, "C:\\")]
    (restored,) = foo.history(
        'SELECT destination_database_name, user_name, restore_type, "replace", recovery, restart,'
        " device_count, backup_set_id FROM restorehistory"
    )
    assert restored == ("foo_copy", "sa", "D", 1, 1, 0, 1, 1)
    assert foo.history("SELECT destination_phys_name FROM restorefile") == [
        ("/var/opt/mssql/data/foo_copy.mdf",),
        ("/var/opt/mssql/data/foo_copy.ldf",),
    ]


def test_history_is_there_before_the_last_message(foo: Workshop) -> None:
    seen = []
    for reply in run(NativeRequest("BACKUP DATABASE foo TO DISK='/tmp/2.bak'", ADMIN), foo.env):
        if isinstance(reply, Message) and reply.number == 3014:
            seen = foo.history("SELECT count(*) FROM backupset")
    assert seen == [(2,)]


CAPTURED_REFUSALS = {
    "RESTORE DATABASE bar FROM DISK=N'/tmp/foo.bak' WITH MOVE N'foo' TO N'/var/opt/mssql/data/b.mdf'": [
        (3154, 4, "The backup set holds a backup of a database other than the existing 'bar' database."),
    ],
    "RESTORE DATABASE foo_y FROM DISK=N'/tmp/foo.bak'": [
        (
            1834,
            1,
            "The file '/var/opt/mssql/data/foo.mdf' cannot be overwritten.  It is being used by database"
            " 'foo'.",
        ),
        (
            3156,
            4,
            "File 'foo' cannot be restored to '/var/opt/mssql/data/foo.mdf'. Use WITH MOVE to identify a"
            " valid location for the file.",
        ),
        (
            1834,
            1,
            "The file '/var/opt/mssql/data/foo_log.ldf' cannot be overwritten.  It is being used by database"
            " 'foo'.",
        ),
        (
            3156,
            4,
            "File 'foo_log' cannot be restored to '/var/opt/mssql/data/foo_log.ldf'. Use WITH MOVE to"
            " identify a valid location for the file.",
        ),
        (
            3119,
            1,
            "Problems were identified while planning for the RESTORE statement. Previous messages provide"
            " details.",
        ),
    ],
    "RESTORE DATABASE foo_x FROM DISK=N'/tmp/nope.bak'": [
        (
            3201,
            2,
            "Cannot open backup device '/tmp/nope.bak'. Operating system error 2(The system cannot find the"
            " file specified.).",
        ),
    ],
    "RESTORE DATABASE foo_z FROM DISK=N'/tmp/foo.bak' WITH MOVE N'nope' TO N'/var/opt/mssql/data/z.mdf'": [
        (
            3234,
            2,
            "Logical file 'nope' is not part of database 'foo_z'. Use RESTORE FILELISTONLY to list the"
            " logical file names.",
        ),
    ],
    "BACKUP DATABASE nosuch TO DISK=N'/tmp/x.bak'": [
        (911, 11, "Database 'nosuch' does not exist. Make sure that the name is entered correctly."),
    ],
    "BACKUP LOG bar TO DISK=N'/tmp/barlog.bak'": [
        (
            4208,
            1,
            "The statement BACKUP LOG is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE"
            " or change the recovery model using ALTER DATABASE.",
        ),
    ],
    "BACKUP DATABASE foo TO DISK=N'/nodir/x.bak'": [
        (
            3201,
            1,
            "Cannot open backup device '/nodir/x.bak'. Operating system error 5(Access is denied.).",
        ),
    ],
    "RESTORE DATABASE foo FROM DISK=N'/tmp/foo.bak' WITH FILE=3, REPLACE": [
        (3287, 1, "The file ID 3 on device '/tmp/foo.bak' is incorrectly formed and can not be read."),
    ],
    "RESTORE HEADERONLY FROM DISK=N'/tmp/nope.bak'": [
        (
            3201,
            2,
            "Cannot open backup device '/tmp/nope.bak'. Operating system error 2(The system cannot find the"
            " file specified.).",
        ),
    ],
}
ENDS = {
    "BACKUP DATABASE": (228, "BACKUP DATABASE"),
    "BACKUP LOG": (235, "BACKUP LOG"),
    "RESTORE DATABASE": (229, "RESTORE DATABASE"),
    "RESTORE HEADERONLY": (250, "RESTORE HEADERONLY"),
}


@pytest.mark.parametrize("statement", CAPTURED_REFUSALS)
def test_refusals_are_those_of_the_captures(foo: Workshop, statement: str) -> None:
    foo.run("CREATE DATABASE bar")
    before = sorted(path.name for path in foo.media.iterdir())
    replies = foo.run(statement)
    command, name = ENDS[" ".join(statement.split()[:2])]
    *specific, last = messages(replies)
    assert [(m.number, m.state, m.text) for m in specific] == CAPTURED_REFUSALS[statement]
    assert {m.severity for m in messages(replies)} == {16}
    assert (last.number, last.state, last.text) == (3013, 1, f"{name} is terminating abnormally.")
    assert dones(replies) == [Done(command, error=True)]
    assert replies[-1] == dones(replies)[0]
    assert sorted(path.name for path in foo.media.iterdir()) == before


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        ("BACKUP DATABASE foo TO DISK=N'/tmp/x.bak'", 228),
        ("RESTORE DATABASE foo FROM DISK=N'/tmp/foo.bak' WITH REPLACE", 229),
    ],
)
def test_nothing_runs_in_a_transaction(foo: Workshop, statement: str, command: int) -> None:
    replies = foo.run(statement, in_transaction=True)
    assert [(m.number, m.state) for m in messages(replies)] == [(3021, 0), (3013, 1)]
    assert dones(replies) == [Done(command, error=True)]


def test_restore_over_a_database_in_use(foo: Workshop) -> None:
    restore = "RESTORE DATABASE foo FROM DISK=N'/tmp/foo.bak' WITH REPLACE"
    own = foo.run(restore, database="foo")
    assert messages(own)[0].text == (
        "RESTORE cannot process database 'foo' because it is in use by this session. It is recommended that "
        "the master database be used when performing this operation."
    )
    assert numbers(own) == [3102, 3013]
    foo.sessions.databases[77] = "FOO"
    assert numbers(foo.run(restore)) == [3101, 3013]
    del foo.sessions.databases[77]
    assert 3014 in numbers(foo.run(restore))


def test_an_unknown_option_is_a_parse_error(foo: Workshop) -> None:
    replies = foo.run("BACKUP DATABASE foo TO DISK=N'/tmp/x.bak' WITH BOGUS", line=7)
    (only,) = messages(replies)
    assert (only.number, only.severity, only.line) == (155, 15, 7)
    assert only.text == "'BOGUS' is not a recognized BACKUP option."
    assert dones(replies) == [Done(253, error=True)]


def test_verifyonly(foo: Workshop) -> None:
    replies = foo.run("RESTORE VERIFYONLY FROM DISK=N'/tmp/foo.bak' WITH FILE=1, NOUNLOAD, NOREWIND")
    assert [m.text for m in messages(replies)] == ["The backup set on file 1 is valid."]
    assert dones(replies) == [Done(377)]
    assert numbers(foo.run("RESTORE VERIFYONLY FROM DISK='/tmp/foo.bak' WITH CHECKSUM")) == [3187, 3013]


def test_a_changed_byte_is_refused_wherever_it_lies(foo: Workshop) -> None:
    path = foo.media / "foo.bak"
    sound = path.read_bytes()
    for offset in range(0, len(sound), max(1, len(sound) // 25)):
        damaged = bytearray(sound)
        damaged[offset] ^= 0x41
        path.write_bytes(damaged)
        replies = foo.run("RESTORE DATABASE foo FROM DISK='/tmp/foo.bak' WITH REPLACE")
        assert dones(replies)[-1].error, offset
        errors = [number for number in numbers(replies) if number]
        assert errors[0] in (3183, 3189, 3241, 3254, 3287), offset
        assert errors[1:] == [3013], offset
    assert foo.rows("foo", "SELECT count(*) FROM t") == [[2]]


def test_media_that_is_not_ours(foo: Workshop) -> None:
    (foo.media / "text.bak").write_bytes(b"hello world" * 1000)
    for statement in (
        "RESTORE DATABASE foo FROM DISK='/tmp/text.bak' WITH REPLACE",
        "RESTORE HEADERONLY FROM DISK='/tmp/text.bak'",
        "BACKUP DATABASE foo TO DISK='/tmp/text.bak'",
        "BACKUP DATABASE foo TO DISK='/tmp/text.bak' WITH INIT",
    ):
        replies = foo.run(statement)
        assert numbers(replies) == [3241, 3013], statement
        assert messages(replies)[0].text == (
            "The media family on device '/tmp/text.bak' is incorrectly formed. SQL Server cannot process "
            "this media family."
        )
    assert 3014 in numbers(foo.run("BACKUP DATABASE foo TO DISK='/tmp/text.bak' WITH FORMAT"))


def test_expiry_and_media_name_guard_a_medium(foo: Workshop) -> None:
    disk = "TO DISK='/tmp/kept.bak'"
    foo.run(f"BACKUP DATABASE foo {disk} WITH MEDIANAME='one', RETAINDAYS=3")
    refused = foo.run(f"BACKUP DATABASE foo {disk} WITH INIT")
    assert numbers(refused) == [4030, 3013]
    assert numbers(foo.run(f"BACKUP DATABASE foo {disk} WITH MEDIANAME='two'")) == [4037, 3013]
    assert 3014 in numbers(foo.run(f"BACKUP DATABASE foo {disk} WITH NOINIT"))
    assert 3014 in numbers(foo.run(f"BACKUP DATABASE foo {disk} WITH INIT, SKIP"))
    (only,) = table(foo.run("RESTORE HEADERONLY FROM DISK='/tmp/kept.bak'"))
    assert only["Position"] == 1


@pytest.mark.parametrize(
    ("options", "number"),
    [
        ("STATS=0", 3250),
        ("STATS=101", 3250),
        ("BLOCKSIZE=1000", 3253),
        ("RETAINDAYS=100000", 3250),
        ("INIT, NOINIT", 3031),
        ("NORECOVERY", 3032),
        ("ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = c)", 15151),
    ],
)
def test_options_out_of_range_or_not_there(foo: Workshop, options: str, number: int) -> None:
    replies = foo.run(f"BACKUP DATABASE foo TO DISK='/tmp/o.bak' WITH {options}")
    assert numbers(replies) == [number, 3013]
    assert not (foo.media / "o.bak").exists()


def test_a_differential_needs_a_full_backup(shop: Workshop) -> None:
    shop.run("CREATE DATABASE d")
    assert numbers(shop.run("BACKUP DATABASE d TO DISK='/tmp/d.bak' WITH DIFFERENTIAL")) == [3035, 3013]


def test_options_of_another_form_are_named(foo: Workshop) -> None:
    replies = foo.run("RESTORE HEADERONLY FROM DISK='/tmp/foo.bak' WITH MOVE 'a' TO 'b', RECOVERY")
    assert numbers(replies) == [3032, 3013]
    assert "(move, recovery)" in messages(replies)[0].text


def test_variables_are_operands(foo: Workshop) -> None:
    text = "BACKUP DATABASE @db TO DISK = @file WITH NAME = @n, STATS = @s"
    values = {"@db": "foo", "@file": "/tmp/v.bak", "@n": None, "@s": 100}
    assert numbers(foo.run(text, variables=values)) == [3211, 4035, 4035, 3014]
    missing = foo.run(text, variables={"@db": "foo"})
    assert numbers(missing) == [137]
    assert dones(missing) == [Done(253, error=True)]


def test_rights(foo: Workshop) -> None:
    foo.run("CREATE DATABASE bar")
    guest = SessionContext("joe", spid=60)
    reader = SessionContext("joe", spid=60, database_roles={"foo": frozenset({"db_datareader"})})
    operator = SessionContext("joe", spid=60, database_roles={"FOO": frozenset({"db_backupoperator"})})
    creator = SessionContext("joe", spid=60, server_roles=frozenset({"dbcreator"}))
    backup = "BACKUP DATABASE foo TO DISK='/tmp/r.bak'"
    assert numbers(foo.run(backup, session=guest)) == [916, 3013]
    denied = foo.run(backup, session=reader)
    assert numbers(denied) == [262, 3013]
    assert messages(denied)[0].text == "BACKUP DATABASE permission denied in database 'foo'."
    assert numbers(foo.run(backup, session=operator)) == [4035, 4035, 3014]
    restore = "RESTORE DATABASE foo FROM DISK='/tmp/foo.bak' WITH REPLACE"
    assert numbers(foo.run(restore, session=operator)) == [3110, 3013]
    assert 3014 in numbers(foo.run(restore, session=creator))
    new = f"RESTORE DATABASE fresh FROM DISK='/tmp/foo.bak' WITH {MOVE}"
    assert numbers(foo.run(new, session=operator)) == [262, 3013]
    assert numbers(foo.run("RESTORE HEADERONLY FROM DISK='/tmp/foo.bak'", session=operator)) == [262, 3013]
    assert numbers(foo.run("CREATE DATABASE mine", session=operator)) == [262]


def test_norecovery_and_recovery(foo: Workshop) -> None:
    foo.run(f"RESTORE DATABASE c FROM DISK='/tmp/foo.bak' WITH NORECOVERY, {MOVE}")
    restoring = foo.catalog.databases.find("c")
    assert restoring is not None
    assert restoring.state is DatabaseState.RESTORING
    assert numbers(foo.run("BACKUP DATABASE c TO DISK='/tmp/c.bak'")) == [927, 3013]
    assert numbers(foo.run("RESTORE LOG c FROM DISK='/tmp/foo.bak'"))[-1] == 3013
    done = foo.run("RESTORE DATABASE c WITH RECOVERY")
    assert "successfully processed 0 pages" in messages(done)[0].text
    assert numbers(foo.run("RESTORE DATABASE c WITH RECOVERY")) == [3153, 3013]
    foo.run("RESTORE DATABASE c FROM DISK='/tmp/foo.bak' WITH RESTRICTED_USER, " + MOVE)
    online = foo.catalog.databases.find("c")
    assert online is not None
    assert (online.state, online.user_access) == (DatabaseState.ONLINE, UserAccess.RESTRICTED_USER)


def test_a_second_operation_on_a_database_is_refused(foo: Workshop) -> None:
    with foo.env.locks.hold("Foo") as free:
        assert free
        assert numbers(foo.run("BACKUP DATABASE foo TO DISK='/tmp/x.bak'")) == [3023, 3013]
        assert numbers(foo.run("RESTORE DATABASE foo FROM DISK='/tmp/foo.bak'")) == [3101, 3013]
        assert numbers(foo.run("DROP DATABASE foo")) == [3702]
    assert 3014 in numbers(foo.run("BACKUP DATABASE foo TO DISK='/tmp/x.bak'"))


def test_a_cancelled_backup_leaves_nothing(foo: Workshop) -> None:
    foo.fill("foo", "CREATE TABLE big(b BLOB); INSERT INTO big VALUES (randomblob(8000000))")
    cancelled = threading.Event()
    cancelled.set()
    replies = foo.run("BACKUP DATABASE foo TO DISK='/tmp/gone.bak' WITH STATS=1", cancelled=cancelled)
    assert numbers(replies)[-2:] == [3204, 3013]
    assert not (foo.media / "gone.bak").exists()
    assert len(table(foo.run("RESTORE HEADERONLY FROM DISK='/tmp/foo.bak'"))) == 1


def test_closing_the_replies_cancels(foo: Workshop, monkeypatch: pytest.MonkeyPatch) -> None:
    foo.fill("foo", "CREATE TABLE big(b BLOB); INSERT INTO big VALUES (randomblob(30000000))")
    env = replace(foo.env, cancelled=threading.Event())
    runs: list[str] = []

    def reach(name: str) -> None:
        """However late they are closed: it does not come to its end before."""
        if name == "backup.run-written":
            runs.append(name)
            assert len(runs) < 3 or env.cancelled.wait(60)

    monkeypatch.setattr(crashpoints, "reach", reach)
    text = "BACKUP DATABASE foo TO DISK='/tmp/foo.bak' WITH STATS=1, NOINIT"
    replies = run(NativeRequest(text, ADMIN), env)
    assert next(replies) == Message(3211, 0, 1, "1 percent processed.", 1)
    replies.close()
    assert len(table(foo.run("RESTORE HEADERONLY FROM DISK='/tmp/foo.bak'"))) == 1
    assert foo.history("SELECT count(*) FROM backupset") == [(1,)]
