"""What each script's header says of it, as a check of what it gave and left."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from decimal import Decimal

import pytds
import pytest

from tdsproxy.tsql.script import split_batches
from tests.clients.admin_scripts import (
    BACKUP,
    DIFFERENTIAL,
    LOG,
    RESTORE,
    RESTORE_LOG,
    Outcome,
    Said,
    Scripts,
    Set,
    run_batch,
)

Check = Callable[[Scripts, Outcome], None]
BACKUP_FOLDER = "/var/opt/mssql/backup"
VALID = "The backup set on file 1 is valid."
MINUTE = dt.timedelta(minutes=1)


def pages(database: str, file: int = 1) -> list[str]:
    """The two lines about a database's files, with N for the count."""
    names = (database, f"{database}_log")
    return [f"Processed N pages for database '{database}', file '{name}' on file {file}." for name in names]


def plain_full(scripts: Scripts, found: Outcome) -> None:
    assert found.percents() == sorted(set(found.percents()))
    assert found.percents()[-1] == 100
    assert found.pages() == pages("SalesDB")
    assert [each.number for each in found.messages[-3:]] == [4035, 4035, 3014]
    end = r"BACKUP DATABASE successfully processed \d+ pages in \d+\.\d{3} seconds \(\d+\.\d{3} MB/sec\)\."
    assert re.fullmatch(end, found.said[-1])
    assert found.sets == []
    assert scripts.files() == {"SalesDB_full.bak"}
    columns = "database_name, type, position, name, is_copy_only, has_backup_checksums"
    assert scripts.history(columns) == [("SalesDB", "D", 1, "SalesDB nightly full", False, True)]
    ((first, checkpoint, last, began, ended),) = scripts.history(
        "first_lsn, checkpoint_lsn, last_lsn, backup_start_date, backup_finish_date"
    )
    assert first <= checkpoint <= last
    assert ended >= began
    assert scripts.run(scripts.text("01")).errors == []
    assert len(scripts.headers("SalesDB_full.bak")) == 1
    assert len(scripts.history("1")) == 2


def stamped_name(scripts: Scripts, found: Outcome) -> None:
    (printed,) = found.printed()
    named = re.fullmatch(
        rf"Backing up SalesDB to ({BACKUP_FOLDER}/(SalesDB_(\d{{8}}_\d{{6}})\.bak))", printed
    )
    assert named
    stamp = dt.datetime.strptime(named[3], "%Y%m%d_%H%M%S")
    (((began,),),) = (scripts.history("backup_start_date"),)
    # GETDATE() rounds to three milliseconds, also upwards.
    assert stamp - began <= dt.timedelta(seconds=1)
    assert began - stamp < MINUTE
    assert found.percents() == [25, 50, 75, 100]
    assert found.pages() == pages("SalesDB")
    assert found.done() == [BACKUP]
    assert found.results[0].columns == ("backup_file",)
    assert found.sets == [[(named[1],)]]
    assert scripts.files() == {named[2]}
    ((name,),) = scripts.history("name")
    assert re.fullmatch(r"SalesDB \d{4}-\d\d-\d\d \d\d:\d\d:\d\d", name)


def cursor_loop(scripts: Scripts, found: Outcome) -> None:
    names = ["HrDB", "master", "model", "msdb", "SalesDB"]
    told = [each.text for each in found.messages if each.number in (0, 3014)]
    for name, (printed, ended) in zip(names, zip(told[:-1:2], told[1::2], strict=True), strict=True):
        assert printed == f"Backing up {name}"
        assert ended.startswith("BACKUP DATABASE successfully processed")
    assert told[-1] == "Databases backed up: 5"
    today = {re.sub(r"_\d{8}\.bak$", "", name) for name in scripts.files()}
    assert today == set(names)
    assert sorted(scripts.history("database_name, type")) == sorted((name, "D") for name in names)
    assert scripts.rows("SELECT CURSOR_STATUS('global', 'db_cursor')") == [(-3,)]


