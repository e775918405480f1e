"""What sessions of the embedded server and of the proxy need of a keeper, whoever carries it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol
from uuid import UUID

from tdsproxy.commands.request import NativeRequest, SessionOrigin, StatementProgress
from tdsproxy.tsql.replies import Reply


class NativeReplies(Iterator[Reply], Protocol):
    """A native statement's replies as they come. ``close`` cancels what still runs and returns when it has
    stopped; ``cancel`` does so from another thread, without waiting: the iterator then ends."""

    def cancel(self) -> None: ...

    def close(self) -> None: ...


class KeeperPort(Protocol):
    """For worker threads."""

    @property
    def spid_base(self) -> int:
        """This client's sessions are numbered from here on, ``SPID_BLOCK`` of them."""
        ...

    def run(self, request: NativeRequest) -> NativeReplies: ...

    def running(self) -> Sequence[StatementProgress]:
        """The native statements that run now, of all clients; none when the keeper does not answer soon."""
        ...

    def note_session(
        self, spid: int, login: str, database: str | None, origin: SessionOrigin = SessionOrigin()
    ) -> None:
        """Tells the session's current database; None when it has ended."""
        ...

    def note_commit(self, database: UUID, frame: int, committed_ns: int) -> None:
        """A commit to the database with this GUID, as SQLite's WAL hook told it. Returns when the keeper
        knows, or after a moment: a commit that it hears of only later has the time at which it was seen."""
        ...

    def announce_mark(self, database: UUID, name: str | None, description: str) -> None:
        """The next commit to the database carries this mark (None: it does not after all). The caller holds
        the database's write lock. Returns when the keeper knows."""
        ...

    def note_mark(self, database: UUID, name: str, description: str, login: str) -> None:
        """The commit with the announced mark has been made: it goes into msdb's logmarkhistory."""
        ...

    def on_release(self, callback: Callable[[str], None]) -> None:
        """``callback`` gets the name of a database whose file is about to go: when it returns, this process
        must hold no handle on the file. It is called in a thread of its own."""
        ...

    def on_kill(self, callback: Callable[[int], None]) -> None:
        """``callback`` gets the number of a session that has to end now, as WITH ROLLBACK IMMEDIATE asks."""
        ...


SPID_BLOCK = 2000
