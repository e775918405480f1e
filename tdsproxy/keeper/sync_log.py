"""Sending the segments of the log: what was appended since, whole records only."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.sync_layout import SegmentEntry
from tdsproxy.log.segment import (
    HEADER_SIZE,
    RECORD_SIZE,
    SEAL_SIZE,
    SUFFIX,
    Kind,
    parse_record_header,
    parse_segment_header,
    seal,
)
from tdsproxy.objects.store import Bucket
from tdsproxy.store.files import fsync_directory

_MOST_PIECES: Final = 200
_PIECE_BYTES: Final = 8 << 20


@dataclass(slots=True)
class _Sent:
    """What is there of a segment: ``digest`` of its last piece shows whether the file was rewritten since.
    ``former``: an earlier session sent it."""

    generation: str
    size: int = 0
    last: tuple[int, bytes] = (0, b"")
    keys: list[str] = field(default_factory=list)
    former: bool = False


class LogSender:
    """The segments below a directory. ``key`` makes an object's key from one below the store's prefix. For
    one thread. Raises OSError, ObjectError."""

    def __init__(self, root: Path, bucket: Bucket, key: Callable[[str], str], epoch: int = 0) -> None:
        self._root = root
        self._bucket = bucket
        self._key = key
        self._epoch = epoch
        self._sent: dict[str, _Sent] = {}
        self._obsolete: list[str] = []
        # Segments that were given up here, and in how many looks they were missing.
        self._missing: dict[str, int] = {}

    def adopt(self, name: str, entry: SegmentEntry, keys: list[str]) -> None:
        """A segment of the manifest that was there, in these objects. It is sent anew, under other keys; what
        was given up here stays there as long as it is needed, as if this session had sent it."""
        self._sent[name.removeprefix(f"{layout.LOG}/")] = _Sent(
            entry.generation, entry.size, keys=keys, former=True
        )

    def send(self, *, may_forget: bool = True) -> bool:
        """Whether there was anything new, or something is gone. What was given up here goes there only if it
        ``may_forget``: while log backups are on their way it is still the only copy."""
        found = {path.relative_to(self._root).as_posix(): path for path in self._root.rglob(f"*{SUFFIX}")}
        changed = False
        gone = [name for name in self._sent if name not in found]
        # A log backup may have been written since the media were looked at, so not at the first look.
        self._missing = {name: self._missing.get(name, 0) + 1 for name in gone}
        for name in gone:
            if may_forget and self._missing[name] > 1:
                self._obsolete += self._sent.pop(name).keys
                changed = True
        newest = {path.parent: max(p.name for p in path.parent.glob(f"*{SUFFIX}")) for path in found.values()}
        for name, path in sorted(found.items()):
            try:
                changed |= self._segment(name, path, done=path.name != newest[path.parent])
            except FileNotFoundError:  # given up meanwhile
                continue
        return changed

    def entries(self) -> dict[str, SegmentEntry]:
        """For the manifest."""
        return {
            f"{layout.LOG}/{name}": SegmentEntry(sent.generation, sent.size)
            for name, sent in self._sent.items()
            if sent.size
        }

    def take_obsolete(self) -> list[str]:
        """Keys of objects that the manifest written last does not need."""
        found, self._obsolete = self._obsolete, []
        return found

    def _segment(self, name: str, path: Path, *, done: bool) -> bool:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            size = os.fstat(descriptor).st_size
            sent = self._sent.get(name)
            if sent is None or sent.former or not _goes_on(descriptor, size, sent):
                if sent is not None:
                    self._obsolete += sent.keys
                sent = self._sent[name] = self._anew()
            end = _whole_end(descriptor, sent.size, size)
            if end > sent.size:
                # Captured meanwhile: what a power cut takes away here must not have gone on elsewhere.
                os.fdatasync(descriptor)
                if not sent.size:
                    fsync_directory(path.parent)
                self._pieces(descriptor, name, sent, sent.size, end)
                return True
            if len(sent.keys) > (-(-sent.size // _PIECE_BYTES) if done else _MOST_PIECES):
                self._merge(descriptor, name, sent)
                return True
            return False
        finally:
            os.close(descriptor)

    def _anew(self) -> _Sent:
        return _Sent(f"{self._epoch:06d}-{secrets.token_hex(4)}")

    def _pieces(self, descriptor: int, name: str, sent: _Sent, first: int, end: int) -> None:
        while first < end:
            data = _read(descriptor, first, min(_PIECE_BYTES, end - first))
            self._put(name, sent, first, data)
            first += len(data)

    def _merge(self, descriptor: int, name: str, sent: _Sent) -> None:
        """Fewer objects of the same bytes."""
        old = sent.keys
        merged = self._anew()
        self._pieces(descriptor, name, merged, 0, sent.size)
        self._sent[name] = merged
        self._obsolete += old

    def _put(self, name: str, sent: _Sent, first: int, data: bytes) -> None:
        end = first + len(data)
        key = self._key(layout.piece_key(f"{layout.LOG}/{name}", sent.generation, first, end))
        self._bucket.write(key, data)
        sent.keys.append(key)
        sent.size = end
        sent.last = (first, hashlib.sha256(data).digest())


def _goes_on(descriptor: int, size: int, sent: _Sent) -> bool:
    first, digest = sent.last
    if size < sent.size:
        return False
    return not digest or hashlib.sha256(_read(descriptor, first, sent.size - first)).digest() == digest


def _whole_end(descriptor: int, at: int, size: int) -> int:
    """The end of the last whole record that does not begin a transaction that goes on."""
    begin = parse_segment_header(_read(descriptor, 0, HEADER_SIZE))
    whole = at
    at = at or HEADER_SIZE
    while begin is not None and at + RECORD_SIZE <= size:
        head = parse_record_header(_read(descriptor, at, RECORD_SIZE))
        if head is None or at + head.size > size:
            break
        data = _read(descriptor, at, head.size)
        if seal(begin.salt, data[:-SEAL_SIZE]) != data[-SEAL_SIZE:]:
            break
        at += head.size
        if head.kind is not Kind.PART:
            whole = at
    return whole


def _read(descriptor: int, offset: int, length: int) -> bytes:
    data = os.pread(descriptor, length, offset)
    while len(data) < length:
        more = os.pread(descriptor, length - len(data), offset + len(data))
        if not more:
            break
        data += more
    return data
