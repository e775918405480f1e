"""What may not pass unchanged while a client logs in to the upstream.

Features that would let a client find its way around the proxy, or change the layout of what the proxy
itself answers, are taken out of LOGIN7; environment changes that send it elsewhere out of the answer.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import Feature, Login7, build_login7, parse_features
from tdsproxy.tds.packets import MAX_TLS_PACKET_SIZE
from tdsproxy.tds.tokens import (
    EnvChange,
    EnvChangeType,
    FedAuthInfo,
    LoginAck,
    ServerMessage,
    Sspi,
    TokenParser,
    TokenType,
)
from tdsproxy.tds.versions import is_wide

STRIPPED: Final = frozenset(
    {
        Feature.AZURE_DNS_CACHING,
        Feature.ENHANCED_ROUTING,
        Feature.COLUMN_ENCRYPTION,
        Feature.SESSION_RECOVERY,
    }
)
"""Session recovery, too: a statement of ours and the handles prepared here would not be recovered."""
AROUND: Final = frozenset(
    {EnvChangeType.ROUTING, EnvChangeType.ENHANCED_ROUTING, EnvChangeType.MIRROR_PARTNER}
)
"""Environment changes that would lead the client past the proxy."""

_SIZED: Final = frozenset(
    {
        TokenType.ENVCHANGE,
        TokenType.INFO,
        TokenType.ERROR,
        TokenType.LOGINACK,
        TokenType.SSPI,
        TokenType.ORDER,
    }
)
_LONG: Final = frozenset({TokenType.SESSIONSTATE, TokenType.FEDAUTHINFO})
_DONES: Final = frozenset({TokenType.DONE, TokenType.DONEPROC, TokenType.DONEINPROC})


def login_body(login: Login7, body: bytes, *, encrypted: bool) -> bytes:
    """The LOGIN7 to send on: ``body`` as it came wherever nothing has to change. ``encrypted``: TLS is on
    for either leg, so a packet has to fit into a record."""
    changed = login
    if login.features is not None and any(number in STRIPPED for number, _data in login.features):
        kept = tuple(each for each in login.features if each[0] not in STRIPPED)
        changed = replace(changed, features=kept)
    if encrypted and login.packet_size > MAX_TLS_PACKET_SIZE:
        changed = replace(changed, packet_size=MAX_TLS_PACKET_SIZE)
    return body if changed is login else build_login7(changed)


@dataclass(frozen=True, slots=True)
class LoginAnswer:
    """One message of the upstream during the login. ``body`` is what the client may see. ``version`` None
    means that no LOGINACK came; ``pending`` that the upstream waits for another message of the client."""

    body: bytes
    version: int | None
    packet_size: int | None
    server_name: str
    pending: bool
    rerouted: bool


def read_answer(body: bytes, version: int) -> LoginAnswer:
    """Read a message of the login exchange. Raises ProtocolError."""
    tokens = TokenParser(version).feed(body)
    size: int | None = None
    acknowledged: int | None = None
    name = ""
    pending = rerouted = False
    for token in tokens:
        if isinstance(token, LoginAck):
            acknowledged = token.tds_version
        elif isinstance(token, EnvChange) and token.kind == EnvChangeType.PACKET_SIZE:
            size = int(token.new) if isinstance(token.new, str) and token.new.isdigit() else None
        elif isinstance(token, EnvChange) and token.kind in AROUND:
            rerouted = True
        elif isinstance(token, ServerMessage):
            name = name or token.server
        elif isinstance(token, Sspi | FedAuthInfo):
            pending = True
    shown = body
    if rerouted:
        wide = is_wide(version)
        shown = b"".join(piece for piece in pieces(body, wide=wide) if not _leads_around(piece))
    return LoginAnswer(shown, acknowledged, size, name, pending and acknowledged is None, rerouted)


def _leads_around(piece: bytes) -> bool:
    return piece[0] == TokenType.ENVCHANGE and piece[3] in AROUND


def pieces(body: bytes, *, wide: bool) -> Iterator[bytes]:
    """The tokens of a login response, each with its bytes. Raises ProtocolError for any other token."""
    pos = 0
    while pos < len(body):
        end = pos + _size(body, pos, wide)
        if end > len(body):
            raise ProtocolError("the login response ends inside a token")
        yield body[pos:end]
        pos = end


def _size(body: bytes, pos: int, wide: bool) -> int:
    kind = body[pos]
    if kind in _SIZED:
        return 3 + int.from_bytes(body[pos + 1 : pos + 3], "little")
    if kind in _LONG:
        return 5 + int.from_bytes(body[pos + 1 : pos + 5], "little")
    if kind in _DONES:
        return 13 if wide else 9
    if kind == TokenType.RETURNSTATUS:
        return 5
    if kind == TokenType.FEATUREEXTACK:
        features = parse_features(body, pos + 1)
        return 2 + sum(5 + len(data) for _number, data in features)
    raise ProtocolError(f"token {kind:#04x} in a login response")
