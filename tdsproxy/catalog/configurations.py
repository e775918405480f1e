"""The server options of sp_configure: SQL Server's list, and the values that a store has given them.

Ids, limits, defaults and descriptions follow ``sys.configurations`` of SQL Server 2022.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from tdsproxy.catalog.file import CatalogFile

_MOST: Final = 2**31 - 1
_LEAST: Final = -(2**31)


@dataclass(frozen=True, slots=True)
class Configuration:
    """``dynamic`` options take effect at RECONFIGURE, the others when the server starts; ``advanced`` ones
    are shown on request only."""

    id: int
    name: str
    default: int
    minimum: int
    maximum: int
    description: str
    dynamic: bool = True
    advanced: bool = True


SHOW_ADVANCED_OPTIONS: Final = "show advanced options"
BACKUP_COMPRESSION_DEFAULT: Final = "backup compression default"
BACKUP_COMPRESSION_ALGORITHM: Final = "backup compression algorithm"
BACKUP_CHECKSUM_DEFAULT: Final = "backup checksum default"
MEDIA_RETENTION: Final = "media retention"

_FIXED: Final = frozenset(
    {
        "user connections",
        "locks",
        "open objects",
        "fill factor (%)",
        "remote access",
        "c2 audit mode",
        "priority boost",
        "set working set size",
        "lightweight pooling",
        "scan for startup procs",
        "affinity I/O mask",
        "affinity64 I/O mask",
        "common criteria compliance enabled",
        "automatic soft-NUMA disabled",
        "column encryption enclave type",
        "tempdb metadata memory-optimized",
        "hardware offload enabled",
        "hardware offload config",
        "hardware offload mode",
        "hadoop connectivity",
        "polybase network encryption",
        "polybase enabled",
    }
)
"""What takes effect only when the server starts."""

_PLAIN: Final = frozenset(
    {
        "allow updates",
        "nested triggers",
        "server trigger recursion",
        "remote access",
        "default language",
        "cross db ownership chaining",
        SHOW_ADVANCED_OPTIONS,
        "remote proc trans",
        "remote login timeout (s)",
        "remote query timeout (s)",
        "user options",
        "max text repl size (B)",
        "clr enabled",
        "remote admin connections",
        BACKUP_COMPRESSION_DEFAULT,
        BACKUP_COMPRESSION_ALGORITHM,
        BACKUP_CHECKSUM_DEFAULT,
        "filestream access level",
        "external scripts enabled",
        "column encryption enclave type",
        "Data processed daily limit in TB",
        "Data processed weekly limit in TB",
        "Data processed monthly limit in TB",
        "contained database authentication",
        "hadoop connectivity",
        "polybase network encryption",
        "remote data archive",
        "allow polybase export",
        "polybase enabled",
    }
)
"""What sp_configure shows always."""

_OPTIONS: Final[tuple[tuple[int, str, int, int, int, str], ...]] = (
    (101, "recovery interval (min)", 0, 0, 32767, "Maximum recovery interval in minutes"),
    (102, "allow updates", 0, 0, 1, "Allow updates to system tables"),
    (103, "user connections", 0, 0, 32767, "Number of user connections allowed"),
    (106, "locks", 0, 5000, _MOST, "Number of locks for all users"),
    (107, "open objects", 0, 0, _MOST, "Number of open database objects"),
    (109, "fill factor (%)", 0, 0, 100, "Default fill factor percentage"),
    (114, "disallow results from triggers", 0, 0, 1, "Disallow returning results from triggers"),
    (115, "nested triggers", 1, 0, 1, "Allow triggers to be invoked within triggers"),
    (116, "server trigger recursion", 1, 0, 1, "Allow recursion for server level triggers"),
    (117, "remote access", 1, 0, 1, "Allow remote access"),
    (124, "default language", 0, 0, 9999, "default language"),
    (400, "cross db ownership chaining", 0, 0, 1, "Allow cross db ownership chaining"),
    (503, "max worker threads", 0, 128, 65535, "Maximum worker threads"),
    (505, "network packet size (B)", 4096, 512, 32767, "Network packet size"),
    (518, SHOW_ADVANCED_OPTIONS, 0, 0, 1, "show advanced options"),
    (542, "remote proc trans", 0, 0, 1, "Create DTC transaction for remote procedures"),
    (544, "c2 audit mode", 0, 0, 1, "c2 audit mode"),
    (1126, "default full-text language", 1033, 0, _MOST, "default full-text language"),
    (1127, "two digit year cutoff", 2049, 1753, 9999, "two digit year cutoff"),
    (1505, "index create memory (KB)", 0, 704, _MOST, "Memory for index create sorts (kBytes)"),
    (1517, "priority boost", 0, 0, 1, "Priority boost"),
    (1519, "remote login timeout (s)", 10, 0, _MOST, "remote login timeout"),
    (1520, "remote query timeout (s)", 600, 0, _MOST, "remote query timeout"),
    (1531, "cursor threshold", -1, -1, _MOST, "cursor threshold"),
    (1532, "set working set size", 0, 0, 1, "set working set size"),
    (1534, "user options", 0, 0, 32767, "user options"),
    (1535, "affinity mask", 0, _LEAST, _MOST, "affinity mask"),
    (1536, "max text repl size (B)", 65536, -1, _MOST, "Maximum size of a text field in replication."),
    (1537, MEDIA_RETENTION, 0, 0, 365, "Tape retention period in days"),
    (1538, "cost threshold for parallelism", 5, 0, 32767, "cost threshold for parallelism"),
    (1539, "max degree of parallelism", 0, 0, 32767, "maximum degree of parallelism"),
    (1540, "min memory per query (KB)", 1024, 512, _MOST, "minimum memory per query (kBytes)"),
    (1541, "query wait (s)", -1, -1, _MOST, "maximum time to wait for query memory (s)"),
    (1543, "min server memory (MB)", 0, 0, _MOST, "Minimum size of server memory (MB)"),
    (1544, "max server memory (MB)", _MOST, 128, _MOST, "Maximum size of server memory (MB)"),
    (
        1545,
        "query governor cost limit",
        0,
        0,
        _MOST,
        "Maximum estimated cost allowed by query governor",
    ),
    (1546, "lightweight pooling", 0, 0, 1, "User mode scheduler uses lightweight pooling"),
    (1547, "scan for startup procs", 0, 0, 1, "scan for startup stored procedures"),
    (1549, "affinity64 mask", 0, _LEAST, _MOST, "affinity64 mask"),
    (1550, "affinity I/O mask", 0, _LEAST, _MOST, "affinity I/O mask"),
    (1551, "affinity64 I/O mask", 0, _LEAST, _MOST, "affinity64 I/O mask"),
    (1555, "transform noise words", 0, 0, 1, "Transform noise words for full-text query"),
    (1556, "precompute rank", 0, 0, 1, "Use precomputed rank for full-text query"),
    (1557, "PH timeout (s)", 60, 1, 3600, "DB connection timeout for full-text protocol handler (s)"),
    (1562, "clr enabled", 0, 0, 1, "CLR user code execution enabled in the server"),
    (
        1563,
        "max full-text crawl range",
        4,
        0,
        256,
        "Maximum  crawl ranges allowed in full-text indexing",
    ),
    (
        1564,
        "ft notify bandwidth (min)",
        0,
        0,
        32767,
        "Number of reserved full-text notifications buffers",
    ),
    (1565, "ft notify bandwidth (max)", 100, 0, 32767, "Max number of full-text notifications buffers"),
    (1566, "ft crawl bandwidth (min)", 0, 0, 32767, "Number of reserved full-text crawl buffers"),
    (1567, "ft crawl bandwidth (max)", 100, 0, 32767, "Max number of full-text crawl buffers"),
    (1568, "default trace enabled", 1, 0, 1, "Enable or disable the default trace"),
    (1569, "blocked process threshold (s)", 0, 0, 86400, "Blocked process reporting threshold"),
    (
        1570,
        "in-doubt xact resolution",
        0,
        0,
        2,
        "Recovery policy for DTC transactions with unknown outcome",
    ),
    (
        1576,
        "remote admin connections",
        0,
        0,
        1,
        "Dedicated Admin Connections are allowed from remote clients",
    ),
    (
        1577,
        "common criteria compliance enabled",
        0,
        0,
        1,
        "Common Criteria compliance mode enabled",
    ),
    (1578, "EKM provider enabled", 0, 0, 1, "Enable or disable EKM provider"),
    (1579, BACKUP_COMPRESSION_DEFAULT, 0, 0, 1, "Enable compression of backups by default"),
    (1580, "filestream access level", 0, 0, 2, "Sets the FILESTREAM access level"),
    (
        1581,
        "optimize for ad hoc workloads",
        0,
        0,
        1,
        "When this option is set, plan cache size is further reduced for single-use adhoc OLTP workload.",
    ),
    (
        1582,
        "access check cache bucket count",
        0,
        0,
        65536,
        "Default hash bucket count for the access check result security cache",
    ),
    (
        1583,
        "access check cache quota",
        0,
        0,
        _MOST,
        "Default quota for the access check result security cache",
    ),
    (1584, BACKUP_CHECKSUM_DEFAULT, 0, 0, 1, "Enable checksum of backups by default"),
    (
        1585,
        "automatic soft-NUMA disabled",
        0,
        0,
        1,
        "Automatic soft-NUMA is enabled by default",
    ),
    (1586, "external scripts enabled", 0, 0, 1, "Allows execution of external scripts"),
    (1587, "clr strict security", 1, 0, 1, "CLR strict security enabled in the server"),
    (
        1588,
        "column encryption enclave type",
        0,
        0,
        2,
        "Type of enclave used for computations on encrypted columns",
    ),
    (
        1589,
        "tempdb metadata memory-optimized",
        0,
        0,
        1,
        "Tempdb metadata memory-optimized is disabled by default.",
    ),
    (1591, "ADR cleaner retry timeout (min)", 15, 0, 32767, "ADR cleaner retry timeout."),
    (1592, "ADR Preallocation Factor", 4, 0, 32767, "ADR Preallocation Factor."),
    (
        1593,
        "version high part of SQL Server",
        1048576,
        _LEAST,
        _MOST,
        "version high part of SQL Server that model database copied for",
    ),
    (
        1594,
        "version low part of SQL Server",
        0,
        _LEAST,
        _MOST,
        "version low part of SQL Server that model database copied for",
    ),
    (
        1595,
        "Data processed daily limit in TB",
        _MOST,
        0,
        _MOST,
        "SQL On-demand data processed daily limit in TB",
    ),
    (
        1596,
        "Data processed weekly limit in TB",
        _MOST,
        0,
        _MOST,
        "SQL On-demand data processed weekly limit in TB",
    ),
    (
        1597,
        "Data processed monthly limit in TB",
        _MOST,
        0,
        _MOST,
        "SQL On-demand data processed monthly limit in TB",
    ),
    (1598, "ADR Cleaner Thread Count", 1, 1, 32767, "Max number of threads ADR cleaner can assign."),
    (1599, "hardware offload enabled", 0, 0, 1, "Enable hardware offload on the server"),
    (1600, "hardware offload config", 0, 0, 255, "Configure hardware offload on the server"),
    (1601, "hardware offload mode", 0, 0, 255, "Hardware offload mode on the server"),
    (
        1602,
        BACKUP_COMPRESSION_ALGORITHM,
        3,  # ZSTD, where SQL Server has 0, which means MS_XPRESS there
        0,
        3,
        "Configure default backup compression algorithm",
    ),
    (16384, "Agent XPs", 1, 0, 1, "Enable or disable Agent XPs"),
    (16386, "Database Mail XPs", 0, 0, 1, "Enable or disable Database Mail XPs"),
    (16387, "SMO and DMO XPs", 1, 0, 1, "Enable or disable SMO and DMO XPs"),
    (16388, "Ole Automation Procedures", 0, 0, 1, "Enable or disable Ole Automation Procedures"),
    (16390, "xp_cmdshell", 0, 0, 1, "Enable or disable command shell"),
    (16391, "Ad Hoc Distributed Queries", 0, 0, 1, "Enable or disable Ad Hoc Distributed Queries"),
    (16392, "Replication XPs", 0, 0, 1, "Enable or disable Replication XPs"),
    (
        16393,
        "contained database authentication",
        0,
        0,
        1,
        "Enables contained databases and contained authentication",
    ),
    (
        16394,
        "hadoop connectivity",
        0,
        0,
        8,
        "Configure SQL Server to connect to external Hadoop or Microsoft Azure storage blob data sources"
        " through PolyBase",
    ),
    (
        16395,
        "polybase network encryption",
        1,
        0,
        1,
        "Configure SQL Server to encrypt control and data channels when using PolyBase",
    ),
    (
        16396,
        "remote data archive",
        0,
        0,
        1,
        "Allow the use of the REMOTE_DATA_ARCHIVE data access for databases",
    ),
    (16397, "allow polybase export", 0, 0, 1, "Allow INSERT into a Hadoop external table"),
    (16398, "allow filesystem enumeration", 1, 0, 1, "Allow enumeration of filesystem"),
    (
        16399,
        "polybase enabled",
        0,
        0,
        1,
        "Configure SQL Server to connect to external data sources through PolyBase",
    ),
    (
        16400,
        "suppress recovery model errors",
        0,
        0,
        1,
        "Return warning instead of error for unsupported ALTER DATABASE SET RECOVERY command",
    ),
    (
        16401,
        "openrowset auto_create_statistics",
        1,
        0,
        1,
        "Enable or disable auto create statistics for openrowset sources.",
    ),
)

CONFIGURATIONS: Final[tuple[Configuration, ...]] = tuple(
    Configuration(*option, dynamic=option[1] not in _FIXED, advanced=option[1] not in _PLAIN)
    for option in _OPTIONS
)
"""In the order of their ids."""


def find(name: str) -> list[Configuration]:
    """The options whose name is, or begins with, ``name``, as sp_configure looks for them."""
    wanted = name.strip().lower()
    exact = [item for item in CONFIGURATIONS if item.name.lower() == wanted]
    return exact or [item for item in CONFIGURATIONS if item.name.lower().startswith(wanted)]


_BY_NAME: Final = {item.name: item for item in CONFIGURATIONS}
_RUNNING: Final = "in use: "


class Configurations:
    """The options of one store, in master.db. Usable from any thread and several processes at once."""

    def __init__(self, file: CatalogFile) -> None:
        self._file = file

    def in_use(self, name: str) -> int:
        """The value that holds now. Raises KeyError for a name that is no option's."""
        item = _BY_NAME[name]
        return self._values(_RUNNING).get(item.id, item.default)

    def all_in_use(self) -> Mapping[int, int]:
        """The values that hold now, by the option's id."""
        return {item.id: item.default for item in CONFIGURATIONS} | self._values(_RUNNING)

    def all_configured(self) -> Mapping[int, int]:
        """The values that were asked for, by the option's id."""
        return {item.id: item.default for item in CONFIGURATIONS} | self._values("")

    def configure(self, item: Configuration, value: int) -> None:
        """Notes a value; it holds after ``reconfigure``, or after the next start."""
        with self._file.write():
            self._put(item.name, value)

    def reconfigure(self, *, starting: bool = False) -> None:
        """Lets what was configured hold; what is not dynamic only when the server is ``starting``."""
        configured, running = self._values(""), self._values(_RUNNING)
        changed = [
            item
            for item in CONFIGURATIONS
            if (item.dynamic or starting)
            and item.id in configured
            and running.get(item.id, item.default) != configured[item.id]
        ]
        if not changed:
            return
        with self._file.write():
            for item in changed:
                self._put(_RUNNING + item.name, configured[item.id])

    def _put(self, name: str, value: int) -> None:
        self._file.read("INSERT OR REPLACE INTO __tds_settings VALUES (?, ?)", (name, str(value)))

    def _values(self, prefix: str) -> dict[int, int]:
        values = {}
        for name, text in self._file.read("SELECT name, value FROM __tds_settings"):
            item = _BY_NAME.get(str(name).removeprefix(prefix)) if str(name).startswith(prefix) else None
            if item is not None and str(text).lstrip("-").isdigit():
                values[item.id] = int(str(text))
        return values
