"""One writer of an object at a time."""

from __future__ import annotations

import threading

from tdsproxy.media.object_device import ObjectLocks


def test_writers_of_one_object_wait_for_each_other_and_can_give_up() -> None:
    locks = ObjectLocks()
    asked = threading.Event()
    order: list[str] = []

    def second() -> None:
        with locks.hold("x", lambda: asked.set() or False) as held:  # type: ignore[func-returns-value]
            assert held
            order.append("second")

    with locks.hold("x", lambda: False) as held:
        assert held
        with locks.hold("x", lambda: True) as again:
            assert not again
        with locks.hold("y", lambda: False) as other:
            assert other
        waiting = threading.Thread(target=second)
        waiting.start()
        assert asked.wait(60)
        order.append("first")
    waiting.join(60)
    assert order == ["first", "second"]
    with locks.hold("x", lambda: False) as held:
        assert held
