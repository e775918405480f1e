"""The SQL Tools Service does with this server what it does with SQL Server: Azure Data Studio's object tree,
query window, scripts, and the backup and restore dialogs, which are SMO's, as in Management Studio.

One process of the service serves them all, as the editor's does. SMO itself is asked where the service has no
word.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytds
import pytest

from tests.clients import smo
from tests.clients.available import CLIENTS, need
from tests.clients.sql_tools_service import (
    CANCELED,
    FAILED,
    SUCCEEDED,
    Json,
    Service,
    ServiceError,
    connected,
)
from tests.running import Running, running

pytestmark = pytest.mark.slow

HOME = CLIENTS / "sqltools"
SCHEMA = (
    "CREATE DATABASE Shop",
    "ALTER DATABASE Shop SET RECOVERY FULL",
    """CREATE TABLE dbo.Customer (Id int IDENTITY(10, 5) NOT NULL CONSTRAINT PK_Customer PRIMARY KEY,
       Name nvarchar(50) NOT NULL CONSTRAINT UQ_Name UNIQUE, Born date NULL,
       Amount decimal(10, 2) NULL CONSTRAINT DF_Amount DEFAULT 0)""",
    """CREATE TABLE dbo.Orders (Id int NOT NULL CONSTRAINT PK_Orders PRIMARY KEY,
       CustomerId int NOT NULL CONSTRAINT FK_Customer REFERENCES dbo.Customer (Id) ON DELETE CASCADE,
       Note varchar(max) NULL, CONSTRAINT CK_Id CHECK (Id > 0))""",
    "CREATE INDEX IX_Born ON dbo.Customer (Born DESC) INCLUDE (Amount)",
    "CREATE VIEW dbo.Names AS SELECT Id, Name FROM dbo.Customer",
    "CREATE PROCEDURE dbo.Find @Id int, @Name nvarchar(50) AS SELECT * FROM dbo.Customer WHERE Id = @Id",
    "CREATE FUNCTION dbo.Twice (@n int) RETURNS int AS BEGIN RETURN @n * 2 END",
    "CREATE TRIGGER dbo.Said ON dbo.Orders AFTER INSERT AS PRINT 'an order'",
    "INSERT dbo.Customer (Name, Born) VALUES (N'Ann', '2001-02-03'), (N'Zoë', NULL)",
)


def run(server: Running, *texts: str, database: str = "Shop") -> list[tuple[Any, ...]]:
    """The rows of the last result set."""
    found: list[tuple[Any, ...]] = []
    with server.connect(database=database) as connection, connection.cursor() as cursor:
        for text in texts:
            cursor.execute(text)
            while True:
                if cursor.description:
                    found = [tuple(row) for row in cursor.fetchall()]
                if not cursor.nextset():
                    break
    return found


def make(server: Running) -> None:
    for text in SCHEMA:
        run(server, text, database="master" if "DATABASE" in text else "Shop")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    need("sql-tools-service")
    with running(tmp_path_factory.mktemp("tools") / "store") as found:
        make(found)
        yield found


@pytest.fixture(scope="module")
def service(server: Running) -> Iterator[Service]:
    with connected(HOME, server.host, server.port, server.password, database="Shop") as found:
        yield found


def bak(server: Running, name: str) -> str:
    return str(server.backup_directory / name)


# --- connections and queries


def test_connection(server: Running, service: Service) -> None:
    about = service.about
    assert about["connectionSummary"]["databaseName"] == "Shop"
    info = about["serverInfo"]
    assert (info["serverMajorVersion"], info["engineEditionId"], info["isCloud"]) == (16, 3, False)
    assert info["serverEdition"] == "Developer Edition (64-bit)"
    assert set(service.databases()) >= {"master", "model", "msdb", "tempdb", "Shop"}


def test_connections_that_are_refused(server: Running, service: Service) -> None:
    with pytest.raises(ServiceError, match="Login failed for user 'sa'"):
        service.connect(server.host, server.port, "wrong")
    with pytest.raises(ServiceError, match='Cannot open database "Nowhere"'):
        service.connect(server.host, server.port, server.password, database="Nowhere")
    # TLS, with a certificate that nobody has signed.
    service.connect(server.host, server.port, server.password, database="Shop", encrypt=True)
    asked = "SELECT encrypt_option FROM sys.dm_exec_connections WHERE session_id = @@SPID"
    assert service.query(asked).rows == [[["TRUE"]]]
    service.disconnect()
    service.connect(server.host, server.port, server.password, database="Shop")


def test_query_window(service: Service) -> None:
    text = (
        "SELECT Name, Born, Amount FROM dbo.Customer ORDER BY Id; PRINT 'hello'\nGO\n\nSELECT 1/0\nGO 2\n"
        "SELECT CAST(1.5 AS money) m, CAST('2020-01-02T03:04:05.678' AS datetime2(3)) t,"
        " CAST(0x0A0B AS varbinary(8)) b, CAST('<a>1</a>' AS xml) x, CAST(1 AS bit) y"
    )
    answer = service.query(text)
    assert answer.batches == 3
    assert answer.columns[0] == [("Name", "nvarchar"), ("Born", "date"), ("Amount", "decimal")]
    assert answer.rows[0] == [["Ann", "2001-02-03", "0.00"], ["Zoë", None, "0.00"]]
    assert [kind for _, kind in answer.columns[-1]] == ["money", "datetime2", "varbinary", "xml", "bit"]
    assert answer.rows[-1] == [["1.5000", "2020-01-02 03:04:05.678", "0x0A0B", "<a>1</a>", "1"]]
    assert answer.messages[:2] == ["(2 rows affected)", "hello"]
    # The service counts the lines from the first GO.
    assert answer.errors == ["Msg 8134, Level 16, State 1, Line 3\nDivide by zero error encountered."] * 2


def test_query_is_cancelled(server: Running, service: Service) -> None:
    since = service.start_query("WAITFOR DELAY '01:00:00'")
    # What has not been sent yet cannot be cancelled.
    waiting = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = 'WAITFOR'"
    deadline = time.monotonic() + 60
    while run(server, waiting) == [(0,)]:
        assert time.monotonic() < deadline
    service.call("query/cancel", {"ownerUri": service.uri})
    assert service.finish_query(since).messages == ["Query was canceled by user"]
    assert service.query("SELECT 1").rows == [[["1"]]]


# --- scripts and the object tree


def test_scripts_of_objects(service: Service) -> None:
    table = service.script("Table", "dbo", "Orders", 1)
    assert "CREATE TABLE [dbo].[Orders](\n\t[Id] [int] NOT NULL,\n\t[CustomerId] [int] NOT NULL,\n" in table
    assert "\t[Note] [varchar](max) NULL,\n CONSTRAINT [PK_Orders] PRIMARY KEY CLUSTERED" in table
    assert "ON [PRIMARY] TEXTIMAGE_ON [PRIMARY]" in table
    assert (
        "ADD  CONSTRAINT [FK_Customer] FOREIGN KEY([CustomerId])\nREFERENCES [dbo].[Customer] ([Id])" in table
    )
    assert "ON DELETE CASCADE" in table
    assert "ADD  CONSTRAINT [CK_Id] CHECK  (([Id]>(0)))" in table
    assert "CREATE TRIGGER [dbo].[Said] ON [dbo].[Orders] AFTER INSERT AS PRINT 'an order'" in table
    customer = service.script("Table", "dbo", "Customer", 1)
    assert "[Id] [int] IDENTITY(10,5) NOT NULL" in customer
    assert "ADD  CONSTRAINT [DF_Amount]  DEFAULT ((0)) FOR [Amount]" in customer
    assert "CREATE NONCLUSTERED INDEX [IX_Born] ON [dbo].[Customer]\n(\n\t[Born] DESC\n)\nINCLUDE" in customer
    selected = " ".join(service.script("Table", "dbo", "Customer", 0).split())
    assert selected == "SELECT TOP (1000) [Id] ,[Name] ,[Born] ,[Amount] FROM [Shop].[dbo].[Customer]"
    procedure = service.script("StoredProcedure", "dbo", "Find", 6)
    assert "ALTER PROCEDURE [dbo].[Find] @Id int, @Name nvarchar(50) AS SELECT *" in procedure
    execute = service.script("StoredProcedure", "dbo", "Find", 5)
    assert "DECLARE @Id int\nDECLARE @Name nvarchar(50)" in execute
    assert "CREATE VIEW [dbo].[Names] AS" in service.script("View", "dbo", "Names", 1)
    function = service.script("UserDefinedFunction", "dbo", "Twice", 1)
    assert "CREATE FUNCTION [dbo].[Twice] (@n int) RETURNS int AS BEGIN RETURN @n * 2 END" in function


def test_scripts_make_the_same_objects_again(server: Running) -> None:
    """What SMO scripts of a database makes another one, of which it scripts the same."""
    where = f"{server.host},{server.port}"
    found = smo.ask(HOME, where, server.password, "copy_objects", database="Shop", target="Again")
    assert found["copy"] == found["source"]
    assert any("CREATE TABLE [dbo].[Orders]" in text for text in found["source"])
    # It is free when the server has come to see that SMO's process has ended.
    deadline = time.monotonic() + 60
    while run(server, "SELECT 1 FROM sys.databases WHERE name = 'Again'", database="master"):
        with contextlib.suppress(pytds.Error):
            run(server, "DROP DATABASE Again", database="master")
        assert time.monotonic() < deadline


def labels(service: Service, session: str, path: str) -> list[str]:
    return [node["label"] for node in service.expand(session, path)]


def test_object_explorer(service: Service) -> None:
    session, root = service.explorer()
    top = f"{root['nodePath']}/Databases/Shop"
    assert "Shop" in labels(service, session, f"{root['nodePath']}/Databases")
    assert {"Tables", "Views", "Programmability", "Security", "Storage"} <= set(labels(service, session, top))
    assert labels(service, session, f"{top}/Tables") == ["dbo.Customer", "dbo.Orders"]
    customer, orders = f"{top}/Tables/dbo.Customer", f"{top}/Tables/dbo.Orders"
    assert labels(service, session, f"{customer}/Columns") == [
        "Id (PK, int, not null)",
        "Name (nvarchar(50), not null)",
        "Born (date, null)",
        "Amount (decimal(10,2), null)",
    ]
    assert labels(service, session, f"{orders}/Columns")[1:] == [
        "CustomerId (FK, int, not null)",
        "Note (varchar(max), null)",
    ]
    assert sorted(labels(service, session, f"{orders}/Keys")) == ["FK_Customer", "PK_Orders"]
    assert sorted(labels(service, session, f"{customer}/Keys")) == ["PK_Customer", "UQ_Name"]
    assert labels(service, session, f"{orders}/Constraints") == ["CK_Id"]
    assert labels(service, session, f"{customer}/Constraints") == ["DF_Amount"]
    assert labels(service, session, f"{orders}/Triggers") == ["Said"]
    assert sorted(labels(service, session, f"{customer}/Indexes")) == [
        "IX_Born (Non-Unique, Non-Clustered)",
        "PK_Customer (Unique, Clustered)",
        "UQ_Name (Unique, Non-Clustered)",
    ]
    assert "dbo.Names" in labels(service, session, f"{top}/Views")
    code = f"{top}/Programmability"
    assert labels(service, session, f"{code}/Stored Procedures") == ["dbo.Find"]
    assert labels(service, session, f"{code}/Stored Procedures/dbo.Find/Parameters") == [
        "@Id (int, Input, No default)",
        "@Name (nvarchar, Input, No default)",
    ]
    assert "dbo.Twice" in labels(service, session, f"{code}/Functions/Scalar-valued Functions")


def test_every_folder_of_the_server_opens(service: Service) -> None:
    session, root = service.explorer()
    opened, left = 0, [root["nodePath"]]
    while left:
        for node in service.expand(session, left.pop()):
            assert not node.get("errorMessage"), node
            opened += 1
            if not node["isLeaf"] and "System" not in node["label"] and "System" not in node["nodePath"]:
                left.append(node["nodePath"])
    assert opened > 80


def test_lists_of_objects_and_facts_of_a_database(service: Service) -> None:
    found = service.call("metadata/list", {"ownerUri": service.uri})["metadata"]
    assert {(item["metadataTypeName"], item["name"]) for item in found} == {
        ("Table", "Customer"),
        ("Table", "Orders"),
        ("View", "Names"),
        ("StoredProcedure", "Find"),
        ("UserDefinedFunction", "Twice"),
    }
    facts = service.call("admin/getdatabaseinfo", {"options": {}, "ownerUri": service.uri})["databaseInfo"][
        "options"
    ]
    wanted = {"name": "Shop", "owner": "sa", "recoveryModel": "Full", "databaseState": "Normal"}
    assert wanted.items() <= facts.items()
    assert (facts["databaseFiles.0.name"], facts["databaseFiles.1.name"]) == ("Shop", "Shop_log")


# --- backup


def history(server: Running, name: str, columns: str) -> tuple[Any, ...]:
    """Of the backup set of that name."""
    text = f"SELECT {columns} FROM msdb.dbo.backupset WHERE name = N'{name}'"
    (row,) = run(server, text, database="master")
    return row


def test_backup_dialog(server: Running, service: Service) -> None:
    run(server, "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Long-enough-1'", database="master")
    run(server, "CREATE CERTIFICATE Sealing WITH SUBJECT = 'of backups'", database="master")
    facts = service.backup_config()
    assert facts["recoveryModel"] == "Full"
    assert facts["defaultBackupFolder"] == str(server.backup_directory)
    assert [item["encryptorName"] for item in facts["backupEncryptors"]] == ["Sealing"]


@pytest.mark.parametrize(
    ("name", "kind", "options", "columns", "wanted"),
    [
        ("full", 0, {}, "type, has_backup_checksums, is_copy_only", ("D", True, False)),
        ("verified", 0, {"verifyBackupRequired": True}, "type", ("D",)),
        ("differential", 1, {}, "type", ("I",)),
        ("log", 2, {}, "type", ("L",)),
        ("copy", 0, {"isCopyOnly": True}, "type, is_copy_only", ("D", True)),
        ("plain", 0, {"checksum": False}, "has_backup_checksums", (False,)),
        (
            "packed",
            0,
            {"compressionOption": 1, "formatMedia": True, "initialize": True, "mediaName": "Packed"},
            "CASE WHEN compressed_backup_size < backup_size THEN 1 ELSE 0 END",
            (1,),
        ),
        (
            "sealed",
            0,
            {
                "encryptionAlgorithm": 2,
                "encryptorType": 0,
                "encryptorName": "Sealing",
                "formatMedia": True,
                "initialize": True,
                "mediaName": "Sealed",
            },
            "key_algorithm, encryptor_type",
            ("aes_256", "CERTIFICATE"),
        ),
    ],
)
def test_backup(
    server: Running,
    service: Service,
    name: str,
    kind: int,
    options: Json,
    columns: str,
    wanted: tuple[Any, ...],
) -> None:
    task = service.backup("Shop", [bak(server, f"{name}.bak")], kind, backupsetName=name, **options)
    assert (task.status, task.messages[-1]) == (SUCCEEDED, "Completed")
    found = history(server, name, columns)
    assert tuple(value.strip() if isinstance(value, str) else value for value in found) == wanted


def test_backup_in_stripes_and_its_script(server: Running, service: Service) -> None:
    paths = [bak(server, "left.bak"), bak(server, "right.bak")]
    script = service.backup("Shop", paths, mode=1, backupsetName="striped").script
    assert script.strip() == (
        f"BACKUP DATABASE [Shop] TO  DISK = N'{paths[0]}',  DISK = N'{paths[1]}' WITH NOFORMAT, NOINIT, "
        " NAME = N'striped', SKIP, REWIND, NOUNLOAD,  STATS = 10, CHECKSUM"
    )
    assert not Path(paths[0]).exists()
    assert service.backup("Shop", paths, backupsetName="striped").status == SUCCEEDED
    assert history(server, "striped", "last_family_number") == (2,)


def test_backup_that_fails(server: Running, service: Service) -> None:
    task = service.backup("Shop", [bak(server, "nowhere/full.bak")])
    assert task.status == FAILED
    assert "Backup failed for Server" in task.messages[-1]


def test_events_of_a_backup(server: Running, service: Service) -> None:
    path = bak(server, "events.bak")
    where = f"{server.host},{server.port}"
    answer = smo.ask(HOME, where, server.password, "backup", database="Shop", path=path)
    assert answer["percents"] == [10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
    assert [number for number, _ in answer["complete"]] == [3014]
    assert answer["verified"] is True
    with pytest.raises(smo.SmoError, match="Database 'Nowhere' does not exist"):
        smo.ask(HOME, where, server.password, "backup", database="Nowhere", path=path)


# --- restore


def sets_of(plan: Json) -> list[tuple[str, int]]:
    """Type and position of the plan's sets."""
    found = []
    for item in plan["backupSetsToRestore"]:
        values = {entry["propertyName"]: entry["propertyValue"] for entry in item["properties"]}
        found.append((values["Type"], values["Position"]))
    return found


