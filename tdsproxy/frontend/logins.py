"""LOGIN7 to a login request, and the answer to it (MS-TDS 2.2.6.4, captured order of tokens)."""

from __future__ import annotations

from typing import Final

from tdsproxy.frontend.handler import LoginRequest, Server, Session
from tdsproxy.frontend.replies import Format, ReplyEncoder
from tdsproxy.tds.login7 import Feature, Login7
from tdsproxy.tds.packets import (
    DEFAULT_PACKET_SIZE,
    MAX_PACKET_SIZE,
    MAX_TLS_PACKET_SIZE,
    MIN_PACKET_SIZE,
)
from tdsproxy.tds.versions import has_feature_ext, negotiate_version
from tdsproxy.tsql.replies import Command, DatabaseChanged, Done, LanguageChanged, Message

DEFAULT_DATABASE: Final = "master"


def version(login: Login7) -> int:
    """The TDS version of the connection."""
    return negotiate_version(login.tds_version)


def request(login: Login7, *, address: str, encrypted: bool) -> LoginRequest:
    """What the server behind needs of a LOGIN7."""
    integrated = login.integrated_security or login.feature(Feature.FEDAUTH) is not None
    return LoginRequest(
        user=login.user,
        password=None if integrated else login.password,
        database=login.database,
        host=login.host,
        application=login.application,
        library=login.library,
        language=login.language,
        client_pid=login.client_pid,
        odbc=login.odbc,
        new_password=login.new_password or None,
        address=address,
        encrypted=encrypted,
    )


def grant(asked: int, *, encrypted: bool, most: int = MAX_PACKET_SIZE) -> int:
    """The packet size to grant: what was asked within limits, the default for 0. Under TLS a packet has to
    fit into one TLS record."""
    if asked == 0:
        return DEFAULT_PACKET_SIZE
    return max(MIN_PACKET_SIZE, min(asked, most, MAX_TLS_PACKET_SIZE if encrypted else MAX_PACKET_SIZE))


def response(login: Login7, session: Session, server: Server, format_: Format, size: int) -> bytes:
    """The tokens of a successful login, in the order that all clients accept."""
    builder = format_.builder()
    encoder = ReplyEncoder(format_)
    # The name as the client wrote it, whatever the database's own letters are (captured).
    name = login.database or session.database
    encoder.add(DatabaseChanged(name, DEFAULT_DATABASE))
    encoder.add(Message(5701, 0, 2, f"Changed database context to '{name}'."))
    database = encoder.take()
    encoder.add(LanguageChanged(session.language, ""))
    encoder.add(Message(5703, 0, 1, f"Changed language setting to {session.language}."))
    parts = [database, encoder.take(), builder.login_ack(server.version)]
    parts.append(builder.packet_size(size, DEFAULT_PACKET_SIZE))
    # Only UTF-8 support is acknowledged, and no feature that was not asked for: clients refuse that.
    if has_feature_ext(format_.version) and login.feature(Feature.UTF8_SUPPORT) is not None:
        parts.append(builder.feature_ext_ack(((Feature.UTF8_SUPPORT, b"\x01"),)))
    encoder.add(Done(Command.NONE))
    parts.append(encoder.finish())
    return b"".join(parts)
