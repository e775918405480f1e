"""Damaged messages through the codec, within this process: a record or a ProtocolError, never anything else.

``--n`` counts the messages of each kind. A parser that grows without bound, or does not come to an end, is
stopped by the limits that the process sets itself.
"""

from __future__ import annotations

import io
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from scripts.campaigns.bounds import bounded, feed
from scripts.campaigns.fuzz_bytes import mutate
from scripts.campaigns.fuzz_corpus import requests
from scripts.campaigns.outcome import Plan, Tally
from tdsproxy.frontend.bulk import BulkData
from tdsproxy.frontend.calls import BadRequest, read_call, rpc_request
from tdsproxy.proxy.login import login_body, read_answer
from tdsproxy.proxy.rpcs import bind, declared_variables, statement_call
from tdsproxy.tds import types as t
from tdsproxy.tds.client_hello import offered_protocols
from tdsproxy.tds.columns import ColumnMeta
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.headers import parse_batch
from tdsproxy.tds.login7 import MAX_LOGIN7, Feature, Login7, build_login7, parse_login7
from tdsproxy.tds.packets import Message, MessageAssembler, PacketReader, PacketType, Status, packetize
from tdsproxy.tds.prelogin import Encryption, Prelogin, build_prelogin, parse_prelogin
from tdsproxy.tds.rpc import parse_rpc
from tdsproxy.tds.token_parser import TokenParser
from tdsproxy.tds.tokens import TokenBuilder
from tdsproxy.tds.versions import TdsVersion
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.gate import may_be_native

VERSIONS: Final = (TdsVersion.V7_1, TdsVersion.V7_2, TdsVersion.V7_4)


@dataclass(frozen=True, slots=True)
class Target:
    """What is fed, and how sound messages begin."""

    name: str
    seeds: list[bytes]
    feed: Callable[[bytes, int], object]


def targets() -> list[Target]:
    made = requests()
    of_kind = {kind: [body for each, body in made if each == kind] for kind, _ in made}
    rpcs = of_kind[PacketType.RPC]
    return [
        Target("PRELOGIN", _prelogins(), lambda data, _: parse_prelogin(data)),
        Target("LOGIN7", _logins(), _login),
        Target("SQLBatch", of_kind[PacketType.SQL_BATCH], _batch),
        Target("RPC", rpcs, _rpc),
        Target(
            "Transaction Manager",
            of_kind[PacketType.TRANSACTION_MANAGER],
            _call(PacketType.TRANSACTION_MANAGER),
        ),
        Target("bulk load", of_kind[PacketType.BULK_LOAD] + _answers()[:2], _bulk),
        Target("packets", [packetize(int(kind), body, 512) for kind, body in made], _packets),
        Target("tokens", _answers(), _tokens),
        Target("login answer", _login_answers(), read_answer),
        Target("ClientHello", _hellos(), lambda data, _: offered_protocols(data)),
    ]


def _prelogins() -> list[bytes]:
    return [
        build_prelogin(
            Prelogin((9, 0, 0, 0), encryption, instance="", thread_id=7, mars=mars, fedauth_required=1)
        )
        for encryption in Encryption
        for mars in (False, True)
    ]


def _logins() -> list[bytes]:
    plain = Login7(user="sa", password="secret", database="shop", host="desk", application="fuzz")
    featured = Login7(
        user="sa",
        password="secret",
        tds_version=TdsVersion.V7_4,
        language="us_english",
        features=((int(Feature.COLUMN_ENCRYPTION), b"\x01"), (int(Feature.SESSION_RECOVERY), b"")),
    )
    return [build_login7(plain), build_login7(featured)]


def _answers() -> list[bytes]:
    found = []
    for version in VERSIONS:
        build = TokenBuilder(version)
        columns = (
            ColumnMeta("id", t.intn(4), 1),
            ColumnMeta("name", t.nvarchar(20), 9),
            ColumnMeta("price", t.decimaln(10, 2), 9),
        )
        rows = build.row_encoder(columns)
        found.append(
            build.col_metadata(columns)
            + rows((1, "one", None))
            + rows((None, "two", 5))
            + build.order((1,))
            + build.done(0x10, 0xC1, 2)
        )
        found.append(
            build.message(50000, 16, 1, "failed", server="s", procedure="p", line=3)
            + build.database("a", "b")
            + build.collation()
            + build.transaction_begun(bytes(range(8)))
            + build.return_status(4)
            + build.return_value(0, "@a", t.intn(4), 7)
            + build.done(2)
        )
    return found


def _login_answers() -> list[bytes]:
    found = []
    for version in VERSIONS:
        build = TokenBuilder(version)
        found.append(
            build.database("master", "master")
            + build.message(5701, 0, 2, "Changed database context to 'master'.", server="s")
            + build.language("us_english", "")
            + build.login_ack((16, 0, 4236))
            + build.packet_size(8000, 4096)
            + build.done()
        )
    return found


def _hellos() -> list[bytes]:
    context = ssl.create_default_context()
    context.set_alpn_protocols(["tds/8.0", "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    try:
        client.do_handshake()
    except ssl.SSLWantReadError:
        return [outgoing.read()]
    raise AssertionError("a handshake without a server")


def _login(data: bytes, _version: int) -> None:
    login = parse_login7(data)
    login_body(login, data, encrypted=False)


def _batch(data: bytes, version: int) -> None:
    parse_batch(data, version)
    may_be_native(data)


def _call(kind: PacketType) -> Callable[[bytes, int], object]:
    return lambda data, version: read_call(Message(kind, Status.EOM, data), version)


def _rpc(data: bytes, version: int) -> None:
    for call in parse_rpc(data, version).calls:
        said = statement_call(rpc_request(call))
        if said is not None:
            bind(declared_variables(said.declarations) or (), said.arguments)


def _bulk(data: bytes, version: int) -> None:
    load = BulkData(io.BytesIO(data), version)
    load.columns()
    for _row in load.rows():
        pass


def _packets(data: bytes, version: int) -> None:
    reader, assembler = PacketReader(), MessageAssembler(MAX_LOGIN7)
    for start in range(0, len(data), 700):
        reader.feed(data[start : start + 700])
        while (packet := reader.next_packet()) is not None:
            assembler.add(packet)


def _tokens(data: bytes, version: int) -> None:
    parser = TokenParser(version)
    middle = len(data) // 2
    parser.feed(data[:middle])
    parser.feed(data[middle:])
    parser.finish()


def main(plan: Plan, tally: Tally) -> None:
    end = time.monotonic() + plan.seconds
    every = targets()
    with bounded(tally):
        for index, target in enumerate(every):
            left = max(0.0, end - time.monotonic()) / (len(every) - index)
            _damage(target, plan, time.monotonic() + left, tally)


def _damage(target: Target, plan: Plan, end: float, tally: Tally) -> None:
    rng = random.Random(f"{plan.seed} {target.name}")

    def one(_number: int) -> tuple[Callable[[], object], str]:
        data, version = mutate(rng, rng.choice(target.seeds), target.seeds), rng.choice(VERSIONS)
        return lambda: target.feed(data, version), f"version {version:#x}, {data.hex()}"

    feed(target.name, one, (ProtocolError, BadRequest, SqlError), plan.cases, end, tally)
