"""Where a store's keeper listens, and a way to it that is never too long.

The address of an AF_UNIX socket holds 107 bytes (unix(7)). A longer path is reached through a descriptor of
the store's directory, as ``/proc/self/fd/N/keeper.sock``.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

SOCKET_NAME: Final = "keeper.sock"
LOCK_NAME: Final = "keeper.lock"
LOG_NAME: Final = "keeper.log"
_MAX_ADDRESS: Final = 107


class KeeperUnavailable(Exception):
    """No keeper answers for the store."""


@contextmanager
def socket_address(store: Path) -> Iterator[str]:
    """A path that can be bound or connected to inside the block."""
    path = str(store.absolute() / SOCKET_NAME)
    if len(os.fsencode(path)) <= _MAX_ADDRESS:
        yield path
        return
    descriptor = os.open(store, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{SOCKET_NAME}"
    finally:
        os.close(descriptor)


def connect_socket(store: Path) -> socket.socket:
    """A connected socket. Raises OSError when no keeper listens."""
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket_address(store) as address:
            connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection
