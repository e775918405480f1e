"""Users and roles that every database has can't be dropped; who is a member of a fixed role stays one."""

from __future__ import annotations

import pytest

from tests.server.scratch import shared_world, sql
from tests.server.support import Client, errors

__all__ = ["shared_world", "sql"]


@pytest.mark.parametrize(
    ("statement", "number", "text"),
    [
        ("DROP ROLE db_owner", 15150, "Cannot drop the role 'db_owner'."),
        ("DROP ROLE DB_DATAREADER", 15150, "Cannot drop the role 'DB_DATAREADER'."),
        ("DROP USER dbo", 15150, "Cannot drop the user 'dbo'."),
        ("DROP USER IF EXISTS sys", 15150, "Cannot drop the user 'sys'."),
        (
            "ALTER ROLE db_owner ADD MEMBER nobody",
            15151,
            "Cannot add the principal 'nobody', because it does not exist or you do not have permission.",
        ),
        (
            "ALTER ROLE db_owner DROP MEMBER nobody",
            15151,
            "Cannot drop the principal 'nobody', because it does not exist or you do not have permission.",
        ),
    ],
)
def test_refused(sql: Client, statement: str, number: int, text: str) -> None:
    sql.run("CREATE USER clerk WITHOUT LOGIN; ALTER ROLE db_owner ADD MEMBER clerk")
    (failure,) = errors(sql.replies(statement))
    assert (failure.number, failure.text) == (number, text)
    assert sql.rows(
        "SELECT m.name FROM sys.database_role_members r JOIN sys.database_principals m"
        " ON m.principal_id = r.member_principal_id WHERE m.name = 'clerk'"
    ) == [("clerk",)]
