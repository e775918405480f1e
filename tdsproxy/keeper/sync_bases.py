"""From which full backups a database can be restored to the present, with what a store sends. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from uuid import UUID

from tdsproxy.catalog.history import KnownSet
from tdsproxy.catalog.recovery import LogChain


def starts(
    sets: Iterable[KnownSet], chain: LogChain, fork: UUID, is_sent: Callable[[KnownSet], bool]
) -> frozenset[UUID]:
    """The full sets that lead to where the next log backup begins, through sets that are sent. ``sets`` are
    those of the database's family, ``fork`` the recovery fork that it is on; the log from there on is its
    archive's, and unbroken."""
    if chain.log_backup_lsn is None:
        return frozenset()
    sent = [item for item in sets if is_sent(item)]
    # From ``needed`` on there is all of the log. What lies on a fork that the database left (up to where)
    # behind that point is not of its history.
    needed = chain.log_backup_lsn
    left: dict[UUID, int | None] = {fork: None}
    if chain.fork_point_lsn is not None and chain.first_fork is not None:
        left[chain.first_fork] = chain.fork_point_lsn
    for log in sorted(
        (item for item in sent if item.type == "L"), key=lambda item: item.last_lsn, reverse=True
    ):
        if log.fork in left and log.first_lsn < needed <= log.last_lsn:
            needed = log.first_lsn
            if log.fork_point is not None:
                left[log.first_fork] = log.fork_point

    def leads(item: KnownSet) -> bool:
        if item.fork not in left or item.last_lsn < needed:
            return False
        until = left[item.fork]
        return until is None or item.last_lsn <= until

    fulls = {item.set_guid: item for item in sent if item.type == "D"}
    found = {guid for guid, item in fulls.items() if leads(item)}
    found |= {item.base_guid for item in sent if item.type == "I" and item.base_guid in fulls and leads(item)}
    return frozenset(guid for guid in found if guid is not None)
