"""The embedded server: a store's databases, its logins, and the sessions that are open on them."""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

from tdsproxy.catalog.catalog import Catalog, initialise
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, UserAccess
from tdsproxy.catalog.logins import Login
from tdsproxy.frontend.handler import LoginRequest
from tdsproxy.keeper.port import SPID_BLOCK, KeeperPort
from tdsproxy.server.applocks import ApplicationLocks
from tdsproxy.server.counts import ServerCounts, SessionCounts
from tdsproxy.server.identity import VERSION, ServerIdentity, host_name
from tdsproxy.server.locks import WriteLocks
from tdsproxy.server.logins import authenticate, login_failed
from tdsproxy.server.parsed import ParsedBatches
from tdsproxy.server.scope import database_facts, login_facts
from tdsproxy.server.session import Session
from tdsproxy.server.sysviews.scope import DatabaseFacts, LoginFacts
from tdsproxy.server.workspace import DatabaseFile
from tdsproxy.tsql.errors import BatchAborted, SqlError
from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.values import DateTime

FIRST_SPID: Final = 51
"""The session numbers below are SQL Server's own; used where no keeper hands out numbers."""

FIRST_TRANSACTION: Final = 100_000
"""Above the numbers of sessions."""


class Engine:
    """The server over one store; implements ``frontend.handler.Server``.

    ``keeper`` runs native statements; without one they are refused. Usable from any thread.
    """

    def __init__(
        self,
        store: Path,
        keeper: KeeperPort | None = None,
        *,
        name: str | None = None,
        backup_directory: Path | None = None,
    ) -> None:
        self.store = store.absolute()
        self.catalog: Catalog = initialise(self.store)
        self.keeper = keeper
        self.started = DateTime.of(dt.datetime.now())
        self.identity = ServerIdentity(
            name or host_name(), self.store, (backup_directory or self.store / "backup").absolute()
        )
        self._first_spid = keeper.spid_base if keeper is not None else FIRST_SPID
        self._sessions: dict[int, Session] = {}
        self._lock = threading.Lock()
        self._ended = SessionCounts()
        self._logins = self._logouts = 0
        self.parsed = ParsedBatches()
        self.transactions = itertools.count(FIRST_TRANSACTION)
        self.locks = ApplicationLocks()
        self.write_locks = WriteLocks()
        if keeper is not None:
            keeper.on_release(self.release)
            keeper.on_kill(self.kill)

    # ------------------------------------------------------------------ frontend.handler.Server

    @property
    def name(self) -> str:
        return self.identity.name

    @property
    def version(self) -> tuple[int, int, int]:
        return VERSION

    def login(self, request: LoginRequest) -> Session:
        """Raises SqlError 18456, 18452, 18470, or 4060 with 18456 when the database can't be used."""
        login = authenticate(self.catalog, request.user, request.password)
        session = self._register(lambda spid: Session(self, spid, login, request))
        try:
            wanted = request.database or login.default_database or "master"
            try:
                session.start(wanted)
            except SqlError as error:
                if not request.database:
                    session.start("master")
                    return session
                raise SqlError(
                    Message(
                        4060,
                        11,
                        1,
                        f'Cannot open database "{wanted}" requested by the login. The login failed.',
                    ),
                    login_failed(login.name),
                ) from error
        except BaseException:
            session.close()
            raise
        return session

    def agent_session(self, login: Login, database: str = "msdb") -> Session:
        """A session that runs a job's step as ``login``, without a client. Raises SqlError when the database
        can't be used."""
        request = LoginRequest(login.name, "", application="SQLAgent - TSQL JobStep")
        session = self._register(lambda spid: Session(self, spid, login, request))
        try:
            session.start(database)
        except SqlError:
            session.close()
            raise
        return session

    def trusted_session(self, login: Login, request: LoginRequest) -> Session:
        """A session, in msdb, of a login that somebody else has let in."""
        session = self._register(lambda spid: Session(self, spid, login, request))
        session.start("msdb")
        return session

    def close(self) -> None:
        """Ends every session and closes the catalog."""
        for session in self.sessions():
            session.close()
        self.catalog.close()

    # ------------------------------------------------------------------ sessions

    def _register(self, make: Callable[[int], Session]) -> Session:
        with self._lock:
            spid = next(
                number
                for number in range(self._first_spid, self._first_spid + SPID_BLOCK)
                if number not in self._sessions
            )
            session = make(spid)
            self._sessions[spid] = session
            self._logins += 1
            return session

    def forget(self, session: Session) -> None:
        """A session has ended."""
        with self._lock:
            if self._sessions.get(session.spid) is session:
                del self._sessions[session.spid]
                self._ended.add(session.counts)
                self._logouts += 1
        self.locks.release_all(session.spid)
        if self.keeper is not None:
            self.keeper.note_session(session.spid, session.rights.login.name, None)

    def sessions(self) -> list[Session]:
        with self._lock:
            return [self._sessions[spid] for spid in sorted(self._sessions)]

    def counts(self) -> ServerCounts:
        """What all sessions have counted."""
        with self._lock:
            going_on = [session.counts for session in self._sessions.values()]
            return ServerCounts.of(self._ended, going_on, self._logins, self._logouts)

    def session(self, spid: int) -> Session | None:
        with self._lock:
            return self._sessions.get(spid)

    def is_connected(self, login: str) -> bool:
        return any(s.rights.login.name.lower() == login.lower() for s in self.sessions())

    def kill(self, spid: int) -> None:
        """Ends a session: its request stops, its transaction is rolled back, its connection is closed."""
        session = self.session(spid)
        if session is not None:
            session.kill()

    def release(self, database: str) -> None:
        """Lets go of a database's file in every session; returns when no handle is left."""
        for session in self.sessions():
            session.release(database)

    # ------------------------------------------------------------------ what the catalog knows

    def resolve(self, name: str) -> DatabaseFile | None:
        """The file of a database for a workspace. Raises SqlError when it is there and can't be used."""
        database = self.catalog.databases.find(name)
        if database is None:
            return None
        self._require_online(database)
        path = database.path(self.store) if database.file else None
        kept = (
            self.keeper is not None
            and not database.is_system
            and database.recovery_model is not RecoveryModel.SIMPLE
            and database.standby is None
        )
        emergency = database.state is DatabaseState.EMERGENCY
        read_only = database.read_only or database.standby is not None or emergency
        return DatabaseFile(database.id, database.name, path, read_only, database.guid if kept else None)

    def note_commit(self, database: DatabaseFile, frames: int, committed_ns: int) -> None:
        """A session has committed to a database whose log is kept."""
        if self.keeper is not None and database.log_id is not None:
            self.keeper.note_commit(database.log_id, frames, committed_ns)

    @staticmethod
    def _require_online(database: Database) -> None:
        state = database.state
        if state in (DatabaseState.ONLINE, DatabaseState.EMERGENCY):
            return
        name = database.name
        if state in (DatabaseState.RESTORING, DatabaseState.RECOVERING):
            raise BatchAborted.of(
                927, 14, 2, f"Database '{name}' cannot be opened. It is in the middle of a restore."
            )
        if state is DatabaseState.OFFLINE:
            raise BatchAborted.of(942, 14, 4, f"Database '{name}' cannot be opened because it is offline.")
        if state is DatabaseState.SUSPECT:
            raise BatchAborted.of(
                926,
                14,
                1,
                f"Database '{name}' cannot be opened. It has been marked SUSPECT by recovery. See the SQL"
                " Server errorlog for more information.",
            )
        raise BatchAborted.of(
            945,
            14,
            2,
            f"Database '{name}' cannot be opened due to inaccessible files or insufficient memory or disk"
            " space. See the SQL Server errorlog for details.",
        )

    def require_entry(self, database: Database, login: Login, roles: frozenset[str]) -> None:
        """Raises SqlError 952 while a database goes from one state to another, 923 when it is in restricted
        mode and the login is none of its owners. ``roles`` are the login's in the database."""
        if self.catalog.databases.in_transition(database.id):
            raise SqlError.of(
                952, 16, 1, f"Database '{database.name}' is in transition. Try the statement later."
            )
        if database.user_access is not UserAccess.RESTRICTED_USER:
            return
        if not login.roles & {"sysadmin", "dbcreator"} and "db_owner" not in roles:
            raise SqlError.of(
                923,
                14,
                1,
                f"Database '{database.name}' is in restricted mode. Only the database owner and members of"
                " the dbcreator and sysadmin roles can access it.",
            )

    def require_seat(self, database: Database, spid: int) -> None:
        """Raises SqlError 924 when a SINGLE_USER database has its user."""
        if database.user_access is not UserAccess.SINGLE_USER:
            return
        others = [
            session
            for session in self.sessions()
            if session.spid != spid and session.database.lower() == database.name.lower()
        ]
        if others or database.holder not in (None, spid):
            raise SqlError.of(
                924,
                14,
                1,
                f"Database '{database.name}' is already open and can only have one user at a time.",
            )

    def databases(self) -> list[DatabaseFacts]:
        sids = {login.name.lower(): login.sid for login in self.logins()}
        keys = self.catalog.keys.database_keys()
        encrypted = {database for database, key in keys.items() if key.encrypted}
        return [
            database_facts(database, sids, self._size(database), encrypted=database.guid in encrypted)
            for database in self.catalog.databases.all()
        ]

    def _size(self, database: Database) -> int | None:
        with contextlib.suppress(OSError):
            return database.path(self.store).stat().st_size if database.file else None
        return None

    def logins(self) -> list[LoginFacts]:
        return [login_facts(login) for login in self.catalog.logins.all()]
