"""Database names: which are the system's, how they compare, which file holds them."""

from __future__ import annotations

from typing import Final

from tdsproxy.store.files import SUFFIX, decode_name, encode_name

SYSTEM_DATABASES: Final = {"master": 1, "tempdb": 2, "model": 3, "msdb": 4}
FIRST_USER_ID: Final = 5
MAX_NAME: Final = 128
SHOWN_DATA_DIRECTORY: Final = "/var/opt/mssql/data"
"""Where SQL Server on Linux keeps database files; the physical names that are shown lie there."""


def name_key(name: str) -> str:
    """What names are compared by: the default collation ignores case and trailing blanks."""
    return name.rstrip(" ").lower()


def file_name(database: str) -> str:
    """The file, in the store, of a database that is new."""
    return encode_name(database) + SUFFIX


def database_name(file: str) -> str | None:
    """The database that a file found in the store holds; None when the name is not one of a database."""
    if not file.endswith(SUFFIX) or file.startswith("."):
        return None
    name = decode_name(file[: -len(SUFFIX)])
    return name if name and len(name) <= MAX_NAME else None
