"""``chain.json``: what is remembered of a database's log beside its archives.

An object with ``fork`` (a GUID), ``log_start`` (an LSN in decimal digits, or null) and ``checksum`` (SHA-256,
in hexadecimal, of the database's GUID and the other two). Notes of earlier versions have no checksum.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from tdsproxy.log.records import ArchiveDamaged
from tdsproxy.store.files import replace_durably

_FIELDS = frozenset({"fork", "log_start"})


@dataclass(frozen=True, slots=True)
class Chain:
    """The current fork, and where the next log backup begins."""

    fork: uuid.UUID
    log_start: int | None = None


def _checksum(guid: uuid.UUID, fork: str, start: str | None) -> str:
    return hashlib.sha256(f"{guid} {fork} {start}".encode()).hexdigest()


def read_chain(path: Path, guid: uuid.UUID) -> Chain | None:
    """The note of database ``guid``; None when there is none. Raises ArchiveDamaged, OSError."""
    try:
        raw = json.loads(path.read_bytes())
        fork, start = raw["fork"], raw["log_start"]
        # Exact names: a changed one must not make a note look like one that never had a checksum.
        if raw.keys() != _FIELDS and raw.keys() != _FIELDS | {"checksum"}:
            raise ValueError("it has other fields than it should")
        if "checksum" in raw and raw["checksum"] != _checksum(guid, fork, start):
            raise ValueError("its checksum is wrong")
        return Chain(uuid.UUID(fork), int(start) if start is not None else None)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ArchiveDamaged(f"{path} is damaged: {error}") from error


def write_chain(path: Path, guid: uuid.UUID, chain: Chain) -> None:
    """Durable when it returns. Raises OSError."""
    fork = str(chain.fork).upper()
    start = str(chain.log_start) if chain.log_start is not None else None
    note = {"fork": fork, "log_start": start, "checksum": _checksum(guid, fork, start)}
    replace_durably(path, json.dumps(note).encode())
