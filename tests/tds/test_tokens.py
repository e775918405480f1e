from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds import types as t
from tdsproxy.tds.errors import EncodeError, ProtocolError, TooLarge
from tdsproxy.tds.login7 import Feature
from tdsproxy.tds.tokens import (
    ColInfo,
    ColInfos,
    ColMetadata,
    ColumnMeta,
    Done,
    DoneStatus,
    EnvChange,
    EnvChangeType,
    FeatureExtAck,
    FedAuthInfo,
    LoginAck,
    Offset,
    Order,
    ReturnStatus,
    ReturnValue,
    Routing,
    Row,
    ServerMessage,
    SessionState,
    Sspi,
    TabName,
    Token,
    TokenBuilder,
    TokenParser,
    TokenType,
)
from tdsproxy.tds.versions import TdsVersion, negotiate_version

VERSIONS = [TdsVersion.V7_0, TdsVersion.V7_1, TdsVersion.V7_2, TdsVersion.V7_4, TdsVersion.V8_0]
NARROW = (TdsVersion.V7_0, TdsVersion.V7_1)
DESCRIPTOR = bytes(range(8))


def sample(version: TdsVersion) -> tuple[bytes, list[Token]]:
    """One of each token, and what it parses to."""
    build = TokenBuilder(version)
    collation = b"" if version == TdsVersion.V7_0 else t.DEFAULT_COLLATION
    columns = (
        ColumnMeta("id", t.INT, 0x10, 7),
        ColumnMeta("näme", t.nvarchar(20, collation), 9),
        ColumnMeta("memo", t.with_collation(t.NTEXT, collation), 9, 0, ("db.dbo.t",)),
    )
    pairs: list[tuple[bytes, Token]] = [
        (build.database("new", "old"), EnvChange(1, "new", "old")),
        (build.language("us_english", ""), EnvChange(2, "us_english", "")),
        (build.packet_size(4096, 8000), EnvChange(4, "4096", "8000")),
        (build.collation(), EnvChange(7, t.DEFAULT_COLLATION, b"")),
        (build.transaction_begun(DESCRIPTOR), EnvChange(8, DESCRIPTOR, b"")),
        (build.transaction_ended(DESCRIPTOR, committed=True), EnvChange(9, b"", DESCRIPTOR)),
        (build.transaction_ended(DESCRIPTOR, committed=False), EnvChange(10, b"", DESCRIPTOR)),
        (build.reset_acknowledged(), EnvChange(18, b"", b"")),
        (build.env_change(EnvChangeType.PROMOTE_TRANSACTION, b"x" * 300), EnvChange(15, b"x" * 300, b"")),
        (build.env_change(EnvChangeType.ROUTING, Routing("h", 1433)), EnvChange(20, Routing("h", 1433))),
        (
            build.env_change(EnvChangeType.ENHANCED_ROUTING, Routing("h", 1, 0, "d")),
            EnvChange(21, Routing("h", 1, 0, "d")),
        ),
        (
            build.message(5701, 0, 2, "Changed", server="S", procedure="p", line=3),
            ServerMessage(5701, 2, 0, "Changed", "S", "p", 3, False),
        ),
        (
            build.message(50000, 16, 1, "bad \U0001f600", line=9),
            ServerMessage(50000, 1, 16, "bad \U0001f600", "", "", 9, True),
        ),
        (build.login_ack((16, 0, 4236)), LoginAck(1, version, "Microsoft SQL Server", (16, 0, 4236))),
        (build.feature_ext_ack(((10, b"\1"),)), FeatureExtAck(((10, b"\1"),))),
        (build.col_metadata([]), ColMetadata(())),
        (build.col_metadata(columns), ColMetadata(columns)),
        (build.tab_name([("t1",), ("t2",)]), TabName((("t1",), ("t2",)))),
        (
            build.col_info([ColInfo(1, 1, 8), ColInfo(2, 1, 0x20, "base")]),
            ColInfos((ColInfo(1, 1, 8), ColInfo(2, 1, 0x20, "base"))),
        ),
        (build.order([1, 300]), Order((1, 300))),
        (build.row_encoder(columns)((1, "a", "long")), Row((1, "a", "long"))),
        (build.row_encoder(columns)((2, None, None)), Row((2, None, None))),
        (
            build.done(DoneStatus.MORE | DoneStatus.COUNT, 0xC1, 2),
            Done(TokenType.DONE, 0x11, 0xC1, 2),
        ),
        (build.done(kind=TokenType.DONEINPROC), Done(TokenType.DONEINPROC, 0, 0, 0)),
        (build.return_status(-6), ReturnStatus(-6)),
        (
            build.return_value(3, "@o", t.intn(4), 42),
            ReturnValue(3, "@o", 1, 0, 0, t.intn(4), 42),
        ),
        (build.sspi(b"blob"), Sspi(b"blob")),
        (build.fedauth_info([(1, "url"), (2, "spn")]), FedAuthInfo(((1, "url"), (2, "spn")))),
        (
            build.session_state(5, [(1, b"a"), (2, b"b" * 300)]),
            SessionState(5, True, ((1, b"a"), (2, b"b" * 300))),
        ),
        (b"\x78\x01\x00\x02\x00", Offset(1, 2)),
        (build.attention_acknowledged(), Done(TokenType.DONE, 0x20, 0, 0)),
        (build.done(kind=TokenType.DONEPROC), Done(TokenType.DONEPROC, 0, 0, 0)),
    ]  # fmt: skip
    return b"".join(wire for wire, _token in pairs), [token for _wire, token in pairs]