def table_variable_loop(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, BACKUP, LOG]
    assert found.results[0].columns == ("dbname", "recovery_model", "done")
    assert found.sets == [[("HrDB", "SIMPLE", True), ("SalesDB", "FULL", True)]]
    assert scripts.files() == {"HrDB_loop.bak", "SalesDB_loop.bak", "SalesDB_loop.trn"}
    assert sorted(row[0] for row in scripts.history("type")) == ["D", "D", "L"]


def output_parameter(scripts: Scripts, found: Outcome) -> None:
    assert found.printed() == ["Orders at or above 62.50: 51"]
    assert found.done() == [BACKUP]
    assert found.results[0].columns == ("rc", "matching_orders")
    assert found.sets == [[(0, 51)]]
    assert scripts.files() == {"SalesDB_dyn.bak"}
    assert scripts.history("name") == [("SalesDB (51 large orders)",)]


def differential(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, DIFFERENTIAL]
    assert found.sets == [[("D", 1), ("I", 1)]]
    full, diff = scripts.history(
        "backup_set_uuid, checkpoint_lsn, differential_base_guid, differential_base_lsn"
    )
    assert diff[2:] == full[:2]
    assert scripts.rows("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == [(120,)]
    assert [header["BackupType"] for header in scripts.headers("SalesDB_diff.bak")] == [5]


def log_appended(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG, LOG, LOG]
    ends = [line.rsplit("on ", 1)[1] for line in found.said if "file 'SalesDB_log'" in line]
    assert ends[1:] == ["file 1.", "file 2.", "file 3."]
    headers, gaps = found.sets
    assert [(row[0], row[2], row[5]) for row in headers] == [("SalesDB log", 2, n) for n in (1, 2, 3)]
    assert gaps == [(0,)]
    logs = [row for row in scripts.history("type, first_lsn, last_lsn, media_set_id") if row[0] == "L"]
    assert [row[1] for row in logs[1:]] == [row[2] for row in logs[:-1]]
    assert len({row[3] for row in logs}) == 1
    # The morning report, on what this script leaves.
    report = scripts.run(scripts.text("15")).sets[0][-1]
    assert report[0] == "SalesDB"
    assert report[2] is not None
    assert report[3] is None
    assert report[4] is not None
    assert report[6:] == (0, "OK")


def striped_and_mirrored(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, BACKUP]
    assert found.printed() == [VALID, "incomplete set: 3013", VALID]
    names = [(1, 0, "m1a"), (1, 1, "m1b"), (2, 0, "m2a"), (2, 1, "m2b")]
    assert found.sets[-1] == [
        (family, mirror, f"{BACKUP_FOLDER}/SalesDB_{name}.bak") for family, mirror, name in names
    ]
    stripes = {f"SalesDB_s{number}.bak" for number in (1, 2, 3)}
    assert scripts.files() == stripes | {f"SalesDB_{name}.bak" for _, _, name in names}
    alone = scripts.run(f"RESTORE VERIFYONLY FROM DISK = N'{BACKUP_FOLDER}/SalesDB_s2.bak'")
    assert alone.refusals == [(3132, 16), (3013, 16)]
    assert alone.errors[0].text.startswith("The media set has 3 media families but only 1 are provided.")


def compressed(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP] * 3
    changed = "Configuration option 'backup compression default' changed from {} to {}."
    told = [each.text for each in found.messages if each.number == 15457]
    assert told == [
        f"{changed.format(*way)} Run the RECONFIGURE statement to install." for way in ((0, 1), (1, 0))
    ]
    assert found.results[-1].columns == ("smaller", "algorithm")
    assert found.sets == [[(1, "ZSTD")] * 3]
    files = [f"SalesDB_c{number}.bak" for number in (1, 2, 3)]
    assert scripts.files() == set(files)
    assert [scripts.headers(file)[0]["Compressed"] for file in files] == [1, 1, 1]
    in_use = (
        "SELECT CAST(value_in_use AS int) FROM sys.configurations WHERE name = 'backup compression default'"
    )
    assert scripts.rows(in_use) == [(0,)]


def encrypted(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP]
    assert found.printed() == [VALID, "without the certificate: 3013"]
    assert found.results[-1].columns == ("key_algorithm", "encryptor_type", "thumbprint_matches")
    assert found.sets == [[("aes_256", "CERTIFICATE", 1)]]
    assert scripts.files() == {"BackupCert.cer", "BackupCert.pvk", "SalesDB_enc.bak"}
    assert scripts.rows("SELECT COUNT(*) FROM sys.certificates WHERE name = 'BackupCert'") == [(0,)]
    content = (scripts.backups / "SalesDB_enc.bak").read_bytes()
    assert all("Customer 42".encode(form) not in content for form in ("utf-16-le", "utf-8"))
    without = scripts.run(f"RESTORE VERIFYONLY FROM DISK = N'{BACKUP_FOLDER}/SalesDB_enc.bak'")
    assert without.refusals == [(33111, 16), (3013, 16)]


def verified(scripts: Scripts, found: Outcome) -> None:
    first, second, third = found.batches
    assert first.done() == [BACKUP]
    assert first.printed() == [VALID, "SalesDB: backup verified, position 1"]
    assert first.errors == []
    assert second.printed() == ["Msg 3013, Level 16, State 1: BACKUP DATABASE is terminating abnormally."]
    assert [(each.number, each.severity, each.state, each.text) for each in second.errors] == [
        (50000, 16, 1, "Backup of SalesDB failed with error 3013")
    ]
    assert third.refusals == [(3201, 16), (3013, 16)]
    opened, ended = (each.text for each in third.errors)
    device = f"{BACKUP_FOLDER.removesuffix('/backup')}/no_such_dir/SalesDB.bak"
    assert re.fullmatch(rf"Cannot open backup device '{device}'\. Operating system error \d+\(.+\)\.", opened)
    assert ended == "BACKUP DATABASE is terminating abnormally."
    assert found.sets == []
    assert scripts.history("has_backup_checksums") == [(True,)]


def copy_refreshed(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, RESTORE]
    assert found.percents() == [20, 40, 60, 80, 100]
    totals, files = found.results
    assert totals.columns == ("orders", "total", "access", "state")
    assert totals.rows == [(100, Decimal("6312.50"), "MULTI_USER", "ONLINE")]
    data = f"{BACKUP_FOLDER.removesuffix('backup')}data"
    assert files.rows == [("LOG", f"{data}/SalesDB_Test_log.ldf"), ("ROWS", f"{data}/SalesDB_Test.mdf")]
    restored = scripts.restores("restore_type, destination_database_name, replace, recovery")
    assert restored == [("D", "SalesDB_Test", True, True)]
    assert scripts.rows("SELECT COUNT(*), SUM(Amount) FROM SalesDB.dbo.Orders") == [(100, Decimal("6312.50"))]
    assert scripts.rows("SELECT OBJECT_ID('SalesDB_Test.dbo.Scratch')") == [(None,)]


def run_with_a_session_inside(scripts: Scripts) -> Outcome:
    """Script 12: somebody is in the copy when it is refreshed, and is thrown out."""
    scripts.fresh()
    batches = split_batches(scripts.text("12"))
    found = Outcome()
    for batch in batches[:3]:
        found.add(run_batch(scripts.connection, batch.text))
    other = scripts.server.connect(database="SalesDB_Test")
    try:
        assert run_batch(other, "SELECT DB_NAME()").sets == [[("SalesDB_Test",)]]
        for batch in batches[3:]:
            found.add(run_batch(scripts.connection, batch.text))
        with pytest.raises((pytds.Error, OSError)):
            other.cursor().execute("SELECT 1")
    finally:
        with contextlib.suppress(pytds.Error, OSError):
            other.close()
    return found


def stopat(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, DIFFERENTIAL, LOG, LOG, RESTORE, RESTORE, RESTORE_LOG, RESTORE_LOG]
    assert found.sets == [[("RESTORING",)], [(1, 0, 102, "ONLINE")]]
    restores = scripts.restores("restore_type, recovery, stop_at, destination_database_name")
    assert [row[:2] for row in restores] == [("D", False), ("I", False), ("L", False), ("L", True)]
    assert {row[3] for row in restores} == {"SalesDB_PIT"}
    assert restores[0][2] is restores[1][2] is None
    assert restores[2][2] == restores[3][2] is not None
    assert scripts.rows("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == [(103,)]


def headers_into_tables(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG]
    assert found.batches[1].messages == []
    headers, files, verdict = found.results
    assert headers.columns == ("Position", "BackupType", "BackupName", "IsCopyOnly")
    assert headers.rows == [(1, 1, "hdr full", False), (2, 2, "hdr log", False)]
    assert files.columns == ("LogicalName", "Type", "FileID", "IsPresent")
    assert files.rows == [("SalesDB", "D", 1, True), ("SalesDB_log", "L", 2, True)]
    assert verdict.columns == ("version_ok", "ordered")
    assert verdict.rows == [(1, 1)]
    there = "SELECT COUNT(OBJECT_ID('tempdb..#hdr')), COUNT(OBJECT_ID('tempdb..#files'))"
    assert scripts.rows(there) == [(1, 1)]
    scripts.reconnect()
    assert scripts.rows(there) == [(0, 0)]


def morning_report(scripts: Scripts, found: Outcome) -> None:
    (report,) = found.results
    assert report.columns == (
        "database",
        "recovery",
        "last_full",
        "last_diff",
        "last_log",
        "last_any",
        "hours_since_full",
        "verdict",
    )
    expected = [
        ("ArchiveDB", "FULL", "OFFLINE"),
        ("HrDB", "SIMPLE", "NEVER"),
        ("model", "FULL", "NEVER"),
        ("msdb", "SIMPLE", "NEVER"),
        ("SalesDB", "FULL", "NEVER"),
    ]
    assert report.rows == [(name, model, *[None] * 5, verdict) for name, model, verdict in expected]


def chain_from_history(scripts: Scripts, found: Outcome) -> None:
    told = [each.text for each in found.messages if each.number in (0, 3014)]
    assert [line.split(" successfully")[0] for line in told[:4]] == [BACKUP, DIFFERENTIAL, LOG, LOG]
    commands, ends = told[4:12:2], told[5:12:2]
    assert all(line.startswith("RESTORE ") for line in commands)
    assert [line.split(" successfully")[0] for line in ends] == [RESTORE, RESTORE, RESTORE_LOG, RESTORE_LOG]
    assert told[12].startswith("RESTORE DATABASE successfully processed")
    assert told[13:] == ["SalesDB_Copy restored in 5 steps"]
    assert found.results[-1].columns == ("orders",)
    assert found.sets[-1] == [(104,)]
    listed = "SELECT physical_name FROM sys.master_files WHERE database_id = DB_ID('SalesDB_Copy')"
    places = scripts.rows(f"{listed} ORDER BY file_id")
    assert [row[0].rpartition("/")[2] for row in places] == ["SalesDB_Copy_1.mdf", "SalesDB_Copy_2.ldf"]
    assert scripts.rows("SELECT state_desc FROM sys.databases WHERE name = 'SalesDB_Copy'") == [("ONLINE",)]
    kinds = scripts.restores("restore_type, recovery")
    assert kinds == [("D", False), ("I", False), ("L", False), ("L", False)]


def run_cleanup(scripts: Scripts) -> Outcome:
    """Script 17: two backups, copies of one of them, and old files."""
    scripts.fresh()
    for database, file in (("HrDB", "hr"), ("SalesDB", "sales")):
        assert scripts.run(f"BACKUP DATABASE {database} TO DISK = '{file}.bak'").errors == []
    for name in ("old.bak", "old.trn", "keep.bak"):
        shutil.copyfile(scripts.backups / "sales.bak", scripts.backups / name)
    (scripts.backups / "fake.bak").write_text("not a backup")
    old = time.time() - 10 * 86400
    for name in ("old.bak", "old.trn", "fake.bak"):
        os.utime(scripts.backups / name, (old, old))
    aged = (
        "UPDATE msdb.dbo.backupset SET backup_finish_date = DATEADD(day, -40, GETDATE())"
        " WHERE database_name = 'HrDB'"
    )
    assert scripts.run(aged).errors == []
    return scripts.run(scripts.text("17"))


def cleanup(scripts: Scripts, found: Outcome) -> None:
    assert found.printed() == ["xp_delete_file returned 0"]
    assert found.results[0].columns == ("remaining", "salesdb_rows")
    assert found.sets == [[(0, 1)], [(0,)]]
    assert scripts.files() == {"hr.bak", "sales.bak", "keep.bak", "old.trn", "fake.bak"}
    for table in ("backupfile", "backupfilegroup", "backupmediafamily", "backupmediaset", "restorehistory"):
        assert scripts.rows(f"SELECT COUNT(*) FROM msdb.dbo.{table}") == [(0,)], table


def agent_job(scripts: Scripts, found: Outcome) -> None:
    assert found.results[0].columns == (
        "job_name",
        "steps",
        "start_step_id",
        "enabled",
        "freq_type",
        "active_start_time",
        "category",
    )
    assert found.sets == [
        [("Nightly backup SalesDB", 2, 1, 1, 4, 213000, "Database Maintenance")],
        [(1,)],
    ]
    for table, count in (("sysjobs", 1), ("sysjobsteps", 2), ("sysschedules", 1), ("sysjobschedules", 1)):
        assert scripts.rows(f"SELECT COUNT(*) FROM msdb.dbo.{table}") == [(count,)], table
    assert scripts.rows("SELECT server_id FROM msdb.dbo.sysjobservers") == [(0,)]
    assert scripts.files() == {"SalesDB_job.bak"}
    ran = scripts.rows("SELECT step_id, run_status FROM msdb.dbo.sysjobhistory ORDER BY step_id")
    assert ran == [(0, 1), (1, 1), (2, 1)]
    first = split_batches(scripts.text("18"))[1]
    again = run_batch(scripts.connection, first.text)
    assert again.refusals == [(14261, 16)]
    assert again.errors[0].text == "The specified @name ('Nightly backup SalesDB') already exists."
    assert scripts.rows("SELECT @@TRANCOUNT") == [(0,)]
    assert scripts.run("EXEC msdb.dbo.sp_delete_job @job_name = N'Nightly backup SalesDB'").errors == []


def marked(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG, RESTORE, RESTORE_LOG, RESTORE, RESTORE_LOG]
    assert found.sets == [[("price_rise", "ten percent up")], [(Decimal("6944.00"), Decimal("6312.50"))]]
    marks = [
        row[1:] for row in scripts.restores("restore_type, stop_at_mark_name, stop_before") if row[0] == "L"
    ]
    assert marks == [("price_rise", False), ("price_rise", True)]


def tail(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, LOG, RESTORE, RESTORE_LOG]
    assert found.printed() == ["in restore: 927"]
    assert found.results[0].columns == ("database_id", "file_id", "page_id", "event_type", "error_count")
    assert found.sets == [[], [("RESTORING",)], [(101, "ONLINE")]]
    (header,) = scripts.headers("tail_log.trn")
    assert not header["HasIncompleteMetaData"]
    assert scripts.history("type") == [("D",), ("L",)]


def copy_only(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, BACKUP, LOG, DIFFERENTIAL]
    assert found.results[0].columns == ("type", "is_copy_only", "base_is_first_full")
    assert found.sets == [[("D", False, None), ("D", True, None), ("L", True, None), ("I", False, 1)]]
    rows = scripts.history("backup_set_uuid, first_lsn")
    first = rows[0][0]
    assert isinstance(first, uuid.UUID)
    base = "SELECT differential_base_guid FROM sys.master_files WHERE file_id = 1"
    assert scripts.rows(f"{base} AND database_id = DB_ID('SalesDB')") == [(first,)]
    assert scripts.run("BACKUP LOG SalesDB TO DISK = 'next.trn'").errors == []
    assert scripts.history("first_lsn")[-1][0] <= rows[2][1]


def logical_device(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, BACKUP]
    assert "The backup set on file 2 is valid." in found.printed()
    place = f"{BACKUP_FOLDER}/SalesDevice.bak"
    device, headers, family, left = found.results
    assert device.columns == ("name", "type_desc", "physical_name")
    assert device.rows == [("SalesDevice", "DISK", place)]
    listed = [dict(zip(headers.columns, row, strict=True)) for row in headers.rows]
    assert [(row["Position"], row["DeviceType"]) for row in listed] == [(1, 102), (2, 102)]
    assert family.columns == ("logical_device_name", "device_type")
    assert family.rows == [("SalesDevice", 102)]
    assert left.rows == [(0,)]
    assert scripts.files() == set()


def run_with_variables(scripts: Scripts) -> Outcome:
    """Script 24: raw, of which nothing runs, then through the shell's own runner of scripts."""
    scripts.fresh()
    raw = run_batch(scripts.connection, scripts.text("24"))
    assert [(each.number, each.text) for each in raw.errors] == [(102, "Incorrect syntax near ':'.")]
    assert scripts.files() == set()
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tdsproxy",
            "run",
            "-S",
            f"{scripts.server.host}:{scripts.server.port}",
            "--json",
        ],
        input=scripts.text("24"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, "TDSPROXY_SA_PASSWORD": scripts.server.password},
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = Outcome()
    for line in map(json.loads, done.stdout.splitlines()):
        if "rows" in line:
            found.results.append(Set(tuple(line["columns"]), [tuple(row) for row in line["rows"]]))
        else:
            found.messages.append(Said(line["number"], line["severity"], line["state"], line["text"]))
    return found


def sqlcmd_variables(scripts: Scripts, found: Outcome) -> None:
    assert found.printed() == [f"Backing up SalesDB to {BACKUP_FOLDER}"]
    assert found.done() == [BACKUP, LOG, LOG, LOG]
    log_lines = [line for line in found.pages() if "file 'SalesDB_log'" in line]
    assert [line.rpartition(" on ")[2] for line in log_lines[1:]] == ["file 1.", "file 2.", "file 3."]
    assert found.results == [Set(("sets",), [(3,)])]
    assert len(scripts.headers("SalesDB_sqlcmd.trn")) == 3


def procedure(scripts: Scripts, found: Outcome) -> None:
    calls = found.batches[3:7]
    assert [batch.done() for batch in calls] == [[BACKUP], [LOG], [], []]
    assert [batch.refusals for batch in calls] == [[], [], [(50000, 16)], []]
    assert found.refusals == [(50000, 16)]
    assert found.errors[0].text == "Database 'Nowhere' does not exist."
    assert {batch.results[0].columns for batch in calls} == {("rc", "outfile")}
    assert [batch.sets for batch in calls] == [
        [[(0, f"{BACKUP_FOLDER}/SalesDB_FULL.bak")]],
        [[(0, f"{BACKUP_FOLDER}/SalesDB_LOG.trn")]],
        [[(-1, None)]],
        [[(4208, None)]],
    ]
    assert found.batches[7].results[0].columns == ("Id", "DatabaseName", "Kind", "Outcome")
    assert found.batches[7].sets == [
        [
            (1, "SalesDB", "FULL", "OK"),
            (2, "SalesDB", "LOG", "OK"),
            (3, "Nowhere", "FULL", "NO SUCH DATABASE"),
            (4, "HrDB", "LOG", "FAILED 4208"),
        ]
    ]
    asked = "SELECT OBJECT_DEFINITION(OBJECT_ID('DbaTools.dbo.usp_BackupOne'))"
    ((definition,),) = scripts.rows(f"USE DbaTools\nGO\n{asked}")
    assert definition.startswith("CREATE")
    assert definition.rstrip().endswith("END")
    assert scripts.history("database_name, type") == [("SalesDB", "D"), ("SalesDB", "L")]
    assert scripts.run("USE master").errors == []


def snapshot(scripts: Scripts, found: Outcome) -> None:
    assert found.printed() == ["snapshot is read-only: 3906"]
    assert found.sets == [
        [("SalesDB_before", True, "SalesDB")],
        [(100, 0)],
        [(100, Decimal("6312.50"))],
        [(0,)],
    ]
    assert scripts.restores("destination_database_name, restore_type") == [("SalesDB", "R")]
    assert not list(scripts.owner.store.glob("SalesDB_before*"))


def shipping(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, RESTORE, *[LOG] * 3, *[RESTORE_LOG] * 3, RESTORE]
    files = [f"SalesDB_00{number}.trn" for number in (1, 2, 3)]
    applied = [f"applied {name}" for name in files]
    assert found.printed() == [*applied, "applied 3, skipped 0", "applied 0, skipped 3"]
    assert found.sets == [[(103, True)], [(103, True)], [(103, False, "ONLINE")]]
    assert scripts.rows("SELECT FileName FROM DbaShip.dbo.Applied ORDER BY 1") == [(name,) for name in files]
    assert not (scripts.owner.store / "Standby.tuf").exists()


def run_shipping(scripts: Scripts) -> Outcome:
    """Script 28, with a look at the copy while it is in standby."""
    scripts.fresh()
    found = Outcome()
    *batches, last = split_batches(scripts.text("28"))
    for batch in batches:
        found.add(run_batch(scripts.connection, batch.text))
    read_only = "SELECT is_read_only FROM sys.databases WHERE name = 'SalesDB_Standby'"
    assert scripts.rows(read_only) == [(True,)]
    assert (scripts.owner.store / "Standby.tuf").exists()
    found.add(run_batch(scripts.connection, last.text))
    return found


def dialogs(scripts: Scripts, found: Outcome) -> None:
    backup, verify, restore, _ = found.batches
    assert backup.percents()[-1] == 100
    assert backup.pages() == pages("SalesDB")
    assert backup.done() == [BACKUP]
    assert verify.printed() == [VALID]
    assert restore.done() == [LOG, RESTORE]
    assert restore.percents() == [*range(5, 101, 5)] * 2
    assert found.results[-1].columns == ("orders", "user_access_desc")
    assert found.sets == [[(100, "MULTI_USER")]]
    names = scripts.history("type, name")
    assert names == [("D", "SalesDB-Full Database Backup"), ("L", "SalesDB_LogBackup")]
    assert scripts.restores("restore_type, replace") == [("D", True)]


def maintenance_plan(scripts: Scripts, found: Outcome) -> None:
    assert found.done() == [BACKUP, BACKUP]
    assert [line for line in found.printed() if line == VALID] == [VALID] * 2
    parts = {
        name: [path for path in scripts.files() if path.startswith(f"plan/{name}/")]
        for name in ("SalesDB", "HrDB")
    }
    assert [len(paths) for paths in parts.values()] == [1, 1]
    cut = "'2024-04-03T02:00:01'"
    for table, column in (("backupset", "backup_finish_date"), ("sysmaintplan_log", "start_time")):
        assert scripts.rows(f"SELECT COUNT(*) FROM msdb.dbo.{table} WHERE {column} < {cut}") == [(0,)]
    assert len(scripts.history("1")) == 2
    text = scripts.text("30").partition("*/")[2]
    calls = [batch.text for batch in split_batches(text) if "exec" in batch.text.lower()]
    assert len(calls) == 6
    for call in calls:
        returned = re.sub(r"(?i)\bexec(ute)?\b", r"DECLARE @rc int EXEC @rc =", call, count=1)
        assert scripts.rows(f"{returned}\nSELECT @rc")[-1] == (0,), call


def nothing_runs(scripts: Scripts, found: Outcome) -> None:
    (listed,) = found.results
    assert listed.columns == (
        "session_id",
        "command",
        "dbname",
        "percent_done",
        "elapsed",
        "eta",
        "wait_type",
        "login_name",
        "host_name",
        "sql_text",
    )
    assert listed.rows == []


def run_refusals(scripts: Scripts) -> Outcome:
    scripts.fresh()
    (scripts.backups / "fake.bak").write_text("x" * 4096)
    return scripts.run(scripts.text("31"))


REFUSED = (911, 3147, 4214, 4208, 3035, 3021, 942, 3154, 3241, 3287)
"""Where captures of SQL Server differ from the header they are right: 3287 is what took the place of 4038."""
ENDING = {
    "BACKUP LOG": LOG,
    "RESTORE HEADERONLY": "RESTORE HEADERONLY",
    "RESTORE VERIFYONLY": "VERIFY DATABASE",
}


def refusals(scripts: Scripts, found: Outcome) -> None:
    words = [
        "missing database",
        "tempdb",
        "log without full",
        "log of simple",
        "diff without full",
        "in transaction",
        "offline",
        "restore over another",
        "not a backup",
        "wrong file number",
    ]
    assert found.printed() == [f"{word}: 3013" for word in words]
    assert found.done() == [BACKUP]
    assert scripts.history("database_name") == [("HrDB",)]
    assert scripts.files() == {"r8.bak", "fake.bak"}
    plain = re.findall(r"BEGIN TRY (.*) END TRY", scripts.text("31"))
    for number, statement in zip(REFUSED, plain, strict=True):
        opened = "BEGIN TRANSACTION\n" if number == 3021 else ""
        alone = scripts.run(f"{opened}{statement}")
        # The script's header has 16 for all of them; sys.messages has 14 for 942.
        assert alone.refusals == [(number, 14 if number == 942 else 16), (3013, 16)], statement
        name = ENDING.get(" ".join(statement.split()[:2]), " ".join(statement.split()[:2]))
        assert alone.errors[1].text == f"{name} is terminating abnormally."
        assert scripts.run("IF @@TRANCOUNT > 0 ROLLBACK").errors == []
    assert len(scripts.history("1")) == 1
    assert scripts.files() == {"r8.bak", "fake.bak"}
    assert scripts.rows("SELECT COUNT(*) FROM SalesDB.dbo.Orders") == [(100,)]


CHECKS: dict[str, Check] = {
    "01": plain_full,
    "02": stamped_name,
    "03": cursor_loop,
    "04": table_variable_loop,
    "05": output_parameter,
    "06": differential,
    "07": log_appended,
    "08": striped_and_mirrored,
    "09": compressed,
    "10": encrypted,
    "11": verified,
    "12": copy_refreshed,
    "13": stopat,
    "14": headers_into_tables,
    "15": morning_report,
    "16": chain_from_history,
    "17": cleanup,
    "18": agent_job,
    "19": marked,
    "20": tail,
    "21": copy_only,
    "22": logical_device,
    "24": sqlcmd_variables,
    "25": procedure,
    "26": nothing_runs,
    "27": snapshot,
    "28": shipping,
    "29": dialogs,
    "30": maintenance_plan,
    "31": refusals,
}
WITH_ERRORS = frozenset({"11", "25"})
"""Scripts whose headers name errors."""

RUNS: dict[str, Callable[[Scripts], Outcome]] = {
    "12": run_with_a_session_inside,
    "17": run_cleanup,
    "24": run_with_variables,
    "28": run_shipping,
    "31": run_refusals,
}
"""How those run that need more than the fixture."""


def check(scripts: Scripts, name: str) -> None:
    """Run a script on a fresh fixture, and hold what came of it against its header."""
    found = RUNS[name](scripts) if name in RUNS else scripts.script(name)
    if name not in WITH_ERRORS:
        assert found.errors == []
    CHECKS[name](scripts, found)
