"""The backup and restore history tables of msdb, as SQL Server 2022 declares them.

Names, order, types and nullability follow result sets captured from SQL Server 2022 (16.0.4236) and,
for the tables without rows there, Microsoft's reference of system tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from tdsproxy.store.encoding import declare
from tdsproxy.tsql import types as t
from tdsproxy.tsql.types import SqlType


@dataclass(frozen=True, slots=True)
class TableColumn:
    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False


@dataclass(frozen=True, slots=True)
class HistoryTable:
    """``key`` names the columns of the primary key, empty when the table has none."""

    name: str
    columns: tuple[TableColumn, ...]
    key: tuple[str, ...] = ()

    def column(self, name: str) -> TableColumn:
        """Raises KeyError."""
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.name}.{name}")


def _columns(text: str) -> tuple[TableColumn, ...]:
    """One column a line: name, type, and ``!`` for NOT NULL, ``#`` for NOT NULL and IDENTITY."""
    columns = []
    for line in text.strip().splitlines():
        name, type_name, *marks = line.split()
        columns.append(TableColumn(name, _TYPES[type_name], not marks, "#" in marks))
    return tuple(columns)


_TYPES: Final[dict[str, SqlType]] = {
    "int": t.INT,
    "bigint": t.BIGINT,
    "smallint": t.SMALLINT,
    "tinyint": t.TINYINT,
    "bit": t.BIT,
    "datetime": t.DATETIME,
    "guid": t.UNIQUEIDENTIFIER,
    "lsn": t.numeric(25, 0),
    "size": t.numeric(20, 0),
    "count": t.numeric(10, 0),
    "char1": t.char(1),
    "char2": t.char(2),
    "nv32": t.nvarchar(32),
    "nv60": t.nvarchar(60),
    "nv64": t.nvarchar(64),
    "sysname": t.SYSNAME,
    "nv255": t.nvarchar(255),
    "nv260": t.nvarchar(260),
    "vb20": t.varbinary(20),
}

BACKUPMEDIASET: Final = HistoryTable(
    "backupmediaset",
    _columns("""
media_set_id int #
media_uuid guid
media_family_count tinyint
name sysname
description nv255
software_name sysname
software_vendor_id int
MTF_major_version tinyint
mirror_count tinyint
is_password_protected bit
is_compressed bit
is_encrypted bit
"""),
    ("media_set_id",),
)

BACKUPMEDIAFAMILY: Final = HistoryTable(
    "backupmediafamily",
    _columns("""
media_set_id int !
family_sequence_number tinyint !
media_family_id guid
media_count int
logical_device_name sysname
physical_device_name nv260
device_type tinyint
physical_block_size int
mirror tinyint !
"""),
    ("media_set_id", "family_sequence_number", "mirror"),
)

BACKUPSET: Final = HistoryTable(
    "backupset",
    _columns("""
backup_set_id int #
backup_set_uuid guid !
media_set_id int !
first_family_number tinyint
first_media_number smallint
last_family_number tinyint
last_media_number smallint
catalog_family_number tinyint
catalog_media_number smallint
position int
expiration_date datetime
software_vendor_id int
name sysname
description nv255
user_name sysname
software_major_version tinyint
software_minor_version tinyint
software_build_version smallint
time_zone smallint
mtf_minor_version tinyint
first_lsn lsn
last_lsn lsn
checkpoint_lsn lsn
database_backup_lsn lsn
database_creation_date datetime
backup_start_date datetime
backup_finish_date datetime
type char1
sort_order smallint
code_page smallint
compatibility_level tinyint
database_version int
backup_size size
database_name sysname
server_name sysname
machine_name sysname
flags int
unicode_locale int
unicode_compare_style int
collation_name sysname
is_password_protected bit
recovery_model nv60
has_bulk_logged_data bit
is_snapshot bit
is_readonly bit
is_single_user bit
has_backup_checksums bit
is_damaged bit
begins_log_chain bit
has_incomplete_metadata bit
is_force_offline bit
is_copy_only bit
first_recovery_fork_guid guid
last_recovery_fork_guid guid
fork_point_lsn lsn
database_guid guid
family_guid guid
differential_base_lsn lsn
differential_base_guid guid
compressed_backup_size size
key_algorithm nv32
encryptor_thumbprint vb20
encryptor_type nv32
last_valid_restore_time datetime
compression_algorithm nv32
"""),
    ("backup_set_id",),
)

