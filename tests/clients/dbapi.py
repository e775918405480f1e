"""The Python clients behind one face: how each connects, marks parameters and hands out messages."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.clients.available import need
from tests.running import Running


@dataclass(frozen=True)
class Client:
    """``open(server, tls, database, autocommit, password)`` gives a DB-API connection."""

    name: str
    mark: str
    open: Callable[..., Any]
    drain: Callable[[Any], list[str]]
    """Reads what is left of a cursor's results; the messages' texts that the client showed."""

    def binary(self, value: bytes) -> Any:
        """The client's way of saying that a parameter is binary."""
        if self.name == "pytds":
            import pytds

            return pytds.Binary(value)
        return bytearray(value) if self.name == "pymssql" else value

    def cannot_send(self, value: Any) -> bool:
        """Values that the client refuses or cuts before they reach the wire."""
        if isinstance(value, dt.time) and value.microsecond:
            return self.name in ("msodbcsql18", "freetds-odbc")  # pyodbc sends whole seconds
        if isinstance(value, dt.datetime) and value.microsecond % 1000:
            return self.name == "pymssql"  # sends text with milliseconds
        if isinstance(value, dt.date) and value.year == 1 and self.name == "freetds-odbc":
            return True  # sends the day before the first
        if isinstance(value, dt.date) and not isinstance(value, dt.datetime) and value.year < 1753:
            return self.name == "mssql-python"
        return False

    def connect(self, server: Running, **more: Any) -> Any:
        need(self.name)
        arguments = {"tls": False, "database": "master", "autocommit": True, "password": server.password}
        return self.open(server, **{**arguments, **more})

    @property
    def sends_null_as_text(self) -> bool:
        """A None parameter goes out as varchar, which SQL Server does not convert to binary."""
        return self.name in ("msodbcsql18", "freetds-odbc", "mssql-python")


def _pytds(server: Running, *, tls: bool, database: str, autocommit: bool, password: str) -> Any:
    import pytds

    more = {"cafile": str(server.certificate), "validate_host": False} if tls else {}
    return pytds.connect(
        server=server.host,
        port=server.port,
        user="sa",
        password=password,
        database=database,
        autocommit=autocommit,
        login_timeout=240,
        **more,
    )


def _drain_pytds(cursor: Any) -> list[str]:
    while cursor.nextset():
        continue
    return [str(message[1].args[0] if message[1].args else message[1]) for message in cursor.messages]


def _pymssql(server: Running, *, tls: bool, database: str, autocommit: bool, password: str) -> Any:
    import pymssql

    connection = pymssql.connect(
        server=server.host,
        port=str(server.port),
        user="sa",
        password=password,
        database=database,
        autocommit=autocommit,
        login_timeout=60,
        encryption="require" if tls else "off",
        tds_version="7.4",
    )
    texts: list[str] = []
    connection._conn.set_msghandler(  # the only way in which pymssql shows messages
        lambda state, severity, name, procedure, line, text: texts.append(text.decode("utf-8", "replace"))
    )
    _PYMSSQL_TEXTS[id(connection)] = texts
    return connection


_PYMSSQL_TEXTS: dict[int, list[str]] = {}


def _drain_pymssql(cursor: Any) -> list[str]:
    while cursor.nextset():
        continue
    return list(_PYMSSQL_TEXTS[id(cursor.connection)])


def _odbc_string(server: Running, driver: str, database: str, password: str, tls: bool) -> str:
    common = f"UID=sa;PWD={password};DATABASE={database};"
    if driver == "FreeTDS":
        encryption = "require" if tls else "off"
        return (
            f"DRIVER={{FreeTDS}};SERVER={server.host};PORT={server.port};{common}"
            f"TDS_Version=7.4;Encryption={encryption};ClientCharset=UTF-8;"
        )
    encrypt = "Encrypt=yes;TrustServerCertificate=yes;" if tls else "Encrypt=no;"
    prefix = f"DRIVER={{{driver}}};" if driver else ""
    return f"{prefix}SERVER={server.host},{server.port};{common}{encrypt}"


def _pyodbc(driver: str) -> Callable[..., Any]:
    def open_(server: Running, *, tls: bool, database: str, autocommit: bool, password: str) -> Any:
        import pyodbc

        pyodbc.pooling = False
        text = _odbc_string(server, driver, database, password, tls)
        return pyodbc.connect(text, autocommit=autocommit, timeout=60)

    return open_


def _mssql_python(server: Running, *, tls: bool, database: str, autocommit: bool, password: str) -> Any:
    import mssql_python

    mssql_python.pooling(enabled=False)
    return mssql_python.connect(_odbc_string(server, "", database, password, tls), autocommit=autocommit)


_TEXT = re.compile(r"^(?:\[[^\]]*\])*")


def _drain_odbc(cursor: Any) -> list[str]:
    texts = [_TEXT.sub("", str(message[1])) for message in cursor.messages]
    while cursor.nextset():
        texts += [_TEXT.sub("", str(message[1])) for message in cursor.messages]
    return texts


CLIENTS = [
    Client("pytds", "%s", _pytds, _drain_pytds),
    Client("pymssql", "%s", _pymssql, _drain_pymssql),
    Client("msodbcsql18", "?", _pyodbc("ODBC Driver 18 for SQL Server"), _drain_odbc),
    Client("freetds-odbc", "?", _pyodbc("FreeTDS"), _drain_odbc),
    Client("mssql-python", "?", _mssql_python, _drain_odbc),
]
