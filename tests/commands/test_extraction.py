"""Any database, backed up in any way, comes out of the media as it was, as a file and as a script."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import apsw
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tdsproxy.commands.extraction import extract
from tdsproxy.commands.key_sources import store_keys
from tdsproxy.store.dump import dump_file
from tests.commands.support import Workshop, numbers

_NUMBERS = itertools.count()


@dataclass(frozen=True)
class Kind:
    """What database, and how it is backed up."""

    seed: int = 1
    page_size: int = 4096
    auto_vacuum: int = 0
    wal: bool = True
    encoding: str = "UTF-8"
    rows: int = 40
    devices: int = 1
    options: str = ""


kinds = st.builds(
    Kind,
    seed=st.integers(0, 1000),
    page_size=st.sampled_from([512, 1024, 4096, 65536]),
    auto_vacuum=st.integers(0, 2),
    wal=st.booleans(),
    encoding=st.sampled_from(["UTF-8", "UTF-16le", "UTF-16be"]),
    rows=st.sampled_from([0, 3, 40]),
    devices=st.integers(1, 4),
    options=st.sampled_from(
        [
            "",
            "COMPRESSION",
            "COMPRESSION (ALGORITHM = XZ)",
            "CHECKSUM",
            "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = c)",
            "COMPRESSION, ENCRYPTION (ALGORITHM = AES_128, SERVER CERTIFICATE = c)",
        ]
    ),
)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    workshop = Workshop(tmp_path_factory.mktemp("extraction"))
    workshop.run("CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'")
    workshop.run("CREATE CERTIFICATE c WITH SUBJECT = 's'")
    yield workshop
    workshop.close()


def make(path: Path, kind: Kind) -> None:
    chance = random.Random(kind.seed)

    def text() -> str:
        return "".join(chance.choice("aé\0ß'\"中\n😀 ") for _ in range(chance.randrange(30)))

    def value() -> object:
        return chance.choice(
            [
                None,
                chance.randrange(-(2**63), 2**63),
                chance.uniform(-1e300, 1e300),
                float("inf"),
                text(),
                chance.randbytes(chance.randrange(6000)),
            ]
        )

    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA encoding = '{kind.encoding}'; PRAGMA page_size = {kind.page_size};")
    connection.execute(f"PRAGMA auto_vacuum = {kind.auto_vacuum}; PRAGMA user_version = {kind.seed};")
    if kind.wal:
        connection.execute("PRAGMA journal_mode = WAL").fetchall()
    if kind.rows:
        connection.execute(
            """
            CREATE TABLE plain (a, "b c", twice AS (length(a) * 2));
            CREATE TABLE keyed (id INTEGER PRIMARY KEY AUTOINCREMENT, v);
            CREATE TABLE worded (k TEXT PRIMARY KEY, v) WITHOUT ROWID;
            CREATE TABLE "it's" (rowid TEXT, oid TEXT DEFAULT 'x''y');
            CREATE INDEX ix ON plain (a DESC) WHERE a IS NOT NULL;
            CREATE VIEW seen AS SELECT * FROM keyed;
            CREATE TRIGGER noted AFTER UPDATE ON keyed BEGIN INSERT INTO "it's" VALUES ('t', 'u'); END;
            CREATE VIRTUAL TABLE words USING fts5 (body);
            """
        )
    with connection:
        for number in range(kind.rows):
            connection.execute("INSERT INTO plain VALUES (?, ?)", (value(), value()))
            connection.execute("INSERT INTO keyed (v) VALUES (?)", (value(),))
            connection.execute("INSERT INTO worded VALUES (?, ?)", (f"{number}{text()}", value()))
            connection.execute("INSERT INTO words VALUES (?)", (text(),))
            connection.execute('INSERT INTO "it\'s" VALUES (?, ?)', (value(), value()))
    if kind.rows:
        connection.execute(
            "DELETE FROM plain WHERE rowid % 3 = 0; DELETE FROM keyed WHERE id % 4 = 1; ANALYZE"
        )
    connection.close()


def content(path: Path) -> list[object]:
    """Schema, rows with their rowids, storage classes."""
    connection = apsw.Connection(str(path))
    try:
        assert next(connection.execute("PRAGMA integrity_check")) == ("ok",)
        found: list[object] = list(
            connection.execute(
                "SELECT type, name, sql FROM sqlite_schema WHERE name <> 'sqlite_stat4' ORDER BY type, name"
            )
        )
        found += connection.execute("PRAGMA user_version").fetchall()
        tables = connection.execute("SELECT name, wr FROM pragma_table_list WHERE schema = 'main'").fetchall()
        for name, without_rowid in sorted(tables):
            if name in ("sqlite_stat4", "sqlite_schema"):
                continue
            quoted = name.replace('"', '""')
            rowid = "" if without_rowid or name == "seen" else "_rowid_, "
            order = "1" if rowid else "2"
            query = f'SELECT {rowid}* FROM "{quoted}" ORDER BY {order}'
            found.append((name, [tuple(map(repr, row)) for row in connection.execute(query)]))
        return found
    finally:
        connection.close()


@given(kind=kinds)
@example(kind=Kind(rows=0, wal=False))
@example(kind=Kind(devices=3, options="ENCRYPTION (ALGORITHM = AES_192, SERVER CERTIFICATE = c)"))
@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_was_backed_up_comes_out(shop: Workshop, kind: Kind) -> None:
    name = f"random{next(_NUMBERS)}"
    source = shop.store / f"{name}.db"
    make(source, kind)
    expected = content(source)
    media = [shop.media / f"{name}-{number}.bak" for number in range(kind.devices)]
    devices = ", ".join(f"DISK = '/tmp/{path.name}'" for path in media)
    options = f" WITH {kind.options}" if kind.options else ""
    assert numbers(shop.run(f"BACKUP DATABASE {name} TO {devices}{options}"))[-1] == 3014
    with store_keys(shop.store) as keys:
        made = extract(media[::-1], shop.media / f"{name}.db", keys=keys)
    assert (made.database, len(made.sets)) == (name, 1)
    assert content(shop.media / f"{name}.db") == expected
    loaded = shop.media / f"{name}-loaded.db"
    connection = apsw.Connection(str(loaded))
    connection.execute("\n".join(dump_file(source)))
    connection.close()
    assert content(loaded) == expected
