"""Whose backups a database is restored from, when others of its family have their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tdsproxy.commands.context import Context
from tdsproxy.commands.operands import Operands
from tdsproxy.commands.request import NativeRequest
from tdsproxy.commands.trial_restores import trial_restore
from tests.commands.support import ADMIN, Workshop, messages, numbers, table

_COPY = (
    "RESTORE DATABASE b FROM DISK = 'a1.bak' WITH MOVE 'a' TO '/var/opt/mssql/data/b.mdf',"
    " MOVE 'a_log' TO '/var/opt/mssql/data/b_log.ldf'"
)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    made = Workshop(tmp_path, logged=True)
    made.catalog.operations.make()
    yield made
    made.close()


def run(shop: Workshop, *texts: str) -> None:
    for text in texts:
        assert not [item.text for item in messages(shop.run(text)) if item.severity > 10], text


def plan(shop: Workshop, name: str) -> list[str]:
    """The steps to the newest state; of media the names of the files."""
    rows = table(shop.run("EXEC sp_restore_plan @a1", variables={"@a1": name}))
    columns = [list(row.values()) for row in rows]
    return [str(row[0]) if row[1] is None else Path(str(row[1])).name for row in columns]


def bases(shop: Workshop, name: str) -> set[str]:
    rows = table(shop.run("EXEC sp_restore_ranges @a1", variables={"@a1": name}))
    return {Path(str(list(row.values())[2])).name for row in rows}


@pytest.mark.parametrize("model", ["SIMPLE", "FULL"])
def test_a_copy_under_another_name_has_its_own_history(shop: Workshop, model: str) -> None:
    run(
        shop,
        "CREATE DATABASE a",
        f"ALTER DATABASE a SET RECOVERY {model}",
        "BACKUP DATABASE a TO DISK = 'a1.bak'",
        _COPY,
        "BACKUP DATABASE b TO DISK = 'b1.bak'",
    )
    logged = ["captured log"] if model == "FULL" else []
    assert plan(shop, "a") == ["a1.bak", *logged]
    assert plan(shop, "b") == ["b1.bak", *logged]
    assert bases(shop, "a") == {"a1.bak"}
    assert bases(shop, "b") == {"b1.bak"}
    for name in ("a", "b"):
        context = Context(shop.env, NativeRequest("EXEC x", ADMIN), Operands({}), 0)
        assert [row[2] for row in trial_restore(context, [name], [])] == ["1"]
    run(shop, "DROP DATABASE a", "DROP DATABASE b")
    assert plan(shop, "a") == ["a1.bak"]
    assert plan(shop, "b") == ["b1.bak"]


def test_a_renamed_database_and_one_made_anew_keep_their_backups(shop: Workshop) -> None:
    run(shop, "CREATE DATABASE a", "ALTER DATABASE a SET RECOVERY SIMPLE")
    run(shop, "BACKUP DATABASE a TO DISK = 'a1.bak'", "ALTER DATABASE a MODIFY NAME = c")
    assert plan(shop, "c") == ["a1.bak"]
    run(shop, "DROP DATABASE c", "RESTORE DATABASE a FROM DISK = 'a1.bak'")
    assert plan(shop, "a") == ["a1.bak"]
    run(shop, "BACKUP DATABASE a TO DISK = 'a2.bak'")
    assert plan(shop, "a") == ["a2.bak"]


def test_without_a_log_a_differential_on_an_older_full_set_is_the_newest_state(shop: Workshop) -> None:
    run(
        shop,
        "CREATE DATABASE a",
        "ALTER DATABASE a SET RECOVERY SIMPLE",
        "BACKUP DATABASE a TO DISK = 'a1.bak'",
        "BACKUP DATABASE a TO DISK = 'a2.bak'",
        "RESTORE DATABASE a FROM DISK = 'a1.bak' WITH REPLACE",
        "BACKUP DATABASE a TO DISK = 'a3.bak' WITH DIFFERENTIAL",
    )
    assert plan(shop, "a") == ["a1.bak", "a3.bak"]
    run(shop, _COPY)
    assert plan(shop, "b") == ["a1.bak"]


def test_a_copy_without_backups_of_its_own_has_no_others(shop: Workshop) -> None:
    run(
        shop,
        "CREATE DATABASE a",
        "ALTER DATABASE a SET RECOVERY FULL",
        "BACKUP DATABASE a TO DISK = 'a1.bak'",
        _COPY,
        "BACKUP DATABASE a TO DISK = 'a2.bak'",
    )
    assert plan(shop, "b") == []
    replies = shop.run("EXEC sp_restore_plan @a1", variables={"@a1": "nobody"})
    assert numbers(replies)[:1] == [911]
