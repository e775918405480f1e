"""pytds, written independently from the same specification, reads what this codec builds, and the other way
round: its login, its requests, over loopback with a server made of the codec."""

from __future__ import annotations

import datetime as dt
import socket
import threading
import uuid
from collections.abc import Callable
from decimal import Decimal

import pytds
import pytest

from tdsproxy.tds import types as t
from tdsproxy.tds.headers import parse_batch
from tdsproxy.tds.login7 import Login7, parse_login7
from tdsproxy.tds.packets import MessageAssembler, PacketReader, PacketType, PacketWriter, packetize
from tdsproxy.tds.prelogin import Encryption, build_prelogin, parse_prelogin, reply_to
from tdsproxy.tds.rpc import RpcRequest, parse_rpc
from tdsproxy.tds.tokens import ColumnMeta, DoneStatus, TokenBuilder, TokenType
from tdsproxy.tds.transaction import TransactionManagerType, parse_transaction
from tdsproxy.tds.types import TypeInfo
from tdsproxy.tds.versions import TdsVersion, negotiate_version

VERSION = (16, 0, 4236)
DAY = dt.date(2024, 2, 29).toordinal() - 1
SECOND = 10_000_000
NOON = 12 * 3600 * SECOND + 5 * SECOND

COLUMNS: list[tuple[TypeInfo, object, object]] = [
    (t.INT, -5, -5),
    (t.intn(8), 2**60, 2**60),
    (t.TINYINT, 200, 200),
    (t.BITN, 1, True),
    (t.decimaln(20, 4), Decimal("-123456.7800"), Decimal("-123456.7800")),
    (t.decimaln(38, 10, numeric=True), Decimal("1e27"), Decimal("1e27")),
    (t.MONEY, Decimal("-2.5000"), Decimal("-2.5")),
    (t.moneyn(4), Decimal("7.0001"), Decimal("7.0001")),
    (t.FLOAT, 0.1, 0.1),
    (t.fltn(4), 0.25, 0.25),
    (t.nvarchar(20), "zażółć \U0001f600", "zażółć \U0001f600"),
    (t.varchar(20), "café €", "café €"),
    (t.nvarchar(None), "x" * 9000, "x" * 9000),
    (t.varbinary(None), bytes(range(256)), bytes(range(256))),
    (t.varbinary(4), b"\0\1", b"\0\1"),
    (t.NTEXT, "long", "long"),
    (t.TEXT, "lång", "lång"),
    (t.IMAGE, b"image", b"image"),
    (t.XML, "<a/>", "<a/>"),
    (t.GUID, uuid.UUID(int=5), uuid.UUID(int=5)),
    (t.DATE, (DAY,), dt.date(2024, 2, 29)),
    (t.time(7), (NOON,), dt.time(12, 0, 5)),
    (t.datetime2(3), (DAY, NOON + 1_230_000), dt.datetime(2024, 2, 29, 12, 0, 5, 123_000)),
    (t.DATETIME, (DAY, NOON), dt.datetime(2024, 2, 29, 12, 0, 5)),
    (t.datetimn(4), (DAY, 12 * 3600 * SECOND), dt.datetime(2024, 2, 29, 12)),
    (
        t.datetimeoffset(0),
        (DAY, NOON, 90),
        dt.datetime(2024, 2, 29, 13, 30, 5, tzinfo=dt.timezone(dt.timedelta(minutes=90))),
    ),
    (t.intn(4), None, None),
    (t.nvarchar(10), None, None),
    (t.varbinary(None), None, None),
]


class Codec:
    """One connection served in a thread, one reply per message."""

    def __init__(self, connection: socket.socket, run: Callable[[TokenBuilder, int, bytes], bytes]) -> None:
        self._connection = connection
        self._run = run
        self.login: Login7 | None = None
        self.failure: BaseException | None = None
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()

    def _serve(self) -> None:
        try:
            self._loop()
        except BaseException as error:  # noqa: BLE001  # handed to the test
            self.failure = error
        finally:
            self._connection.close()

    def _loop(self) -> None:
        packets, messages = PacketReader(), MessageAssembler(1 << 20)
        build = TokenBuilder()
        while data := self._connection.recv(65536):
            packets.feed(data)
            for packet in packets:
                message = messages.add(packet)
                if message is None:
                    continue
                if message.type == PacketType.PRELOGIN:
                    reply = reply_to(
                        parse_prelogin(message.payload),
                        version=(*VERSION, 0),
                        encryption=Encryption.NOT_SUPPORTED,
                    )
                    self._connection.sendall(
                        packetize(PacketType.TABULAR_RESULT, build_prelogin(reply), 4096)
                    )
                    continue
                if message.type == PacketType.LOGIN7:
                    self.login = parse_login7(message.payload)
                    build = TokenBuilder(negotiate_version(self.login.tds_version))
                    tokens = (
                        build.database("master", "master")
                        + build.collation()
                        + build.login_ack(VERSION)
                        + build.packet_size(4096, 4096)
                        + build.done()
                    )
                else:
                    tokens = self._run(build, message.type, message.payload)
                writer = PacketWriter(4096, spid=60)
                self._connection.sendall(writer.finish(tokens))


