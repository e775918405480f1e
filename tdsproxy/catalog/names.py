"""Database names and the files that hold them.

The file of database NAME is ``NAME.db`` in the store. Characters that a file name cannot carry, or that
would make it hidden or ambiguous, are written as ``%XX`` of their UTF-8 bytes.
"""

from __future__ import annotations

from typing import Final

SUFFIX: Final = ".db"
SYSTEM_DATABASES: Final = {"master": 1, "tempdb": 2, "model": 3, "msdb": 4}
FIRST_USER_ID: Final = 5
SHOWN_DATA_DIRECTORY: Final = "/var/opt/mssql/data"
"""Where SQL Server on Linux keeps database files; the physical names that are shown lie there."""

_UNSAFE: Final = frozenset('/\\%:*?"<>|\0') | {chr(code) for code in range(32)}
_MAX_BYTES: Final = 240


def name_key(name: str) -> str:
    """What names are compared by: the default collation ignores case and trailing blanks."""
    return name.rstrip(" ").lower()


def file_name(database: str) -> str:
    """The file name for a database; different databases (compared without case) get different ones."""
    parts = []
    for index, char in enumerate(database):
        unsafe = (
            char in _UNSAFE or (char == "." and index == 0) or (char == " " and index == len(database) - 1)
        )
        parts.append("".join(f"%{byte:02X}" for byte in char.encode()) if unsafe else char)
    name = "".join(parts)
    raw = name.encode()
    if len(raw) > _MAX_BYTES:
        import hashlib

        digest = hashlib.sha256(name_key(database).encode()).hexdigest()[:16]
        name = raw[: _MAX_BYTES - 20].decode(errors="ignore") + "%." + digest
    return name + SUFFIX


def database_name(file: str) -> str | None:
    """The database that a file found in the store holds; None when the name is not one of a database."""
    if not file.endswith(SUFFIX) or file.startswith("."):
        return None
    stem = file[: -len(SUFFIX)]
    out = bytearray()
    index = 0
    raw = stem.encode()
    while index < len(raw):
        if raw[index] == ord("%"):
            try:
                out.append(int(raw[index + 1 : index + 3].decode("ascii"), 16))
            except (ValueError, UnicodeDecodeError):
                return None
            index += 3
        else:
            out.append(raw[index])
            index += 1
    try:
        name = out.decode()
    except UnicodeDecodeError:
        return None
    return name if 0 < len(name) <= 128 else None
