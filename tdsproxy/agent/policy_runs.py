"""What a policy does when its time has come: backups of the databases that it covers, trials, retention.

Everything is a native statement that the keeper runs, with names and values as variables.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Final

from tdsproxy.agent.managed import PREFIX
from tdsproxy.agent.policies import SYSTEM_NAMES, Policy, Retention
from tdsproxy.agent.policy_book import CHANGE
from tdsproxy.agent.running import Zoned
from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel
from tdsproxy.catalog.listing import ListedSet
from tdsproxy.commands.name_patterns import meant
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.tsql.replies import Message, Reply, Rows
from tdsproxy.tsql.values import Value

NativeRunner = Callable[[NativeRequest, threading.Event], Iterator[Reply]]

SPID: Final = 9
"""The session number of what policies run: below those of clients and of jobs."""
_ERROR: Final = 11
_USABLE: Final = frozenset({DatabaseState.ONLINE})
_BACKED_UP: Final = _USABLE | {
    DatabaseState.RECOVERY_PENDING,
    DatabaseState.SUSPECT,
    DatabaseState.EMERGENCY,
}
"""With those that cannot be: nobody took them out of use, so their backups fail, and the job with them."""
_NO_BASE: Final = frozenset({3035, 4214})
"""No full backup to build on."""
_WORDS: Final = {"full": ("DATABASE", "FULL", "bak"), "differential": ("DATABASE", "DIFF", "bak")}
_LOG: Final = ("LOG", "LOG", "trn")
_log = logging.getLogger(__name__)


class PolicyRuns:
    """Usable from any thread. ``databases`` are those of the store, ``sets`` one's backup sets by msdb, and
    ``is_used`` tells whether a medium of this name, in whatever place, is in msdb."""

    def __init__(
        self,
        native: NativeRunner,
        databases: Callable[[], Iterable[Database]],
        sets: Callable[[str], Sequence[ListedSet]],
        is_used: Callable[[str], bool],
        clock: Zoned,
    ) -> None:
        self._native = native
        self._databases = databases
        self._sets = sets
        self._is_used = is_used
        self._clock = clock
        self._guard = threading.Lock()
        # The names of media that are being written.
        self._writing: set[str] = set()

    def run(
        self, policy: Policy, action: str, cancelled: threading.Event, only: Iterable[str] | None = None
    ) -> Iterator[Message]:
        """``action``: full, differential, log, verify, retention, or change (the kind that the policy has for
        that); ``only`` these databases."""
        if action == CHANGE and policy.after_change is not None:
            action = policy.after_change.kind
        wanted = None if only is None else {name.lower() for name in only}
        backs_up = action not in ("verify", "retention")
        for database in self._covered(policy, _BACKED_UP if backs_up else _USABLE):
            if cancelled.is_set() or (wanted is not None and database.name.lower() not in wanted):
                continue
            if action == "verify":
                yield from self._verify(database.name, cancelled)
            elif action == "retention":
                yield from self._retain(policy, database.name, cancelled)
            else:
                yield from self._back_up(policy, action, database, cancelled)
        if backs_up and only is None:
            yield from self._missing(policy)

    def _covered(self, policy: Policy, states: frozenset[DatabaseState]) -> list[Database]:
        return [
            database
            for database in self._databases()
            if database.name.lower() != "tempdb"
            and policy.covers(database.name)
            and database.state in states
            and database.standby is None
        ]

    def _missing(self, policy: Policy) -> Iterator[Message]:
        """What a policy names and nobody has, be it renamed, is not backed up: that is no success."""
        if policy.name.startswith(PREFIX):
            return
        names = {database.name.lower() for database in self._databases()}
        for name in filter(None, map(meant, policy.databases)):
            if name.lower() not in names:
                yield Message(911, 16, 1, f"Policy '{policy.name}': database '{name}' does not exist.")

    # ------------------------------------------------------------------ backups

    def _back_up(
        self, policy: Policy, action: str, database: Database, cancelled: threading.Event
    ) -> Iterator[Message]:
        simple = database.recovery_model is RecoveryModel.SIMPLE
        if action == "log" and (simple or database.name.lower() in SYSTEM_NAMES):
            return
        if action == "differential" and database.name.lower() == "master":
            action = "full"
        messages = list(self._backup(policy, action, database.name, cancelled))
        if action != "full" and any(message.number in _NO_BASE for message in messages):
            yield Message(
                0, 10, 1, f"Database '{database.name}' has no full backup to build on: one is taken first."
            )
            yield from self._backup(policy, "full", database.name, cancelled)
            if action == "differential":
                return
            messages = list(self._backup(policy, action, database.name, cancelled))
        yield from messages
        failed = any(message.severity >= _ERROR for message in messages)
        if action == "full" and policy.retention is not None and not failed:
            yield from self._retain(policy, database.name, cancelled)

    def _backup(
        self, policy: Policy, action: str, database: str, cancelled: threading.Event
    ) -> Iterator[Message]:
        what, word, extension = _WORDS.get(action, _LOG)
        # A backup never takes the place of another one: without INIT, what lies under its name is appended to
        # or in the way. Mirrors can only be begun with FORMAT.
        options = ["CHECKSUM", "NAME = @name"]
        if len(policy.destinations) > 1:
            options.append("FORMAT")
        if action == "differential":
            options.append("DIFFERENTIAL")
        if policy.compression == "default":
            options.append("COMPRESSION")
        elif policy.compression:
            options.append(f"COMPRESSION (ALGORITHM = {policy.compression})")
        if policy.encryption_algorithm:
            quoted = (policy.certificate or "").replace("]", "]]")
            options.append(
                f"ENCRYPTION (ALGORITHM = {policy.encryption_algorithm},"
                f" SERVER {policy.encryptor} = [{quoted}])"
            )
        folders = [self._folder(destination, database, cancelled) for destination in policy.destinations]
        with self._name(f"{database}_{word}", extension, folders, cancelled) as name:
            variables: dict[str, Value] = {"@database": database, "@name": f"{policy.name}: {action} backup"}
            devices = []
            for place, folder in enumerate(folders):
                variables[f"@device{place}"] = f"{folder}{name}"
                kind = "URL" if "://" in folder else "DISK"
                devices.append(f"{'MIRROR TO' if place else 'TO'} {kind} = @device{place}")
            text = f"BACKUP {what} @database {' '.join(devices)} WITH {', '.join(options)}"
            for reply in self._ask(text, variables, cancelled):
                if isinstance(reply, Message):
                    yield reply

    @contextmanager
    def _name(
        self, stem: str, extension: str, folders: Sequence[str], cancelled: threading.Event
    ) -> Iterator[str]:
        """Of a medium that is not there yet, whatever the clock says, and nobody else writes meanwhile."""
        moment = self._clock.local(self._clock.now())
        while True:
            name = f"{stem}_{moment:%Y%m%d_%H%M%S}_{moment.microsecond // 1000:03d}.{extension}"
            with self._guard:
                taken = name.lower() in self._writing
                self._writing.add(name.lower())
            if not taken:
                try:
                    if not self._is_used(name) and not self._is_there(name, folders, cancelled):
                        yield name
                        return
                finally:
                    with self._guard:
                        self._writing.discard(name.lower())
            moment += dt.timedelta(milliseconds=1)

    def _is_there(self, name: str, folders: Sequence[str], cancelled: threading.Event) -> bool:
        return any(
            row[0] == 1
            for folder in folders
            if "://" not in folder
            for reply in self._ask("EXEC xp_fileexist @a1", {"@a1": f"{folder}{name}"}, cancelled)
            if isinstance(reply, Rows)
            for row in reply.rows
        )

    def _folder(self, destination: str, database: str, cancelled: threading.Event) -> str:
        """Where the backup goes, up to its name."""
        folder = destination.replace("{database}", database).rstrip("/")
        if not folder:
            return ""
        if "://" not in folder:
            for reply in self._ask("EXEC xp_create_subdir @a1", {"@a1": folder}, cancelled):
                if isinstance(reply, Message) and reply.severity >= _ERROR:
                    _log.debug("%s", reply.text)  # the backup itself will say what is wrong, if something is
        return f"{folder}/"

    # ------------------------------------------------------------------ trial restores, retention

    def _verify(self, database: str, cancelled: threading.Event) -> Iterator[Message]:
        fulls = [found for found in self._sets(database) if found.type == "D"]
        if not fulls:
            yield Message(0, 10, 1, f"Database '{database}' has no full backup to verify.")
            return
        for reply in self._ask("EXEC sp_trial_restore @a1", {"@a1": database}, cancelled):
            if isinstance(reply, Message):
                yield reply
            elif isinstance(reply, Rows):
                for row in reply.rows:
                    sound = row[2] == "1"
                    words = (
                        f"Trial restore of '{database}' as of {row[1]!s}, {row[3]!s} backup sets: {row[5]!s}."
                    )
                    yield Message(0 if sound else 50000, 10 if sound else 16, 1, words)

    def _retain(self, policy: Policy, database: str, cancelled: threading.Event) -> Iterator[Message]:
        if policy.retention is None:
            return
        values: dict[str, Value] = {"@a1": "0", "@a2": database, "@a3": retention_text(policy.retention)}
        deleted = 0
        for reply in self._ask("EXEC sp_retention @a1, @a2, @a3", values, cancelled):
            if isinstance(reply, Message):
                yield reply
            elif isinstance(reply, Rows):
                deleted += sum(row[0] == "deleted" for row in reply.rows)
                for row in reply.rows:
                    if row[0] == "failed":
                        yield Message(50000, 16, 1, f"Retention could not delete {row[5]!s}: {row[6]!s}")
        if deleted:
            yield Message(0, 10, 1, f"Retention deleted {deleted} backup sets of '{database}'.")

    def _ask(self, text: str, variables: Mapping[str, Value], cancelled: threading.Event) -> Iterator[Reply]:
        session = SessionContext(
            login="sa", spid=SPID, server_roles=frozenset({"sysadmin"}), application="tdsproxy policy"
        )
        return self._native(NativeRequest(text, session, variables=dict(variables)), cancelled)


def retention_text(retention: Retention) -> str:
    """As ``sp_retention`` takes it."""
    return json.dumps({name: value for name, value in asdict(retention).items() if value is not None})
