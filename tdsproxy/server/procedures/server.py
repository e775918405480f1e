"""sp_configure, sp_helpdb, xp_msver, registry values and other facts of the server."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from tdsproxy.server import identity
from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.sysviews.scope import DatabaseFacts
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_AGENTS: Final = frozenset({"sqlserveragent", "sqlagent"})
_SERVICES: Final = frozenset({"mssqlserver", *_AGENTS})
_REFUSED: Final = {
    "START": "StartService() returned error 1056, 'An instance of the service is already running.'",
    **dict.fromkeys(("STOP", "PAUSE", "CONTINUE"), "ControlService() returned error 5, 'Access is denied.'"),
}


def _databases(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    yield from result(
        "DATABASE_NAME sysname!, DATABASE_SIZE int, REMARKS varchar(254)",
        [
            {"DATABASE_NAME": d.name, "DATABASE_SIZE": (d.pages + d.log_pages) * 8}
            for d in session.visible_databases()
            if d.online and session.rights.may_use(d.name)
        ],
    )
    return 0


def _status(d: DatabaseFacts) -> str:
    return (
        f"Status={d.state}, Updateability={'READ_ONLY' if d.read_only else 'READ_WRITE'},"
        f" UserAccess={d.user_access}, Recovery={d.recovery_model}, Version={identity.DATABASE_VERSION},"
        f" Collation={d.collation}, SQLSortOrder=52, IsAutoCreateStatistics, IsAutoUpdateStatistics,"
        " IsFullTextEnabled"
    )


def _help_database(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_helpdb", "@dbname", arguments).text("@dbname")
    shown = session.visible_databases()
    if name is not None:
        shown = [d for d in shown if d.name.lower() == name.rstrip().lower()]
        if not shown:
            raise SqlError.of(
                15010,
                16,
                1,
                f"The database '{name}' does not exist. Supply a valid database name. To see available"
                " databases, use sys.databases.",
            )
    owners = {login.sid: login.name for login in session.logins()}
    yield from result(
        "name sysname, db_size nvarchar(13), owner sysname, dbid smallint, created nvarchar(11),"
        "status nvarchar(600), compatibility_level tinyint",
        [
            {
                "name": d.name,
                "db_size": f"{(d.pages + d.log_pages) * 8 / 1024:10.2f} MB",
                "owner": owners.get(d.owner_sid, "sa"),
                "dbid": d.id,
                "created": d.created.to_python().strftime("%b %d %Y").replace(" 0", "  "),
                "status": _status(d) if d.online else f"Status={d.state}",
                "compatibility_level": d.compatibility_level,
            }
            for d in sorted(shown, key=lambda d: d.name.lower())
        ],
    )
    if name is not None and shown[0].online:
        yield from _files_of(shown[0])
    return 0


def _files_of(facts: DatabaseFacts) -> Replies:
    rows: list[dict[str, Value]] = [
        {
            "name": facts.logical_name,
            "fileid": 1,
            "filename": facts.data_file,
            "filegroup": "PRIMARY",
            "size": f"{facts.pages * 8} KB",
            "maxsize": "Unlimited",
            "growth": "65536 KB",
            "usage": "data only",
        },
        {
            "name": facts.log_name,
            "fileid": 2,
            "filename": facts.log_file,
            "size": f"{facts.log_pages * 8} KB",
            "maxsize": "2147483648 KB",
            "growth": "65536 KB",
            "usage": "log only",
        },
    ]
    yield from result(
        "name sysname, fileid smallint, filename nvarchar(260), filegroup sysname, size nvarchar(15),"
        "maxsize nvarchar(15), growth nvarchar(15), usage nvarchar(9)",
        rows,
    )
    return 0


def _help_file(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    facts = next(d for d in session.visible_databases() if d.name == session.database)
    return (yield from _files_of(facts))


def _version(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    wanted = Parameters("xp_msver", "@optname", arguments).text("@optname")
    megabytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 1048576
    facts: list[tuple[str, int | None, str | None]] = [
        ("ProductName", None, "Microsoft SQL Server"),
        ("ProductVersion", identity.VERSION[0] << 16, identity.PRODUCT_VERSION),
        ("Language", 1033, "English (United States)"),
        ("Platform", None, "NT x64"),
        ("Comments", None, "SQL"),
        ("CompanyName", None, None),
        ("FileDescription", None, "tdsproxy"),
        ("FileVersion", None, identity.PRODUCT_VERSION),
        ("InternalName", None, "SQLSERVR"),
        ("LegalCopyright", None, None),
        ("LegalTrademarks", None, None),
        ("OriginalFilename", None, None),
        ("PrivateBuild", None, None),
        ("SpecialBuild", 0, None),
        ("WindowsVersion", 0, "0"),
        ("ProcessorCount", os.cpu_count() or 1, str(os.cpu_count() or 1)),
        ("ProcessorActiveMask", None, "1"),
        ("ProcessorType", 8664, None),
        ("PhysicalMemory", megabytes, f"{megabytes} ({megabytes * 1048576})"),
        ("Product ID", None, None),
    ]
    yield from result(
        "Index smallint, Name nvarchar(128), Internal_Value int, Character_Value nvarchar(256)",
        [
            {"Index": place, "Name": name, "Internal_Value": number, "Character_Value": text}
            for place, (name, number, text) in enumerate(facts, 1)
            if wanted is None or name.lower() == wanted.lower()
        ],
    )
    return 0


def _registry(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """xp_instance_regread: the directories are known; every other value is absent, which is no error."""
    given = Parameters("xp_instance_regread", "@rootkey @key @value_name @value @no_output", arguments)
    name = (given.text("@value_name") or "").lower()
    here = session.engine.identity
    known = {
        "backupdirectory": here.backup_path,
        "defaultdata": here.data_path.rstrip("/"),
        "defaultlog": here.data_path.rstrip("/"),
        "sqldataroot": here.data_path.rstrip("/"),
    }
    value = known.get(name)
    asked_for_output = given.typed("@value") is not None
    if asked_for_output:
        if value is not None:
            given.give("@value", value, t.nvarchar(260))
        return 0
    if value is not None:
        yield from result(
            "Value nvarchar(128)!, Data nvarchar(260)",
            [{"Value": given.text("@value_name"), "Data": value}],
        )
    return 0


def _service_control(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """xp_servicecontrol: the server and its agent run as long as anybody can ask; neither is started or
    stopped by statements. Raises SqlError 229, 22003."""
    given = Parameters("xp_servicecontrol", "@action @service @server", arguments)
    if not session.rights.is_sysadmin:
        raise SqlError.of(
            229,
            14,
            5,
            "The EXECUTE permission was denied on the object 'xp_servicecontrol', database"
            " 'mssqlsystemresource', schema 'sys'.",
        )
    action = given.required("@action").upper()
    service = (given.text("@service") or "MSSQLServer").lower()
    if service not in _SERVICES:
        raise SqlError.of(
            22003,
            16,
            1,
            "OpenService() returned error 1060, 'The specified service does not exist as an installed"
            " service.'",
        )
    if action != "QUERYSTATE":
        failure = _REFUSED.get(action, "xp_servicecontrol() returned error 87, 'The parameter is incorrect.'")
        raise SqlError.of(22003, 16, 1, failure)
    running = service not in _AGENTS or session.engine.keeper is not None
    state = "Running." if running else "Stopped."
    yield from result("[Current Service State] nvarchar(20)", [{"Current Service State": state}])
    return 0


def _agent_is_starting(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """xp_sqlagent_is_starting: the agent is there as soon as the keeper is."""
    given = Parameters("xp_sqlagent_is_starting", "@retval", arguments)
    given.give("@retval", 0, t.INT)
    yield from ()
    return 0


def _login_configuration(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """xp_loginconfig: what of it holds here."""
    wanted = Parameters("xp_loginconfig", "@config_name", arguments).text("@config_name")
    session.rights.require_server_role("securityadmin")
    known = {"login mode": "Mixed", "set hostname": "false"}
    yield from result(
        "name sysname, config_value sysname",
        [
            {"name": name, "config_value": value}
            for name, value in known.items()
            if wanted is None or name == wanted.lower()
        ],
    )
    return 0


def _server_info(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    wanted = Parameters("sp_server_info", "@attribute_id", arguments).number("@attribute_id")
    facts = (
        (1, "DBMS_NAME", "Microsoft SQL Server"),
        (2, "DBMS_VER", f"Microsoft SQL Server 2022 - {identity.PRODUCT_VERSION}"),
        (10, "OWNER_TERM", "owner"),
        (11, "TABLE_TERM", "table"),
        (12, "MAX_OWNER_NAME_LENGTH", "128"),
        (13, "TABLE_LENGTH", "128"),
        (14, "MAX_QUAL_LENGTH", "128"),
        (15, "COLUMN_LENGTH", "128"),
        (16, "IDENTIFIER_CASE", "MIXED"),
        (17, "TX_ISOLATION", "2"),
        (18, "COLLATION_SEQ", "charset=iso_1 sort_order=nocase_iso charset_num=1 sort_order_num=52"),
        (500, "SYS_SPROC_VERSION", identity.PRODUCT_VERSION),
    )
    yield from result(
        "attribute_id int!, attribute_name varchar(60)!, attribute_value varchar(255)",
        [
            {"attribute_id": id_, "attribute_name": name, "attribute_value": value}
            for id_, name, value in facts
            if wanted is None or id_ == wanted
        ],
    )
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_databases": _databases,
    "sp_helpdb": _help_database,
    "sp_helpfile": _help_file,
    "sp_server_info": _server_info,
    "xp_msver": _version,
    "xp_instance_regread": _registry,
    "xp_regread": _registry,
    "xp_servicecontrol": _service_control,
    "xp_sqlagent_is_starting": _agent_is_starting,
    "xp_loginconfig": _login_configuration,
}