def chain(server: Running, database: str) -> None:
    """A full, a differential and two log backups on one medium; before each a row more."""
    path = bak(server, f"{database}.bak")
    run(server, f"CREATE DATABASE {database}", database="master")
    run(server, f"ALTER DATABASE {database} SET RECOVERY FULL", "CREATE TABLE t (n int)", database=database)
    kinds = (("DATABASE", ""), ("DATABASE", " DIFFERENTIAL,"), ("LOG", ""), ("LOG", ""))
    for number, (what, more) in enumerate(kinds, 1):
        backup = f"BACKUP {what} {database} TO DISK = N'{path}' WITH{more} NAME = N'{database}'"
        run(server, f"INSERT t VALUES ({number})", backup, database=database)


ROWS = "SELECT n FROM t ORDER BY n"


def test_restore_dialog(server: Running, service: Service) -> None:
    chain(server, "Listed")
    facts = service.restore_config()
    assert facts["defaultBackupFolder"] == str(server.backup_directory)
    assert facts["dataFileFolder"] == str(server.store)
    assert "Listed" in facts["sourceDatabaseNamesWithBackupSets"]


def test_restore_from_a_file_to_a_new_name(server: Running, service: Service) -> None:
    chain(server, "Chained")
    path = bak(server, "Chained.bak")
    plan = service.plan("Chained", "Copied", path, backupTailLog=False)
    assert sets_of(plan) == [("Full", 1), ("Differential", 2), ("Log", 3), ("Log", 4)]
    assert plan["databaseNamesFromBackupSets"] == ["Chained"]
    assert [item["logicalFileName"] for item in plan["dbFiles"]] == ["Chained", "Chained_log"]
    task = service.restore(plan)
    assert task.status == SUCCEEDED
    assert task.percents == list(range(5, 105, 5)) * 4
    assert run(server, ROWS, database="Copied") == [(1,), (2,), (3,), (4,)]
    assert run(server, ROWS, database="Chained") == [(1,), (2,), (3,), (4,)]


