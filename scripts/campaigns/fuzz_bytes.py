"""Damaging bytes."""

from __future__ import annotations

import random

_EDGES = (0, 1, 0x7F, 0x80, 0xFE, 0xFF)
_WIDE_EDGES = (0, 1, 2, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)


def mutate(rng: random.Random, data: bytes, others: list[bytes] | None = None) -> bytes:
    """``data`` with one to four damages; ``others`` are where foreign pieces come from."""
    damaged = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        _damage(rng, damaged, others or [data])
    return bytes(damaged)


def _damage(rng: random.Random, data: bytearray, others: list[bytes]) -> None:
    at = rng.randrange(len(data) + 1)
    kind = rng.randrange(10)
    if kind == 0:
        del data[at:]
    elif kind == 1:
        del data[at : at + rng.choice((1, 2, 4, 16))]
    elif kind == 2:
        data[at:at] = rng.randbytes(rng.choice((1, 2, 8, 100)))
    elif kind == 3:
        piece = rng.choice(others)
        start = rng.randrange(len(piece) + 1)
        data[at:at] = piece[start : start + rng.choice((2, 8, 64))]
    elif kind == 4:
        end = at + rng.choice((2, 8, 64))
        data[at:at] = data[at:end] * rng.choice((1, 2, 20))
    elif at < len(data):
        if kind == 5:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 6:
            data[at] = rng.choice(_EDGES)
        elif kind == 7:
            data[at : at + 2] = rng.choice(_WIDE_EDGES).to_bytes(2, rng.choice(("little", "big")))
        elif kind == 8:
            data[at : at + 4] = rng.choice((0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)).to_bytes(
                4, "little"
            )
        else:
            data[at] = (data[at] + rng.choice((-1, 1))) & 0xFF


def garbage(rng: random.Random) -> bytes:
    """Bytes of no meaning, often with a packet's header in front."""
    body = rng.randbytes(rng.choice((0, 1, 7, 8, 9, 100, 5000)))
    if rng.random() < 0.7:
        size = rng.choice((len(body) + 8, 0, 7, 8, 0xFFFF, rng.randrange(0x10000)))
        kind, status = rng.choice((1, 3, 4, 6, 7, 14, 16, 17, 18, rng.randrange(256))), rng.randrange(256)
        body = bytes((kind, status)) + size.to_bytes(2, "big") + bytes(4) + body
    return body
