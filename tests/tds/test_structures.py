"""The declarations and the hand-packed code must agree."""

from __future__ import annotations

import ast
import subprocess
import sys
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.tds import structures as s
from tdsproxy.tds.headers import AllHeaders, build_all_headers
from tdsproxy.tds.login7 import Login7, build_features, build_login7, parse_features
from tdsproxy.tds.packets import PacketReader, packetize
from tdsproxy.tds.prelogin import Prelogin, build_prelogin
from tdsproxy.tds.tokens import TokenBuilder, TokenParser, TokenType
from tdsproxy.tds.versions import TdsVersion

from .test_login7 import features, logins
from .test_prelogin import prelogins
from .test_requests import headers

texts = st.text(max_size=60)
U8, U16 = st.integers(0, 255), st.integers(0, 0xFFFF)


def plain(container: Any) -> dict[str, Any]:
    return {key: value for key, value in container.items() if not key.startswith("_")}


@given(U8, U8, U16, st.binary(max_size=400))
def test_packet_header(kind: int, status: int, spid: int, payload: bytes) -> None:
    wire = packetize(kind, payload, 4096, spid, status)
    declared = s.PACKET_HEADER.parse(wire)
    reader = PacketReader()
    reader.feed(wire)
    packet = reader.next_packet()
    assert packet is not None
    assert (packet.type, packet.status, packet.spid, packet.packet_id) == (
        declared.type,
        declared.status,
        declared.spid,
        declared.packet_id,
    )
    assert declared.length == len(wire)
    assert s.PACKET_HEADER.build(declared) == wire[:8]


@given(prelogins)
def test_prelogin(prelogin: Prelogin) -> None:
    options = {option.token: option.data for option in s.PRELOGIN.parse(build_prelogin(prelogin))}
    version = s.PRELOGIN_VERSION.parse(options[0])
    assert (version.major, version.minor, version.build, version.sub_build) == prelogin.version
    assert (1 in options) == (prelogin.encryption is not None)
    assert options.get(5) == prelogin.trace_id
    assert options.get(7) == prelogin.nonce


@given(logins)
def test_login7(login: Login7) -> None:
    body = build_login7(login)
    fixed = s.LOGIN7_FIXED.parse(body)
    assert fixed.length == len(body)
    for name in (
        "tds_version",
        "packet_size",
        "client_pid",
        "timezone",
        "lcid",
        "client_id",
        "option_flags2",
    ):
        assert fixed[name] == getattr(login, name)
    for name in ("host", "user", "application", "server", "library", "language", "database", "attach_file"):
        field = fixed[name]
        data = body[field.offset : field.offset + 2 * field.count]
        assert data.decode("utf-16-le", "surrogatepass") == getattr(login, name)
    tail = s.LOGIN7_LONG_TAIL.parse(body[s.LOGIN7_FIXED.sizeof() :])
    assert tail.new_password.count * 2 == len(login.new_password.encode("utf-16-le"))
    assert s.LOGIN7_FIXED.build(fixed) == body[: s.LOGIN7_FIXED.sizeof()]


@given(features)
def test_features(entries: tuple[tuple[int, bytes], ...]) -> None:
    declared = b"".join(s.FEATURE.build({"id": number, "data": data}) for number, data in entries) + b"\xff"
    assert declared == build_features(entries)
    assert parse_features(declared) == entries


@given(headers)
def test_all_headers(all_headers: AllHeaders) -> None:
    body = build_all_headers(all_headers)
    declared = s.ALL_HEADERS.parse(body)
    assert declared.total == len(body)
    by_type = {header.type: header.data for header in declared.headers}
    transaction = s.TRANSACTION_DESCRIPTOR.parse(by_type[2])
    assert (transaction.descriptor, transaction.outstanding) == (
        all_headers.descriptor,
        all_headers.outstanding,
    )
    assert by_type.get(1) == all_headers.query_notification
    assert by_type.get(3) == all_headers.trace_activity
    assert s.ALL_HEADERS.build(declared) == body


@given(st.integers(-(2**31), 2**31 - 1), U8, st.integers(0, 25), texts, texts, texts, U16, st.booleans())
def test_messages(
    number: int, state: int, severity: int, text: str, server: str, procedure: str, line: int, wide: bool
) -> None:
    version, layout = (TdsVersion.V7_4, s.MESSAGE) if wide else (TdsVersion.V7_1, s.MESSAGE_NARROW)
    wire = TokenBuilder(version).message(
        number, severity, state, text, server=server, procedure=procedure, line=line
    )
    declared = layout.parse(wire)
    assert plain(declared.body) == {
        "number": number,
        "state": state,
        "severity": severity,
        "text": text,
        "server": server,
        "procedure": procedure,
        "line": line,
    }
    assert layout.build(declared) == wire


@given(st.sampled_from(list(TdsVersion)), texts, U8, U8, U16)
def test_login_ack(version: TdsVersion, program: str, major: int, minor: int, build: int) -> None:
    wire = TokenBuilder(version).login_ack((major, minor, build), program=program)
    declared = s.LOGINACK.parse(wire)
    body = declared.body
    assert (body.tds_version, body.program) == (version, program)
    assert (body.major, body.minor, body.build) == (major, minor, build)
    assert s.LOGINACK.build(declared) == wire


@given(
    st.sampled_from([TokenType.DONE, TokenType.DONEPROC, TokenType.DONEINPROC]),
    U16,
    U16,
    st.integers(0, 2**32 - 1),
    st.booleans(),
)
def test_done(kind: TokenType, status: int, command: int, count: int, wide: bool) -> None:
    version, layout = (TdsVersion.V7_4, s.DONE) if wide else (TdsVersion.V7_1, s.DONE_NARROW)
    wire = TokenBuilder(version).done(status, command, count, kind=kind)
    declared = plain(layout.parse(wire))
    assert declared == {"token": kind, "status": status, "command": command, "count": count}
    (parsed,) = TokenParser(version).feed(layout.build(declared))
    assert (parsed.kind, parsed.status, parsed.command, parsed.count) == (kind, status, command, count)  # type: ignore[union-attr]


@given(st.sampled_from([1, 2, 3, 4, 13]), texts, texts, st.binary(max_size=20), st.binary(max_size=20))
def test_env_change(kind: int, new: str, old: str, new_bytes: bytes, old_bytes: bytes) -> None:
    build = TokenBuilder()
    text = s.ENVCHANGE_TEXT.parse(build.env_change(kind, new, old))
    assert (text.body.kind, text.body.new, text.body.old) == (kind, new, old)
    binary = s.ENVCHANGE_BYTES.parse(build.env_change(7, new_bytes, old_bytes))
    assert (binary.body.new, binary.body.old) == (new_bytes, old_bytes)


@given(st.lists(U16, max_size=20), st.integers(-(2**31), 2**31 - 1))
def test_small_tokens(columns: list[int], status: int) -> None:
    build = TokenBuilder()
    assert s.ORDER.build({"columns": columns}) == build.order(columns)
    assert s.RETURNSTATUS.build({"value": status}) == build.return_status(status)


def test_serving_a_connection_does_not_import_construct() -> None:
    code = (
        "import sys, tdsproxy.tds.client, tdsproxy.tds.tokens, tdsproxy.tds.rpc, tdsproxy.tds.login7; "
        "print(sorted(name for name in sys.modules if name.split('.')[0] == 'construct'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert ast.literal_eval(done.stdout) == []