def test_restore_from_history_up_to_a_chosen_set(server: Running, service: Service) -> None:
    chain(server, "Chosen")
    plan = service.plan("Chosen", "Earlier", backupTailLog=False)
    assert sets_of(plan) == [("Full", 1), ("Differential", 2), ("Log", 3), ("Log", 4)]
    first = [item["id"] for item in plan["backupSetsToRestore"]][:3]
    assert service.restore(plan, selectedBackupSets=first).status == SUCCEEDED
    assert run(server, ROWS, database="Earlier") == [(1,), (2,), (3,)]


def test_restore_over_the_existing_one(server: Running, service: Service) -> None:
    """Refused without WITH REPLACE; with it other connections are closed and the tail is backed up first."""
    chain(server, "Replaced")
    run(server, "INSERT t VALUES (5)", database="Replaced")
    tail = bak(server, "tail.trn")
    plan = service.plan("Replaced", "Replaced", backupTailLog=False)
    assert service.restore(plan).status == FAILED
    assert run(server, ROWS, database="Replaced")[-1] == (5,)
    options = {
        "overwriteTargetDatabase": True,
        "replaceDatabase": True,
        "closeExistingConnections": True,
        "backupTailLog": True,
        "tailLogBackupFile": tail,
    }
    with server.connect(database="Replaced"):
        script = service.restore(service.plan("Replaced", "Replaced", **options), mode=1).script
        assert [line.split(" ")[0] for line in script.strip().splitlines()] == (
            ["USE", "ALTER", "BACKUP", "RESTORE", "RESTORE", "RESTORE", "RESTORE", "ALTER"]
        )
        task = service.restore(service.plan("Replaced", "Replaced", **options))
    assert task.status == SUCCEEDED
    assert run(server, ROWS, database="Replaced") == [(1,), (2,), (3,), (4,)]
    # The tail holds the fifth row.
    rows = run(server, f"RESTORE HEADERONLY FROM DISK = N'{tail}'", database="master")
    assert [row[2] for row in rows] == [2]
    assert run(server, "SELECT user_access_desc FROM sys.databases WHERE name = 'Replaced'") == [
        ("MULTI_USER",)
    ]