@pytest.mark.parametrize("version", VERSIONS)
def test_every_token_in_every_layout(version: TdsVersion) -> None:
    wire, expected = sample(version)
    parser = TokenParser(version)
    assert parser.feed(wire) == expected
    parser.finish()


@pytest.mark.parametrize("version", [TdsVersion.V7_1, TdsVersion.V7_4])
def test_byte_by_byte(version: TdsVersion) -> None:
    wire, expected = sample(version)
    parser = TokenParser(version)
    assert [token for byte in wire for token in parser.feed(bytes((byte,)))] == expected
    parser.finish()


@given(st.lists(st.integers(0, 5000), max_size=20))
def test_any_fragmentation(cuts: list[int]) -> None:
    wire, expected = sample(TdsVersion.V7_4)
    edges = [0, *sorted(cut % len(wire) for cut in cuts), len(wire)]
    parser = TokenParser()
    found = [token for start, end in pairwise(edges) for token in parser.feed(wire[start:end])]
    assert found == expected


@given(st.lists(st.tuples(st.integers(0, 5000), st.integers(0, 255)), min_size=1, max_size=5))
def test_mutated_streams(changes: list[tuple[int, int]]) -> None:
    wire = bytearray(sample(TdsVersion.V7_4)[0])
    for position, byte in changes:
        wire[position % len(wire)] = byte
    parser = TokenParser(max_value=1 << 20)
    try:
        parser.feed(bytes(wire))
        parser.finish()
    except ProtocolError:
        pass


@given(st.binary(max_size=100))
def test_arbitrary_streams(data: bytes) -> None:
    try:
        TokenParser().feed(data)
    except ProtocolError:
        pass


def test_large_values_arrive_in_pieces() -> None:
    columns = [ColumnMeta("a", t.varbinary(None)), ColumnMeta("b", t.nvarchar(None))]
    build = TokenBuilder()
    data = bytes(range(256)) * 4000
    wire = build.col_metadata(columns) + build.row_encoder(columns)((data, "x" * 300_000)) + build.done()
    parser = TokenParser()
    tokens = [token for pos in range(0, len(wire), 4088) for token in parser.feed(wire[pos : pos + 4088])]
    assert tokens[1] == Row((data, "x" * 300_000))
    assert isinstance(tokens[2], Done)


