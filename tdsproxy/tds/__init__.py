"""The TDS wire protocol without I/O, in both roles: bytes in, records out, and back.

Nothing here opens a socket, knows SQL, or imports another room. Fault of the peer's bytes is always a
``ProtocolError``; a value that has no wire form is an ``EncodeError``.
"""
