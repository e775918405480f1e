"""A blocking TDS client for the shell: a socket around the connection of ``tds``."""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.options import Address
from tdsproxy.tds.client import ClientConnection, LoginEnd, PreloginReply, ResponseEnd
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.login7 import Login7
from tdsproxy.tds.prelogin import Encryption, EncryptionMode
from tdsproxy.tds.tls import client_context
from tdsproxy.tds.tokens import Token

_CHUNK: Final = 65536


@dataclass(frozen=True, slots=True)
class Target:
    """Where to log in. ``authorities``: a file of certificates of which the server's must come; without one
    any is trusted. ``timeout`` in seconds, until the login is through."""

    address: Address
    user: str
    password: str = field(repr=False)
    database: str = ""
    authorities: Path | None = None
    timeout: float = 15.0


class TdsClient:
    """One session. All of it is encrypted where the server can."""

    def __init__(self, target: Target) -> None:
        """Raises CommandError when there is no server, or it does not let us in."""
        self._target = target
        verify = target.authorities is not None
        try:
            context = client_context(verify=verify, authorities=target.authorities)
            self._socket = socket.create_connection(
                (target.address.host, target.address.port), timeout=target.timeout
            )
        except (OSError, ssl.SSLError) as error:
            raise CommandError(
                f"Nothing answers at {target.address}: {_reason(error)}. Is 'tdsproxy serve' running there?"
                " Another address is named with --server HOST:PORT."
            ) from error
        login = Login7(
            client_pid=os.getpid(),
            host=socket.gethostname(),
            user=target.user,
            password=target.password,
            application="tdsproxy",
            server=target.address.host,
            library="tdsproxy",
            database=target.database,
        )
        self._connection = ClientConnection(
            login,
            encryption=Encryption.ON if verify else Encryption.OFF,
            tls=context,
            server_hostname=target.address.host if verify else None,
        )
        try:
            self._log_in()
        except BaseException:
            self._socket.close()
            raise
        self._socket.settimeout(None)

    def _log_in(self) -> None:
        self._connection.start()
        while True:
            for event in self._events():
                if isinstance(event, PreloginReply) and event.mode is EncryptionMode.REFUSE:
                    raise CommandError(f"The server at {self._target.address} does not encrypt.")
                if isinstance(event, LoginEnd):
                    if not event.accepted:
                        said = " ".join(error.text for error in event.errors)
                        raise CommandError(said or f"{self._target.address} does not take the login.")
                    return

    def _events(self) -> list[Token | PreloginReply | LoginEnd | ResponseEnd]:
        """What comes next. Raises CommandError when the connection is gone."""
        try:
            if out := self._connection.data_to_send():
                self._socket.sendall(out)
            data = self._socket.recv(_CHUNK)
            if data:
                return self._connection.feed(data)
        except (OSError, ProtocolError) as error:
            raise CommandError(
                f"The connection to {self._target.address} failed: {_reason(error)}."
            ) from error
        raise CommandError(f"The server at {self._target.address} has closed the connection.")

    def batch(self, text: str) -> Iterator[Token]:
        """Run a batch: its answer's tokens as they come. An iterator that is closed early stops the batch."""
        self._connection.batch(text)
        ended = False
        try:
            while not ended:
                for event in self._events():
                    if isinstance(event, ResponseEnd):
                        ended = event.ready
                    elif not isinstance(event, PreloginReply | LoginEnd):
                        yield event
        finally:
            if not ended:
                self._connection.attention()
                self._drain()

    def _drain(self) -> None:
        """Wait for the acknowledgement of an attention."""
        while not any(isinstance(event, ResponseEnd) and event.ready for event in self._events()):
            continue

    def close(self) -> None:
        self._socket.close()


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) and error.strerror else str(error)).rstrip(".")
