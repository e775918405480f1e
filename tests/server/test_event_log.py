"""What statements put into the event log: RAISERROR WITH LOG, severe errors, messages that are marked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.server.support import PASSWORD, Client, World, errors, infos


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("events"))
    made.login().run(
        f"CREATE LOGIN clerk WITH PASSWORD = '{PASSWORD}';"
        " EXEC sp_addmessage 50001, 14, 'marked %s', @with_log = 'true';"
        " EXEC sp_addmessage 50002, 14, 'plain'; EXEC sp_altermessage 2812, 'WITH_LOG', 'true'"
    )
    yield made
    made.close()


def logged(world: World, client: Client, text: str) -> list[tuple[object, ...]]:
    """Number, severity, state, text and session of what the keeper was told to log."""
    before = len(world.keeper.requests)
    client.replies(text)
    found = [request for request in world.keeper.requests[before:] if "tds_log_event" in request.text]
    return [tuple(request.variables.values()) for request in found]


def test_raiserror_with_log(sa: Client, world: World) -> None:
    spid = sa.session.spid
    assert logged(world, sa, "RAISERROR ('no', 16, 1)") == []
    assert logged(world, sa, "RAISERROR ('a %d', 16, 3, 7) WITH LOG") == [(50000, 16, 3, "a 7", spid)]
    assert logged(world, sa, "RAISERROR ('said', 10, 1) WITH LOG, NOWAIT") == [(50000, 10, 1, "said", spid)]
    assert [m.severity for m in infos(sa.replies("RAISERROR ('said', 10, 1) WITH LOG"))] == [0]


def test_what_is_caught_is_logged_and_thrown_again_is_not(sa: Client, world: World) -> None:
    text = "BEGIN TRY RAISERROR ('x', 16, 1) WITH LOG END TRY BEGIN CATCH THROW END CATCH"
    assert len(logged(world, sa, text)) == 1
    assert logged(world, sa, "THROW 50001, 'x', 1") == []


def test_messages_that_are_marked(sa: Client, world: World) -> None:
    clerk = world.login("clerk")
    assert [row[:4] for row in logged(world, clerk, "RAISERROR (50001, 14, 1, 'x')")] == [
        (50001, 14, 1, "marked x")
    ]
    assert logged(world, clerk, "RAISERROR (50002, 14, 1)") == []
    assert [row[0] for row in logged(world, clerk, "EXEC nothing")] == [2812]
    caught = "BEGIN TRY EXEC nothing END TRY BEGIN CATCH END CATCH"
    assert [row[0] for row in logged(world, clerk, caught)] == [2812]
    marked = "SELECT message_id FROM sys.messages WHERE is_event_logged = 1 AND message_id IN (2812, 50001)"
    assert sa.rows(marked) == [(2812,), (50001,)]
    assert sa.value("SELECT COUNT(*) FROM sys.messages WHERE message_id = 2812") == 1
    sa.run("EXEC sp_altermessage 2812, 'WITH_LOG', 'false'")
    assert logged(world, clerk, "EXEC nothing") == []
    assert sa.error("EXEC sp_altermessage 49999, 'WITH_LOG', 'true'") == 15179


def test_xp_logevent_says_nothing_to_the_client(sa: Client, world: World) -> None:
    text = "EXEC xp_logevent 60000, N'by hand', {}; EXEC master.dbo.xp_logevent 60001, 'said'"
    spid = sa.session.spid
    assert logged(world, sa, text.format("error")) == [
        (60000, 16, 1, "by hand", spid),
        (60001, 10, 1, "said", spid),
    ]
    assert infos(sa.replies(text.format("warning"))) == []
    assert errors(world.login("clerk").replies(text.format("warning")))[0].number == 229


def test_only_administrators_may_demand_it(world: World) -> None:
    clerk = world.login("clerk")
    for text, number in (("16", 2778), ("10", 2778), ("19", 2754)):
        asked = f"RAISERROR ('x', {text}, 1) WITH LOG"
        assert logged(world, clerk, asked) == []
        assert [error.number for error in errors(clerk.replies(asked))] == [number]
