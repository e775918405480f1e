"""One line for each native statement: who, from where, what, on what, how long, and what came of it.

``STORE/audit.log`` holds JSON objects, one a line, without the secrets that statements carry. The file is
opened for each line, so it may be moved away at any time.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tdsproxy.commands.request import NativeRequest
from tdsproxy.tsql import ast
from tdsproxy.tsql.errors import SqlError, SyntaxError_
from tdsproxy.tsql.masking import masked
from tdsproxy.tsql.native import parse_native
from tdsproxy.tsql.replies import Done, Message, Reply

AUDIT_LOG: Final = "audit.log"
LONGEST: Final = 4000
"""Characters of a statement that are kept."""

_ERROR: Final = 11
_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Outcome:
    """What is seen of a statement while it runs."""

    failed: bool = False
    errors: list[int] = field(default_factory=list)

    def note(self, messages: tuple[Message, ...] | list[Message]) -> None:
        numbers = [message.number for message in messages if message.severity >= _ERROR]
        self.errors += numbers
        self.failed = self.failed or bool(numbers)


class Audit:
    """Writes the lines of one store's statements. Usable from any thread."""

    def __init__(self, store: Path) -> None:
        self._path = store / AUDIT_LOG
        self._lock = threading.Lock()

    def follow(
        self, request: NativeRequest, replies: Iterator[Reply], cancelled: Callable[[], bool]
    ) -> Generator[Reply, None, None]:
        """``replies``, and the statement's line when they have ended, however that came about."""
        began = dt.datetime.now(dt.UTC)
        start = time.monotonic()
        outcome = _Outcome()
        ended = False
        try:
            for reply in replies:
                if isinstance(reply, Message):
                    outcome.note([reply])
                elif isinstance(reply, Done):
                    outcome.failed = outcome.failed or reply.error
                yield reply
            ended = True
        except SqlError as error:
            outcome.note(error.messages)
            outcome.failed = ended = True
            raise
        except GeneratorExit:
            raise
        except BaseException:
            outcome.failed = ended = True
            raise
        finally:
            if cancelled() or not ended:
                result = "cancelled"
            else:
                result = "failed" if outcome.failed else "done"
            self._write(_line(request, began, time.monotonic() - start, result, outcome.errors))
            close = getattr(replies, "close", None)
            if close is not None:
                close()

    def _write(self, entry: dict[str, Any]) -> None:
        line = json.dumps(entry, ensure_ascii=False) + "\n"
        try:
            with self._lock:
                descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(line.encode("utf-8", "backslashreplace"))
        except OSError as error:
            _log.error("a statement of %s can't be audited: %s", entry["login"], error)


def _line(
    request: NativeRequest, began: dt.datetime, seconds: float, result: str, errors: list[int]
) -> dict[str, Any]:
    session = request.session
    database, media = _objects(request)
    return {
        "time": began.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "login": session.login,
        "address": session.address,
        "host": session.host,
        "application": session.application,
        "spid": session.spid,
        "statement": masked(request.text, quoted_identifier=session.quoted_identifier)[:LONGEST],
        "database": database or session.database,
        "media": media,
        "milliseconds": round(seconds * 1000),
        "result": result,
        "errors": errors,
    }


def _objects(request: NativeRequest) -> tuple[str | None, list[str]]:
    """The database and the media that the statement names, as far as it can be read."""
    try:
        statement = parse_native(request.text, quoted_identifier=request.session.quoted_identifier)
    except SyntaxError_:
        return None, []

    def said(operand: ast.Operand | None) -> str | None:
        if operand is None:
            return None
        value = operand.value
        if operand.variable is not None:
            found = request.variables.get(operand.variable.lower())
            value = found if isinstance(found, str) else operand.variable
        return None if value is None else str(value)

    if isinstance(statement, ast.Backup | ast.Restore):
        mirrors = statement.mirrors if isinstance(statement, ast.Backup) else ()
        devices = [device for group in (statement.devices, *mirrors) for device in group]
        media = [name for device in devices if (name := said(device.name)) is not None]
        return said(statement.database), [masked_name(name) for name in media]
    name = getattr(statement, "database", None) or getattr(statement, "name", None)
    return (name if isinstance(name, str) else None), []


def masked_name(name: str) -> str:
    """A medium's name without a signature in its URL."""
    return masked(f"'{name}'").strip("'") if "://" in name else name
