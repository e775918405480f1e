"""Who may log in, with which words it is refused, and what a login may do."""

from __future__ import annotations

import pytest

from tdsproxy.server.passwords import hash_password, verify_password
from tdsproxy.tsql.errors import SqlError
from tests.server.support import PASSWORD, Client, World, errors


def refusal(world: World, **login: str) -> list[tuple[int, int, int, str]]:
    with pytest.raises(SqlError) as caught:
        world.login(**login)
    return [(m.number, m.severity, m.state, m.text) for m in caught.value.messages]


def test_a_hash_verifies_its_password_and_no_other() -> None:
    stored = hash_password("Überraschung-1")
    assert verify_password("Überraschung-1", stored)
    assert not verify_password("überraschung-1", stored)
    assert stored != hash_password("Überraschung-1")
    assert "berraschung" not in stored


def test_half_a_character_in_a_password_is_a_wrong_password(world: World) -> None:
    half = "Pass\udbc3word"
    assert verify_password(half, hash_password(half))
    assert not verify_password("Pass\udbc4word", hash_password(half))
    assert [m[0] for m in refusal(world, user="sa", password=half)] == [18456]


@pytest.mark.parametrize(
    "fields",
    [{"user": "s\udbc3a"}, {"database": "d\udbc3b"}, {"application": "a\udbc3"}, {"host": "h\udc00"}],
)
def test_half_a_character_anywhere_in_a_login_is_a_login_or_a_refusal(
    world: World, fields: dict[str, str]
) -> None:
    login = {"user": "sa", "password": PASSWORD, **fields}
    if "user" in fields:
        assert [m[0] for m in refusal(world, **login)] == [18456]
    elif "database" in fields:
        assert [m[0] for m in refusal(world, **login)] == [4060, 18456]
    else:
        client = world.login(**login)
        client.run("SELECT APP_NAME(), HOST_NAME(); EXEC sp_who2")
        assert errors(client.replies("SELECT APP_NAME(), HOST_NAME(); EXEC sp_who2")) == []


@pytest.mark.parametrize("stored", ["", "scrypt$x$8$AA==$AA==", "scrypt$16$8$!$", "md5$1$2$3$4"])
def test_a_hash_of_another_form_verifies_nothing(stored: str) -> None:
    assert not verify_password("", stored)


def test_unknown_login_and_wrong_password_get_the_same_words(world: World) -> None:
    wrong = refusal(world, user="sa", password="nonsense")
    unknown = refusal(world, user="nobody", password=PASSWORD)
    assert wrong == [(18456, 14, 1, "Login failed for user 'sa'.")]
    assert unknown == [(18456, 14, 1, "Login failed for user 'nobody'.")]


def test_integrated_security_is_refused(world: World) -> None:
    assert refusal(world, user="", password=None)[0][0] == 18452  # type: ignore[arg-type]


def test_login_names_and_databases_are_found_without_case(world: World) -> None:
    client = world.login("SA", database="MSDB")
    assert client.session.database == "msdb"


def test_a_database_that_is_not_there_fails_the_login(world: World) -> None:
    assert refusal(world, user="sa", password=PASSWORD, database='fo"o]') == [
        (4060, 11, 1, 'Cannot open database "fo"o]" requested by the login. The login failed.'),
        (18456, 14, 1, "Login failed for user 'sa'."),
    ]
    assert world.engine.sessions() == []


def test_the_password_is_checked_before_the_database(world: World) -> None:
    assert [m[0] for m in refusal(world, user="sa", password="x", database="nowhere")] == [18456]


def test_a_dropped_default_database_leads_to_master(sa: Client, world: World) -> None:
    sa.run("CREATE DATABASE shop")
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1', DEFAULT_DATABASE = shop")
    sa.run("DROP DATABASE shop")
    assert world.login("ann", "Secret-1").session.database == "master"


