"""Whether the source of a backup is sound: what CHECKSUM checks before and while pages are read.

SQLite's pages carry no checksums, so they are looked at in two ways: SQLite's quick check finds pages that
are none, and pages that nobody has written since the last full backup WITH CHECKSUM must have the hash that
was noted then.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from tdsproxy.backup.errors import BaseMissing, OperationCancelled, SourceDamaged
from tdsproxy.backup.page_map import PageMap, load
from tdsproxy.log.records import LogError
from tdsproxy.store.integrity import Finding, damage_of


@dataclass(slots=True)
class SourceCheck:
    """``base`` are the directory and the set of the map of the last full backup, if any; ``changed`` gives
    the pages written since, once the snapshot is held (None: not known). ``tolerate`` goes on in spite of
    damage.

    ``pages`` and ``findings`` are what was found.
    """

    base: tuple[Path, UUID] | None = None
    changed: Callable[[], Iterable[int] | None] = lambda: None
    tolerate: bool = False
    pages: set[int] = field(default_factory=set)
    findings: list[Finding] = field(default_factory=list)
    _known: PageMap | None = None
    _written: frozenset[int] = frozenset()
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def damaged(self) -> bool:
        return bool(self.pages or self.findings)

    @property
    def compares(self) -> bool:
        """Whether the hashes of pages are needed."""
        return self._known is not None

    def look(self, source: Path, stop: threading.Event) -> None:
        """SQLite's quick check. Raises SourceDamaged, OperationCancelled, StoreError."""
        try:
            self.findings = damage_of(source, cancelled=stop.is_set)
        except InterruptedError as error:
            raise OperationCancelled("the backup was cancelled") from error
        self.pages.update(item.page for item in self.findings if item.page is not None)
        if self.findings and not self.tolerate:
            raise SourceDamaged(source, min(self.pages, default=1), self.findings[0].text)

    def begin(self, page_size: int) -> None:
        """The snapshot is held, and so is the log up to there. Without hashes, and when ``changed`` can't
        tell, nothing is compared. Raises OSError."""
        self._known = None
        if self.base is None:
            return
        directory, set_guid = self.base
        try:
            known = load(directory, set_guid)
        except BaseMissing:
            return
        try:
            written = self.changed()
            if written is not None and known.page_size == page_size:
                self._written = frozenset(written)
                self._known = known
        except (LogError, OSError):
            # Damage of the log must not stand in the way of the backup that makes it dispensable.
            return

    def compare(self, source: Path, first: int, hashes: bytes) -> None:
        """To be called with the hashes of each run, from any thread. Raises SourceDamaged."""
        if self._known is None:
            return
        found = [page for page in self._known.differing(first, hashes) if page not in self._written]
        if not found:
            return
        with self._lock:
            self.pages.update(found)
        if not self.tolerate:
            raise SourceDamaged(source, found[0], "it is not what was backed up, and nobody has written it")
