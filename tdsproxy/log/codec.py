"""Transactions as bytes, for the archive and for the log sets of a backup.

A *block* is self-contained: a directory (who, when, which pages) and the images of the pages, apart, so that
the directory can be read without the images.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tdsproxy.log.records import Transaction

BLOCK_BYTES = 1 << 20


def encode_blocks(transactions: Iterable[Transaction], block_bytes: int = BLOCK_BYTES) -> Iterator[bytes]:
    """The transactions as a stream of blocks, each of about ``block_bytes`` (before any compression).

    A transaction that is longer is spread over several blocks.
    """
    raise NotImplementedError


def decode_blocks(blocks: Iterable[bytes]) -> Iterator[Transaction]:
    """The transactions of blocks given in the order in which they were made.

    Raises ArchiveDamaged when a block is malformed. A transaction whose last block is missing raises it, too.
    """
    raise NotImplementedError
