"""ALTER DATABASE ... SET as the sessions of a server feel it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytds
import pytest

from tests.running import Running, running

LIMIT = 120.0


class Client:
    """A session; ``error`` gives the number of the first error of a batch, 0 for none."""

    def __init__(self, server: Running, database: str = "master", **login: Any) -> None:
        self.connection = server.connect(database=database, **login)

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        with self.connection.cursor() as cursor:
            cursor.execute(text)
            found = list(cursor.fetchall()) if cursor.description else []
            while cursor.nextset():
                if cursor.description:
                    found = list(cursor.fetchall())
            return found

    def error(self, text: str) -> int:
        try:
            self.rows(text)
        except pytds.Error as error:
            messages = getattr(error, "messages", None) or [error]
            return int(getattr(messages[0], "number", 0) or getattr(error, "number", -1))
        return 0

    def ended(self) -> bool:
        """Whether the server has closed the session."""
        try:
            self.rows("SELECT 1")
        except (pytds.Error, OSError):
            return True
        return False


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with running(tmp_path_factory.mktemp("states") / "store") as found:
        Client(found).rows("CREATE DATABASE d")
        Client(found).rows("CREATE TABLE d.dbo.t (a int)")
        yield found


@pytest.fixture
def sa(server: Running) -> Client:
    client = Client(server)
    client.rows("ALTER DATABASE d SET ONLINE, MULTI_USER, READ_WRITE WITH ROLLBACK IMMEDIATE")
    return client


def until(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_read_only(server: Running, sa: Client) -> None:
    user = Client(server, "d")
    assert sa.error("ALTER DATABASE d SET READ_ONLY WITH NO_WAIT") in (5070, 5069)
    assert not user.ended()
    sa.rows("ALTER DATABASE d SET READ_ONLY WITH ROLLBACK IMMEDIATE")
    assert user.ended()
    assert sa.error("INSERT d.dbo.t VALUES (1)") == 3906
    assert sa.rows("SELECT is_read_only FROM sys.databases WHERE name = 'd'") == [(True,)]
    assert sa.error("SELECT * FROM d.dbo.t") == 0
    sa.rows("ALTER DATABASE d SET READ_WRITE")
    assert sa.error("INSERT d.dbo.t VALUES (1)") == 0


def test_waiting_for_the_others(server: Running, sa: Client) -> None:
    user, waiter = Client(server, "d"), Client(server)
    waiting = threading.Thread(target=lambda: waiter.rows("ALTER DATABASE d SET OFFLINE"))
    waiting.start()
    # Nobody gets in any more, and who is in goes on.
    until(lambda: sa.error("USE d; USE master") == 952)
    assert user.error("SELECT * FROM t") == 0
    user.connection.close()
    waiting.join(LIMIT)
    assert not waiting.is_alive()
    assert sa.error("USE d") == 942
    assert sa.error("SELECT * FROM d.dbo.t") == 942
    assert sa.rows("SELECT state_desc FROM sys.databases WHERE name = 'd'") == [("OFFLINE",)]


def test_a_session_takes_its_own_database_offline(server: Running, sa: Client) -> None:
    sa.rows("USE d")
    sa.rows("ALTER DATABASE CURRENT SET OFFLINE")
    assert sa.rows("SELECT DB_NAME()") == [("master",)]


def test_lock_timeout(server: Running, sa: Client) -> None:
    user = Client(server, "d")
    assert sa.error("SET LOCK_TIMEOUT 50; ALTER DATABASE d SET SINGLE_USER") in (5061, 5069)
    assert not user.ended()
    assert sa.rows("SELECT user_access_desc FROM sys.databases WHERE name = 'd'") == [("MULTI_USER",)]


def test_restricted_user(server: Running, sa: Client) -> None:
    sa.rows("CREATE LOGIN plain WITH PASSWORD = 'Plain-pass-1'")
    sa.rows("CREATE LOGIN keeper WITH PASSWORD = 'Keep-pass-1'")
    sa.rows("USE d; CREATE USER plain; CREATE USER keeper; ALTER ROLE db_owner ADD MEMBER keeper; USE master")
    plain = Client(server, user="plain", password="Plain-pass-1")
    owner = Client(server, "d", user="keeper", password="Keep-pass-1")
    assert plain.error("USE d") == 0
    sa.rows("ALTER DATABASE d SET RESTRICTED_USER WITH ROLLBACK IMMEDIATE")
    assert plain.ended()
    assert not owner.ended()
    assert Client(server, user="plain", password="Plain-pass-1").error("USE d") == 923
    assert Client(server, user="keeper", password="Keep-pass-1").error("USE d") == 0


def test_restore_wants_the_database_for_itself(server: Running, sa: Client) -> None:
    user = Client(server, "d")
    sa.rows("BACKUP DATABASE d TO DISK = 'd.bak' WITH INIT")
    restore = "RESTORE DATABASE d FROM DISK = 'd.bak' WITH REPLACE"
    assert sa.error(restore) in (3101, 3013)
    assert not user.ended()
    alone = "ALTER DATABASE d SET SINGLE_USER WITH ROLLBACK IMMEDIATE"
    sa.rows(f"{alone}; {restore}; ALTER DATABASE d SET MULTI_USER")
    assert user.ended()
    assert Client(server, "d").error("SELECT * FROM t") == 0
