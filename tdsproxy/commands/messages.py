"""SQL Server's messages of backup, restore and database statements: number, severity, state, text.

Texts and severities follow Microsoft's list of database engine events and errors; states, where one was
seen, captures of SQL Server 2022. Messages of severity 10 travel with class 0.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final

from tdsproxy.commands.database_messages import DATABASE_MESSAGES
from tdsproxy.commands.roll_messages import ROLL_MESSAGES
from tdsproxy.tsql.replies import Message


class OsError(IntEnum):
    """The operating system errors that SQL Server names, with Windows' numbers on Linux, too."""

    FILE_NOT_FOUND = 2
    PATH_NOT_FOUND = 3
    ACCESS_DENIED = 5
    ALREADY_EXISTS = 183
    NOT_READY = 21
    SHARING_VIOLATION = 32
    END_OF_FILE = 38
    INVALID_NAME = 123
    DISK_FULL = 112
    NOT_SUPPORTED = 50
    WRONG_PASSWORD = 86
    IO_DEVICE = 1117
    OFFLINE = 4350

    @property
    def words(self) -> str:
        return f"{self.value}({_OS_WORDS[self]})"


_OS_WORDS: Final[dict[OsError, str]] = {
    OsError.FILE_NOT_FOUND: "The system cannot find the file specified.",
    OsError.PATH_NOT_FOUND: "The system cannot find the path specified.",
    OsError.ACCESS_DENIED: "Access is denied.",
    OsError.ALREADY_EXISTS: "Cannot create a file when that file already exists.",
    OsError.NOT_READY: "The device is not ready.",
    OsError.SHARING_VIOLATION: (
        "The process cannot access the file because it is being used by another process."
    ),
    OsError.END_OF_FILE: "Reached the end of the file.",
    OsError.INVALID_NAME: "The filename, directory name, or volume label syntax is incorrect.",
    OsError.DISK_FULL: "There is not enough space on the disk.",
    OsError.NOT_SUPPORTED: "The request is not supported.",
    OsError.WRONG_PASSWORD: "The specified network password is not correct.",
    OsError.IO_DEVICE: "The request could not be performed because of an I/O device error.",
    OsError.OFFLINE: "This file is currently not available for use on this computer.",
}

