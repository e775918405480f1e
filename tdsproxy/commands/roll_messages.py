"""SQL Server's messages of rolling a database, its files or its pages forward: severity, state and text by
number (see ``commands.messages``)."""

from __future__ import annotations

from typing import Final

ROLL_MESSAGES: Final[dict[int, tuple[int, int, str]]] = {
    4303: (
        10,
        1,
        "The roll forward start point is now at log sequence number (LSN) {}. Additional roll forward past "
        "LSN {} is required to complete the restore sequence.",
    ),
    4305: (
        16,
        1,
        "The log in this backup set begins at LSN {}, which is too recent to apply to the database. An "
        "earlier log backup that includes LSN {} can be restored.",
    ),
    4307: (
        16,
        1,
        "The online restore to database '{}' failed. It may be appropriate to perform an offline restore "
        "instead. To force an offline restore, first take the database offline using the ALTER DATABASE "
        "statement.",
    ),
    4308: (
        10,
        1,
        "The online restore is complete, but WITH NORECOVERY was specified. Use RESTORE WITH RECOVERY to "
        "bring affected data online.",
    ),
    4310: (16, 1, 'RESTORE PAGE is not allowed on file "{}" because the file is not online.'),
    4318: (
        16,
        1,
        "File '{}' has been rolled forward to LSN {}. This log terminates at LSN {}, which is too early "
        "to apply the WITH RECOVERY option. Reissue the RESTORE LOG statement WITH NORECOVERY.",
    ),
    4319: (
        16,
        3,
        "A previous restore operation was interrupted and did not complete processing on file '{}'. Either "
        "restore the backup set that was interrupted or restart the restore sequence.",
    ),
    4322: (
        10,
        1,
        "This backup set contains records that were logged before the designated point in time. The "
        "database is being left in the restoring state so that more roll forward can be performed.",
    ),
    4323: (
        16,
        1,
        "A previous RESTORE WITH CONTINUE_AFTER_ERROR operation left the database in a potentially damaged "
        "state. To continue this RESTORE sequence, all further steps must include the CONTINUE_AFTER_ERROR "
        "option.",
    ),
    4326: (
        16,
        1,
        "The log in this backup set terminates at LSN {}, which is too early to apply to the database. A"
        " more recent log backup that includes LSN {} can be restored.",
    ),
    4329: (
        10,
        1,
        "This log file contains records logged before the designated mark. The database is being left in"
        " the Restoring state so you can apply another log file.",
    ),
    4330: (
        16,
        1,
        "This backup set cannot be applied because it is on a recovery path that is inconsistent with "
        "the database. The recovery path is the sequence of data and log backups that have brought the "
        "database to a particular recovery point. Find a compatible backup to restore, or restore the "
        "rest of the database to match a recovery point within this backup set, which will restore the "
        "database to a different point in time. For more information about recovery paths, see SQL "
        "Server Books Online.",
    ),
    4333: (
        16,
        1,
        "The database cannot be recovered because the log was not restored.",
    ),
    4334: (
        16,
        1,
        "The named mark does not identify a valid LSN.",
    ),
    4335: (
        16,
        1,
        "The specified STOPAT time is too early. All or part of the database is already rolled forward "
        "beyond that point.",
    ),
    4338: (
        16,
        1,
        "The STOPAT clause specifies a point too early to allow this backup set to be restored. Choose a"
        " different stop point or use RESTORE DATABASE WITH RECOVERY to recover at the current point.",
    ),
    4339: (
        10,
        1,
        "This RESTORE statement successfully performed some actions, but the database could not be brought "
        "online because one or more RESTORE steps are needed. Previous messages indicate reasons why "
        "recovery cannot occur at this point.",
    ),
    4340: (
        16,
        1,
        "The point-in-time clause of this RESTORE statement is restricted for use by RESTORE LOG "
        "statements only. Omit the clause or use a clause that includes a timestamp.",
    ),
    4342: (
        16,
        1,
        "Point-in-time recovery is not possible unless the primary filegroup is part of the restore "
        "sequence. Omit the point-in-time clause or restore the primary filegroup.",
    ),
    4344: (16, 1, "RESTORE PAGE is not allowed on read-only databases or filegroups."),
    4346: (
        16,
        1,
        "RESTORE PAGE is not allowed with databases that use the simple recovery model.",
    ),
    4349: (
        16,
        1,
        "The log in this backup set begins at LSN {}, which is too recent to apply to the database. This"
        " restore sequence needs to initialize the log to start at LSN {}. Reissue the RESTORE LOG "
        "statement using an earlier log backup.",
    ),
    4350: (
        16,
        1,
        "The list of pages provided with the RESTORE PAGE statement is incorrectly formatted. Prior to the "
        "problem {} pages were correctly identified. The problem was hit at character offset {}. Check that "
        "all pages are identified by numeric <file>:<page> pairs with commas separating each pair. For "
        "example: PAGE='1:57,2:31'.",
    ),
    4353: (
        16,
        1,
        "Conflicting file relocations have been specified for file '{}'. Only a single WITH MOVE clause "
        "should be specified for any logical file name.",
    ),
    4355: (
        16,
        1,
        "The revert command is incorrectly specified. The RESTORE statement must be of the form: RESTORE "
        "DATABASE <x> FROM DATABASE_SNAPSHOT = <y>.",
    ),
}
