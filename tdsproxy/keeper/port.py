"""What sessions of the embedded server and of the proxy need of a keeper, whoever carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

from tdsproxy.commands.request import NativeRequest
from tdsproxy.tsql.replies import Reply


class KeeperPort(Protocol):
    """For worker threads. ``run`` yields a statement's replies as they come; closing the iterator cancels
    the statement and returns when it has stopped."""

    @property
    def spid_base(self) -> int:
        """This client's sessions are numbered from here on, ``SPID_BLOCK`` of them."""
        ...

    def run(self, request: NativeRequest) -> Iterator[Reply]: ...

    def note_session(self, spid: int, login: str, database: str | None) -> None:
        """Tells the session's current database; None when it has ended."""
        ...

    def on_release(self, callback: Callable[[str], None]) -> None:
        """``callback`` gets the name of a database whose file is about to go: when it returns, this process
        must hold no handle on the file. It is called in a thread of its own."""
        ...

    def on_kill(self, callback: Callable[[int], None]) -> None:
        """``callback`` gets the number of a session that has to end now, as WITH ROLLBACK IMMEDIATE asks."""
        ...


SPID_BLOCK = 2000