def test_values_are_bounded() -> None:
    columns = [ColumnMeta("a", t.varbinary(None))]
    build = TokenBuilder()
    wire = build.col_metadata(columns) + build.row_encoder(columns)((bytes(2000),))
    with pytest.raises(TooLarge):
        TokenParser(max_value=1999).feed(wire)


def test_message_end_inside_a_token() -> None:
    parser = TokenParser()
    assert parser.feed(b"\xfd\x00") == []
    with pytest.raises(ProtocolError):
        parser.finish()
    row = TokenParser()
    build = TokenBuilder()
    columns = [ColumnMeta("a", t.intn(4))]
    row.feed(build.col_metadata(columns) + b"\xd1")
    with pytest.raises(ProtocolError):
        row.finish()


@pytest.mark.parametrize("wire", [b"\xd1\x00", b"\xd2\x00", b"\x00", b"\x88", bytes.fromhex("aa0300010203")])
def test_refused(wire: bytes) -> None:
    with pytest.raises(ProtocolError):
        TokenParser().feed(wire)


def test_overlong_texts_are_cut() -> None:
    wire = TokenBuilder().message(1, 16, 1, "\U0001f600" * 20_000, server="s" * 300)
    (message,) = TokenParser().feed(wire)
    assert isinstance(message, ServerMessage)
    assert message.text == "\U0001f600" * 4000
    assert message.server == "s" * 255


def test_severity_decides_the_token() -> None:
    build = TokenBuilder()
    assert build.message(1, 10, 1, "")[0] == TokenType.INFO
    assert build.message(1, 11, 1, "")[0] == TokenType.ERROR


def test_column_encryption_adds_a_table() -> None:
    build = TokenBuilder(column_encryption=True)
    columns = (ColumnMeta("a", t.INT),)
    wire = build.col_metadata(columns)
    assert wire[:5].hex() == "8101000000"
    parser = TokenParser()
    parser.feed(build.feature_ext_ack(((Feature.COLUMN_ENCRYPTION, b"\1"),)))
    assert parser.feed(wire) == [ColMetadata(columns)]


def test_encrypted_column_is_read() -> None:
    table = "0100" + "01000000" * 3 + "00" * 8 + "01" + "0200aabb" + "016b00" + "01007000" + "016100"
    column = "00000000" + "0008" + "a51000" + "0000" + "00000000" + "38" + "02" + "01" + "01" + "016300"
    parser = TokenParser(column_encryption=True)
    (metadata,) = parser.feed(bytes.fromhex("81" + "0100" + table + column))
    assert isinstance(metadata, ColMetadata)
    assert metadata.columns[0].crypto is not None
    assert metadata.columns[0].crypto.base == t.INT
    with pytest.raises(EncodeError):
        TokenBuilder().col_metadata(metadata.columns)


def test_data_classification_is_passed_over() -> None:
    body = "0100" + "016c00" + "016900" + "0000" + "0100" + "0100" + "0000" + "ffff"
    parser = TokenParser()
    (token, done) = parser.feed(bytes.fromhex("a3" + body) + TokenBuilder().done())
    assert getattr(token, "data").hex() == body  # noqa: B009
    assert isinstance(done, Done)


def test_done_properties() -> None:
    done = Done(TokenType.DONE, DoneStatus.MORE | DoneStatus.ERROR, 0, 5)
    assert done.more
    assert done.error
    assert not done.attention
    assert done.row_count is None
    assert Done(TokenType.DONE, DoneStatus.COUNT, 0, 5).row_count == 5


@pytest.mark.parametrize(
    ("asked", "answered"),
    [
        (0x74000004, 0x74000004),
        (0x75000000, 0x74000004),
        (0x08000000, 0x08000000),
        (0x730B0003, 0x730B0003),
        (0x72090002, 0x72090002),
        (0x71000001, 0x71000001),
        (0x71000000, 0x71000001),
        (0x70000000, 0x70000000),
    ],
)
def test_version_answered(asked: int, answered: int) -> None:
    assert negotiate_version(asked) == answered
