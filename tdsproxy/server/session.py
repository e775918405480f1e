"""One logged-in session: what it runs, in which database, under which options, as which login."""

from __future__ import annotations

import datetime as dt
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from functools import cached_property
from typing import TYPE_CHECKING

import apsw

from tdsproxy.catalog.databases import Database, DatabaseState
from tdsproxy.catalog.logins import Login
from tdsproxy.commands.request import NativeRequest, SessionOrigin
from tdsproxy.frontend.bulk import BulkData
from tdsproxy.frontend.handler import LoginRequest, RpcRequest, TransactionAction, TransactionRequest
from tdsproxy.keeper.port import NativeReplies
from tdsproxy.server.bulk_load import BulkTarget, load
from tdsproxy.server.counts import SessionCounts
from tdsproxy.server.dispatch import Dispatcher
from tdsproxy.server.failures import DISK_FAILURES, sqlite_errors, unforeseen
from tdsproxy.server.grants import Grant, Grants, verdict
from tdsproxy.server.identity import LANGUAGE
from tdsproxy.server.impersonation import Impersonation
from tdsproxy.server.marks import KeeperMarks
from tdsproxy.server.options import ISOLATION, ISOLATION_LEVELS, begin_reading, initial_options
from tdsproxy.server.quick import QuickQueries
from tdsproxy.server.rights import Rights
from tdsproxy.server.rpc import run_rpc
from tdsproxy.server.schema import DatabaseSchema, TableInfo
from tdsproxy.server.scope import DatabaseScope
from tdsproxy.server.session_facts import Activity
from tdsproxy.server.sysviews.catalog import VirtualCatalog
from tdsproxy.server.sysviews.scope import (
    DatabaseFacts,
    LoginFacts,
    UserFacts,
)
from tdsproxy.server.users import Users
from tdsproxy.server.workspace import DatabaseFile, Workspace
from tdsproxy.store.encoding import storable_text
from tdsproxy.tsql import ast
from tdsproxy.tsql.calling import split_name
from tdsproxy.tsql.collation import collation_key
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.interpreter import (
    Cancelled,
    Frame,
    FrameKind,
    Interpreter,
    Options,
    SessionState,
)
from tdsproxy.tsql.replies import Command, DatabaseChanged, Done, Message, Reply
from tdsproxy.tsql.values import DateTime, DateTimeOffset, Value

if TYPE_CHECKING:
    from tdsproxy.server.engine import Engine
    from tdsproxy.server.rpc import Prepared

KILLED = Message(
    596, 21, 1, "Cannot continue the execution because the session is in the kill state.", line=0
)