def connect(
    run: Callable[[TokenBuilder, int, bytes], bytes], version: int = TdsVersion.V7_4
) -> tuple[pytds.Connection, Codec]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _address = listener.accept()
    for end in (ours, theirs):
        end.settimeout(60)
    codec = Codec(ours, run)
    connection = pytds.connect(
        dsn="localhost",
        user="sa",
        password="pässword",
        database="master",
        appname="cross-check",
        tds_version=version,
        sock=theirs,
        autocommit=True,
        disable_connect_retry=True,
    )
    return connection, codec


def rows(build: TokenBuilder, columns: list[TypeInfo], values: list[object]) -> bytes:
    metas = [ColumnMeta(f"c{index}", info, 9) for index, info in enumerate(columns)]
    encode = build.row_encoder(metas)
    return build.col_metadata(metas) + encode(values) + encode(values) + build.done(DoneStatus.COUNT, 0xC1, 2)


@pytest.mark.parametrize("version", [TdsVersion.V7_4, TdsVersion.V7_3A, TdsVersion.V7_2])
def test_pytds_reads_every_type(version: int) -> None:
    chosen = [
        entry
        for entry in COLUMNS
        if version != TdsVersion.V7_2 or entry[0].type_id not in (0x28, 0x29, 0x2A, 0x2B)
    ]

    def run(build: TokenBuilder, _type: int, payload: bytes) -> bytes:
        assert parse_batch(payload).text == "SELECT everything"
        return rows(
            build, [info for info, _value, _shown in chosen], [value for _info, value, _shown in chosen]
        )

    connection, codec = connect(run, version)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT everything")
        expected = tuple(shown for _info, _value, shown in chosen)
        assert [tuple(row) for row in cursor.fetchall()] == [expected, expected]
    assert codec.failure is None
    assert codec.login is not None
    assert (codec.login.user, codec.login.password) == ("sa", "pässword")
    assert codec.login.application == "cross-check"


def test_pytds_parameters_are_read() -> None:
    seen: list[RpcRequest] = []

    def run(build: TokenBuilder, type: int, payload: bytes) -> bytes:
        assert type == PacketType.RPC
        seen.append(parse_rpc(payload))
        return build.return_status(0) + build.done(kind=TokenType.DONEPROC)

    values = (
        5,
        "text",
        Decimal("1.50"),
        pytds.Binary(b"\1\2"),
        dt.datetime(2024, 2, 29, 12, 0, 5),
        2.5,
        True,
    )
    connection, codec = connect(run)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT " + ", ".join(["%s"] * len(values)), values)
    assert codec.failure is None
    (call,) = seen[0].calls
    statement, _declarations, *params = call.params
    assert statement.value == "SELECT @P1, @P2, @P3, @P4, @P5, @P6, @P7"
    got = [param.value for param in params]
    assert got == [5, "text", Decimal("1.50"), b"\1\2", (DAY, NOON), 2.5, 1]


def test_pytds_reads_errors_and_output_parameters() -> None:
    def run(build: TokenBuilder, type: int, payload: bytes) -> bytes:
        if type == PacketType.RPC:
            assert parse_rpc(payload).calls[0].procedure == "p_out"
            return (
                build.return_status(3)
                + build.return_value(0, "", t.intn(4), 42)
                + build.done(kind=TokenType.DONEPROC)
            )
        return build.message(50000, 16, 7, "no such thing", line=4) + build.done(DoneStatus.ERROR)

    connection, codec = connect(run)
    with connection, connection.cursor() as cursor:
        with pytest.raises(pytds.DatabaseError) as caught:
            cursor.execute("SELECT nothing")
        assert (caught.value.msg_no, caught.value.state, caught.value.line) == (50000, 7, 4)
        result = cursor.callproc("p_out", [pytds.output(value=1, param_type=int)])
        assert tuple(result) == (42,)
        assert cursor.get_proc_return_status() == 3
    assert codec.failure is None


def test_pytds_transactions() -> None:
    seen = []

    def run(build: TokenBuilder, type: int, payload: bytes) -> bytes:
        if type == PacketType.SQL_BATCH:
            return build.done()
        request = parse_transaction(payload)
        seen.append(request.kind)
        if request.kind is TransactionManagerType.BEGIN:
            return build.transaction_begun(bytes(range(8))) + build.done(command=0xD4)
        tokens = build.transaction_ended(
            bytes(range(8)), committed=request.kind is TransactionManagerType.COMMIT
        )
        if request.begin_after:
            tokens += build.transaction_begun(bytes(range(1, 9)))
        return tokens + build.done(command=0xD5)

    connection, codec = connect(run)
    with connection:
        connection.autocommit = False
        with connection.cursor() as cursor:
            cursor.execute("INSERT x")
        connection.commit()
    assert codec.failure is None
    assert seen[:2] == [TransactionManagerType.BEGIN, TransactionManagerType.COMMIT]
