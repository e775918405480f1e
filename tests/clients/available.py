"""Which real clients are here. A test asks ``need(name)``: it is skipped with the reason when the client is
absent, and fails when scripts/install-clients had reported it as installed."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
from pathlib import Path

import pytest

from tests.clients import mssql_cli, sql_tools_service

ROOT = Path(__file__).resolve().parent.parent.parent
CLIENTS = ROOT / ".clients"
SCRIPTDOM = CLIENTS / "sqltools" / "bin" / "Microsoft.SqlServer.TransactSql.ScriptDom.dll"
SCRIPTDOM_RUNTIME = CLIENTS / "scriptdom"
"""Microsoft's T-SQL parser, and the folder of packages that run it."""


def _module(name: str) -> str | None:
    try:
        importlib.import_module(name)
    except ImportError as error:
        return f"{name} cannot be imported: {error}"
    return None


def _odbc_driver(name: str) -> str | None:
    reason = _module("pyodbc")
    if reason:
        return reason
    import pyodbc

    return None if name in pyodbc.drivers() else f"unixODBC knows no driver named {name}"


def _program(name: str) -> str | None:
    return None if shutil.which(name) else f"the program {name} is not on the PATH"


def _tedious() -> str | None:
    if not shutil.which("node"):
        return "Node.js is not on the PATH"
    return (
        None
        if (CLIENTS / "node" / "node_modules" / "tedious").is_dir()
        else "tedious is not in .clients/node"
    )


def _azurite() -> str | None:
    if not shutil.which("node"):
        return "Node.js is not on the PATH"
    there = (CLIENTS / "azurite" / "node_modules" / ".bin" / "azurite-blob").exists()
    return None if there else "azurite is not in .clients/azurite"


def _scriptdom() -> str | None:
    missing = next(
        (path for path in (SCRIPTDOM, SCRIPTDOM_RUNTIME / "clr_loader") if not path.exists()), None
    )
    return None if missing is None else f"there is no {missing.relative_to(ROOT)}"


def _java(name: str) -> str | None:
    if not shutil.which("java"):
        return "Java is not on the PATH"
    found = any((CLIENTS / "java").glob(f"{name}*.jar"))
    return None if found else f"{name} is not in .clients/java"


@functools.cache
def absent(client: str) -> str | None:
    """Why the client cannot be used, or None."""
    checks = {
        "pytds": lambda: _module("pytds"),
        "pymssql": lambda: _module("pymssql"),
        "mssql-python": lambda: _module("mssql_python"),
        "msodbcsql18": lambda: _odbc_driver("ODBC Driver 18 for SQL Server"),
        "freetds-odbc": lambda: _odbc_driver("FreeTDS"),
        "freetds-tsql": lambda: _program("tsql"),
        "freebcp": lambda: _program("freebcp"),
        "sqlite3": lambda: _program("sqlite3"),
        "tedious": _tedious,
        "azurite": _azurite,
        "mssql-jdbc": lambda: _java("mssql-jdbc"),
        "jtds": lambda: _java("jtds"),
        "scriptdom": _scriptdom,
        "pandas": lambda: _module("pandas"),
        "alembic": lambda: _module("alembic"),
        "sqlalchemy": lambda: _module("sqlalchemy"),
        "mssql-cli": lambda: mssql_cli.absent(CLIENTS / "mssql-cli", CLIENTS / "sqltools"),
        "sql-tools-service": lambda: sql_tools_service.absent(CLIENTS / "sqltools"),
    }
    return checks[client]()


def need(client: str) -> None:
    reason = absent(client)
    if reason is None:
        return
    report = os.environ.get("TDSPROXY_CLIENTS_REPORT")
    if report and f"{client} installed" in Path(report).read_text().splitlines():
        pytest.fail(f"{client} was reported as installed, but {reason}")
    pytest.skip(f"{client}: {reason}; scripts/install-clients may bring it")