BACKUPFILE: Final = HistoryTable(
    "backupfile",
    _columns("""
backup_set_id int !
first_family_number tinyint
first_media_number smallint
filegroup_name sysname
page_size int
file_number count !
backed_up_page_count count
file_type char1
source_file_block_size count
file_size size
logical_name sysname
physical_drive nv260
physical_name nv260
state tinyint
state_desc nv64
create_lsn lsn
drop_lsn lsn
file_guid guid
read_only_lsn lsn
read_write_lsn lsn
differential_base_lsn lsn
differential_base_guid guid
backup_size size
filegroup_guid guid
is_readonly bit
is_present bit
"""),
    ("backup_set_id", "file_number"),
)

BACKUPFILEGROUP: Final = HistoryTable(
    "backupfilegroup",
    _columns("""
backup_set_id int !
name sysname !
filegroup_id int !
filegroup_guid guid
type char2 !
type_desc nv60
is_default bit !
is_readonly bit !
log_filegroup_guid guid
"""),
    ("backup_set_id", "filegroup_id"),
)

RESTOREHISTORY: Final = HistoryTable(
    "restorehistory",
    _columns("""
restore_history_id int #
restore_date datetime
destination_database_name sysname
user_name sysname
backup_set_id int !
restore_type char1
replace bit
recovery bit
restart bit
stop_at datetime
device_count tinyint
stop_at_mark_name sysname
stop_before bit
"""),
    ("restore_history_id",),
)

RESTOREFILE: Final = HistoryTable(
    "restorefile",
    _columns("""
restore_history_id int !
file_number count
destination_phys_drive nv260
destination_phys_name nv260
"""),
)

RESTOREFILEGROUP: Final = HistoryTable(
    "restorefilegroup",
    _columns("""
restore_history_id int !
filegroup_name sysname
"""),
)

LOGMARKHISTORY: Final = HistoryTable(
    "logmarkhistory",
    _columns("""
database_name sysname !
mark_name sysname !
description nv255
user_name sysname !
lsn lsn !
mark_time datetime !
"""),
)

SUSPECT_PAGES: Final = HistoryTable(
    "suspect_pages",
    _columns("""
database_id int !
file_id int !
page_id bigint !
event_type int !
error_count int !
last_update_date datetime !
"""),
)

HISTORY_TABLES: Final = (
    BACKUPMEDIASET,
    BACKUPMEDIAFAMILY,
    BACKUPSET,
    BACKUPFILE,
    BACKUPFILEGROUP,
    RESTOREHISTORY,
    RESTOREFILE,
    RESTOREFILEGROUP,
    LOGMARKHISTORY,
    SUSPECT_PAGES,
)


def create_table(table: HistoryTable) -> str:
    """The SQLite statement that makes ``table`` where it is missing.

    An identity column is SQLite's AUTOINCREMENT key: its numbers are not used twice.
    """
    lines = []
    for column in table.columns:
        if column.identity:
            lines.append(f'"{column.name}" INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL')
            continue
        collate = " COLLATE NOCASE" if column.type.is_character else ""
        null = "" if column.nullable else " NOT NULL"
        lines.append(f'"{column.name}" {declare(column.type)}{collate}{null}')
    if table.key and not any(column.identity for column in table.columns):
        lines.append("PRIMARY KEY ({})".format(", ".join(f'"{name}"' for name in table.key)))
    return f'CREATE TABLE IF NOT EXISTS "{table.name}" (\n  ' + ",\n  ".join(lines) + "\n)"


INDEXES: Final = (
    "CREATE INDEX IF NOT EXISTS backupsetuuid ON backupset (backup_set_uuid)",
    "CREATE INDEX IF NOT EXISTS backupsetMediaSet ON backupset (media_set_id)",
    "CREATE INDEX IF NOT EXISTS backupsetDate ON backupset (backup_finish_date)",
    "CREATE INDEX IF NOT EXISTS backupmediasetuuid ON backupmediaset (media_uuid)",
    "CREATE INDEX IF NOT EXISTS restorehistorybackupset ON restorehistory (backup_set_id)",
    "CREATE INDEX IF NOT EXISTS restorefileHistory ON restorefile (restore_history_id)",
)
