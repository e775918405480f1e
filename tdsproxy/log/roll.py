"""Rolling a file forward through the log: whole page images, the last one of each page wins."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.log.records import Transaction


@dataclass(frozen=True, slots=True)
class StopAt:
    """Where to stop; exactly one of ``time_ns``, ``lsn`` and ``mark`` is given.

    * ``time_ns`` (STOPAT): the last transaction committed at or before it is the last applied.
    * ``lsn`` (STOPATMARK = 'lsn:n'): the transaction that holds this LSN is the last applied; with ``before``
      (STOPBEFOREMARK) it isn't any more.
    * ``mark`` (STOPATMARK, STOPBEFOREMARK): the same for the first transaction of that name (compared without
      case) that was committed at or after ``after_ns``.
    """

    time_ns: int | None = None
    lsn: int | None = None
    mark: str | None = None
    before: bool = False
    after_ns: int | None = None


@dataclass(frozen=True, slots=True)
class RollResult:
    """What was applied. ``last_lsn`` is the end (exclusive) of the last transaction applied, or None.

    ``reached``: the stop lies within the log that was read (a later transaction, the LSN or the mark was
    seen). The caller may know that the log is complete up to a later time and then treat a STOPAT as reached
    although no transaction lies behind it. Without a stop ``reached`` is true.
    """

    last_lsn: int | None
    last_committed_ns: int | None
    reached: bool
    transactions: int
    pages_written: int


def apply(
    image: Path,
    transactions: Iterable[Transaction],
    stop: StopAt | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> RollResult:
    """Write the transactions, in order and up to the stop, into ``image``, which nobody has open, and sync it.

    Nothing is read beyond the transaction at which the stop is known to be reached. Raises what reading the
    transactions raises (the image is then useless), LogError when page sizes differ, InterruptedError when
    ``cancelled``, OSError.
    """
    raise NotImplementedError
