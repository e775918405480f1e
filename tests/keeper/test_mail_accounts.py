"""The procedures that configure Database Mail, on a running server: what is added sends."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytds
import pytest

from tests.agent.receiver import mail_server
from tests.running import Running, running

pytestmark = pytest.mark.slow
_LIMIT = 120.0


@dataclass
class World:
    server: Running
    port: int
    mails: list[str]

    def sql(self, text: str) -> list[tuple[Any, ...]]:
        with self.server.connect() as connection:
            cursor = connection.cursor()
            cursor.execute(text)
            found = cursor.fetchall() if cursor.description else []
            while cursor.nextset():
                found = cursor.fetchall() if cursor.description else found
            return [tuple(row) for row in found]

    def refused(self, text: str) -> int:
        with pytest.raises(pytds.Error) as caught:
            self.sql(text)
        return int(caught.value.msg_no)  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    directory: Path = tmp_path_factory.mktemp("accounts")
    with mail_server() as (port, mails), running(directory) as server:
        yield World(server, port, mails)


def _until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _contents(directory: Path) -> Iterator[bytes]:
    for file in directory.rglob("*"):
        if file.is_file():
            with contextlib.suppress(FileNotFoundError):  # journals come and go
                yield file.read_bytes()


def test_the_usual_script(world: World) -> None:
    world.sql("EXEC sp_configure 'show advanced options', 1; RECONFIGURE")
    world.sql("EXEC sp_configure 'Database Mail XPs', 1; RECONFIGURE")
    assert world.sql("EXEC msdb.dbo.sysmail_help_status_sp") == [("STOPPED",)]
    numbers = world.sql(
        "DECLARE @account int, @profile int;"
        " EXECUTE msdb.dbo.sysmail_add_account_sp @account_name = 'Relay', @email_address = 'db@x.example',"
        " @display_name = 'The server', @replyto_address = 'dba@x.example', @description = 'For all',"
        f" @mailserver_name = '127.0.0.1', @port = {world.port}, @account_id = @account OUTPUT;"
        " EXECUTE msdb.dbo.sysmail_add_profile_sp @profile_name = 'Operators', @profile_id = @profile OUTPUT;"
        " EXECUTE msdb.dbo.sysmail_add_profileaccount_sp @profile_name = 'Operators',"
        " @account_name = 'Relay', @sequence_number = 1;"
        " EXECUTE msdb.dbo.sysmail_add_principalprofile_sp @profile_name = 'Operators',"
        " @principal_name = 'public', @is_default = 1; SELECT @account, @profile"
    )
    assert numbers == [(2, 3)]
    assert world.sql("EXEC msdb.dbo.sysmail_help_status_sp") == [("STARTED",)]
    assert world.sql("EXEC msdb.dbo.sysmail_help_profileaccount_sp") == [(3, "Operators", 2, "Relay", 1)]
    assert world.sql("EXEC msdb.dbo.sysmail_help_account_sp @account_name = 'Relay'") == [
        (
            *(2, "Relay", "For all", "db@x.example", "The server", "dba@x.example"),
            *("SMTP", "127.0.0.1", world.port, None, False, False),
        )
    ]
    world.sql("EXEC msdb.dbo.sysmail_stop_sp")
    assert world.sql("EXEC msdb.dbo.sysmail_help_status_sp") == [("STOPPED",)]
    world.sql("EXEC msdb.dbo.sp_send_dbmail @recipients = 'you@x.example', @subject = 'Waits'")
    asked = "SELECT sent_status, sent_account_id FROM msdb.dbo.sysmail_allitems"
    assert world.sql(asked) == [("unsent", None)]
    world.sql("EXEC msdb.dbo.sysmail_start_sp")
    _until(lambda: world.sql(asked) == [("sent", 2)])
    (mail,) = world.mails
    for line in ("From: The server <db@x.example>", "Reply-To: dba@x.example", "Subject: Waits"):
        assert line in mail

    secret = "EXEC msdb.dbo.sysmail_add_account_sp @account_name = 'Secret', @email_address = 's@x.example',"
    world.sql(f"{secret} @username = 'u', @password = 'Geheim-77'")
    assert world.sql(
        "SELECT s.servername, s.port, s.username, c.credential_identity FROM msdb.dbo.sysmail_server s"
        " JOIN sys.credentials c ON c.credential_id = s.credential_id"
    ) == [("x.example", 25, "u", "u")]
    assert b"Geheim-77" not in b"".join(_contents(world.server.store))
    assert b"Geheim-77" not in world.server.log.read_bytes()

    for text, number in {
        "sysmail_add_account_sp @account_name = 'relay', @email_address = 'a@x'": 2627,
        "sysmail_add_account_sp 'w', 'a@x', @use_default_credentials = 1": 14266,
        "sysmail_add_principalprofile_sp @principal_name = 'clerk', @profile_id = 3, @is_default = 1": 14266,
        "sysmail_add_account_sp @account_name = 'w'": 201,
        "sysmail_delete_profile_sp @profile_name = 'Nobody'": 14607,
    }.items():
        assert world.refused(f"EXEC msdb.dbo.{text}") == number
    world.sql("EXEC msdb.dbo.sysmail_delete_account_sp @account_name = 'Secret'")
    assert world.sql("SELECT * FROM sys.credentials") == []
    world.sql("EXEC msdb.dbo.sysmail_delete_profile_sp @profile_name = 'Operators'")
    assert world.refused("EXEC msdb.dbo.sp_send_dbmail @recipients = 'you@x.example'") == 14636
