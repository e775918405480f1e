"""SQL Server's messages of statements on whole databases, of the values of options and of the file helpers of
master: severity, state and text by number (see ``commands.messages``)."""

from __future__ import annotations

from typing import Final

DATABASE_MESSAGES: Final[dict[int, tuple[int, int, str]]] = {
    257: (
        16,
        3,
        "Implicit conversion from data type {} to {} is not allowed. Use the CONVERT function to run this"
        " query.",
    ),
    1801: (16, 3, "Database '{}' already exists. Choose a different database name."),
    1802: (
        16,
        1,
        "CREATE DATABASE failed. Some file names listed could not be created. Check related errors.",
    ),
    1816: (16, 1, "Database snapshot on the system database {} is not allowed."),
    1821: (16, 1, "Cannot create a database snapshot on another database snapshot."),
    1822: (16, 1, "The database must be online to have a database snapshot."),
    1825: (16, 1, "Filegroups and collations cannot be specified for database snapshots."),
    1828: (16, 3, 'The logical file name "{}" is already in use. Choose a different name.'),
    1834: (16, 1, "The file '{}' cannot be overwritten.  It is being used by database '{}'."),
    3701: (11, 1, "Cannot {} the {} '{}', because it does not exist or you do not have permission."),
    3702: (16, 4, 'Cannot drop database "{}" because it is currently in use.'),
    3703: (16, 2, "Cannot detach the {} '{}' because it is currently in use."),
    3707: (16, 2, "Cannot detach a suspect or recovery pending database. It must be repaired or dropped."),
    3708: (16, 4, "Cannot {} the {} '{}' because it is a system {}."),
    5004: (
        16,
        1,
        "To use ALTER DATABASE, the database must be in a writable state in which a checkpoint can be"
        " executed.",
    ),
    5008: (
        16,
        1,
        "This ALTER DATABASE statement is not supported. Correct the syntax and execute the statement again.",
    ),
    5011: (
        14,
        5,
        "User does not have permission to alter database '{}', the database does not exist, or the database "
        "is not in a state that allows access checks.",
    ),
    5014: (16, 1, "The {} '{}' does not exist in database '{}'."),
    5018: (
        10,
        1,
        'The file "{}" has been modified in the system catalog. The new path will be used the next time the'
        " database is started.",
    ),
    5021: (10, 1, "The {} name '{}' has been set."),
    5041: (16, 1, "MODIFY FILE failed. File '{}' does not exist."),
    5030: (16, 12, "The database could not be exclusively locked to perform the operation."),
    5052: (16, 1, "{} is not permitted while a database is in the {} state."),
    5058: (16, 2, "Option '{}' cannot be set in database '{}'."),
    5060: (
        10,
        1,
        "Nonqualified transactions are being rolled back. Estimated rollback completion: {}%.",
    ),
    5061: (
        16,
        1,
        "ALTER DATABASE failed because a lock could not be placed on database '{}'. Try again later.",
    ),
    5062: (
        16,
        1,
        'The option "{}" conflicts with another requested option. The options cannot both be requested at the'
        " same time.",
    ),
    5063: (16, 1, "Database '{}' is in warm standby. A warm-standby database is read-only."),
    5064: (
        16,
        1,
        "Changes to the state or options of database '{}' cannot be made at this time. The database is in "
        "single-user mode, and a user is currently connected to it.",
    ),
    5066: (16, 1, "Database options single user and dbo use only cannot be set at the same time."),
    5069: (16, 1, "ALTER DATABASE statement failed."),
    5070: (16, 2, "Database state cannot be changed while other users are using the database '{}'"),
    5078: (
        16,
        1,
        'Cannot alter database options for "{}" because it is READONLY, OFFLINE, or marked SUSPECT.',
    ),
    5093: (16, 1, "The operation cannot be performed on a database snapshot."),
    5094: (
        16,
        1,
        "The operation cannot be performed on a database with database snapshots or active DBCC replicas.",
    ),
    5095: (
        16,
        1,
        "A database or filegroup cannot be set to read-only mode when any files are subject to a RESTORE PAGE"
        ' operation. Complete the restore sequence involving file "{}" before attempting to transition to'
        " read-only.",
    ),
    5096: (
        16,
        1,
        "The recovery model cannot be changed to SIMPLE when any files are subject to a RESTORE PAGE "
        'operation. Complete the restore sequence involving file "{}" before attempting to transition to '
        "SIMPLE.",
    ),
    5104: (16, 1, "File '{}' already used."),
    5105: (
        16,
        2,
        "A file activation error occurred. The physical file name '{}' may be incorrect. Diagnose and correct"
        " additional errors, and retry the operation.",
    ),
    5114: (
        16,
        1,
        "Log files, offline files, restoring files, and defunct files for database snapshots should not be "
        'specified. "{}" is not an eligible file for a database snapshot.',
    ),
    5120: (16, 101, 'Unable to open the physical file "{}". Operating system error {}: "{}".'),
    5123: (
        16,
        1,
        "CREATE FILE encountered operating system error {} while attempting to open or create the physical "
        "file '{}'.",
    ),
    5171: (16, 1, "{} is not a primary database file."),
    7940: (16, 1, "System databases master, model, msdb, and tempdb cannot be detached."),
    15002: (16, 1, "The procedure '{}' cannot be executed within a transaction."),
    15010: (
        16,
        1,
        "The database '{}' does not exist. Supply a valid database name. To see available databases, use"
        " sys.databases.",
    ),
    5127: (16, 1, 'All files must be specified for database snapshot creation. Missing the file "{}".'),
    5133: (16, 1, 'Directory lookup for the file "{}" failed with the operating system error {}.'),
    5170: (
        16,
        1,
        "Cannot create file '{}' because it already exists. Change the file path or the file name, and retry "
        "the operation.",
    ),
    12104: (
        16,
        2,
        "ALTER DATABASE CURRENT failed because '{}' is a system database. System databases cannot be altered "
        "by using the CURRENT keyword. Use the database name to alter a system database.",
    ),
    15247: (16, 1, "User does not have permission to perform this action."),
    15048: (16, 1, "Valid values of the database compatibility level are {}."),
    22004: (16, 1, "{}() returned error {}, '{}'"),
    22006: (16, 1, "{}() returned error {}, '{}'"),
    22048: (16, 1, "{}() returned error {}, '{}'"),
    22049: (15, 0, "{}() returned error {}, '{}'"),
}
