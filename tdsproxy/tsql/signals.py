"""How control leaves a statement inside the interpreter; none of these reaches its caller but Cancelled."""

from __future__ import annotations

from tdsproxy.tsql.replies import Message
from tdsproxy.tsql.state import Frame


class Signal(Exception):
    """Not an error: control goes elsewhere."""


class BreakLoop(Signal):
    pass


class ContinueLoop(Signal):
    pass


class Jump(Signal):
    """GOTO."""

    def __init__(self, label: str) -> None:
        super().__init__(label)
        self.label = label.lower()


class Returned(Signal):
    """RETURN: the frame ends."""


class ScopeEnded(Signal):
    """An error ended the frame, not its caller (an unresolved name, a string that does not parse); its
    messages are sent."""


class BatchEnded(Signal):
    """An error ended the batch with all its frames; its messages are sent."""


class Caught(Signal):
    """An error on its way to a CATCH block. ``own_frame_too`` is False for errors of compilation, which the
    frame they arise in cannot catch."""

    def __init__(
        self, messages: tuple[Message, ...], frame: Frame, *, own_frame_too: bool, dooms: bool
    ) -> None:
        super().__init__(messages[0].text if messages else "")
        self.messages = messages
        self.frame = frame
        self.own_frame_too = own_frame_too
        self.dooms = dooms

    @property
    def last(self) -> Message:
        """The error that ERROR_NUMBER() shows: the last one that is more than information."""
        return next((m for m in reversed(self.messages) if m.is_error), self.messages[-1])


class Cancelled(Exception):
    """The client asked to stop (attention) or has gone."""
