"""ALTER DATABASE ... SET: who is waited for, ended or refused, and what changes."""

from __future__ import annotations

import threading
import time

import pytest

from tdsproxy.catalog.databases import Database, DatabaseState, RecoveryModel, UserAccess
from tdsproxy.tsql.database_options import set_options, shown_columns
from tdsproxy.tsql.replies import Done
from tests.commands.support import Workshop, messages, numbers


@pytest.fixture
def d(shop: Workshop) -> Workshop:
    assert shop.run("CREATE DATABASE [d]") == [Done(203)]
    return shop


def find(shop: Workshop) -> Database:
    found = shop.catalog.databases.find("d")
    assert found is not None
    return found


def alter(shop: Workshop, words: str, **changes: object) -> list[int]:
    return numbers(shop.run(f"ALTER DATABASE d SET {words}", **changes))


def test_others_are_refused_or_ended(d: Workshop) -> None:
    for words in (
        "SINGLE_USER",
        "OFFLINE",
        "READ_ONLY",
        "READ_COMMITTED_SNAPSHOT ON",
        "EMERGENCY",
        "NEW_BROKER",
    ):
        d.sessions.databases[70] = "d"
        assert alter(d, f"{words} WITH NO_WAIT") == [5070, 5069]
        assert d.sessions.ended == []
        assert alter(d, f"{words} WITH ROLLBACK AFTER 0 SECONDS") == [5060, 5060]
        assert d.sessions.ended == [70]
        d.sessions.ended.clear()
        assert alter(d, "ONLINE, MULTI_USER, READ_WRITE, READ_COMMITTED_SNAPSHOT OFF") == []


def test_what_needs_nobody_to_go(d: Workshop) -> None:
    d.sessions.databases[70] = "d"
    for words in ("MULTI_USER", "RECOVERY FULL", "AUTO_CLOSE ON", "READ_WRITE", "ONLINE"):
        assert alter(d, f"{words} WITH NO_WAIT") == []
        assert alter(d, f"{words} WITH ROLLBACK IMMEDIATE") == []
    assert d.sessions.ended == []


def test_a_session_whose_statement_works_on_the_database_is_ended_too(d: Workshop) -> None:
    d.sessions.databases[70] = "master"
    with d.env.running.note(70, "BACKUP DATABASE", "D"):
        assert alter(d, "OFFLINE WITH NO_WAIT") == [5070, 5069]
        d.sessions.on_end = lambda spid: d.env.running.all()[0].__setattr__("database", "other")
        assert alter(d, "OFFLINE WITH ROLLBACK IMMEDIATE") == [5060, 5060]
    assert d.sessions.ended == [70]


def test_waiting_ends_with_the_lock_timeout(d: Workshop) -> None:
    d.sessions.databases[70] = "d"
    assert alter(d, "READ_ONLY", lock_timeout_ms=0) == [5061, 5069]
    assert not find(d).read_only


def test_waiting_ends_when_the_others_go(d: Workshop) -> None:
    d.sessions.databases[70] = "d"
    waiting = threading.Thread(target=lambda: alter(d, "OFFLINE"))
    waiting.start()
    try:
        deadline = time.monotonic() + 60
        while not d.catalog.databases.in_transition(find(d).id):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert find(d).state is DatabaseState.ONLINE
    finally:
        d.sessions.databases.clear()
        waiting.join(60)
    assert not waiting.is_alive()
    assert find(d).state is DatabaseState.OFFLINE
    assert not d.catalog.databases.in_transition(find(d).id)
    assert d.sessions.released == ["d"]


def test_the_seat(d: Workshop) -> None:
    assert alter(d, "SINGLE_USER") == []
    assert (find(d).user_access, find(d).holder) == (UserAccess.SINGLE_USER, 51)
    assert alter(d, "MULTI_USER", spid=60) == [5064, 5069]
    assert alter(d, "SINGLE_USER WITH ROLLBACK IMMEDIATE", spid=60) == [5064, 5069]
    d.catalog.databases.release_seat(51)
    d.sessions.databases[70] = "d"
    assert alter(d, "MULTI_USER WITH NO_WAIT", spid=60) == [5064, 5069]
    assert alter(d, "MULTI_USER", spid=70) == []
    assert find(d).user_access is UserAccess.MULTI_USER


def test_restricted_user_ends_those_who_may_not_stay(d: Workshop) -> None:
    d.catalog.logins.create("sa", "-")
    d.catalog.logins.create("joe", "-")
    d.catalog.logins.create("ann", "-", roles=frozenset({"dbcreator"}))
    d.sessions.databases |= {70: "d", 71: "d", 72: "d"}
    d.sessions.logins |= {71: "joe", 72: "ann"}
    assert alter(d, "RESTRICTED_USER") == []
    assert d.sessions.ended == []
    assert alter(d, "RESTRICTED_USER WITH ROLLBACK IMMEDIATE") == [5060, 5060]
    assert d.sessions.ended == [71]


