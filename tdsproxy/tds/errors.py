"""What can go wrong on the wire, by whose fault."""

from __future__ import annotations


class TdsError(Exception):
    """Any fault of this room."""


class ProtocolError(TdsError):
    """The peer sent bytes that TDS does not allow. The connection has lost its place: close it."""


class Truncated(ProtocolError):
    """The bytes end inside a field. ``needed`` is how many bytes are missing at least, so that a reader
    of a stream knows when another try can succeed."""

    def __init__(self, needed: int = 1) -> None:
        super().__init__("the data ends inside a field")
        self.needed = needed


class TooLarge(ProtocolError):
    """A message, a value or a list is longer than the bound set for it."""


class UnsupportedType(ProtocolError):
    """A TYPE_INFO names a data type unknown here, so nothing behind it can be located."""


class EncodeError(TdsError, ValueError):
    """A value or a field has no form in the type it is to be sent as. A fault of the caller, not the peer."""
