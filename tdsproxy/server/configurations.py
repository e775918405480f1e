"""The server options of sp_configure, with SQL Server's numbers and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Configuration:
    """``dynamic`` options take effect at RECONFIGURE; ``advanced`` ones are shown on request only."""

    id: int
    name: str
    default: int
    minimum: int
    maximum: int
    description: str
    dynamic: bool = True
    advanced: bool = True


CONFIGURATIONS: Final = tuple(
    sorted(
        (
            Configuration(
                101, "recovery interval (min)", 0, 0, 32767, "Maximum recovery interval in minutes"
            ),
            Configuration(102, "allow updates", 0, 0, 1, "Allow updates to system tables", advanced=False),
            Configuration(103, "user connections", 0, 0, 32767, "Number of user connections allowed", False),
            Configuration(
                115,
                "nested triggers",
                1,
                0,
                1,
                "Allow triggers to be invoked within triggers",
                advanced=False,
            ),
            Configuration(
                116,
                "server trigger recursion",
                1,
                0,
                1,
                "Allow recursion for server level triggers",
                advanced=False,
            ),
            Configuration(117, "remote access", 1, 0, 1, "Allow remote access", False, False),
            Configuration(124, "default language", 0, 0, 9999, "default language", advanced=False),
            Configuration(
                400,
                "cross db ownership chaining",
                0,
                0,
                1,
                "Allow cross db ownership chaining",
                advanced=False,
            ),
            Configuration(503, "max worker threads", 0, 128, 65535, "Maximum worker threads"),
            Configuration(505, "network packet size (B)", 4096, 512, 32767, "Network packet size"),
            Configuration(518, "show advanced options", 0, 0, 1, "show advanced options", advanced=False),
            Configuration(
                542,
                "remote proc trans",
                0,
                0,
                1,
                "Create DTC transaction for remote procedures",
                advanced=False,
            ),
            Configuration(
                1126, "default full-text language", 1033, 0, 2147483647, "default full-text language"
            ),
            Configuration(1127, "two digit year cutoff", 2049, 1753, 9999, "two digit year cutoff"),
            Configuration(
                1520, "remote login timeout (s)", 10, 0, 2147483647, "remote login timeout", advanced=False
            ),
            Configuration(
                1519, "remote query timeout (s)", 600, 0, 2147483647, "remote query timeout", advanced=False
            ),
            Configuration(1534, "user options", 0, 0, 32767, "user options", advanced=False),
            Configuration(
                1538, "cost threshold for parallelism", 5, 0, 32767, "cost threshold for parallelism"
            ),
            Configuration(1539, "max degree of parallelism", 0, 0, 32767, "maximum degree of parallelism"),
            Configuration(
                1543, "min server memory (MB)", 0, 0, 2147483647, "Minimum size of server memory (MB)"
            ),
            Configuration(
                1544,
                "max server memory (MB)",
                2147483647,
                128,
                2147483647,
                "Maximum size of server memory (MB)",
            ),
            Configuration(1537, "media retention", 0, 0, 365, "Tape retention period in days"),
            Configuration(
                1555, "transform noise words", 0, 0, 1, "Transform noise words for full-text query"
            ),
            Configuration(
                1579,
                "backup compression default",
                0,
                0,
                1,
                "Enable compression of backups by default",
                advanced=False,
            ),
            Configuration(
                1584,
                "backup checksum default",
                0,
                0,
                1,
                "Enable checksum of backups by default",
                advanced=False,
            ),
            Configuration(
                1587,
                "backup compression algorithm",
                3,
                0,
                3,
                "Configure default backup compression algorithm",
                advanced=False,
            ),
            Configuration(16384, "Agent XPs", 1, 0, 1, "Enable or disable Agent XPs"),
            Configuration(16386, "Database Mail XPs", 0, 0, 1, "Enable or disable Database Mail XPs"),
            Configuration(16387, "SMO and DMO XPs", 1, 0, 1, "Enable or disable SMO and DMO XPs"),
            Configuration(
                16388, "Ole Automation Procedures", 0, 0, 1, "Enable or disable Ole Automation Procedures"
            ),
            Configuration(16390, "xp_cmdshell", 0, 0, 1, "Enable or disable command shell"),
            Configuration(
                16393,
                "contained database authentication",
                0,
                0,
                1,
                "Enables contained databases and contained authentication",
                advanced=False,
            ),
        ),
        key=lambda item: item.id,
    )
)


def find(name: str) -> list[Configuration]:
    """The options whose name is, or begins with, ``name``, as sp_configure looks for them."""
    wanted = name.strip().lower()
    exact = [item for item in CONFIGURATIONS if item.name.lower() == wanted]
    return exact or [item for item in CONFIGURATIONS if item.name.lower().startswith(wanted)]
