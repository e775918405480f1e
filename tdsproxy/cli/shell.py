"""BACKUP and RESTORE from a shell: the same statements, run by the store's keeper."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from tdsproxy.cli.errors import CommandError
from tdsproxy.cli.progress import Display, Nothing, looked_at
from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Message, Reply, ResultSet, Rows
from tdsproxy.tsql.values import DateTime, Value

if TYPE_CHECKING:
    from tdsproxy.cli.options import ServeOptions
    from tdsproxy.keeper.client import SyncKeeper

PROGRESS: Final = 3211
FIRST_ERROR_SEVERITY: Final = 11


@dataclass(slots=True)
class Outcome:
    """What a statement said: its informational messages and their numbers, and its rows by column name."""

    messages: list[str] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    rows: list[dict[str, Value]] = field(default_factory=list)


def run_statement(
    options: ServeOptions,
    text: str,
    variables: Mapping[str, Value] | None = None,
    progress: Display | None = None,
    max_rate: int | None = None,
) -> Outcome:
    """Run one native statement as the store's owner, with the values of its variables by their names in
    lower case. ``progress`` hears how far it is; ``max_rate`` as in ``NativeRequest``. Raises
    CommandError."""
    with _keeper(options) as keeper:
        session = SessionContext(
            login="sa", server_roles=frozenset({"sysadmin"}), spid=keeper.spid_base, application="tdsproxy"
        )
        request = NativeRequest(text, session, variables=dict(variables or {}), max_rate=max_rate)
        shown = progress or Nothing()
        try:
            replies = keeper.run(request)
            killed = threading.Event()

            def kill(_spid: int) -> None:
                killed.set()
                replies.cancel()

            # KILL of this session, from any client of the store.
            keeper.on_kill(kill)
            keeper.note_session(keeper.spid_base, session.login, session.database)
            with looked_at(shown, keeper.spid_base, keeper.running):
                outcome = collect(replies, shown)
            if killed.is_set():
                # Between two replies it is not over yet: what it has begun is taken back before this is said.
                replies.close()
                raise CommandError("The session was killed.")
            return outcome
        except SqlError as error:
            raise CommandError(error.messages[0].text) from error


@contextmanager
def _keeper(options: ServeOptions) -> Iterator[SyncKeeper]:
    from tdsproxy.cli.options import follow_options, sync_options
    from tdsproxy.keeper.address import KeeperUnavailable
    from tdsproxy.keeper.options import KeeperOptions
    from tdsproxy.keeper.start import connect_sync

    if not options.store.is_dir():
        raise CommandError(f"There is no store '{options.store}'.")
    wanted = KeeperOptions(
        store=options.store,
        backup_directory=options.backup_dir,
        allowed=options.allow_dir,
        mappings=options.path_map,
        log_level=options.log_level,
        log_bytes=options.log_keep_size,
        log_seconds=options.log_keep_time,
        s3_http=options.s3_http,
        ca_file=options.ca_file,
        max_rate=options.max_rate,
        sync=sync_options(options),
        follow=follow_options(options),
    )
    try:
        keeper = connect_sync(wanted)
    except (KeeperUnavailable, OSError) as error:
        raise CommandError(f"The keeper of the store can't be reached: {error}.") from error
    try:
        yield keeper
    finally:
        keeper.close()


def collect(replies: Iterator[Reply], progress: Display) -> Outcome:
    """Read a statement's replies to their end. Raises CommandError with its first error."""
    outcome = Outcome()
    columns: tuple[str, ...] = ()
    failure: Message | None = None
    for reply in replies:
        if isinstance(reply, ResultSet):
            columns = tuple(column.name for column in reply.columns)
        elif isinstance(reply, Rows):
            outcome.rows += [dict(zip(columns, row, strict=True)) for row in reply.rows]
        elif isinstance(reply, Message):
            if reply.severity >= FIRST_ERROR_SEVERITY:
                failure = failure or reply
            elif reply.number == PROGRESS:
                progress.told(int(reply.text.split(" ", 1)[0]))
            else:
                outcome.messages.append(reply.text)
                outcome.numbers.append(reply.number)
    if failure is not None:
        raise CommandError(failure.text)
    return outcome


def show(outcome: Outcome, *, as_json: bool) -> None:
    """On standard output: lines for people, or one JSON object."""
    if as_json:
        rows = [{name: plain(value) for name, value in row.items()} for row in outcome.rows]
        print(json.dumps({"messages": outcome.messages, "rows": rows}, ensure_ascii=False))
        return
    for row in outcome.rows:
        width = max(map(len, row), default=0)
        for name, value in row.items():
            if value is not None:
                print(f"{name:<{width}}  {plain(value)}")
        print()
    for line in outcome.messages:
        print(line)


def plain(value: Value) -> Any:
    """A value as JSON has it: dates in ISO 8601, bytes in base64, decimals as text."""
    if isinstance(value, DateTime):
        return value.to_python().isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode("ascii")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Decimal):
        return f"{value:f}"
    return str(value)
