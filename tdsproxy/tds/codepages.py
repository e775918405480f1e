"""Which characters a collation's bytes mean: the code page of varchar, char and text.

Sources: the LCID and sort id of a COLLATION (MS-TDS 2.2.5.1.2) and the documented lists of Windows
collations and SQL collations.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_UTF8_FLAG: Final = 1 << 26
_LCID_MASK: Final = 0xFFFFF
_DEFAULT: Final = "cp1252"

# Sort ids of SQL collations, as (first, last, code page).
_SORT_IDS: Final = (
    (30, 35, "cp437"),
    (40, 49, "cp850"),
    (50, 54, "cp1252"),
    (55, 61, "cp850"),
    (71, 75, "cp1252"),
    (80, 98, "cp1250"),
    (104, 108, "cp1251"),
    (112, 124, "cp1253"),
    (128, 130, "cp1254"),
    (136, 138, "cp1255"),
    (144, 146, "cp1256"),
    (152, 160, "cp1257"),
    (183, 186, "cp1252"),
    (192, 193, "cp932"),
    (194, 195, "cp949"),
    (196, 197, "cp950"),
    (198, 199, "cp936"),
    (200, 200, "cp932"),
    (201, 201, "cp949"),
    (202, 202, "cp950"),
    (203, 203, "cp936"),
    (204, 206, "cp874"),
    (210, 217, "cp1252"),
)

# Primary languages (the low ten bits of an LCID) whose code page is not 1252.
_LANGUAGES: Final = {
    **dict.fromkeys((0x05, 0x0E, 0x15, 0x18, 0x1B, 0x1C, 0x24), "cp1250"),
    **dict.fromkeys((0x02, 0x19, 0x22, 0x23, 0x2F, 0x3F, 0x44, 0x6D, 0x85), "cp1251"),
    0x08: "cp1253",
    **dict.fromkeys((0x1F, 0x2C, 0x43), "cp1254"),
    0x0D: "cp1255",
    **dict.fromkeys((0x01, 0x20, 0x29, 0x80, 0x8C), "cp1256"),
    **dict.fromkeys((0x25, 0x26, 0x27), "cp1257"),
    0x2A: "cp1258",
    0x1E: "cp874",
    0x11: "cp932",
    0x12: "cp949",
}
_LCIDS: Final = {
    0x041A: "cp1250",  # Croatian, Serbian and Bosnian share a primary language
    0x081A: "cp1250",
    0x141A: "cp1250",
    0x0C1A: "cp1251",
    0x1C1A: "cp1251",
    0x201A: "cp1251",
    0x082C: "cp1251",
    0x0843: "cp1251",
    0x0804: "cp936",
    0x1004: "cp936",
    0x0404: "cp950",
    0x0C04: "cp950",
    0x1404: "cp950",
}


@lru_cache(maxsize=256)
def codepage(collation: bytes) -> str:
    """The Python codec of a collation's five bytes; cp1252 for none and for the unknown."""
    if len(collation) != 5:
        return _DEFAULT
    word = int.from_bytes(collation[:4], "little")
    if word & _UTF8_FLAG:
        return "utf-8"
    sort_id = collation[4]
    if sort_id:
        return next((page for first, last, page in _SORT_IDS if first <= sort_id <= last), _DEFAULT)
    lcid = word & _LCID_MASK
    return _LCIDS.get(lcid & 0xFFFF) or _LANGUAGES.get(lcid & 0x3FF, _DEFAULT)


def _cp1252_table() -> str:
    # Windows gives the five bytes without a character the C1 control of the same number.
    return "".join(bytes((byte,)).decode("cp1252", "ignore") or chr(byte) for byte in range(256))


_CP1252: Final = _cp1252_table()
_CP1252_MAP: Final = codecs.charmap_build(_CP1252)


def _units(text: str) -> str:
    """The text with a character beyond the BMP as two: T-SQL replaces each UTF-16 unit by a '?'."""
    return "".join("??" if character > "\uffff" else character for character in text)


def _encode_cp1252(text: str) -> bytes:
    try:
        return codecs.charmap_encode(text, "strict", _CP1252_MAP)[0]
    except UnicodeEncodeError:
        return codecs.charmap_encode(_units(text), "replace", _CP1252_MAP)[0]


def _decode_cp1252(data: bytes) -> str:
    return codecs.charmap_decode(data, "strict", _CP1252)[0]


@lru_cache(maxsize=256)
def encoder(collation: bytes) -> Callable[[str], bytes]:
    """Text to the collation's bytes; what the code page lacks becomes '?'."""
    page = codepage(collation)
    if page == _DEFAULT:
        return _encode_cp1252

    def encode(text: str) -> bytes:
        try:
            return text.encode(page)
        except UnicodeEncodeError:
            return (text if page == "utf-8" else _units(text)).encode(page, "replace")

    return encode


@lru_cache(maxsize=256)
def decoder(collation: bytes) -> Callable[[bytes], str]:
    """The collation's bytes to text; bytes without a character become U+FFFD."""
    page = codepage(collation)
    if page == _DEFAULT:
        return _decode_cp1252
    return lambda data: data.decode(page, "replace")
