"""What the embedded server says that it is: SQL Server 2022's version, and its own name."""

from __future__ import annotations

import platform
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

VERSION: Final = (16, 0, 4236)
PRODUCT_VERSION: Final = "16.0.4236.2"
PRODUCT_LEVEL: Final = "RTM"
EDITION: Final = "Developer Edition (64-bit)"
EDITION_ID: Final = -2117995310
ENGINE_EDITION: Final = 3
COLLATION: Final = "SQL_Latin1_General_CP1_CI_AS"
LANGUAGE: Final = "us_english"
SERVICE_NAME: Final = "MSSQLSERVER"
COMPATIBILITY_LEVEL: Final = 160
DATABASE_VERSION: Final = 957
MICROSOFT_VERSION: Final = VERSION[0] << 24 | VERSION[1] << 16 | VERSION[2]
BANNER: Final = (
    f"Microsoft SQL Server 2022 (RTM) - {PRODUCT_VERSION} (X64) \n\ttdsproxy\n\t{EDITION} on Linux <X64>"
)
"""@@VERSION. Management Studio cuts the operating system out behind the first `` on ``."""


def host_name() -> str:
    """The machine's name without its domain, in upper case, as SQL Server names itself."""
    return (socket.gethostname() or platform.node() or "localhost").split(".")[0].upper()


@dataclass(frozen=True, slots=True)
class ServerIdentity:
    """The server's name and the directories that it shows to clients."""

    name: str = field(default_factory=host_name)
    data_directory: Path = Path()
    backup_directory: Path = Path("backup")

    @property
    def data_path(self) -> str:
        """InstanceDefaultDataPath: with a separator at the end, as tools append file names to it."""
        return str(self.data_directory.absolute()) + "/"

    @property
    def backup_path(self) -> str:
        """InstanceDefaultBackupPath: without a separator at the end."""
        return str(self.backup_directory.absolute())
