"""Disks that say of a sync that it is done and have kept nothing: which syncs, and what a power cut leaves.

Beside the disk that keeps its word are others, each a copy that parted from it at one sync: from there on,
for some syncs, what it was told to keep is not durable. Afterwards it is sound again. What it lied about may
come with the file's next sync, as from a cache that was not flushed, or never, as after an error of writing
that was told to nobody: pages that nobody writes again stay what they were.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from scripts.campaigns.power_disk import PAGE, Disk, Entries

LENGTHS: Final = (1, 1, 2, 5, 1_000)
"""For how many syncs of what it lies about a disk lies."""
LATER: Final = (0, 0, 1, 3, 10, 40)
"""How many syncs after its first lie the power is cut."""
USUAL: Final = 40
"""So many lies of a kind, or nearly, before most of its syncs are passed over."""


def room_of(root: Path, path: Path) -> str:
    """What kind of thing is synced."""
    if path.is_dir():
        return "directories"
    part = path.relative_to(root).parts
    if part[0] in ("log", "backup"):
        return {"log": "archive of the log", "backup": "media"}[part[0]]
    if len(part) > 1:
        return "other files"
    name = part[0]
    if name.startswith(("master.", "msdb.")):
        return name.partition(".")[0]
    if name.endswith("-wal"):
        return "WAL"
    return "databases" if name.endswith(".db") else "other files"


@dataclass
class Liar(Disk):
    """One such disk. ``is_about`` says of what it lies; after the sync ``cut_at`` the power is cut."""

    name: str = ""
    is_about: Callable[[Path], bool] = lambda path: True
    left: int = 1
    cut_at: int = 0
    forever: bool = False
    _lost: dict[int, dict[int, tuple[bytes, bytes]]] = field(default_factory=dict)
    """By inode and offset: the page as it stayed, and as it was to be."""

    def take(self, path: Path, inode: int, now: bytes | Entries) -> None:
        """A sync: believed, or lied about."""
        if self.left > 0 and self.is_about(path):
            self.left -= 1
            if self.forever and isinstance(now, bytes):
                self._lose(inode, now)
            return
        if isinstance(now, bytes):
            now = self._without_lost(inode, now)
        self._keep(path, inode, now)

    def _lose(self, inode: int, now: bytes) -> None:
        before = self._content.get(inode, b"")
        lost = self._lost.setdefault(inode, {})
        for at in range(0, len(now), PAGE):
            was, wanted = before[at : at + PAGE], now[at : at + PAGE]
            if was != wanted:
                lost[at] = (was.ljust(len(wanted), b"\0")[: len(wanted)], wanted)

    def _without_lost(self, inode: int, now: bytes) -> bytes:
        lost = self._lost.get(inode)
        if not lost:
            return now
        kept = bytearray(now)
        for at, (was, wanted) in list(lost.items()):
            if now[at : at + len(wanted)] == wanted:
                kept[at : at + len(wanted)] = was
            else:
                # Written again.
                del lost[at]
        return bytes(kept)


@dataclass
class Liars(Disk):
    """The disk that keeps its word, and those that part from it. ``on_cut`` is called with each of them when
    its power is cut, while the process that made the sync waits; about ``share`` of all there might be are
    made."""

    on_cut: Callable[[Liar], None] = lambda liar: None
    rng: random.Random = field(default_factory=random.Random)
    share: float = 1.0
    lies: Counter[str] = field(default_factory=Counter)
    _seen: Counter[str] = field(default_factory=Counter)
    _liars: list[Liar] = field(default_factory=list)

    def _keep(self, path: Path, inode: int, now: bytes | Entries) -> None:
        number = self.syncs + 1
        liar = self._parting(path, number)
        super()._keep(path, inode, now)
        if liar is not None:
            self._liars.append(liar)
        for one in self._liars:
            one.take(path, inode, now)
        for one in [one for one in self._liars if one.cut_at <= number]:
            self._liars.remove(one)
            self.on_cut(one)

    def _parting(self, path: Path, number: int) -> Liar | None:
        room = room_of(self.root, path)
        usual = USUAL / (USUAL + self._seen[room])
        self._seen[room] += 1
        # All is drawn always, so that a part of the campaign has the cases of the whole.
        chosen, taken = self.rng.random() < usual, self.rng.random() < self.share
        about = self.rng.choice(("this", "room", "room", "all"))
        left, later = self.rng.choice(LENGTHS), self.rng.choice(LATER)
        forever = self.rng.random() < 0.5
        if not (chosen and taken):
            return None
        self.lies[room] += 1
        covers: dict[str, Callable[[Path], bool]] = {
            "this": lambda other: other == path,
            "room": lambda other: room_of(self.root, other) == room,
            "all": lambda other: True,
        }
        told = {"this": path.name, "room": room, "all": "everything"}[about]
        return Liar(
            self.root,
            _content=dict(self._content),
            _entries=dict(self._entries),
            name=f"sync {number} of {path.relative_to(self.root)} ({room}), {left} of {told},"
            f" {'forever' if forever else 'for now'}, cut {later} later",
            is_about=covers[about],
            left=left,
            cut_at=number + later,
            forever=forever,
        )

    def cut_all(self) -> None:
        """The day is over: the power of those that are left is cut, too."""
        for one in self._liars:
            self.on_cut(one)
        self._liars.clear()
