from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.proxy.frames import MessageCounter
from tdsproxy.tds.errors import ProtocolError
from tdsproxy.tds.packets import packetize

MESSAGES = st.lists(
    st.binary(max_size=1500)
    | st.integers(min_value=1, max_value=12000).map(lambda n: b"\4\1\2\0" * (n // 4)),
    max_size=5,
)


@given(
    MESSAGES,
    st.lists(
        st.integers(min_value=1, max_value=700) | st.integers(min_value=2000, max_value=9000), min_size=1
    ),
)
def test_messages_are_counted_however_they_are_cut(bodies: list[bytes], cuts: list[int]) -> None:
    data = b"".join(packetize(4, body, 512) for body in bodies)
    counter = MessageCounter()
    ended = 0
    pos = 0
    index = 0
    while pos < len(data):
        step = cuts[index % len(cuts)]
        ended += counter.feed(data[pos : pos + step])
        pos += step
        index += 1
    assert ended == len(bodies)


@given(MESSAGES)
def test_nothing_is_counted_before_its_end(bodies: list[bytes]) -> None:
    data = b"".join(packetize(4, body, 512) for body in bodies)
    counter = MessageCounter()
    if bodies:
        assert counter.feed(data[:-1]) == len(bodies) - 1
        assert counter.feed(data[-1:]) == 1


def test_an_impossible_length() -> None:
    with pytest.raises(ProtocolError):
        MessageCounter().feed(b"\x04\x01\x00\x07\0\0\0\0")
