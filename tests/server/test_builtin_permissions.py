"""sys.fn_builtin_permissions: the classes, the permissions on them, and what implies them."""

from __future__ import annotations

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, columns

__all__ = ["shared_world", "sql"]

_ALL = "sys.fn_builtin_permissions(DEFAULT)"


def test_its_columns(sql: Client) -> None:
    assert columns(sql.replies(f"SELECT * FROM {_ALL}")) == [
        "class_desc",
        "permission_name",
        "type",
        "covering_permission_name",
        "parent_class_desc",
        "parent_covering_permission_name",
    ]


def test_default_null_and_nothing_ask_for_all(sql: Client) -> None:
    for argument in ("DEFAULT", "NULL", "''", "N''"):
        text = f"SELECT COUNT(*), COUNT(DISTINCT class_desc) FROM sys.fn_builtin_permissions({argument})"
        assert sql.rows(text) == [(237, 26)]


def test_a_class_in_any_case(sql: Client) -> None:
    found = sql.rows(
        "SELECT permission_name, type, covering_permission_name, parent_class_desc,"
        " parent_covering_permission_name FROM sys.fn_builtin_permissions(N'object') ORDER BY 1"
    )
    assert found == [
        ("ALTER", "AL  ", "CONTROL", "SCHEMA", "ALTER"),
        ("CONTROL", "CL  ", "", "SCHEMA", "CONTROL"),
        ("DELETE", "DL  ", "CONTROL", "SCHEMA", "DELETE"),
        ("EXECUTE", "EX  ", "CONTROL", "SCHEMA", "EXECUTE"),
        ("INSERT", "IN  ", "CONTROL", "SCHEMA", "INSERT"),
        ("RECEIVE", "RC  ", "CONTROL", "SCHEMA", "CONTROL"),
        ("REFERENCES", "RF  ", "CONTROL", "SCHEMA", "REFERENCES"),
        ("SELECT", "SL  ", "RECEIVE", "SCHEMA", "SELECT"),
        ("TAKE OWNERSHIP", "TO  ", "CONTROL", "SCHEMA", "CONTROL"),
        ("UPDATE", "UP  ", "CONTROL", "SCHEMA", "UPDATE"),
        ("VIEW CHANGE TRACKING", "VWCT", "CONTROL", "SCHEMA", "VIEW CHANGE TRACKING"),
        ("VIEW DEFINITION", "VW  ", "CONTROL", "SCHEMA", "VIEW DEFINITION"),
    ]
    assert sql.rows("SELECT * FROM sys.fn_builtin_permissions('TABLE')") == []


def test_every_permission_leads_to_control_server(sql: Client) -> None:
    """Whatever is named as implying a permission is there itself."""
    rows = sql.rows(f"SELECT * FROM {_ALL}")
    known = {(row[0], row[1]) for row in rows}
    assert len(known) == len(rows)
    for kind, name, _, covering, parent, implying in rows:
        assert not covering or (kind, covering) in known, (kind, name)
        assert not parent or (parent, implying) in known, (kind, name)
    tops = [row for row in rows if not row[3] and not row[4]]
    assert [row[:2] for row in tops] == [("SERVER", "CONTROL SERVER")]


def test_some_that_administrators_ask_for(sql: Client) -> None:
    text = "SELECT covering_permission_name, parent_covering_permission_name FROM {} WHERE class_desc ="
    for name, expected in {
        "BACKUP DATABASE": ("CONTROL", "CONTROL SERVER"),
        "CREATE TABLE": ("ALTER", "CONTROL SERVER"),
        "SHOWPLAN": ("CONTROL", "ALTER TRACE"),
        "VIEW DATABASE STATE": ("CONTROL", "VIEW SERVER STATE"),
    }.items():
        asked = f"{text.format(_ALL)} 'DATABASE' AND permission_name = '{name}'"
        assert sql.rows(asked) == [expected]