def test_restore_to_a_point_in_time(server: Running, service: Service) -> None:
    """Chosen in the plan that SMO makes of msdb: STOPAT stands at the log backup that reaches over it."""
    chain(server, "Timed")
    path = bak(server, "Timed.bak")
    run(server, "INSERT t VALUES (5)", database="Timed")
    (moment,) = run(server, "SELECT CONVERT(varchar(19), DATEADD(second, 1, GETDATE()), 126)")[0]
    # The next row must be of a later second than the moment, whatever the machine does meanwhile.
    deadline = time.monotonic() + 60
    while run(server, f"SELECT IIF(GETDATE() > DATEADD(second, 1, '{moment}'), 1, 0)") != [(1,)]:
        assert time.monotonic() < deadline
    run(server, "INSERT t VALUES (6)", f"BACKUP LOG Timed TO DISK = N'{path}'", database="Timed")
    run(server, "INSERT t VALUES (7)", f"BACKUP LOG Timed TO DISK = N'{path}'", database="Timed")
    where = f"{server.host},{server.port}"
    answer = smo.ask(
        HOME, where, server.password, "restore_to", database="Timed", target="Timed_then", moment=moment
    )
    assert [(kind, number) for kind, number, _ in answer["steps"]] == [
        ("Database", 1),
        ("Database", 2),
        ("Log", 3),
        ("Log", 4),
        ("Log", 5),
    ]
    assert f"STOPAT = N'{moment}" in answer["script"][-1]
    assert run(server, ROWS, database="Timed_then") == [(1,), (2,), (3,), (4,), (5,)]
    assert run(server, ROWS, database="Timed") == [(number,) for number in range(1, 8)]


