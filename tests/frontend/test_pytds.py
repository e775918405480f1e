"""A real driver against the frontend: pytds, in clear and inside TLS."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytds
import pytest

from tdsproxy.frontend.handler import RpcRequest, TransactionRequest
from tdsproxy.tds.prelogin import EncryptionPolicy
from tdsproxy.tsql import types as t
from tdsproxy.tsql.replies import Column, Command, Done, Message, Reply, ResultSet, Rows
from tdsproxy.tsql.values import Date, DateTime, DateTimeOffset, Time, Variant
from tests.frontend.fakes import FakeServer
from tests.frontend.running import serving, settings


def connect(port: int, **changes: object) -> pytds.Connection:
    options: dict[str, object] = {
        "dsn": "127.0.0.1",
        "port": port,
        "user": "sa",
        "password": "secret",
        "autocommit": True,
        "login_timeout": 60,
        "timeout": 60,
    }
    return pytds.connect(**{**options, **changes})


def test_a_query() -> None:
    server = FakeServer()
    with serving(server) as port, connect(port, database="shop") as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        assert [column[0] for column in cursor.description] == ["n", "s"]
        assert cursor.fetchall() == [(1, "one"), (2, None)]
    session = server.sessions[0]
    assert session.request.user == "sa"
    assert session.request.database == "shop"
    assert session.closed.wait(60)
    assert len(session.threads) == 1


def test_a_wrong_password() -> None:
    with (
        serving(FakeServer()) as port,
        pytest.raises(pytds.OperationalError, match="Login failed for user 'eve'"),
    ):
        connect(port, user="eve", password="guess")


def test_tls(tmp_path: Path) -> None:
    server = FakeServer()
    with serving(server, settings(EncryptionPolicy.REQUIRED, tmp_path)) as port:
        with connect(port, cafile=str(tmp_path / "cert.pem"), validate_host=False) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1, "one"), (2, None)]
        assert server.sessions[0].request.encrypted
        with pytest.raises((pytds.Error, OSError)):
            # says that it can't encrypt; the driver tries again until its time is over
            connect(port, login_timeout=1)


def test_an_error_ends_the_batch_and_not_the_connection() -> None:
    with serving(FakeServer()) as port, connect(port) as connection:
        cursor = connection.cursor()
        with pytest.raises(pytds.ProgrammingError, match="Invalid object name"):
            cursor.execute("ERROR")
        with pytest.raises(pytds.Error, match="severe error"):
            cursor.execute("BUG")
        cursor.execute("SELECT 1")
        assert len(cursor.fetchall()) == 2


def test_parameters_and_transactions() -> None:
    server = FakeServer()
    with serving(server) as port, connect(port, autocommit=False) as connection:
        cursor = connection.cursor()
        cursor.execute("SELECT %s, %s", (1, "x"))
        assert cursor.fetchall() == [(4,)]
        connection.commit()
    calls = server.sessions[0].calls
    requests = [call for call in calls if isinstance(call, RpcRequest)]
    assert requests[0].procedure == 10
    assert requests[0].parameters[2].type == t.INT
    assert requests[0].parameters[3].value == "x"
    assert [call.action.name for call in calls if isinstance(call, TransactionRequest)][:2] == [
        "BEGIN",
        "COMMIT",
    ]


COLUMNS = (
    (Column("bit", t.BIT), 1, True),
    (Column("tiny", t.TINYINT, nullable=False), 255, 255),
    (Column("small", t.SMALLINT), -32768, -32768),
    (Column("int", t.INT, nullable=False), -(2**31), -(2**31)),
    (Column("big", t.BIGINT, nullable=False), 2**63 - 1, 2**63 - 1),
    (Column("dec", t.decimal(38, 10)), Decimal("-1.5000000000"), Decimal("-1.5000000000")),
    (Column("num", t.numeric(5, 2)), Decimal("999.99"), Decimal("999.99")),
    (Column("money", t.MONEY), Decimal("-922337203685477.5808"), Decimal("-922337203685477.5808")),
    (Column("float", t.FLOAT, nullable=False), 1e300, 1e300),
    (Column("real", t.REAL), 0.5, 0.5),
    (Column("date", t.DATE), Date(0), dt.date(1, 1, 1)),
    (Column("time", t.time(3)), Time(12_345 * 10_000), dt.time(0, 0, 12, 345000)),
    (Column("datetime", t.DATETIME, nullable=False), DateTime(693_595, 0), dt.datetime(1900, 1, 1)),
    (Column("datetime2", t.datetime2(7)), DateTime(738_000, 10), dt.datetime(2021, 7, 30, 0, 0, 0, 1)),
    (Column("small_dt", t.SMALLDATETIME), DateTime(693_596, 600_000_000), dt.datetime(1900, 1, 2, 0, 1)),
    (Column("char", t.char(3)), "ab ", "ab "),
    (Column("varchar", t.varchar(t.MAX)), "ä" * 9000, "ä" * 9000),
    (Column("nchar", t.nchar(2)), "ab", "ab"),
    (Column("nvarchar", t.nvarchar(t.MAX)), "🦆" * 5000, "🦆" * 5000),
    (Column("empty", t.nvarchar(0)), "", ""),
    (Column("binary", t.binary(2)), b"\1\2", b"\1\2"),
    (Column("varbinary", t.varbinary(t.MAX)), b"\0" * 20000, b"\0" * 20000),
    (Column("guid", t.UNIQUEIDENTIFIER), uuid.UUID(int=7), uuid.UUID(int=7)),
    (Column("text", t.TEXT), "text", "text"),
    (Column("ntext", t.NTEXT), "ntext", "ntext"),
    (Column("image", t.IMAGE), b"image", b"image"),
    (Column("xml", t.XML), "<a/>", "<a/>"),
    (Column("stamp", t.TIMESTAMP), b"\0" * 8, b"\0" * 8),
    (Column("variant", t.SQL_VARIANT), Variant(t.nvarchar(5), "v"), "v"),
    (Column("nothing", t.NULL), None, None),
)


def test_every_type() -> None:
    def answer() -> Iterator[Reply]:
        columns = tuple(column for column, _value, _shown in COLUMNS)
        yield ResultSet(columns)
        yield Rows([tuple(value for _column, value, _shown in COLUMNS)])
        yield Rows([tuple(None if c.nullable else v for c, v, _shown in COLUMNS)])
        yield Done(Command.SELECT, 2)

    with serving(FakeServer(batches={"types": answer})) as port, connect(port) as connection:
        cursor = connection.cursor()
        cursor.execute("types")
        rows = cursor.fetchall()
    assert list(rows[0]) == [shown for _column, _value, shown in COLUMNS]
    assert list(rows[1]) == [None if c.nullable else s for c, _value, s in COLUMNS]


def test_an_instant_with_its_zone() -> None:
    def answer() -> Iterator[Reply]:
        yield ResultSet((Column("o", t.datetimeoffset(7)),))
        yield Rows([(DateTimeOffset(738_000, 0, 120),)])
        yield Done(Command.SELECT, 1)

    with serving(FakeServer(batches={"o": answer})) as port, connect(port) as connection:
        cursor = connection.cursor()
        cursor.execute("o")
        (moment,) = cursor.fetchall()[0]
    assert moment == dt.datetime(2021, 7, 30, tzinfo=dt.UTC)


def test_each_message_of_a_backup_has_its_own_end() -> None:
    def answer() -> Iterator[Reply]:
        yield Message(4035, 0, 1, "Processed 1 pages.")
        yield Done(Command.BACKUP_DATABASE)
        yield Message(3014, 0, 1, "BACKUP DATABASE successfully processed 1 pages.")
        yield Done(Command.BACKUP_DATABASE)

    with serving(FakeServer(batches={"BACKUP": answer})) as port, connect(port) as connection:
        cursor = connection.cursor()
        cursor.execute("BACKUP")
        numbers = [error.number for _class, error in cursor.messages]
        while cursor.nextset():
            numbers += [error.number for _class, error in cursor.messages]
    assert numbers == [4035, 3014]


def test_many_rows_pass_the_packet_size() -> None:
    def answer() -> Iterator[Reply]:
        yield ResultSet((Column("n", t.INT), Column("s", t.nvarchar(100))))
        for start in range(0, 20_000, 500):
            yield Rows([(n, "x" * (n % 100)) for n in range(start, start + 500)])
        yield Done(Command.SELECT, 20_000)

    with serving(FakeServer(batches={"many": answer})) as port, connect(port) as connection:
        cursor = connection.cursor()
        cursor.execute("many")
        rows = cursor.fetchall()
    assert [row[0] for row in rows] == list(range(20_000))
    assert all(len(row[1]) == row[0] % 100 for row in rows)
