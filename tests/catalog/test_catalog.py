from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tdsproxy.catalog.catalog import Catalog, create_database_file, initialise
from tdsproxy.catalog.databases import DatabaseState, RecoveryModel, new_database
from tdsproxy.catalog.history import BackupRows, RestoreRows
from tdsproxy.catalog.msdb_schema import HISTORY_TABLES
from tdsproxy.store.encoding import declare, parse_declared


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with initialise(tmp_path / "store") as made:
        yield made


def test_a_new_store_has_the_system_databases(catalog: Catalog) -> None:
    found = [(database.id, database.name) for database in catalog.databases.all()]
    assert found == [(1, "master"), (2, "tempdb"), (3, "model"), (4, "msdb")]
    assert {path.name for path in catalog.store.glob("*.db")} == {"master.db", "model.db", "msdb.db"}
    assert catalog.store.stat().st_mode & 0o777 == 0o700


def test_making_it_again_changes_nothing(catalog: Catalog) -> None:
    catalog.databases.add(new_database("kept"))
    before = catalog.databases.all()
    with initialise(catalog.store) as again:
        assert again.databases.all() == before


def test_several_processes_may_make_it_at_once(tmp_path: Path) -> None:
    script = (
        "import sys\nfrom pathlib import Path\nfrom tdsproxy.catalog.catalog import initialise\n"
        "initialise(Path(sys.argv[1])).close()"
    )
    makers = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "s")], stderr=subprocess.PIPE)
        for _ in range(4)
    ]
    for maker in makers:
        _, errors = maker.communicate(timeout=200)
        assert maker.returncode == 0, errors
    with initialise(tmp_path / "s") as made:
        assert len(made.databases.all()) == 4


def test_names_are_compared_without_case(catalog: Catalog) -> None:
    added = catalog.databases.add(new_database("Sales"))
    assert added.id == 5
    assert catalog.databases.find("sALES ") == added
    with pytest.raises(KeyError):
        catalog.databases.add(new_database("SALES"))
    other = catalog.databases.add(new_database("Other"))
    with pytest.raises(KeyError):
        catalog.databases.update(other.id, name="sales")
    assert catalog.databases.update(other.id, name="OTHER").name == "OTHER"


def test_ids_are_not_used_again_soon(catalog: Catalog) -> None:
    first = catalog.databases.add(new_database("a"))
    catalog.databases.remove(first.id)
    assert catalog.databases.add(new_database("b")).id == first.id + 1


def test_lsns_only_grow(catalog: Catalog) -> None:
    database = catalog.databases.add(new_database("a"))
    first, second = catalog.databases.next_lsns(database.id, 2)
    assert first < second
    assert len(str(first)) >= 17
    catalog.databases.advance_lsn(database.id, Decimal("41000000500000001"))
    (third,) = catalog.databases.next_lsns(database.id, 1)
    assert third > Decimal("41000000500000001")
    catalog.databases.advance_lsn(database.id, first)
    assert catalog.databases.next_lsns(database.id, 1)[0] > third


def test_files_that_come_and_go(catalog: Catalog) -> None:
    create_database_file(catalog.store / "found.db")
    (catalog.store / "text.db").write_text("no database, but long enough for a header" * 100)
    (catalog.store / ".hidden.db").write_bytes((catalog.store / "found.db").read_bytes())
    catalog.databases.refresh()
    assert [database.name for database in catalog.databases.all()][4:] == ["found"]
    found = catalog.databases.find("found")
    assert found is not None
    assert found.recovery_model is RecoveryModel.SIMPLE
    (catalog.store / "found.db").rename(catalog.store / "away")
    catalog.databases.refresh()
    gone = catalog.databases.find("found")
    assert gone is not None
    assert gone.state is DatabaseState.RECOVERY_PENDING
    (catalog.store / "away").rename(catalog.store / "found.db")
    catalog.databases.refresh()
    assert catalog.databases.find("found") == found


def test_a_new_file_does_not_find_an_old_log(catalog: Catalog) -> None:
    (catalog.store / "x.db-wal").write_bytes(b"stale")
    create_database_file(catalog.store / "x.db")
    assert not (catalog.store / "x.db-wal").exists()
    with pytest.raises(FileExistsError):
        create_database_file(catalog.store / "x.db")


