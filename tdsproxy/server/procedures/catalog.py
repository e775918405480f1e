"""sp_help, sp_helptext and the describing procedures."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from tdsproxy.server.procedures.define import Parameters, Replies, SystemProcedure, result
from tdsproxy.server.procedures.describing import first_result_set
from tdsproxy.server.schema import ModuleInfo, TableInfo
from tdsproxy.server.typeinfo import TYPE_IDS, base_name, numbers
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.evaluator import Argument
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.state import Frame
from tdsproxy.tsql.values import DateTime, Value

if TYPE_CHECKING:
    from tdsproxy.server.session import Session

_VARIABLE: Final = re.compile(r"'(?:[^']|'')*'|--[^\n]*|\[[^\]]*\]|(?<![\w@])(@[A-Za-z_#@$][\w@#$]*)")


def find_object(session: Session, name: str) -> TableInfo | ModuleInfo:
    """The object called ``name``. Raises SqlError 15009."""
    written = split_name(name)
    database = written.database or session.database
    objects = session.find_objects(database)
    schema = written.schema or "dbo"
    found = None
    if objects is not None:
        found = objects.table(schema, written.object) or objects.module(schema, written.object)
    if found is None:
        raise SqlError.of(
            15009,
            16,
            1,
            f"The object '{name}' does not exist in database '{database}' or is invalid for this operation.",
        )
    return found


_WORDS: Final = {
    "V": "view",
    "P": "stored procedure",
    "FN": "scalar function",
    "IF": "inline function",
    "TF": "table function",
    "TR": "trigger",
    "SN": "synonym",
}


def _help(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_help", "@objname", arguments).text("@objname")
    if name is None:
        objects = session.find_objects(session.database)
        rows: list[dict[str, Value]] = []
        if objects is not None:
            kinds = [(x.name, x.schema, "user table") for x in objects.tables.values()]
            kinds += [(x.name, x.schema, _WORDS.get(x.kind, x.kind)) for x in objects.modules.values()]
            rows = [{"Name": name, "Owner": owner, "Object_type": kind} for name, owner, kind in kinds]
        yield from result("Name sysname!, Owner sysname, Object_type nvarchar(31)", rows)
        return 0
    found = find_object(session, name)
    kind = "user table" if isinstance(found, TableInfo) else _WORDS.get(found.kind, found.kind)
    yield from result(
        "Name sysname!, Owner sysname, Type nvarchar(31), Created_datetime datetime!",
        [{"Name": found.name, "Owner": found.schema, "Type": kind, "Created_datetime": _created(found)}],
    )
    if isinstance(found, TableInfo):
        yield from _table_help(found)
    return 0


def _created(found: TableInfo | ModuleInfo) -> DateTime:
    from tdsproxy.server.sysviews.objects import moment_of

    return moment_of(found.created)


def _table_help(table: TableInfo) -> Replies:
    rows: list[dict[str, Value]] = []
    for column in table.columns:
        about = numbers(column.type)
        measured = column.type.is_number and column.type.name != "bit"
        rows.append(
            {
                "Column_name": column.name,
                "Type": base_name(column.type),
                "Computed": "yes" if column.computed is not None else "no",
                "Length": about.length,
                "Prec": str(about.precision).ljust(5) if measured else "     ",
                "Scale": str(about.scale).ljust(5) if measured else "     ",
                "Nullable": "yes" if column.nullable else "no",
                "TrimTrailingBlanks": "no" if column.type.is_character else "(n/a)",
                "FixedLenNullInSource": "no" if column.type.is_character else "(n/a)",
                "Collation": "SQL_Latin1_General_CP1_CI_AS" if column.type.is_character else None,
            }
        )
    yield from result(
        "Column_name sysname!, Type nvarchar(128), Computed varchar(35), Length int,"
        " Prec char(5), Scale char(5),"
        "Nullable varchar(35), TrimTrailingBlanks varchar(35), FixedLenNullInSource varchar(35),"
        "Collation sysname",
        rows,
    )
    identity = table.identity_column
    info = identity.identity if identity else None
    yield from result(
        "Identity nvarchar(128), Seed numeric(38,0), Increment numeric(38,0), [Not] int",
        [
            {
                "Identity": identity.name if identity else "No identity column defined.",
                "Seed": Decimal(info.seed) if info else None,
                "Increment": Decimal(info.increment) if info else None,
                "Not": 0 if info else None,
            }
        ],
    )
    return 0


def _help_text(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    name = Parameters("sp_helptext", "@objname @columnname", arguments).required("@objname")
    found = find_object(session, name)
    if isinstance(found, TableInfo):
        raise SqlError.of(15197, 16, 1, f"There is no text for object '{name}'.")
    lines = found.text.splitlines(keepends=True)
    yield from result("Text nvarchar(255)", [{"Text": line} for line in lines])
    return 0


# --------------------------------------------------------------------------- describing


def _undeclared(session: Session, frame: Frame, arguments: Sequence[Argument]) -> Replies:
    """One row for each variable that the statement uses and nobody declares, as nvarchar(4000): drivers ask
    for the types of NULL parameters, and every type takes a NULL of that one."""
    given = Parameters("sp_describe_undeclared_parameters", "@tsql @params", arguments)
    text, known = given.required("@tsql"), given.text("@params") or ""
    parse(text, quoted_identifier=frame.options.quoted_identifier)
    declared = {name.lower() for name in _VARIABLE.findall(known)}
    names: list[str] = []
    for name in _VARIABLE.findall(text):
        if name and not name.startswith("@@") and name.lower() not in declared | {n.lower() for n in names}:
            names.append(name)
    yield from result(
        "parameter_ordinal int!, name sysname!, suggested_system_type_id int!,"
        "suggested_system_type_name nvarchar(256), suggested_max_length smallint!,"
        " suggested_precision tinyint!,"
        "suggested_scale tinyint!, suggested_user_type_id int, suggested_user_type_database sysname,"
        "suggested_user_type_schema sysname, suggested_user_type_name sysname,"
        "suggested_assembly_qualified_type_name nvarchar(4000), suggested_xml_collection_id int,"
        "suggested_xml_collection_database sysname, suggested_xml_collection_schema sysname,"
        "suggested_xml_collection_name sysname, suggested_is_xml_document bit!,"
        "suggested_is_case_sensitive bit!, suggested_is_fixed_length_clr_type bit!, suggested_is_input bit!,"
        "suggested_is_output bit!, formal_parameter_name sysname, suggested_tds_type_id int!,"
        "suggested_tds_length int!",
        [
            {
                "parameter_ordinal": place,
                "name": name,
                "suggested_system_type_id": TYPE_IDS["nvarchar"],
                "suggested_system_type_name": "nvarchar(4000)",
                "suggested_max_length": 8000,
                "suggested_is_input": 1,
                "suggested_tds_type_id": 231,
                "suggested_tds_length": 8000,
            }
            for place, name in enumerate(names, 1)
        ],
    )
    return 0


PROCEDURES: Final[dict[str, SystemProcedure]] = {
    "sp_help": _help,
    "sp_helptext": _help_text,
    "sp_describe_undeclared_parameters": _undeclared,
    "sp_describe_first_result_set": first_result_set,
}
