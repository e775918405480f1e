"""Database Mail of a running server: what is sent arrives, what can't be sent is refused or told of."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytds
import pytest

from tdsproxy.agent.settings import write_settings
from tests.agent.receiver import mail_server
from tests.running import Running, running

pytestmark = pytest.mark.slow
_LIMIT = 120.0


@dataclass
class World:
    server: Running
    port: int
    mails: list[str]

    def sql(self, text: str, **login: str) -> list[tuple[Any, ...]]:
        with self.server.connect(**login) as connection:
            cursor = connection.cursor()
            cursor.execute(text)
            found = cursor.fetchall() if cursor.description else []
            while cursor.nextset():
                found = cursor.fetchall() if cursor.description else found
            return [tuple(row) for row in found]

    def refused(self, text: str, **login: str) -> int:
        with pytest.raises(pytds.Error) as caught:
            self.sql(text, **login)
        return int(caught.value.msg_no)  # type: ignore[attr-defined]

    def state_of(self, number: int) -> str:
        """What has become of a mail, when that is known."""
        asked = f"SELECT sent_status FROM msdb.dbo.sysmail_allitems WHERE mailitem_id = {number}"
        deadline = time.monotonic() + _LIMIT
        while (state := self.sql(asked)[0][0]) == "unsent":
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return str(state)


def _settings(port: int, profile: str) -> dict[str, Any]:
    mail = {"host": "127.0.0.1", "port": port, "to": ["dba@x"], "sender": "db@x", "profile": profile}
    return {"notices": {"mail": mail}}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("mail")
    with mail_server() as (port, mails), running(directory) as server:
        yield World(server, port, mails)


def _send(more: str = "") -> str:
    return (
        "DECLARE @id int; EXEC msdb.dbo.sp_send_dbmail @recipients = 'a@b.example; c@d.example',"
        f" @subject = N'Done', @body = N'<b>All</b>'{more}, @mailitem_id = @id OUTPUT; SELECT @id"
    )


def test_sending_step_by_step(world: World) -> None:
    assert world.refused(_send()) == 15281
    world.sql("EXEC sp_configure 'show advanced options', 1; RECONFIGURE")
    world.sql("EXEC sp_configure 'Database Mail XPs', 1; RECONFIGURE")
    assert world.refused(_send()) == 14636
    assert world.sql("EXEC msdb.dbo.sysmail_help_status_sp") == [("STOPPED",)]
    write_settings(world.server.store, _settings(world.port, "Operators"))
    assert world.sql("EXEC msdb.dbo.sysmail_help_status_sp") == [("STARTED",)]
    assert world.refused(_send(", @profile_name = 'Other'")) == 14607
    assert world.refused("EXEC msdb.dbo.sp_send_dbmail @subject = 'nobody'") == 14624
    assert world.refused(_send(", @body_format = 'RTF'")) == 14626
    assert world.refused(_send(", @query = 'SELECT 1'")) == 22050
    assert world.refused(_send(", @file_attachments = '/etc/passwd'")) == 22051
    more = ", @profile_name = 'operators', @body_format = 'HTML', @importance = 'High', @reply_to = 'r@x'"
    number = world.sql(_send(more))[0][0]
    assert world.state_of(number) == "sent"
    mail = next(text for text in world.mails if "Subject: Done" in text)
    for line in ("From: db@x", "To: a@b.example, c@d.example", "Importance: High", "Reply-To: r@x"):
        assert line in mail
    assert "text/html" in mail
    assert "<b>All</b>" in mail


def test_what_is_told_of_the_server_and_of_mails(world: World) -> None:
    write_settings(world.server.store, _settings(world.port, "Operators"))
    world.sql("EXEC sp_configure 'show advanced options', 1; RECONFIGURE")
    world.sql("EXEC sp_configure 'Database Mail XPs', 1; RECONFIGURE")
    assert world.sql("EXEC msdb.dbo.sysmail_help_profile_sp") == [(1, "Operators", None)]
    account = world.sql("EXEC msdb.dbo.sysmail_help_account_sp")[0]
    assert account[3] == "db@x"
    assert account[6:9] == ("SMTP", "127.0.0.1", world.port)
    assert world.sql("EXEC msdb.dbo.sysmail_help_principalprofile_sp") == [
        (0, "public", 1, "Operators", True)
    ]
    number = world.sql(_send())[0][0]
    assert world.state_of(number) == "sent"
    assert world.sql(
        "SELECT recipients, subject, send_request_user FROM msdb.dbo.sysmail_sentitems"
        f" WHERE mailitem_id = {number}"
    ) == [("a@b.example; c@d.example", "Done", "sa")]
    assert world.refused("EXEC msdb.dbo.sysmail_delete_mailitems_sp") == 14608
    world.sql("EXEC msdb.dbo.sysmail_delete_mailitems_sp @sent_status = 'sent'")
    assert world.sql(f"SELECT * FROM msdb.dbo.sysmail_allitems WHERE mailitem_id = {number}") == []
    assert world.sql("SELECT COUNT(*) FROM msdb.dbo.sysmail_event_log WHERE event_type = 'information'") > [
        (0,)
    ]
    world.sql("EXEC msdb.dbo.sysmail_delete_log_sp")
    assert world.sql("SELECT COUNT(*) FROM msdb.dbo.sysmail_event_log") == [(0,)]


def test_who_may_send(world: World) -> None:
    write_settings(world.server.store, _settings(world.port, "Operators"))
    world.sql("EXEC sp_configure 'show advanced options', 1; RECONFIGURE")
    world.sql("EXEC sp_configure 'Database Mail XPs', 1; RECONFIGURE")
    login = {"user": "clerk", "password": "Sesame-1-clerk"}
    world.sql("CREATE LOGIN clerk WITH PASSWORD = 'Sesame-1-clerk'")
    assert world.refused(_send(), **login) in (229, 916)
    world.sql("USE msdb; CREATE USER clerk; ALTER ROLE DatabaseMailUserRole ADD MEMBER clerk")
    number = world.sql(_send(), **login)[0][0]
    assert world.state_of(number) == "sent"
    asked = "SELECT DISTINCT send_request_user FROM msdb.dbo.sysmail_allitems"
    assert world.sql(asked, **login) == [("clerk",)]
    assert world.refused("EXEC msdb.dbo.sysmail_help_account_sp", **login) == 229
    assert world.refused("SELECT * FROM msdb.dbo.sysmail_mailitems", **login) == 229
