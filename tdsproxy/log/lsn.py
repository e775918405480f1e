"""Log sequence numbers: ``numeric(25,0)``, as SQL Server shows them.

An LSN is the number of a virtual log file, ten digits of a block (of 512 bytes) and five digits of a slot.
Of two numbers of one database the later one is larger, across restarts, restores and forks.
"""

from __future__ import annotations

BLOCK_UNIT = 10**5
FILE_UNIT = 10**15
FIRST = 39 * FILE_UNIT + 8 * BLOCK_UNIT + 1
"""The number with which the log of a new database begins."""

_SECTOR = 512
# A virtual log file of 1 GiB.
_BLOCKS_PER_FILE = 1 << 21
_SLOT = 1


def parts(lsn: int) -> tuple[int, int, int]:
    """(virtual log file, block, slot)."""
    file, rest = divmod(lsn, FILE_UNIT)
    block, slot = divmod(rest, BLOCK_UNIT)
    return file, block, slot


def compose(file: int, block: int, slot: int) -> int:
    """The LSN of its three parts."""
    return file * FILE_UNIT + block * BLOCK_UNIT + slot


def advance(lsn: int, size: int) -> int:
    """The LSN that follows a record of ``size`` bytes at ``lsn``."""
    file, rest = divmod(lsn, FILE_UNIT)
    block = rest // BLOCK_UNIT + (-(-size // _SECTOR) or 1)
    if block >= _BLOCKS_PER_FILE:
        # A record never lies in two files, so the next one begins a file, however long this one was.
        file, block = file + 1, 1
    return file * FILE_UNIT + block * BLOCK_UNIT + _SLOT


def next_file(lsn: int) -> int:
    """The first LSN of the virtual log file that follows on the one of ``lsn``."""
    return compose(lsn // FILE_UNIT + 1, 1, _SLOT)


def bytes_between(first: int, last: int) -> int:
    """About how many bytes of log lie between two numbers."""
    file, block, _ = parts(first)
    last_file, last_block, _ = parts(last)
    return ((last_file - file) * _BLOCKS_PER_FILE + last_block - block) * _SECTOR


def format_lsn(lsn: int) -> str:
    """As ``DBCC LOG``, ``fn_dblog`` and ``lsn:`` write it: ``00000027:000000ac:0001``, in hexadecimal."""
    file, block, slot = parts(lsn)
    return f"{file:08x}:{block:08x}:{slot:04x}"


def parse_lsn(text: str) -> int:
    """The LSN of either form, decimal or ``[0x]00000027:000000ac:0001``. Raises ValueError."""
    body = text.strip()
    if ":" in body:
        pieces = body.removeprefix("0x").split(":")
        if len(pieces) != 3:
            raise ValueError(f"{text!r} is not a log sequence number")
        file, block, slot = (int(piece, 16) for piece in pieces)
        if block * BLOCK_UNIT >= FILE_UNIT or slot >= BLOCK_UNIT:
            raise ValueError(f"{text!r} is not a log sequence number")
        return compose(file, block, slot)
    if not body.isdecimal():
        raise ValueError(f"{text!r} is not a log sequence number")
    return int(body)