_TABLE: Final[dict[int, tuple[int, int, str]]] = {
    **DATABASE_MESSAGES,
    **ROLL_MESSAGES,
    102: (15, 1, "Incorrect syntax near '{}'."),
    137: (15, 2, 'Must declare the scalar variable "{}".'),
    155: (15, 1, "'{}' is not a recognized {} option."),
    15021: (16, 1, "Invalid value given for parameter {}. Specify a valid parameter value."),
    226: (16, 6, "{} statement not allowed within multi-statement transaction."),
    229: (14, 5, "The {} permission was denied on the object '{}', database '{}', schema '{}'."),
    262: (14, 1, "{} permission denied in database '{}'."),
    574: (16, 0, "{} statement cannot be used inside a user transaction."),
    911: (16, 11, "Database '{}' does not exist. Make sure that the name is entered correctly."),
    916: (
        14,
        1,
        'The server principal "{}" is not able to access the database "{}" under the current security '
        "context.",
    ),
    927: (14, 2, "Database '{}' cannot be opened. It is in the middle of a restore."),
    942: (14, 4, "Database '{}' cannot be opened because it is offline."),
    945: (
        16,
        2,
        "Database '{}' cannot be opened due to inaccessible files or insufficient memory or disk space. See "
        "the SQL Server errorlog for details.",
    ),
    3002: (16, 1, "Cannot BACKUP or RESTORE a database snapshot."),
    3004: (
        16,
        1,
        "The primary filegroup cannot be backed up as a file backup because the database is using the SIMPLE "
        "recovery model. Consider taking a partial backup by specifying READ_WRITE_FILEGROUPS.",
    ),
    3009: (
        16,
        1,
        "Could not insert a backup or restore history/detail record in the msdb database. This may indicate "
        "a problem with the msdb database. The backup/restore operation was still successful.",
    ),
    3013: (16, 1, "{} is terminating abnormally."),
    3014: (10, 1, "{} successfully processed {} pages in {}.{:03} seconds ({}.{:03} MB/sec)."),
    3015: (16, 1, "{} is not yet implemented."),
    3016: (
        16,
        1,
        "Backup of file '{}' is not permitted because it contains pages subject to an online restore "
        "sequence. Complete the restore sequence before taking the backup, or restrict the backup to exclude "
        "this file.",
    ),
    3018: (
        10,
        1,
        "The restart-checkpoint file '{}' was not found. The RESTORE command will continue from the beginning"
        " as if RESTART had not been specified.",
    ),
    3019: (
        16,
        1,
        "The restart-checkpoint file '{}' is from a previous interrupted RESTORE operation and is"
        " inconsistent with the current RESTORE command. The restart command must use the same syntax as the"
        " interrupted command, with the addition of the RESTART clause. Alternatively, reissue the current"
        " statement without the RESTART clause.",
    ),
    3021: (16, 0, "Cannot perform a backup or restore operation within a transaction."),
    3023: (
        16,
        2,
        "Backup, file manipulation operations (such as ALTER DATABASE ADD FILE) and encryption changes on a "
        "database must be serialized. Reissue the statement after the current backup or file manipulation "
        "operation is completed.",
    ),
    3024: (
        16,
        1,
        "You can only perform a full backup of the master database. Use BACKUP DATABASE to back up the "
        "entire master database.",
    ),
    3010: (16, 1, "Invalid backup mirror specification. All mirrors must have the same number of members."),
    3011: (16, 1, "All backup devices must be of the same general class (for example, DISK and TAPE)."),
    3095: (
        16,
        1,
        "The backup cannot be performed because 'ENCRYPTION' was requested after the media was formatted "
        "with an incompatible structure. To append to this media set, either omit 'ENCRYPTION' or create a "
        "new media set by using WITH FORMAT in your BACKUP statement. If you use WITH FORMAT on an existing"
        " media set, all its backup sets will be overwritten.",
    ),
    3097: (
        16,
        1,
        "The Backup cannot be performed because the existing media set is formatted with an incompatible "
        "version.",
    ),
    3184: (
        10,
        1,
        "RESTORE WITH CONTINUE_AFTER_ERROR was successful but some damage was encountered. Inconsistencies "
        "in the database are possible.",
    ),
    3214: (16, 1, "Too many backup mirrors are specified. Only {} are allowed."),
    3215: (16, 1, "Use WITH FORMAT to create a new mirrored backup set."),
    3227: (
        16,
        1,
        'The backup media on "{}" is part of media family {} which has already been processed on "{}". '
        "Ensure that backup devices are correctly specified. For tape devices, ensure that the correct "
        "volumes are loaded.",
    ),
    3232: (
        16,
        1,
        'The volume mounted on "{}" does not have the expected backup set identity. The volume may be '
        "obsolete due to a more recent overwrite of this media family. In that case, locate the correct "
        "volume with sequence number {} of media family {}.",
    ),
    3240: (
        16,
        1,
        "Backup to mirrored media sets requires all mirrors to append. Provide all members of the set, or "
        "reformat a new media set.",
    ),
    3258: (
        16,
        1,
        'The volume on the device "{}" is not part of the media set that is currently being processed. '
        "Ensure that the backup devices are loaded with the correct media.",
    ),
    3027: (16, 1, 'The filegroup "{}" is not part of database "{}".'),
    3031: (
        16,
        1,
        "Option '{}' conflicts with option(s) '{}'. Remove the conflicting option and reissue the statement.",
    ),
    3032: (
        16,
        1,
        "One or more of the options ({}) are not supported for this statement. Review the documentation for "
        "supported options.",
    ),
    3034: (
        16,
        1,
        "No files were selected to be processed. You may have selected one or more filegroups that have no "
        "members.",
    ),
    3033: (16, 1, "BACKUP DATABASE cannot be used on a database opened in emergency mode."),
    3035: (
        16,
        1,
        'Cannot perform a differential backup for database "{}", because a current database backup does not '
        "exist. Perform a full database backup by reissuing BACKUP DATABASE, omitting the WITH DIFFERENTIAL "
        "option.",
    ),
    3039: (
        16,
        1,
        "Cannot perform a differential backup for file '{}' because a current file backup does not exist. "
        "Reissue BACKUP DATABASE omitting the WITH DIFFERENTIAL option.",
    ),
    3042: (
        10,
        1,
        "BACKUP WITH CONTINUE_AFTER_ERROR successfully generated a backup of the damaged database. Refer to "
        "the SQL Server error log for information about the errors that were encountered.",
    ),
    3043: (16, 1, "BACKUP '{}' detected an error on page ({}:{}) in file '{}'."),
    3044: (
        16,
        1,
        "Invalid zero-length device name. Reissue the BACKUP statement with a valid device name.",
    ),
    3057: (
        16,
        1,
        "Invalid device name. The length of the device name provided exceeds supported limit (maximum length "
        "is:{}). Reissue the BACKUP statement with a valid device name.",
    ),
    3054: (
        16,
        1,
        "Differential file backups can include only read-only data for databases using the simple recovery "
        "model. Consider taking a partial backup by specifying READ_WRITE_FILEGROUPS.",
    ),
    3078: (
        16,
        1,
        'The file name "{}" is invalid as a backup device name for the specified device type. Reissue the '
        "BACKUP statement with a valid file name and device type.",
    ),
    3098: (
        16,
        2,
        "The backup cannot be performed because '{0}' was requested after the media was formatted with an "
        "incompatible structure. To append to this media set, either omit '{0}' or specify '{1}'. "
        "Alternatively, you can create a new media set by using WITH FORMAT in your BACKUP statement. If you "
        "use WITH FORMAT on an existing media set, all its backup sets will be overwritten.",
    ),
    3101: (16, 1, "Exclusive access could not be obtained because the database is in use."),
    3102: (
        16,
        1,
        "{} cannot process database '{}' because it is in use by this session. It is recommended that the "
        "master database be used when performing this operation.",
    ),
    3103: (
        16,
        1,
        "A partial restore sequence cannot be initiated by this command. To initiate a partial restore "
        "sequence, use the WITH PARTIAL clause of the RESTORE statement and provide a backup set which "
        "includes a full copy of at least the primary data file. The WITH PARTIAL clause of the RESTORE "
        "statement may not be used for any other purpose.",
    ),
    3105: (
        16,
        1,
        "RESTORE cannot restore any more pages into file '{}' because the maximum number of pages ({}) are "
        "already being restored. Either complete the restore sequence for the existing pages, or use RESTORE "
        "FILE to restore all pages in the file.",
    ),
    3108: (
        16,
        1,
        "To restore the master database, the server must be running in single-user mode. For information on "
        'starting in single-user mode, see "How to: Start an Instance of SQL Server (sqlservr.exe)" in Books '
        "Online.",
    ),
    3110: (14, 1, "User does not have permission to RESTORE database '{}'."),
    3111: (
        16,
        1,
        "Page ({}:{}) is a control page which cannot be restored in isolation. To repair this page, the "
        "entire file must be restored.",
    ),
    3115: (
        16,
        1,
        "The database is using the simple recovery model. It is not possible to restore a subset of the "
        "read-write data.",
    ),
    3116: (
        16,
        1,
        "The supplied backup is not on the same recovery path as the database, and is ineligible for use for "
        "an online file restore.",
    ),
    3117: (
        16,
        1,
        "The log or differential backup cannot be restored because no files are ready to rollforward.",
    ),
    3118: (
        16,
        1,
        'The database "{}" does not exist. RESTORE can only create a database when restoring either a full '
        "backup or a file backup of the primary file.",
    ),
    3119: (
        16,
        1,
        "Problems were identified while planning for the RESTORE statement. Previous messages provide "
        "details.",
    ),
    3123: (16, 1, "Invalid database name '{}' specified for backup or restore operation."),
    3132: (
        16,
        1,
        "The media set has {} media families but only {} are provided. All members must be provided.",
    ),
    3135: (
        16,
        1,
        "The backup set in file '{}' was created by {} and cannot be used for this restore operation.",
    ),
    3137: (
        16,
        4,
        "Database cannot be reverted. Either the primary or the snapshot names are improperly specified, all "
        "other snapshots have not been dropped, or there are missing files.",
    ),
    3139: (16, 1, "Restore to snapshot is not allowed with the master database."),
    3144: (
        16,
        1,
        "File '{}' was not backed up in file {} on device '{}'. The file cannot be restored from this backup "
        "set.",
    ),
    3145: (
        16,
        1,
        "The STOPAT option is not supported for databases that use the SIMPLE recovery model.",
    ),
    3147: (16, 1, "Backup and restore operations are not allowed on database tempdb."),
    3153: (16, 1, "The database is already fully recovered."),
    3154: (16, 4, "The backup set holds a backup of a database other than the existing '{}' database."),
    3156: (
        16,
        4,
        "File '{}' cannot be restored to '{}'. Use WITH MOVE to identify a valid location for the file.",
    ),
    3176: (
        16,
        1,
        "File '{}' is claimed by '{}'({}) and '{}'({}). The WITH MOVE clause can be used to relocate one or "
        "more files.",
    ),
    3170: (16, 1, "The STANDBY filename is invalid."),
    3182: (
        16,
        1,
        "The backup set cannot be restored because the database was damaged when the backup occurred. "
        "Salvage attempts may exploit WITH CONTINUE_AFTER_ERROR.",
    ),
    3183: (
        16,
        1,
        'RESTORE detected an error on page ({}:{}) in database "{}" as read from the backup set.',
    ),
    3187: (
        16,
        1,
        "RESTORE WITH CHECKSUM cannot be specified because the backup set does not contain checksum "
        "information.",
    ),
    3188: (10, 1, "The backup set was written with damaged data by a BACKUP WITH CONTINUE_AFTER_ERROR."),
    3189: (16, 1, "Damage to the backup set was detected."),
    3190: (16, 1, "Filegroup '{}' cannot be restored because it does not exist in the backup set."),
    3194: (
        16,
        1,
        "Page ({}:{}) is beyond the end of the file. Only pages that are in the current range of the file "
        "can be restored.",
    ),
    3195: (
        16,
        1,
        "Page ({}:{}) cannot be restored from this backup set. RESTORE PAGE can only be used from full "
        "backup sets or from the first log or differential backup taken since the file was added to the "
        "database.",
    ),
    3201: (16, 1, "Cannot open backup device '{}'. Operating system error {}."),
    3202: (16, 1, 'Write on "{}" failed: {}'),
    3203: (16, 1, 'Read on "{}" failed: {}'),
    3204: (16, 1, "The backup or restore was aborted."),
    3205: (16, 2, "Too many backup devices specified for backup or restore; only {} are allowed."),
    3206: (
        16,
        1,
        "Backup device '{}' does not exist. To view existing backup devices, use the sys.backup_devices "
        "catalog view. To create a new backup device use either sp_addumpdevice or SQL Server Management "
        "Studio.",
    ),
    3207: (
        16,
        1,
        "Backup or restore requires at least one backup device. Rerun your statement specifying a backup "
        "device.",
    ),
    3211: (10, 1, "{} percent processed."),
    3216: (16, 1, "RESTORE REWINDONLY is only applicable to tape devices."),
    3217: (16, 1, "Invalid value specified for {} parameter."),
    3219: (16, 1, 'The file or filegroup "{}" cannot be selected for this operation.'),
    3231: (
        16,
        1,
        'The media loaded on "{}" is formatted to support {} media families, but {} media families are '
        "expected according to the backup device specification.",
    ),
    3234: (
        16,
        2,
        "Logical file '{}' is not part of database '{}'. Use RESTORE FILELISTONLY to list the logical file "
        "names.",
    ),
    3235: (
        16,
        1,
        'The file "{}" is not part of database "{}". You can only list files that are members of this '
        "database.",
    ),
    3241: (
        16,
        0,
        "The media family on device '{}' is incorrectly formed. SQL Server cannot process this media family.",
    ),
    3242: (16, 2, "The file on device '{}' is not a valid Microsoft Tape Format backup set."),
    3250: (16, 1, "The value '{}' is not within range for the {} parameter."),
    3253: (16, 1, "The block size parameter must supply a value that is a power of 2."),
    3254: (16, 1, "The volume on device '{}' is empty."),
    3257: (
        16,
        1,
        "There is insufficient free space on disk volume '{}' to create the database. The database requires "
        "{} additional free bytes, while only {} bytes are available.",
    ),
    3262: (10, 1, "The backup set on file {} is valid."),
    3265: (
        16,
        1,
        "The login has insufficient authority. Membership of the sysadmin role is required to use "
        "VIRTUAL_DEVICE with BACKUP or RESTORE.",
    ),
    3266: (
        16,
        1,
        'The backup data at the end of "{}" is incorrectly formatted. Backup sets on the media might be '
        "damaged and unusable. To determine the backup sets on the media, use RESTORE HEADERONLY. To "
        "determine the usability of the backup sets, run RESTORE VERIFYONLY. If all of the backup sets are "
        "incomplete, reformat the media using BACKUP WITH FORMAT, which destroys all the backup sets.",
    ),
    3270: (
        16,
        1,
        "An internal consistency error has occurred. This error is similar to an assert. Contact technical "
        "support for assistance.",
    ),
    3271: (16, 1, 'A nonrecoverable I/O error occurred on file "{}:" {}.'),
    3288: (
        16,
        1,
        "Credential name {} does not exist or user does not have permission to access it.",
    ),
    3296: (
        16,
        1,
        "The file {} exists on the remote endpoint, and WITH FORMAT was not specified. Backup cannot "
        "proceed.",
    ),
    3297: (
        16,
        1,
        "The URL provided does not meet specified requirements. The URL must be either resolvable as an "
        "absolute or relative URI, has or can be composed as an HTTP or HTTPS scheme, and cannot contain a "
        "query component.",
    ),
    3225: (
        16,
        1,
        "Use of WITH CREDENTIAL syntax is not valid for credentials containing a Shared Access Signature.",
    ),
    3233: (
        16,
        1,
        "Invalid Identity Specified for the S3 Credential. Credential Identity should be S3 Access Key.",
    ),
    3236: (
        16,
        1,
        "Write to S3 object storage device {} failed. Device has reached its limit of {} allowed parts.",
    ),
    3287: (16, 1, "The file ID {} on device '{}' is incorrectly formed and can not be read."),
    3709: (
        16,
        2,
        'Cannot {} the database while the database snapshot "{}" refers to it. Drop that database first.',
    ),
    4030: (16, 1, "The medium on device '{}' expires on {} and cannot be overwritten."),
    4035: (10, 1, "Processed {} pages for database '{}', file '{}' on file {}."),
    4037: (16, 1, 'The user-specified MEDIANAME "{}" does not match the MEDIANAME "{}" of the device "{}".'),
    4208: (
        16,
        1,
        "The statement {} is not allowed while the recovery model is SIMPLE. Use BACKUP DATABASE or change "
        "the recovery model using ALTER DATABASE.",
    ),
    4212: (16, 1, "Cannot back up the log of the master database. Use BACKUP DATABASE instead."),
    4214: (16, 1, "BACKUP LOG cannot be performed because there is no current database backup."),
    3036: (
        16,
        1,
        'The database "{}" is in warm-standby state (set by executing RESTORE WITH STANDBY) and cannot '
        "be backed up until the entire restore sequence is completed.",
    ),
    3041: (
        16,
        1,
        "BACKUP failed to complete the command {}. Check the backup application log for detailed messages.",
    ),
    3136: (
        16,
        1,
        "This differential backup cannot be restored because the database has not been restored to the "
        "correct earlier state.",
    ),
    3159: (
        16,
        1,
        'The tail of the log for the database "{}" has not been backed up. Use BACKUP LOG WITH '
        "NORECOVERY to backup the log if it contains work you do not want to lose. Use the WITH REPLACE "
        "or WITH STOPAT clause of the RESTORE statement to just overwrite the contents of the log.",
    ),
    4217: (
        10,
        1,
        "BACKUP LOG cannot modify the database because the database is read-only. The backup will "
        "continue, although subsequent backups will duplicate the work of this backup.",
    ),
    6102: (14, 1, "User does not have permission to use the KILL statement."),
}


def message(number: int, *values: object, line: int = 1, state: int | None = None) -> Message:
    """The message of this number with its placeholders filled."""
    severity, usual_state, template = _TABLE[number]
    wire_severity = 0 if severity == 10 else severity
    text = template.format(*values)
    return Message(number, wire_severity, usual_state if state is None else state, text, line)