class Session:
    """Implements ``frontend.handler.Session``. ``cancel``, ``kill`` and ``release`` may come from any
    thread; everything else from the one that runs its requests."""

    def __init__(self, engine: Engine, spid: int, login: Login, request: LoginRequest) -> None:
        self.engine = engine
        self.request = request
        self._spid = spid
        self._database_id = 1
        self._database = "master"
        self.rights = Rights(login, self._find_database, self._find_user, self._permission)
        self.options: Options = initial_options(odbc=request.odbc)
        self.state = SessionState()
        self.values: dict[str, Value] = {}
        self.counts = SessionCounts()
        self.context_info: bytes | None = None
        self.prepared: dict[int, Prepared] = {}
        self.next_handle = 1
        self.batch_identity: Decimal | None = None
        self._active: Options = self.options
        self.logged_in = self._now()
        self.activity = Activity()
        self._busy = threading.RLock()
        self._cancelled = threading.Event()
        self._killed = False
        self._ended: Callable[[], None] = lambda: None
        self._closed = False
        self._keeper_replies: NativeReplies | None = None
        self._statement_time: DateTimeOffset | None = None
        self._random = random.Random()
        self._memo: dict[str, object] = {}
        self.bulk: BulkTarget | None = None
        self.workspace = Workspace(self._resolve, _compare, engine.write_locks)
        self.workspace.spid = spid
        self.workspace.on_write = self._wrote
        self.views = VirtualCatalog(self.workspace.connection, lambda name: DatabaseScope(self, name))
        self.evaluator = Dispatcher(self)
        if engine.keeper is not None:
            self.workspace.on_commit = engine.note_commit
            self.evaluator.sql.transactions.marks = KeeperMarks(engine.keeper, login.name)
        self.evaluator.sql.transactions.on_begin = lambda: self.counts.began(self._database_id)
        self.impersonation = Impersonation(self)
        self.interpreter = Interpreter(self.evaluator, self._cancelled.is_set)
        self.catalog_version: int | None = None
        """The version of master when the request began."""
        self._login_version: int | None = None
        self._quick = QuickQueries(self)

    # ------------------------------------------------------------------ frontend.handler.Session

    @property
    def spid(self) -> int:
        return self._spid

    @property
    def database(self) -> str:
        return self._database

    @property
    def database_id(self) -> int:
        return self._database_id

    @property
    def language(self) -> str:
        return LANGUAGE

    def start(self, database: str) -> None:
        """Makes ``database`` the current one. Raises SqlError when it can't be."""
        self._enter(database)

    def run_batch(self, text: str) -> Iterator[Reply]:
        # What a batch names and says must fit into files: halves of UTF-16 pairs become U+FFFD.
        text = storable_text(text)
        with self._request(text):
            replies = self._quick.run(text)
            if replies is not None:
                yield from replies
                return
            try:
                yield from self._stoppable(self._run_text(text))
            finally:
                self.evaluator.sql.selects.forget_begun()

    def run_rpc(self, request: RpcRequest) -> Iterator[Reply]:
        with self._request(str(request.procedure)):
            yield from self._stoppable(run_rpc(self, request))

    def run_transaction(self, request: TransactionRequest) -> Iterator[Reply]:
        with self._request(request.action.name):
            yield from self._run_transaction(request)

    def run_bulk(self, data: BulkData) -> Iterator[Reply]:
        target = self.bulk
        with self._request("INSERT BULK" if target is None else target.statement.text):
            if target is None:
                raise SqlError.of(
                    4819, 16, 1, "Cannot bulk load. The bulk data stream was incorrectly specified."
                )
            yield from self._stoppable(self._load(target, data))

    def _load(self, target: BulkTarget, data: BulkData) -> Iterator[Reply]:
        try:
            yield from load(self, target, data, self.batch_frame(target.statement.text))
        except SqlError as error:
            yield from error.messages
            self.state.error = error.number
            yield Done(Command.PARSE_ERROR, error=True)

    def reset(self, *, keep_transaction: bool) -> list[Reply]:
        """Options, temporary tables, prepared statements and the database of the login again."""
        replies: list[Reply] = []
        with self._busy:
            if not keep_transaction:
                replies += list(self.evaluator.rollback(self.batch_frame("")))
            self.evaluator.drop_temporary()
            level = self.options.others.get(ISOLATION)
            self.options = initial_options(odbc=self.request.odbc)
            if level is not None:
                self.options.others[ISOLATION] = level
            self.state = SessionState()
            self.workspace.lock_timeout_ms = -1
            self.values.clear()
            self.context_info = None
            self.prepared.clear()
            self.impersonation.back_to(0)
            old = self._database
            try:
                self._enter(self.request.database or "master")
            except SqlError:
                self._enter("master")
            if self._database != old:
                replies.append(DatabaseChanged(self._database, old))
        return replies

    def cancel(self) -> None:
        if self.activity.running:
            self._cancelled.set()
            self.workspace.interrupt()
            replies = self._keeper_replies
            if replies is not None:
                replies.cancel()

    def when_ended(self, callback: Callable[[], None]) -> None:
        self._ended = callback

    def kill(self) -> None:
        """Ends the session: what runs is cancelled; the next request is refused with a fatal error."""
        self._killed = True
        self.cancel()
        self._ended()
        # A request that runs undoes the transaction itself at its end: two sessions may kill each other.
        if self._busy.acquire(blocking=False):
            try:
                self._undo_if_killed()
            finally:
                self._busy.release()

    def _undo_if_killed(self) -> None:
        if self._killed and not self._closed:
            for _reply in self.evaluator.rollback(self.batch_frame("")):
                continue

    def close(self) -> None:
        self.cancel()
        with self._busy:
            if self._closed:
                return
            self._closed = True
            try:
                self.workspace.close()
            finally:
                # Last of all: whoever waits for the session's end wants its files and locks to be free.
                self.engine.forget(self)

    # ------------------------------------------------------------------ running

    def _request(self, text: str) -> _Request:
        return _Request(self, text)

    def _wrote(self, database: DatabaseFile) -> None:
        """A commit; of a statement that is a transaction of its own, its beginning, too."""
        self.counts.wrote(database.database_id)
        current = self.evaluator.sql.transactions.current
        if current is None or not current.by_user or database.database_id != self._database_id:
            self.counts.began(database.database_id)

    def begin_request(self, text: str) -> None:
        """Raises SqlError when the session is over. ``end_request`` follows."""
        self._busy.acquire()
        try:
            if self._killed or self._closed:
                raise SqlError(KILLED)
            if self._cancelled.is_set():
                self._cancelled.clear()
            self.bulk = None
            self.workspace.arm()
            try:
                self._refresh_login()
            except apsw.Error:
                with sqlite_errors(1, "master"):
                    raise
            self.counts.requests += 1
            self.activity.text = text
            self.activity.began = time.time()
            self.activity.running = True
        except BaseException:
            self._busy.release()
            raise

    def end_request(self) -> None:
        try:
            self.activity.running = False
            self.activity.ended = time.time()
            self.workspace.arm()
            self._undo_if_killed()
        finally:
            self._busy.release()

    def batch_frame(self, text: str) -> Frame:
        return Frame(session=self.state, options=self.options, kind=FrameKind.BATCH, text=text)

    def _run_text(self, text: str) -> Iterator[Reply]:
        try:
            batch = self.engine.parsed.checked(text, quoted_identifier=self.options.quoted_identifier)
        except SyntaxError_ as error:
            yield from error.messages
            self.state.error = error.number
            yield Done(Command.PARSE_ERROR, error=True)
            return
        if self._only_parses(batch):
            yield Done(Command.NONE)
            return
        frame = self.batch_frame(text)
        try:
            yield from self.interpreter.run(batch, frame, checked=True)
        finally:
            self.batch_identity = self.evaluator.scope_identity(frame)
            self.evaluator.sql.leave(frame)
        self._quick.learn(text, batch)

    def _stoppable(self, replies: Iterator[Reply]) -> Iterator[Reply]:
        """Replies until the end, or until the request is cancelled; a killed session says so."""
        try:
            yield from replies
        except (Cancelled, apsw.InterruptError):
            pass
        except DISK_FAILURES as error:
            yield from unforeseen(error, self.database)
        except GeneratorExit:
            self._abort_cancelled()
            raise
        yield from self._abort_cancelled()
        if self._killed:
            yield KILLED
            yield Done(Command.PARSE_ERROR, error=True)

    def _abort_cancelled(self) -> list[Reply]:
        """Under XACT_ABORT a cancelled request takes its transaction with it."""
        self.activity.running = False  # another cancel must not interrupt the rollback
        if self._cancelled.is_set() and self._active.xact_abort and self.transaction_count():
            return list(self.evaluator.rollback(self.batch_frame("")))
        return []

    def _only_parses(self, batch: ast.Batch) -> bool:
        """SET PARSEONLY takes effect while a batch is parsed, so it can be switched off by a batch."""
        for statement in batch.statements:
            if isinstance(statement, ast.SetOption) and "PARSEONLY" in statement.names:
                self.options.others["PARSEONLY"] = statement.value
                return True
        return self.options.others.get("PARSEONLY") == "ON"

    def statement_begins(self, frame: Frame) -> None:
        """Called before each leaf statement: time and what views show are constant within it, and within
        the functions that it calls."""
        if frame.kind is FrameKind.FUNCTION:
            return
        self._active = frame.options
        begin_reading(frame.options)
        self._statement_time = None
        self._memo.clear()
        self.views.new_epoch()

    # ------------------------------------------------------------------ transactions

    def _run_transaction(self, request: TransactionRequest) -> Iterator[Reply]:
        word = request.action.name
        statement = ast.Transaction(word, request.name or None)
        yield from self._run_statement(statement, fallback=_TRANSACTION_COMMANDS[request.action])
        if request.action is TransactionAction.BEGIN and request.isolation:
            self._set_isolation(request.isolation)
        if request.begin_after:
            if request.isolation:
                self._set_isolation(request.isolation)
            yield from self._run_statement(ast.Transaction("BEGIN"), fallback=Command.BEGIN_TRANSACTION)

    def _set_isolation(self, number: int) -> None:
        name = next((word for word, level in ISOLATION_LEVELS.items() if level == number), None)
        if name is not None:
            self.options.others[ISOLATION] = name

    def _run_statement(self, statement: ast.Statement, *, fallback: int) -> Iterator[Reply]:
        frame = self.batch_frame("")
        try:
            yield from self.evaluator.execute(statement, frame)
        except SqlError as error:
            yield from error.messages
            self.state.error = error.number
            yield Done(fallback, error=True)

    def transaction_count(self) -> int:
        return self.evaluator.transaction_count()

    def transaction_state(self) -> int:
        """XACT_STATE(): also 1 while a statement outside of any transaction runs its own."""
        if self.state.doomed:
            return -1
        return 1

    # ------------------------------------------------------------------ the keeper

    def ask_keeper(self, request: NativeRequest) -> Iterator[Reply]:
        """Runs a native statement; while it runs, this session's handles may be taken from it."""
        keeper = self.engine.keeper
        if keeper is None:
            raise SqlError.of(3041, 16, 1, "BACKUP and RESTORE are not available: the store has no keeper.")
        replies = keeper.run(request)
        self._keeper_replies = replies
        try:
            while True:
                with self._lent():
                    reply = next(replies, None)
                if reply is None or self._cancelled.is_set():
                    return
                yield reply
        finally:
            self._keeper_replies = None
            with self._lent():
                replies.close()

    @contextmanager
    def _lent(self) -> Iterator[None]:
        """Others may use the session's handles within: it waits for the keeper, not for SQLite."""
        self._busy.release()
        try:
            yield
        finally:
            self._busy.acquire()

    def release(self, database: str) -> None:
        """Lets go of a database's file; waits for a request that uses it."""
        with self._busy:
            if not self._closed:
                self.evaluator.release(database)

    def after_native(self) -> None:
        """The catalog may have changed: the current database may have another name now."""
        self._memo.clear()
        self.views.new_epoch()
        current = self.engine.catalog.databases.by_id(self._database_id)
        if current is not None and current.name != self._database:
            self._database = current.name
            self._note()

    def leave_offline(self) -> Iterator[Reply]:
        """Goes to master when the session has taken its own database offline."""
        current = self.engine.catalog.databases.by_id(self._database_id)
        if current is not None and current.state is DatabaseState.OFFLINE:
            yield from self.use("master")

    # ------------------------------------------------------------------ databases

    def use(self, name: str) -> Iterator[Reply]:
        """USE: raises SqlError 911, 916, 924, 927 ..."""
        old = self._database
        self._enter(name)
        yield DatabaseChanged(self._database, old)
        yield Message(5701, 0, 1, f"Changed database context to '{self._database}'.")

    def move(self, name: str) -> None:
        """Makes ``name`` the current database for a frame, unseen by the client. Raises as ``use``."""
        self._enter(name)

    @contextmanager
    def elsewhere(self, name: str) -> Iterator[None]:
        """Within it ``name`` is the current database. Raises as ``use``."""
        caller = self._database_id
        self.move(name)
        try:
            yield
        finally:
            # By its number: it may have another name by now, and the way back asks for nothing.
            found = self.engine.catalog.databases.by_id(caller)
            if found is not None:
                self._database_id, self._database = found.id, found.name
                self._note()

    def _enter(self, name: str) -> None:
        database = self.engine.catalog.databases.find(name)
        if database is None:
            raise SqlError.of(
                911,
                16,
                1,
                f"Database '{name}' does not exist. Make sure that the name is entered correctly.",
            )
        self.engine.resolve(database.name)
        self.rights.require_use(database.name)
        self.engine.require_entry(database, self.rights.login, self.rights.roles(database.name))
        self.engine.require_seat(database, self._spid)
        self._database_id = database.id
        self._database = database.name
        self._note()

    def _note(self) -> None:
        if self.engine.keeper is not None:
            self.engine.keeper.note_session(self._spid, self.rights.login.name, self._database, self._origin)

    @cached_property
    def _origin(self) -> SessionOrigin:
        return SessionOrigin(
            self.request.host,
            self.request.application,
            self.request.client_pid,
            self.request.address,
            self.logged_in.to_python().isoformat(),
        )

    def _resolve(self, name: str) -> DatabaseFile | None:
        """A database's file for this session. Raises SqlError 924, 927, 942 ... when it can't be used."""
        found = self.engine.resolve(name)
        if found is not None and found.database_id != self._database_id:
            database = self._find_database(name)
            if database is not None:
                self.engine.require_seat(database, self._spid)
        return found

    def _find_database(self, name: str) -> Database | None:
        return self.engine.catalog.databases.find(name)

    def identity_table(self, name: str) -> tuple[str, TableInfo] | None:
        """The SQLite schema and the table called ``name``; None when there is none."""
        written = split_name(name)
        objects = self.find_objects(written.database or self._database)
        found = objects.table(written.schema or "dbo", written.object) if objects else None
        if found is None:
            return None
        return self.workspace.schema_of(written.database or self._database), found

    def row_count_of(self, database: str, table: TableInfo) -> int:
        return self.evaluator.row_count(database, table)

    def objects_of(self, database: str) -> DatabaseSchema:
        return self.evaluator.objects(database)

    def views_of(self, database: str) -> tuple[TableInfo, ...]:
        """The views of a database in the form of tables."""
        return self.evaluator.sql.views(database)

    def find_objects(self, database: str) -> DatabaseSchema | None:
        """As ``objects_of``; None when the database is not there, not online, or not for this login."""
        try:
            if not self.rights.may_use(database):
                return None
            return self.evaluator.objects(database)
        except SqlError:
            return None

    # ------------------------------------------------------------------ principals

    def _refresh_login(self) -> None:
        version = self.engine.catalog.version()
        self.catalog_version = version
        if version == self._login_version or self.impersonation.active:
            return
        self._login_version = version
        login = self.engine.catalog.logins.find(self.rights.login.name)
        if login is None or not self.rights.login.id:
            return  # a login without an id is an upstream's, whatever it is called
        if login.roles != self.rights.login.roles:
            self.rights = Rights(login, self._find_database, self._find_user, self._permission)

    def users_table(self, database: str) -> Users:
        return Users(self.workspace, self.workspace.schema_of(database))

    def users_of(self, database: str) -> list[UserFacts]:
        facts = next(d for d in self.visible_databases() if d.name.lower() == database.lower())
        return self.users_table(database).all(facts.owner_sid)

    def _find_user(self, database: str, sid: bytes) -> UserFacts | None:
        try:
            return self.users_table(database).of_sid(sid)
        except SqlError:
            return None

    def grants_of(self, database: str) -> list[Grant]:
        return Grants(self.workspace, self.workspace.schema_of(database)).all()

    def _permission(
        self, database: str, who: frozenset[str], action: str, schema: str, name: str
    ) -> str | None:
        grants = self.grants_of(database)
        if not grants:
            return None
        objects = self.evaluator.objects(database)
        found = objects.table(schema, name) or objects.module(schema, name)
        return verdict(grants, who, action, found.object_id if found is not None else -1)

    # ------------------------------------------------------------------ what functions and views ask

    def _once(self, key: str, make: Callable[[], object]) -> object:
        if key not in self._memo:
            self._memo[key] = make()
        return self._memo[key]

    def visible_databases(self) -> list[DatabaseFacts]:
        return self._once("databases", self.engine.databases)  # type: ignore[return-value]

    def logins(self) -> list[LoginFacts]:
        return self._once("logins", self.engine.logins)  # type: ignore[return-value]

    @property
    def is_in_keeper(self) -> bool:
        """Whether a native statement of the session runs."""
        return self._keeper_replies is not None

    @property
    def active_options(self) -> Options:
        """Those of the frame that runs, else the session's own."""
        return self._active if self.activity.running else self.options

    @staticmethod
    def _now() -> DateTime:
        return DateTime.of(dt.datetime.now())

    def statement_time(self) -> DateTimeOffset:
        if self._statement_time is None:
            now = dt.datetime.now().astimezone()
            offset = now.utcoffset() or dt.timedelta()
            moment = DateTime.of(now - offset)
            self._statement_time = DateTimeOffset(
                moment.days, moment.ticks, offset // dt.timedelta(minutes=1)
            )
        return self._statement_time

    def random(self, seed: int | None) -> float:
        if seed is not None:
            self._random = random.Random(seed)
        return self._random.random()

    def scope_identity(self, frame: Frame) -> Decimal | None:
        return self.evaluator.scope_identity(frame)

    def last_identity(self) -> Decimal | None:
        return self.evaluator.last_identity()

    def temporary_object_id(self, name: str, frame: Frame) -> int | None:
        return self.evaluator.temporary_object_id(name, frame)

    def identity_of(self, table: str, part: str) -> Decimal | None:
        return self.evaluator.identity_of(table, part)


class _Request:
    """The scope of one request. A class, as each query goes through it: a generator takes three times as
    long."""

    __slots__ = ("_session", "_text")

    def __init__(self, session: Session, text: str) -> None:
        self._session = session
        self._text = text

    def __enter__(self) -> None:
        self._session.begin_request(self._text)

    def __exit__(self, *_error: object) -> None:
        self._session.end_request()


def _compare(left: str, right: str) -> int:
    """The order of two texts under the server's collation."""
    if left == right:
        return 0
    first, second = collation_key(left), collation_key(right)
    return (first > second) - (first < second)


_TRANSACTION_COMMANDS = {
    TransactionAction.BEGIN: Command.BEGIN_TRANSACTION,
    TransactionAction.COMMIT: Command.COMMIT,
    TransactionAction.ROLLBACK: Command.ROLLBACK,
    TransactionAction.SAVE: Command.BEGIN_TRANSACTION,
}
