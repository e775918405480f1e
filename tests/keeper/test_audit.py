"""The line that each native statement leaves."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tdsproxy.commands.request import NativeRequest, SessionContext
from tdsproxy.keeper.audit import AUDIT_LOG, Audit
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.replies import Command, Done, Message, Reply

SESSION = SessionContext("sa", "master", 51, host="ws1", application="app", address="192.0.2.7")
BACKUP = "BACKUP DATABASE @d TO DISK = N'a.bak', DISK = 'b.bak'"


def request(text: str = BACKUP) -> NativeRequest:
    return NativeRequest(text, SESSION, variables={"@d": "shop"})


def entries(store: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (store / AUDIT_LOG).read_text().splitlines()]


def run(store: Path, replies: Iterator[Reply], *, cancelled: bool = False, text: str = BACKUP) -> Any:
    list(Audit(store).follow(request(text), replies, lambda: cancelled))
    return entries(store)[-1]


def test_a_statement_that_succeeds(tmp_path: Path) -> None:
    entry = run(tmp_path, iter([Message(3014, 0, 1, "done"), Done(Command.BACKUP_DATABASE)]))
    milliseconds = entry.pop("milliseconds")
    assert milliseconds >= 0
    assert entry.pop("time").endswith("Z")
    assert entry == {
        "login": "sa",
        "address": "192.0.2.7",
        "host": "ws1",
        "application": "app",
        "spid": 51,
        "statement": BACKUP,
        "database": "shop",
        "media": ["a.bak", "b.bak"],
        "result": "done",
        "errors": [],
    }
    assert stat.S_IMODE((tmp_path / AUDIT_LOG).stat().st_mode) == 0o600


def test_failures_and_cancellations(tmp_path: Path) -> None:
    failed = [Message(3201, 16, 1, "no"), Message(3013, 16, 1, "no"), Done(Command.NONE, error=True)]
    entry = run(tmp_path, iter(failed))
    assert (entry["result"], entry["errors"]) == ("failed", [3201, 3013])
    assert run(tmp_path, iter([]), cancelled=True)["result"] == "cancelled"

    def raising() -> Iterator[Reply]:
        yield Message(0, 0, 1, "x")
        raise SqlError.of(911, 16, 1, "no database")

    with pytest.raises(SqlError):
        run(tmp_path, raising())
    assert (entries(tmp_path)[-1]["result"], entries(tmp_path)[-1]["errors"]) == ("failed", [911])
    given_up = Audit(tmp_path).follow(request(), iter(failed), lambda: False)
    next(given_up)
    given_up.close()
    assert entries(tmp_path)[-1]["result"] == "cancelled"
    assert len(entries(tmp_path)) == 4


def test_a_statement_that_cannot_be_read_and_one_of_other_kind(tmp_path: Path) -> None:
    entry = run(tmp_path, iter([]), text="BACKUP NONSENSE 'x")
    assert (entry["database"], entry["media"], entry["statement"]) == ("master", [], "BACKUP NONSENSE '***'")
    entry = run(tmp_path, iter([]), text="CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'hidden'")
    assert entry["statement"] == "CREATE MASTER KEY ENCRYPTION BY PASSWORD = '***'"
    assert run(tmp_path, iter([]), text="DROP DATABASE shop")["result"] == "done"


def test_a_log_that_cannot_be_written_is_told_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / AUDIT_LOG).mkdir()
    assert list(Audit(tmp_path).follow(request(), iter([Done(Command.NONE)]), lambda: False))
    assert "can't be audited" in caplog.text