# --- tasks that run


def test_running_backup_is_cancelled(tmp_path: Path) -> None:
    need("sql-tools-service")
    with running(tmp_path / "store", env={"TDSPROXY_SLOW_AT": "backup.run-written=2"}) as slow:
        make(slow)
        # More than a minute of runs, so that it does not end before it is cancelled.
        many = "sys.all_columns CROSS JOIN (VALUES (1), (2), (3), (4), (5), (6), (7), (8)) v (n)"
        run(slow, f"SELECT TOP 8000 REPLICATE('x', 4000) x INTO dbo.big FROM {many}")
        path = slow.backup_directory / "big.bak"
        with connected(HOME, slow.host, slow.port, slow.password, database="Shop") as service:
            since = service.start_backup("Shop", [str(path)])
            name = service.task_started(since)
            running_now = "SELECT COUNT(*) FROM sys.dm_exec_requests WHERE command = 'BACKUP DATABASE'"
            deadline = time.monotonic() + 60
            while run(slow, running_now) == [(0,)]:
                assert time.monotonic() < deadline
            assert service.cancel_task(name) is True
            assert service.task(since).status == CANCELED
            deadline = time.monotonic() + 60
            while run(slow, running_now) != [(0,)]:
                assert time.monotonic() < deadline
        assert not path.exists()
        assert run(slow, "SELECT COUNT(*) FROM msdb.dbo.backupset") == [(0,)]