def test_seats_of_sessions_that_have_gone(catalog: Catalog) -> None:
    one = catalog.databases.add(new_database("one", holder=51))
    two = catalog.databases.add(new_database("two", holder=52))
    catalog.databases.release_seat(51)
    assert catalog.databases.by_id(one.id).holder is None  # type: ignore[union-attr]
    assert catalog.databases.by_id(two.id).holder == 52  # type: ignore[union-attr]
    catalog.databases.release_seat()
    assert catalog.databases.by_id(two.id).holder is None  # type: ignore[union-attr]


def test_logins(catalog: Catalog) -> None:
    sa = catalog.logins.create("sa", "hash")
    assert (sa.id, sa.sid, sa.roles) == (1, b"\x01", frozenset({"sysadmin"}))
    joe = catalog.logins.create("Joe", "hash2", roles=frozenset({"dbcreator"}), default_database="Sales")
    assert joe.id >= 259
    assert len(joe.sid) == 16
    assert catalog.logins.find("JOE") == joe
    assert "hash2" not in repr(joe)
    with pytest.raises(KeyError):
        catalog.logins.create("JOE", "x")
    changed = catalog.logins.update("joe", disabled=True, roles=frozenset())
    assert (changed.disabled, changed.roles, changed.password_hash) == (True, frozenset(), "hash2")
    catalog.logins.drop("joe")
    with pytest.raises(LookupError):
        catalog.logins.drop("joe")
    assert [login.name for login in catalog.logins.all()] == ["sa"]


def test_settings(catalog: Catalog) -> None:
    assert catalog.setting("backup compression default") is None
    catalog.set_setting("backup compression default", "1")
    with initialise(catalog.store) as other:
        assert other.setting("backup compression default") == "1"


def test_msdb_declares_the_columns_of_sql_server(catalog: Catalog) -> None:
    counts = {table.name: len(table.columns) for table in HISTORY_TABLES}
    assert counts["backupset"] == 65
    assert counts["backupfile"] == 26
    for table in HISTORY_TABLES:
        rows = catalog._msdb.read(f'PRAGMA table_info("{table.name}")')
        assert [row[1] for row in rows] == [column.name for column in table.columns]
        for row, column in zip(rows, table.columns, strict=True):
            if not column.identity:
                assert row[2] == declare(column.type)
                assert parse_declared(str(row[2])) == column.type
            assert bool(row[3]) is not column.nullable


def backup_rows(media: object, set_guid: object, checkpoint: int, database: object) -> BackupRows:
    return BackupRows(
        {"media_uuid": media, "media_family_count": 1},  # type: ignore[dict-item]
        ({"family_sequence_number": 1, "physical_device_name": "/x.bak", "mirror": 0},),
        {
            "backup_set_uuid": set_guid,  # type: ignore[dict-item]
            "type": "D",
            "is_copy_only": 0,
            "checkpoint_lsn": Decimal(checkpoint),
            "database_guid": database,  # type: ignore[dict-item]
        },
        ({"file_number": Decimal(1), "file_type": "D"},),
    )


def test_history_rows_hang_together(catalog: Catalog) -> None:
    import uuid

    media, database = uuid.uuid4(), uuid.uuid4()
    first = backup_rows(media, uuid.uuid4(), 10**16, database)
    second = backup_rows(media, uuid.uuid4(), 2 * 10**16, database)
    assert catalog.history.last_checkpoint(database) is None
    assert catalog.history.record_backup(first) == 1
    assert catalog.history.record_backup(second) == 2
    assert catalog.history.last_checkpoint(database) == 2 * 10**16
    assert catalog._msdb.read("SELECT count(*) FROM backupmediaset") == [(1,)]
    restore = RestoreRows({"destination_database_name": "x"}, ({"file_number": Decimal(1)},))
    assert catalog.history.record_restore(first, restore) == 1
    foreign = backup_rows(uuid.uuid4(), uuid.uuid4(), 1, uuid.uuid4())
    assert catalog.history.record_restore(foreign, restore) == 2
    rows = catalog._msdb.read("SELECT restore_history_id, backup_set_id FROM restorehistory")
    assert rows == [(1, 1), (2, 3)]


def test_a_failed_history_leaves_nothing(catalog: Catalog) -> None:
    import uuid

    rows = backup_rows(uuid.uuid4(), uuid.uuid4(), 1, uuid.uuid4())
    broken = BackupRows(rows.media_set, rows.families, rows.backup_set, ({"no_such_column": 1},))
    with pytest.raises(KeyError):
        catalog.history.record_backup(broken)
    assert catalog._msdb.read("SELECT count(*) FROM backupmediaset") == [(0,)]
