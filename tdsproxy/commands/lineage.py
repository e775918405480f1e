"""Whose history a backup set belongs to.

A restore under another name makes a second database of the same family, whose backups have nothing to say
about the first. What counts for a database are the sets of its own GUID; those of databases that are no more,
when they had its name, or when it goes on from them; and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from tdsproxy.backup.plan import ForkLine, Point, descends
from tdsproxy.catalog.databases import Database
from tdsproxy.commands.context import Context
from tdsproxy.media.documents import SetDescription


@dataclass(frozen=True, slots=True)
class Lineage:
    """Of one database, by its GUID and name. ``others`` are the GUIDs of all other databases of the store,
    ``base`` the full set that its next differential builds on."""

    guid: UUID
    family: UUID
    name: str
    others: frozenset[UUID]
    forks: Sequence[ForkLine] = ()
    base: UUID | None = None

    @classmethod
    def of(cls, context: Context, database: Database) -> Lineage:
        return cls(
            database.guid,
            database.family,
            database.name.lower(),
            others(context, database.guid),
            fork_lines(context, database.guid),
            database.chain.base_guid,
        )

    @classmethod
    def of_name(cls, context: Context, name: str) -> Lineage | None:
        """Of a database that the store does not have, by its last backup that msdb knows."""
        owner = context.env.catalog.history.owner_of(name)
        if owner is None:
            return None
        guid, family = owner
        return cls(guid, family, name.lower(), others(context, guid), fork_lines(context, guid))

    def has(self, description: SetDescription, state: Point) -> bool:
        """Whether the full set, which restores ``state``, is one from which the database can be restored."""
        if description.database_guid == self.guid:
            return True
        if description.database_guid in self.others:
            # Without a log nothing but its differentials leads on from there. With one, RESTORE .. STOPAT
            # from that set follows what the other database did, whatever the name of the target.
            return description.set_guid == self.base and description.recovery_model == "SIMPLE"
        same = description.database_name.lower() == self.name or description.set_guid == self.base
        return same or descends(self.forks, state)


def others(context: Context, guid: UUID) -> frozenset[UUID]:
    """The GUIDs of the store's databases but one."""
    return frozenset(item.guid for item in context.env.catalog.databases.all() if item.guid != guid)


def fork_lines(context: Context, guid: UUID) -> list[ForkLine]:
    """What is known of the recovery forks of a database."""
    return [
        ForkLine(fork.fork, fork.parent, fork.point_lsn, fork.start_lsn, fork.created_ns)
        for fork in context.env.catalog.databases.forks(guid)
    ]
