"""Which bytes take the short way between the legs, and what becomes of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from tdsproxy.proxy.frames import MessageCounter
from tdsproxy.proxy.splice import Splice
from tdsproxy.tds.headers import build_batch
from tdsproxy.tds.packets import ATTENTION, PacketType, packetize

ANSWER = packetize(PacketType.TABULAR_RESULT, b"x" * 1000, 512)
PLAIN = packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096)


class Channel:
    peer = "192.0.2.7"

    def __init__(self, *, clear: bool = True) -> None:
        self.clear = clear
        self.sent: list[bytes] = []
        self.full = False
        self.held = False
        self.aborted = False
        self.on_data: Callable[[bytes], bool] | None = None
        self.on_room: Callable[[], None] | None = None

    def divert(
        self, on_data: Callable[[bytes], bool] | None, on_room: Callable[[], None] | None = None
    ) -> bool:
        if not self.clear:
            return False
        self.on_data, self.on_room = on_data, on_room
        return True

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def hold(self) -> None:
        self.held = True

    def release(self) -> None:
        self.held = False

    def abort(self) -> None:
        self.aborted = True

    def arrive(self, data: bytes) -> bool:
        assert self.on_data is not None
        return self.on_data(data)


class Leg:
    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.counter = MessageCounter()


class Joined:
    def __init__(self, *, handles: bool = False) -> None:
        self.client, self.upstream = Channel(), Channel()
        self.ended = 0
        self.splice = Splice(
            cast(Any, self.client), cast(Any, Leg(self.upstream)), lambda: handles, self._ended
        )
        self.splice.join()

    def _ended(self) -> None:
        self.ended += 1


def test_a_request_and_its_answer_pass_as_they_come() -> None:
    joined = Joined()
    assert joined.client.arrive(PLAIN)
    assert joined.upstream.sent == [PLAIN]
    assert joined.splice.busy
    assert joined.upstream.arrive(ANSWER[:700])
    assert joined.splice.busy
    assert joined.ended == 0
    assert joined.upstream.arrive(ANSWER[700:])
    assert joined.client.sent == [ANSWER[:700], ANSWER[700:]]
    assert not joined.splice.busy
    assert joined.ended == 1
    assert joined.client.arrive(PLAIN)


@pytest.mark.parametrize(
    "data",
    [
        packetize(PacketType.SQL_BATCH, build_batch("backup database x to disk = 'a'"), 4096),
        packetize(PacketType.RPC, build_batch("RESTORE HEADERONLY FROM DISK = 'a'"), 4096),
        packetize(PacketType.SQL_BATCH, build_batch("SELECT 1"), 4096, status_first=8),
        packetize(PacketType.SQL_BATCH, build_batch("x" * 1000), 512),
        packetize(PacketType.LOGIN7, b"x", 4096),
        PLAIN[:-1],
        PLAIN + PLAIN,
        PLAIN[:5],
        ATTENTION,
    ],
    ids=["backup", "rpc", "reset", "long", "login", "piece", "two", "header", "idle attention"],
)
def test_what_needs_a_look_goes_the_long_way(data: bytes) -> None:
    joined = Joined()
    assert not joined.client.arrive(data)
    assert joined.upstream.sent == []
    assert not joined.splice.busy


def test_rpcs_go_the_long_way_while_statements_are_prepared_here() -> None:
    data = packetize(PacketType.RPC, b"\0" * 40, 4096)
    assert Joined().client.arrive(data)
    assert not Joined(handles=True).client.arrive(data)


def test_an_attention_is_passed_on_and_its_acknowledgement_awaited() -> None:
    joined = Joined()
    joined.client.arrive(PLAIN)
    assert joined.client.arrive(ATTENTION)
    assert joined.upstream.sent == [PLAIN, ATTENTION]
    joined.upstream.arrive(ANSWER)
    assert joined.splice.busy
    joined.upstream.arrive(ANSWER)
    assert not joined.splice.busy


def test_a_second_request_is_left_to_the_task_with_what_is_due() -> None:
    joined = Joined()
    joined.client.arrive(PLAIN)
    assert not joined.client.arrive(PLAIN)
    assert joined.splice.part() == 1
    assert joined.client.on_data is None
    assert joined.upstream.on_data is None
    assert joined.splice.part() == 0


def test_a_client_that_does_not_read_holds_the_upstream() -> None:
    joined = Joined()
    joined.client.arrive(PLAIN)
    joined.client.full = True
    joined.upstream.arrive(ANSWER[:700])
    assert joined.upstream.held
    joined.client.full = False
    assert joined.client.on_room is not None
    joined.client.on_room()
    assert not joined.upstream.held
    joined.client.full = True
    joined.upstream.arrive(ANSWER[700:])
    joined.splice.part()
    assert not joined.upstream.held  # from here on the task waits for the client


def test_nonsense_from_the_upstream_ends_the_connection() -> None:
    joined = Joined()
    joined.client.arrive(PLAIN)
    assert joined.upstream.arrive(b"\x04\x01\x00\x02aaaaaaaa")
    assert joined.client.aborted
    assert joined.client.sent == []


def test_bytes_that_nobody_asked_for_wait() -> None:
    assert not Joined().upstream.arrive(ANSWER)


@pytest.mark.parametrize("clear", [(True, False), (False, True)])
def test_encrypted_legs_are_not_joined(clear: tuple[bool, bool]) -> None:
    client, upstream = Channel(clear=clear[0]), Channel(clear=clear[1])
    splice = Splice(cast(Any, client), cast(Any, Leg(upstream)), lambda: False, lambda: None)
    splice.join()
    assert client.on_data is None
