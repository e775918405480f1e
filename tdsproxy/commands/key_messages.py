"""SQL Server's messages about keys, certificates and credentials: number, severity, state, text.

Texts and severities follow Microsoft's list of database engine events and errors, as ``messages`` does; of
these no capture shows a state, so it is the usual 1 where nothing else is known.
"""

from __future__ import annotations

from typing import Final

from tdsproxy.commands.failure import CommandError
from tdsproxy.tsql.replies import Message

_TABLE: Final[dict[int, tuple[int, int, str]]] = {
    3095: (
        16,
        1,
        "The backup cannot be performed because 'ENCRYPTION' was requested after the media was formatted "
        "with an incompatible structure. To append to this media set, either omit 'ENCRYPTION' or create a "
        "new media set by using WITH FORMAT in your BACKUP statement. If you use WITH FORMAT on an existing "
        "media set, all its backup sets will be overwritten.",
    ),
    3096: (16, 1, "The Certificate specified for backup encryption has expired."),
    3716: (
        16,
        1,
        "The {} '{}' cannot be dropped because it is bound to one or more {}.",
    ),
    15116: (
        16,
        1,
        "Password validation failed. The password does not meet the operating system policy requirements "
        "because it is too short.",
    ),
    15118: (
        16,
        1,
        "Password validation failed. The password does not meet the operating system policy requirements "
        "because it is not complex enough.",
    ),
    15146: (16, 1, "An encryption password must be provided to encrypt the private key of this {}."),
    15147: (
        16,
        1,
        "No decryption password should be provided because the private key of this {} is encrypted by a "
        "master key.",
    ),
    15151: (16, 1, "Cannot {} the {} '{}', because it does not exist or you do not have permission."),
    15208: (
        16,
        1,
        "The certificate, asymmetric key, or private key file does not exist or has invalid format.",
    ),
    15212: (
        16,
        1,
        "Invalid certificate subject. The certificate subject must have between 1 and {} characters.",
    ),
    15213: (
        10,
        1,
        "Warning: The certificate you created has an invalid validity period; its expiration date precedes "
        "its start date.",
    ),
    15214: (10, 1, "Warning: The certificate you created is expired."),
    15215: (
        10,
        1,
        "Warning: The certificate you created is not yet valid; its start date is in the future.",
    ),
    15232: (
        16,
        1,
        "A certificate with name '{}' already exists or this certificate already has been added to the "
        "database.",
    ),
    15240: (
        16,
        1,
        "Cannot write into file '{}'. Verify that you have write permissions, that the file path is valid, "
        "and that the file does not already exist.",
    ),
    15246: (
        16,
        1,
        "Cannot dump the private key of certificate '{}' because the private key cannot be found.",
    ),
    15247: (16, 1, "User does not have permission to perform this action."),
    15297: (16, 1, "The certificate, asymmetric key, or private key data is invalid."),
    15313: (16, 1, "The key is not encrypted using the specified decryptor."),
    15317: (16, 1, "The master key file does not exist or has invalid format."),
    15320: (
        16,
        1,
        "An error occurred while decrypting {} '{}' that was encrypted by the old master key. The FORCE "
        "option can be used to ignore this error and continue the operation, but data that cannot be "
        "decrypted by the old master key will become unavailable.",
    ),
    15329: (
        16,
        1,
        "The current master key cannot be decrypted. If this is a database master key, you should attempt to "
        "open it in the session before performing this operation. The FORCE option can be used to ignore "
        "this error and continue the operation but the data encrypted by the old master key will be lost.",
    ),
    15334: (
        16,
        1,
        "The {} has a private key that is protected by a user defined password. That password needs to be "
        "provided to enable the use of the private key.",
    ),
    15396: (
        16,
        1,
        "An asymmetric key with name '{}' already exists or this asymmetric key already has been added to "
        "the database.",
    ),
    15465: (16, 1, "The private key password is invalid."),
    15466: (16, 1, "An error occurred during decryption."),
    15468: (16, 1, "An error occurred during the generation of the {}."),
    15474: (16, 1, "Invalid private key. The private key does not match the public key of the {}."),
    15530: (16, 1, 'The {} with name "{}" already exists.'),
    15542: (16, 1, "Cannot create a key without specifying an encryptor."),
    15557: (16, 1, "There is already a {} by {} '{}'."),
    15558: (16, 1, "Cannot drop {} by {} '{}'."),
    15563: (16, 1, "The {} has no private key set for it."),
    15578: (
        16,
        1,
        "There is already a master key in the database. Please drop it before performing this statement.",
    ),
    15579: (
        16,
        1,
        "Adding an encryption to the symmetric key failed. An encryption by the same {} '{}' may already "
        "exist.",
    ),
    15580: (16, 1, "Cannot drop {} because {} '{}' is encrypted by it."),
    15581: (
        16,
        1,
        "Please create a master key in the database or open the master key in the session before performing "
        "this operation.",
    ),
    15584: (
        10,
        1,
        "An error occurred while decrypting {} '{}' that was encrypted by the old master key. The error was "
        "ignored because the FORCE option was specified.",
    ),
    15585: (
        10,
        1,
        "The current master key cannot be decrypted. The error was ignored because the FORCE option was "
        "specified.",
    ),
    15588: (10, 1, "The old and new master keys are identical. No data re-encryption is required."),
    33091: (
        10,
        1,
        "Warning: The certificate used for encrypting the database encryption key has not been backed up. "
        "You should immediately back up the certificate and the private key associated with the certificate. "
        "If the certificate ever becomes unavailable or if you must restore or attach the database on "
        "another server, you must have backups of both the certificate and the private key or you will not "
        "be able to open the database.",
    ),
    33101: (
        16,
        1,
        "Cannot use {} '{}', because its private key is not present or it is not protected by the database "
        "master key. SQL Server requires the ability to automatically access the private key of the {} used "
        "for this operation.",
    ),
    33102: (
        16,
        1,
        "Cannot encrypt a system database. Database encryption operations cannot be performed for 'master', "
        "'model', 'tempdb', 'msdb', or 'resource' databases.",
    ),
    33103: (16, 1, "A database encryption key already exists for this database."),
    33104: (16, 1, "A database encryption key does not exist for this database."),
    33105: (
        16,
        1,
        "Cannot drop the database encryption key because it is currently in use. Database encryption needs "
        "to be turned off to be able to drop the database encryption key.",
    ),
    33106: (
        16,
        1,
        "Cannot change database encryption state because no database encryption key is set.",
    ),
    33111: (16, 3, "Cannot find server {} with thumbprint '{}'."),
    40510: (16, 1, "Statement '{}' is not supported in this version of SQL Server."),
}


def key_message(number: int, *values: object, line: int = 1) -> Message:
    """The message of this number with its placeholders filled."""
    severity, state, template = _TABLE[number]
    return Message(number, 0 if severity == 10 else severity, state, template.format(*values), line)


def key_fail(number: int, *values: object) -> CommandError:
    """To be raised: the message of this number."""
    return CommandError(key_message(number, *values))


def not_found(verb: str, kind: str, name: str) -> CommandError:
    """15151: there is no such thing, or it is not for this session to see."""
    return key_fail(15151, verb, kind, name)
