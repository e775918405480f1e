"""The compatibility views of SQL Server 2000 that scripts still read, made from those of today."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from tdsproxy.catalog.configurations import CONFIGURATIONS
from tdsproxy.server.sysviews import databases, objects, security, server
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.objects import constraint_kind
from tdsproxy.server.sysviews.performance import counters
from tdsproxy.server.sysviews.scope import Scope

_MODERN: Final = {
    f"{item.schema}.{item.name}".lower(): item
    for item in (*databases.VIEWS, *objects.VIEWS, *security.VIEWS, *server.VIEWS)
}
_STATUS: Final = {"PK": 1, "UQ": 2, "F": 3, "C": 4, "D": 5}
_LINE: Final = 4000


def _rows(name: str, scope: Scope) -> Iterable[Row]:
    return _MODERN[name].rows(scope)


def _types(scope: Scope) -> Iterator[Row]:
    for row in _rows("sys.types", scope):
        yield {
            "name": row["name"],
            "xtype": row["system_type_id"],
            "xusertype": row["user_type_id"],
            "length": row["max_length"],
            "xprec": row.get("precision", 0),
            "xscale": row.get("scale", 0),
            "uid": row["schema_id"],
            "usertype": row["user_type_id"],
            "allownulls": 1,
            "type": row["system_type_id"],
            "prec": row.get("precision"),
            "scale": row.get("scale"),
            "collation": row.get("collation_name"),
        }


def _settings(scope: Scope, *, running: bool) -> Iterator[Row]:
    values = scope.configurations.all_in_use() if running else scope.configurations.all_configured()
    for item in CONFIGURATIONS:
        yield {
            "value": values[item.id],
            "config": item.id,
            "comment": item.description,
            "status": int(item.dynamic) + 2 * int(item.advanced),
        }


def _configured(scope: Scope) -> Iterator[Row]:
    return _settings(scope, running=False)


def _in_use(scope: Scope) -> Iterator[Row]:
    return _settings(scope, running=True)


def _devices(scope: Scope) -> Iterator[Row]:
    for device in _rows("sys.backup_devices", scope):
        yield {
            "name": device["name"],
            "status": 16,
            "cntrltype": device.get("type"),
            "phyname": device.get("physical_name"),
        }


def _comments(scope: Scope) -> Iterator[Row]:
    """Texts in pieces of 4000 characters, as nvarchar(4000) holds them."""
    for module in _rows("sys.sql_modules", scope):
        text = str(module["definition"])
        for place in range(0, max(len(text), 1), _LINE):
            yield {
                "id": module["object_id"],
                "number": 1,
                "colid": place // _LINE + 1,
                "texttype": 2,
                "language": 0,
                "text": text[place : place + _LINE],
            }
    for name in ("sys.check_constraints", "sys.default_constraints"):
        for row in _rows(name, scope):
            yield {"id": row["object_id"], "colid": 1, "texttype": 2, "text": row["definition"]}


def _foreign_keys(scope: Scope) -> Iterator[Row]:
    for row in _rows("sys.foreign_key_columns", scope):
        yield {
            "constid": row["constraint_object_id"],
            "fkeyid": row["parent_object_id"],
            "rkeyid": row["referenced_object_id"],
            "fkey": row["parent_column_id"],
            "rkey": row["referenced_column_id"],
            "keyno": row["constraint_column_id"],
        }


def _references(scope: Scope) -> Iterator[Row]:
    keys: dict[object, list[Row]] = {}
    for row in _foreign_keys(scope):
        keys.setdefault(row["constid"], []).append(row)
    for columns in keys.values():
        made: dict[str, object] = {
            "constid": columns[0]["constid"],
            "fkeyid": columns[0]["fkeyid"],
            "rkeyid": columns[0]["rkeyid"],
            "rkeyindid": 1,
            "keycnt": len(columns),
        }
        for place, row in enumerate(columns[:16], 1):
            made[f"fkey{place}"] = row["fkey"]
            made[f"rkey{place}"] = row["rkey"]
        yield made  # type: ignore[misc]


def _index_keys(scope: Scope) -> Iterator[Row]:
    for row in _rows("sys.index_columns", scope):
        if row.get("key_ordinal"):
            yield {
                "id": row["object_id"],
                "indid": row["index_id"],
                "colid": row["column_id"],
                "keyno": row["key_ordinal"],
            }


def _constraints(scope: Scope) -> Iterator[Row]:
    for table in scope.objects.tables.values():
        for item in table.constraints():
            yield {
                "constid": item.object_id,
                "id": table.object_id,
                "colid": 0,
                "status": _STATUS[constraint_kind(item)],
            }


def _filegroups(scope: Scope) -> Iterator[Row]:
    for row in _rows("sys.filegroups", scope):
        yield {"groupid": row["data_space_id"], "allocpolicy": 0, "status": 16, "groupname": row["name"]}


def _members(scope: Scope) -> Iterator[Row]:
    for row in _rows("sys.database_role_members", scope):
        yield {"memberuid": row["member_principal_id"], "groupuid": row["role_principal_id"]}


def _servers(scope: Scope) -> Iterator[Row]:
    for row in _rows("sys.servers", scope):
        yield {
            "srvid": row["server_id"],
            "srvname": row["name"],
            "srvproduct": row["product"],
            "providername": row["provider"],
            "datasource": row["data_source"],
            "srvnetname": row["name"],
            "schemadate": row["modify_date"],
            "isremote": 1,
            "rpc": 1,
            "rpcout": 1,
        }


_REFERENCE_KEYS: Final = ", ".join(
    [f"fkey{n} smallint" for n in range(1, 17)] + [f"rkey{n} smallint" for n in range(1, 17)]
)

VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.systypes",
        "name sysname!, xtype tinyint!, status tinyint, xusertype smallint, length smallint!, xprec tinyint!,"
        " xscale tinyint!, tdefault int!, domain int!, uid smallint, reserved smallint, collationid int,"
        " usertype smallint, variable bit, allownulls bit, type tinyint!, printfmt varchar(255),"
        " prec smallint, scale tinyint, collation sysname",
        _types,
    ),
    view("sys.sysconfigures", "value int, config int!, comment nvarchar(255)!, status smallint", _configured),
    view(
        "sys.syscurconfigs", "value int, config smallint!, comment nvarchar(255)!, status smallint", _in_use
    ),
    view(
        "sys.sysdevices",
        "name sysname!, size int, low int, high int, status smallint, cntrltype smallint,"
        " phyname nvarchar(260)",
        _devices,
    ),
    view(
        "sys.syscomments",
        "id int!, number smallint, colid smallint!, status smallint!, ctext varbinary(8000),"
        " texttype smallint, language smallint, encrypted bit!, compressed bit!, text nvarchar(4000)",
        _comments,
    ),
    view(
        "sys.sysforeignkeys",
        "constid int!, fkeyid int!, rkeyid int!, fkey smallint!, rkey smallint!, keyno smallint!",
        _foreign_keys,
    ),
    view(
        "sys.sysreferences",
        "constid int!, fkeyid int!, rkeyid int!, rkeyindid smallint, keycnt smallint, forkeys varbinary(32),"
        f" refkeys varbinary(32), fkeydbid smallint, rkeydbid smallint, {_REFERENCE_KEYS}",
        _references,
    ),
    view("sys.sysindexkeys", "id int!, indid smallint, colid smallint, keyno smallint", _index_keys),
    view(
        "sys.sysconstraints",
        "constid int!, id int!, colid smallint, spare1 tinyint, status int, actions int, error int",
        _constraints,
    ),
    view(
        "sys.sysfilegroups",
        "groupid smallint!, allocpolicy smallint, status int, groupname sysname!",
        _filegroups,
    ),
    view("sys.sysmembers", "memberuid smallint, groupuid smallint", _members),
    view(
        "sys.sysservers",
        "srvid smallint, srvstatus smallint, srvname sysname!, srvproduct nvarchar(128)!,"
        " providername nvarchar(128), datasource nvarchar(4000), location nvarchar(4000),"
        " providerstring nvarchar(4000), schemadate datetime!, topologyx int, topologyy int,"
        " catalog sysname, srvcollation sysname, connecttimeout int, querytimeout int, srvnetname char(30),"
        " isremote bit, rpc bit!, pub bit, sub bit, dist bit, dpub bit, rpcout bit, dataaccess bit,"
        " collationcompatible bit, system bit, useremotecollation bit, lazyschemavalidation bit,"
        " nonsqlsub bit",
        _servers,
    ),
    view(
        "sys.sysdepends",
        "id int!, depid int!, number smallint, depnumber smallint, status smallint, deptype tinyint!,"
        " depdbid smallint, depsiteid smallint, selall bit!, resultobj bit!, readobj bit!",
    ),
    view(
        "sys.sysprotects",
        "id int!, uid smallint, action tinyint!, protecttype tinyint, columns varbinary(8000),"
        " grantor smallint",
    ),
    view(
        "sys.syspermissions",
        "id int, grantee smallint, grantor smallint, actadd smallint, actmod smallint,"
        " seladd varbinary(4000), selmod varbinary(4000), updadd varbinary(4000), updmod varbinary(4000),"
        " refadd varbinary(4000),"
        " refmod varbinary(4000)",
    ),
    view(
        "sys.syslockinfo",
        "rsc_text nchar(32)!, rsc_bin binary(16)!, rsc_valblk binary(16)!, rsc_dbid smallint!,"
        " rsc_indid smallint!, rsc_objid int!, rsc_type tinyint!, rsc_flag tinyint!, req_mode tinyint!,"
        " req_status tinyint!, req_refcnt smallint!, req_cryrefcnt smallint!, req_lifetime int!,"
        " req_spid int!, req_ecid int!, req_ownertype smallint!, req_transactionid bigint,"
        " req_transactionuow uniqueidentifier",
    ),
    view(
        "sys.sysperfinfo",
        "object_name nchar(128)!, counter_name nchar(128)!, instance_name nchar(128), cntr_value bigint!,"
        " cntr_type int!",
        counters,
    ),
    view(
        "sys.syscacheobjects",
        "bucketid int, cacheobjtype nvarchar(17), objtype nvarchar(8), objid int, dbid smallint,"
        " dbidexec smallint, uid smallint, refcounts int, usecounts int, pagesused int, setopts int,"
        " langid smallint, dateformat smallint, status int, lasttime bigint, maxexectime bigint,"
        " avgexectime bigint, lastreads bigint, lastwrites bigint, sqlbytes int, sql nvarchar(3900)",
    ),
    view(
        "sys.sysremotelogins",
        "remoteserverid smallint, remoteusername sysname, status smallint, sid varbinary(85),"
        " changedate datetime",
    ),
    view(
        "sys.sysopentapes",
        "tapeid int, status int, mediaid int, physical_device_name nvarchar(260)",
    ),
    view(
        "sys.sysoledbusers",
        "rmtsrvid smallint, rmtloginame nvarchar(128), rmtpassword nvarchar(128), loginsid varbinary(85),"
        " status smallint, changedate datetime",
    ),
    view(
        "sys.syscharsets",
        "type smallint!, id tinyint!, csid tinyint!, status smallint, name sysname!,"
        " description nvarchar(255), binarydefinition varbinary(6000), definition image",
    ),
)
NAMES: Final = frozenset(item.name for item in VIEWS)
"""Found under ``dbo`` and without a schema, too."""
