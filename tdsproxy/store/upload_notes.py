"""``STORE/.uploads``: a note for each upload that is under way."""

from __future__ import annotations

import json
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Final

from tdsproxy.store.files import replace_durably

DIRECTORY: Final = ".uploads"


class UploadNote:
    """Where an upload goes, and by which credential; there from ``begin`` to ``end``."""

    def __init__(self, store: Path, url: str, credential: str | None, region: str | None) -> None:
        self._path = store / DIRECTORY / f"{secrets.token_hex(8)}.json"
        self._content = {"url": url, "credential": credential, "region": region}

    def begin(self) -> None:
        """Raises OSError."""
        self._path.parent.mkdir(mode=0o700, exist_ok=True)
        replace_durably(self._path, json.dumps(self._content).encode())

    def end(self) -> None:
        """Nothing is under way any more."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


def notes(store: Path) -> list[Path]:
    """Of all uploads that are under way, or were when somebody was killed."""
    return sorted((store / DIRECTORY).glob("*.json"))