def test_logins_come_change_and_go(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1'")
    assert sa.error("CREATE LOGIN Ann WITH PASSWORD = 'Secret-1'") == 15025
    ann = world.login("ann", "Secret-1")
    assert ann.value("SELECT SUSER_SNAME()") == "ann"
    assert sa.error("DROP LOGIN ann") == 15434
    ann.session.close()
    sa.run("ALTER LOGIN ann WITH PASSWORD = 'Other-2'")
    assert refusal(world, user="ann", password="Secret-1")[0][0] == 18456
    sa.run("ALTER LOGIN ann DISABLE")
    assert refusal(world, user="ann", password="Other-2")[0][0] == 18470
    assert refusal(world, user="ann", password="wrong")[0][0] == 18456
    sa.run("DROP LOGIN ann")
    assert sa.error("DROP LOGIN ann") == 15151


def test_a_login_changes_its_own_password_only_with_the_old_one(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1'")
    ann = world.login("ann", "Secret-1")
    assert ann.error("ALTER LOGIN ann WITH PASSWORD = 'New-3'") == 15247
    ann.run("ALTER LOGIN ann WITH PASSWORD = 'New-3' OLD_PASSWORD = 'Secret-1'")
    assert world.login("ann", "New-3")
    assert ann.error("ALTER LOGIN sa WITH PASSWORD = 'Mine-1'") == 15247


def test_a_plain_login_may_neither_make_logins_nor_roles_nor_databases(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1'")
    ann = world.login("ann", "Secret-1")
    assert ann.error("CREATE LOGIN bob WITH PASSWORD = 'Secret-1'") == 15247
    assert ann.error("ALTER SERVER ROLE sysadmin ADD MEMBER ann") == 15247
    assert ann.error("CREATE DATABASE mine") == 262
    sa.run("ALTER SERVER ROLE dbcreator ADD MEMBER ann")
    ann.run("CREATE DATABASE mine")
    ann.run("USE mine; CREATE TABLE t(a int); INSERT t VALUES (1)")


def test_securityadmin_cannot_reach_for_more(sa: Client, world: World) -> None:
    sa.run("CREATE LOGIN ann WITH PASSWORD = 'Secret-1'; ALTER SERVER ROLE securityadmin ADD MEMBER ann")
    ann = world.login("ann", "Secret-1")
    ann.run("CREATE LOGIN bob WITH PASSWORD = 'Secret-1'")
    assert ann.error("ALTER SERVER ROLE sysadmin ADD MEMBER bob") == 15151
    assert ann.error("ALTER LOGIN sa WITH PASSWORD = 'Mine-1'") == 15151


def shop_with_ann(sa: Client) -> None:
    sa.run("CREATE DATABASE shop; CREATE LOGIN ann WITH PASSWORD = 'Secret-1'")
    sa.run("USE shop; CREATE TABLE t(a int); INSERT t VALUES (1)")


def test_a_login_without_a_user_stays_out_of_a_database(sa: Client, world: World) -> None:
    shop_with_ann(sa)
    ann = world.login("ann", "Secret-1")
    refused = errors(ann.replies("USE shop"))
    assert [(m.number, m.severity) for m in refused] == [(916, 14)]
    assert 'The server principal "ann"' in refused[0].text
    assert ann.error("SELECT * FROM shop.dbo.t") == 916
    assert ann.rows("SELECT HAS_DBACCESS('shop'), HAS_DBACCESS('master')") == [(0, 1)]
    assert refusal(world, user="ann", password="Secret-1", database="shop")[0][0] == 4060


def test_database_roles_give_rights_one_by_one(sa: Client, world: World) -> None:
    shop_with_ann(sa)
    sa.run("USE shop; CREATE USER ann FOR LOGIN ann")
    ann = world.login("ann", "Secret-1", database="shop")
    assert ann.value("SELECT USER_NAME()") == "ann"
    refused = errors(ann.replies("SELECT * FROM t"))
    assert [m.number for m in refused] == [229]
    assert refused[0].text == (
        "The SELECT permission was denied on the object 't', database 'shop', schema 'dbo'."
    )
    sa.run("USE shop; ALTER ROLE db_datareader ADD MEMBER ann")
    assert ann.rows("SELECT a FROM t") == [(1,)]
    assert ann.rows("SELECT IS_MEMBER('db_datareader'), IS_MEMBER('db_owner')") == [(1, 0)]
    assert ann.error("INSERT t VALUES (2)") == 229
    assert ann.error("UPDATE x SET a = 5 FROM t x") == 229
    assert ann.error("IF EXISTS (SELECT 1 FROM msdb.dbo.backupset) PRINT 1") == 229
    sa.run("ALTER ROLE db_datawriter ADD MEMBER ann")
    ann.run("INSERT t VALUES (2); DELETE t WHERE a = 2")
    assert ann.error("CREATE TABLE u(a int)") == 262
    ann.run("CREATE TABLE #u(a int); INSERT #u SELECT a FROM t; SELECT * FROM #u; DROP TABLE #u")
    sa.run("ALTER ROLE db_datareader DROP MEMBER ann")
    assert ann.error("SELECT * FROM t") == 229


def test_backup_needs_the_role(sa: Client, world: World) -> None:
    shop_with_ann(sa)
    sa.run("USE shop; CREATE USER ann; USE master")
    ann = world.login("ann", "Secret-1", database="shop")
    assert ann.error("BACKUP DATABASE shop TO DISK = 'a.bak'") == 262
    sa.run("USE shop; ALTER ROLE db_backupoperator ADD MEMBER ann; USE master")
    ann.run("BACKUP DATABASE shop TO DISK = 'a.bak'")


def test_users_travel_with_the_database(sa: Client) -> None:
    shop_with_ann(sa)
    sa.run("USE shop; CREATE USER ann; ALTER ROLE db_owner ADD MEMBER ann; USE master")
    sa.run("BACKUP DATABASE shop TO DISK = 'a.bak'")
    sa.run(
        "RESTORE DATABASE copy FROM DISK = 'a.bak' WITH MOVE 'shop' TO 'c.mdf', MOVE 'shop_log' TO 'c.ldf'"
    )
    assert sa.rows(
        "USE copy; SELECT m.name, r.name FROM sys.database_role_members x"
        " JOIN sys.database_principals m ON m.principal_id = x.member_principal_id"
        " JOIN sys.database_principals r ON r.principal_id = x.role_principal_id WHERE m.name = 'ann'"
    ) == [("ann", "db_owner")]


def test_users_refuse_what_does_not_fit(sa: Client) -> None:
    shop_with_ann(sa)
    assert sa.error("CREATE USER x FOR LOGIN nobody") == 15007
    sa.run("CREATE USER ann")
    assert sa.error("CREATE USER ann") == 15023
    assert sa.error("CREATE USER other FOR LOGIN ann") == 15063
    assert sa.error("ALTER ROLE nothing ADD MEMBER ann") == 15151
    sa.run("DROP USER ann; DROP USER IF EXISTS ann")
    assert sa.error("DROP USER ann") == 15151