def test_under_read_committed_snapshot_a_task_is_ended(d: Workshop) -> None:
    assert alter(d, "READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE") == []
    assert alter(d, "READ_COMMITTED_SNAPSHOT ON WITH ROLLBACK IMMEDIATE") == []
    assert alter(d, "SINGLE_USER WITH ROLLBACK IMMEDIATE") == [5060, 5060]
    assert alter(d, "READ_COMMITTED_SNAPSHOT OFF WITH ROLLBACK IMMEDIATE") == [5060, 5060]
    assert alter(d, "SINGLE_USER WITH ROLLBACK IMMEDIATE") == []


REFUSED = {
    "SINGLE_USER, RESTRICTED_USER": [5066, 5069],
    "SINGLE_USER, MULTI_USER": [5062, 5069],
    "ONLINE, OFFLINE": [5062, 5069],
    "READ_ONLY, READ_WRITE": [5062, 5069],
    "NEW_BROKER, ENABLE_BROKER": [5062, 5069],
    "COMPATIBILITY_LEVEL = 155": [15048, 5069],
    "NOTHING ON": [102],
    "RECOVERY SOMEHOW": [102],
    "AUTO_CLOSE PERHAPS": [102],
}


def test_refused_options(d: Workshop) -> None:
    before = find(d)
    assert {words: alter(d, words) for words in REFUSED} == REFUSED
    assert find(d) == before


def test_states_refuse_options(d: Workshop) -> None:
    databases, id_ = d.catalog.databases, find(d).id
    assert alter(d, "READ_ONLY") == []
    assert alter(d, "RECOVERY SIMPLE") == [5004, 5069]
    assert alter(d, "READ_WRITE, RECOVERY SIMPLE") == []
    assert alter(d, "OFFLINE") == []
    assert alter(d, "AUTO_CLOSE ON") == [5078, 5069]
    assert alter(d, "ONLINE") == []
    databases.update(id_, state=DatabaseState.RESTORING)
    for words in ("ONLINE", "MULTI_USER", "RECOVERY FULL"):
        assert alter(d, words) == [5052, 5069]
    databases.update(id_, state=DatabaseState.ONLINE, standby="undo")
    assert alter(d, "READ_WRITE") == [5063, 5069]


def test_emergency_is_for_administrators(d: Workshop) -> None:
    assert alter(d, "EMERGENCY", login="sa", server_roles=frozenset()) == [5011, 5069]
    assert alter(d, "EMERGENCY") == []
    assert find(d).state is DatabaseState.EMERGENCY
    assert numbers(d.run("BACKUP DATABASE d TO DISK = 'd.bak'")) == [3033, 3013]
    assert alter(d, "ONLINE") == []


def test_every_option_is_accepted_and_shown(d: Workshop) -> None:
    """Each option of the table with each of its values."""
    free = [o for o in set_options().values() if o.values is None or o.in_system not in (5,)]
    free = [o for o in free if o.name != "ENCRYPTION"]  # which needs a key
    shown = 0
    for option in free:
        for value in option.values or ("",):
            if option.values is None:
                value = {"COMPATIBILITY_LEVEL": "= 150", "TARGET_RECOVERY_TIME": "= 2 MINUTES"}.get(
                    option.name, "= 1"
                )
            found = d.run(f"ALTER DATABASE d SET {option.name} {value}")
            assert messages(found) == [], option.name
            shown += bool(shown_columns(find(d).options))
    assert shown > 0
    assert find(d).recovery_model is RecoveryModel.SIMPLE
    assert find(d).compatibility == 150
    columns = shown_columns(find(d).options)
    assert columns["target_recovery_time_in_seconds"] == 120
    assert (columns["page_verify_option"], columns["page_verify_option_desc"]) == (0, "NONE")
    assert (columns["delayed_durability"], columns["delayed_durability_desc"]) == (2, "FORCED")
    assert columns["is_auto_close_on"] == 0


def test_a_log_backup_of_a_database_that_is_read_only_warns(logged: Workshop) -> None:
    assert numbers(logged.run("CREATE DATABASE d")) == []
    logged.fill("d", "CREATE TABLE t (x)")
    assert 3014 in numbers(logged.run("BACKUP DATABASE d TO DISK = 'd.bak'"))
    assert alter(logged, "READ_ONLY") == []
    found = numbers(logged.run("BACKUP LOG d TO DISK = 'd.trn'"))
    assert (found[0], found[-1]) == (4217, 3014)
    assert 3014 in numbers(logged.run("BACKUP DATABASE d TO DISK = 'd.bak'"))
