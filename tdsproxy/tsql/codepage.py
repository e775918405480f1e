"""The code page of varchar (1252) and the UTF-16 lengths of nvarchar."""

from __future__ import annotations

from typing import Final

_UNDEFINED: Final = {0x81, 0x8D, 0x8F, 0x90, 0x9D}
_DECODED: Final = "".join(
    chr(byte) if byte in _UNDEFINED else bytes((byte,)).decode("cp1252") for byte in range(256)
)
_ENCODED: Final = {char: byte for byte, char in enumerate(_DECODED)}


def encode(text: str) -> bytes:
    """Bytes of a varchar; ``?`` for what the code page lacks."""
    if text.isascii():
        return text.encode("ascii")
    return bytes(_ENCODED.get(char, 0x3F) for char in text)


def decode(raw: bytes) -> str:
    """The text of a varchar's bytes."""
    return "".join(_DECODED[byte] for byte in raw)


def narrow(text: str) -> str:
    """What is left of ``text`` in a varchar."""
    if text.isascii():
        return text
    return "".join(char if char in _ENCODED else "?" * units(char) for char in text)


def units(text: str) -> int:
    """The UTF-16 units of ``text``: nvarchar's length."""
    if text.isascii():
        return len(text)
    return len(text) + sum(char > "\uffff" for char in text)


def cut(text: str, length: int) -> str:
    """At most ``length`` UTF-16 units; half of a pair is dropped."""
    if len(text) <= length and units(text) <= length:
        return text
    if text.isascii():
        return text[:length]
    return text.encode("utf-16-le", "surrogatepass")[: 2 * length].decode("utf-16-le", "ignore")
