"""Which file a database's name means, where the configuration says so.

A file may have several names: the first is the database's, the others mean the same database.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tdsproxy.catalog import names
from tdsproxy.catalog.file import CatalogFile

_SETTING: Final = "database files"


class PlacementError(Exception):
    """A name that can't be given to a file; the text is one sentence."""


class Placement:
    """The map from names to files, in master.db, so that every process of the store has the same."""

    def __init__(self, file: CatalogFile, store: Path) -> None:
        self._file = file
        self._store = store

    def set(self, files: Iterable[tuple[str, Path]]) -> None:
        """Replaces the map. Raises PlacementError."""
        found: dict[str, tuple[str, str]] = {}
        for name, path in files:
            key = names.name_key(name)
            if not key or len(name) > names.MAX_NAME or key in names.SYSTEM_DATABASES:
                raise PlacementError(f"'{name}' can't be the name of a database in a file of its own.")
            if key in found:
                raise PlacementError(f"The database '{name}' is in two files.")
            found[key] = (name, self._written(path))
        text = json.dumps(found)
        with self._file.write():
            self._file.read("INSERT OR REPLACE INTO __tds_settings VALUES (?, ?)", (_SETTING, text))

    def _written(self, path: Path) -> str:
        """The file as the catalog writes it: one directly in the store by its name alone."""
        real = path.resolve()
        return real.name if real.parent == self._store.resolve() else str(real)

    def _map(self) -> dict[str, tuple[str, str]]:
        rows = self._file.read("SELECT value FROM __tds_settings WHERE name = ?", (_SETTING,))
        if not rows:
            return {}
        return {key: (name, file) for key, (name, file) in json.loads(str(rows[0][0])).items()}

    def files(self) -> list[tuple[str, str]]:
        """Names with their files, as the catalog writes them, in the order of the configuration."""
        return list(self._map().values())

    def file_of(self, name: str) -> str | None:
        """The file that the configuration gives a name; None when it gives none."""
        found = self._map().get(names.name_key(name))
        return None if found is None else found[1]
