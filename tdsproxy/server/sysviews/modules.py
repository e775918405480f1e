"""Parameters, triggers' events and the old lists of users and messages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from tdsproxy.server.schema import ModuleInfo
from tdsproxy.server.sequences import KIND, sequence_of
from tdsproxy.server.sysviews.model import Row, View, view
from tdsproxy.server.sysviews.objects import moment_of, schema_ids
from tdsproxy.server.sysviews.scope import Scope
from tdsproxy.server.triggers import parsed_trigger
from tdsproxy.server.typeinfo import numbers
from tdsproxy.tsql import ast
from tdsproxy.tsql import types as t
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.types import SqlType
from tdsproxy.tsql.values import Variant

_EVENTS: Final = {"INSERT": 1, "UPDATE": 2, "DELETE": 3}


def parameters_of(module: ModuleInfo) -> tuple[tuple[ast.Parameter, ...], ast.TypeName | None]:
    """A procedure's or function's parameters, and a scalar function's type."""
    try:
        statement = parse(module.text, quoted_identifier=module.quoted_identifier).statements[0]
    except SqlError:
        return (), None
    if isinstance(statement, ast.CreateFunction):
        return statement.parameters, statement.returns
    return (statement.parameters if isinstance(statement, ast.CreateProcedure) else ()), None


def _type_columns(type_: SqlType | None) -> Row:
    if type_ is None:
        return {"system_type_id": 0, "user_type_id": 0, "max_length": 0, "precision": 0, "scale": 0}
    about = numbers(type_)
    return {
        "system_type_id": about.id,
        "user_type_id": about.id,
        "max_length": about.length,
        "precision": about.precision,
        "scale": about.scale,
    }


def _parameters(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind not in ("P", "FN", "IF", "TF"):
            continue
        parameters, returns = parameters_of(module)
        if returns is not None:
            yield {
                "object_id": module.object_id,
                "name": "",
                "parameter_id": 0,
                "is_output": 1,
                "is_nullable": 1,
                **_type_columns(returns.type),
            }
        for place, parameter in enumerate(parameters, 1):
            yield {
                "object_id": module.object_id,
                "name": parameter.name,
                "parameter_id": place,
                "is_output": int(parameter.output),
                "is_readonly": int(parameter.readonly),
                "has_default_value": 0,
                "is_nullable": 1,
                **_type_columns(parameter.type.type),
            }


def _trigger_events(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind == "TR":
            for event in parsed_trigger(module.text, module.quoted_identifier).events:
                yield {
                    "object_id": module.object_id,
                    "type": _EVENTS.get(event, 0),
                    "type_desc": event,
                    "is_trigger_event": 1,
                }


def _sysusers(scope: Scope) -> Iterator[Row]:
    for user in scope.users():
        yield {
            "uid": user.id,
            "status": 0,
            "name": user.name,
            "sid": user.sid,
            "createdate": user.created,
            "updatedate": user.created,
            "hasdbaccess": int(user.kind == "S" and user.name != "guest"),
            "islogin": int(user.kind == "S"),
            "issqluser": int(user.kind == "S"),
            "issqlrole": int(user.kind == "R"),
        }


def _sequences(scope: Scope) -> Iterator[Row]:
    for module in scope.objects.modules.values():
        if module.kind != KIND:
            continue
        info = sequence_of(module)
        about = numbers(info.sql_type)
        yield {
            "name": module.name,
            "object_id": module.object_id,
            "schema_id": schema_ids(scope).get(module.schema.lower(), 1),
            "type": "SO",
            "type_desc": "SEQUENCE_OBJECT",
            "create_date": moment_of(module.created),
            "modify_date": moment_of(module.modified),
            "start_value": Variant(t.BIGINT, info.start),
            "increment": Variant(t.BIGINT, info.increment),
            "minimum_value": Variant(t.BIGINT, info.minimum),
            "maximum_value": Variant(t.BIGINT, info.maximum),
            "is_cycling": int(info.cycle),
            "is_cached": 1,
            "cache_size": info.cache or None,
            "system_type_id": about.id,
            "user_type_id": about.id,
            "precision": about.precision,
            "scale": about.scale,
            "current_value": Variant(t.BIGINT, info.start),
        }


VIEWS: Final[tuple[View, ...]] = (
    view(
        "sys.sequences",
        "name sysname!, object_id int!, principal_id int, schema_id int!, parent_object_id int!,"
        " type char(2), type_desc nvarchar(60), create_date datetime!, modify_date datetime!,"
        " is_ms_shipped bit!, is_published bit!, is_schema_published bit!, start_value sql_variant!,"
        " increment sql_variant!, minimum_value sql_variant, maximum_value sql_variant, is_cycling bit,"
        " is_cached bit, cache_size int, system_type_id tinyint!, user_type_id int!, precision tinyint!,"
        " scale tinyint, current_value sql_variant!, is_exhausted bit!, last_used_value sql_variant",
        _sequences,
    ),
    *(
        view(
            f"sys.{name}",
            "object_id int!, name sysname, parameter_id int!, system_type_id tinyint!, user_type_id int!,"
            " max_length smallint!, precision tinyint!, scale tinyint!, is_output bit!, is_cursor_ref bit!,"
            " has_default_value bit!, is_xml_document bit!, default_value sql_variant,"
            " xml_collection_id int!, is_readonly bit!, is_nullable bit, encryption_type int,"
            " encryption_type_desc nvarchar(64), encryption_algorithm_name sysname,"
            " column_encryption_key_id int, column_encryption_key_database_name sysname,"
            " vector_dimensions int",
            _parameters,
        )
        for name in ("parameters", "all_parameters")
    ),
    view(
        "sys.trigger_events",
        "object_id int!, type int!, type_desc nvarchar(60)!, is_trigger_event bit, is_first bit!,"
        " is_last bit!, event_group_type int, event_group_type_desc nvarchar(60)",
        _trigger_events,
    ),
    view(
        "sys.sysusers",
        "uid smallint, status smallint, name sysname, sid varbinary(85), roles varbinary(2048),"
        " createdate datetime!, updatedate datetime!, altuid smallint, password varbinary(256),"
        " gid smallint, environ varchar(255), hasdbaccess int, islogin int, isntname int, isntgroup int,"
        " isntuser int, issqluser int, isaliased int, issqlrole int, isapprole int",
        _sysusers,
    ),
)
