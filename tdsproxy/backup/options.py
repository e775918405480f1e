"""How a backup is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tdsproxy.backup.media_info import MediaInfo
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import DEFAULT_COMPRESSION, Compression
from tdsproxy.media.sealing import SetSealing


def _no_check(device: str, info: MediaInfo | None) -> None:
    del device, info


@dataclass(frozen=True, slots=True)
class BackupOptions:
    """How media are written.

    ``init`` drops the sets that are there and keeps the media header; ``format`` starts a new media set.
    Without either, the set is appended. ``compression`` None means: as the medium's other sets, none on a
    new medium; ``codec`` is what is used where there is compression. ``check`` is called once the media are
    locked, for each with its device's name and what is on it (None for a new one, or one that will be
    formatted): it raises whatever forbids the backup (expiry, media name ...). ``sealing`` encrypts the set;
    only new media take it. Runs of pages and blocks of log have up to ``run_bytes`` bytes, and
    at most ``buffers`` of them, but four, are in memory at once; None: as many as keep the processors busy.
    """

    init: bool = False
    format: bool = False
    compression: bool | None = None
    codec: Compression = DEFAULT_COMPRESSION
    media_name: str | None = None
    media_description: str | None = None
    block_size: int = layout.ALIGNMENT
    check: Callable[[str, MediaInfo | None], None] = _no_check
    sealing: SetSealing | None = None
    run_bytes: int = layout.RUN_BYTES
    buffers: int | None = None
