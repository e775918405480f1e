"""``extract`` and ``dump``: out of the media, for the tools of others."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest
from typer.testing import CliRunner

from tdsproxy.cli.app import app
from tdsproxy.cli.errors import CommandError
from tests.commands.support import Workshop, numbers

PASSWORD = "Pass-word2"
_SQLITE3 = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1])
connection.executescript(sys.stdin.read())
for query in sys.argv[2:]:
    print(connection.execute(query).fetchall())
"""


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Encrypted sets of a database and its log, and two databases on one medium in clear."""
    shop = Workshop(tmp_path_factory.mktemp("media"), logged=True)
    for text in (
        "CREATE MASTER KEY ENCRYPTION BY PASSWORD = 'Pass-word1'",
        "CREATE CERTIFICATE c WITH SUBJECT = 'Backups'",
        "BACKUP CERTIFICATE c TO FILE = '/tmp/c.cer'"
        f" WITH PRIVATE KEY (FILE = '/tmp/c.pvk', ENCRYPTION BY PASSWORD = '{PASSWORD}')",
        "CREATE DATABASE shop",
        "CREATE DATABASE other",
        "ALTER DATABASE shop SET RECOVERY FULL",
    ):
        assert numbers(shop.run(text)) == [], text
    sealed = "ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = c)"
    shop.fill("shop", "CREATE TABLE t (id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t VALUES (1, 'one')")
    steps = (
        f"BACKUP DATABASE shop TO DISK = '/tmp/s1.bak', DISK = '/tmp/s2.bak' WITH {sealed}",
        f"BACKUP DATABASE shop TO DISK = '/tmp/d.bak' WITH DIFFERENTIAL, {sealed}",
        f"BACKUP LOG shop TO DISK = '/tmp/l.trn' WITH {sealed}",
    )
    for number, text in enumerate(steps, 2):
        assert numbers(shop.run(text))[-1] == 3014
        shop.fill("shop", f"INSERT INTO t VALUES ({number}, 'more')")
    for name in ("other", "shop", "shop"):
        assert numbers(shop.run(f"BACKUP DATABASE {name} TO DISK = '/tmp/two.bak'"))[-1] == 3014
    yield shop
    shop.close()


def tdsproxy(*words: object) -> str:
    """Standard output of a command that succeeds. Raises CommandError."""
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None:
        raise done.exception
    return done.stdout


def rows(path: Path) -> list[int]:
    connection = apsw.Connection(str(path))
    try:
        assert next(connection.execute("PRAGMA integrity_check")) == ("ok",)
        assert next(connection.execute("PRAGMA journal_mode")) == ("delete",)
        return [row[0] for row in connection.execute("SELECT id FROM t ORDER BY id")]
    finally:
        connection.close()


def test_a_chain_is_extracted_as_far_as_it_leads(media: Workshop, tmp_path: Path) -> None:
    folder = media.media
    stripes = (folder / "s2.bak", folder / "s1.bak")
    store = ("--store", media.store)
    said = tdsproxy("extract", *stripes, folder / "d.bak", folder / "l.trn", tmp_path / "all.db", *store)
    assert "full backup" in said
    assert "differential backup" in said
    assert "log backup" in said
    assert rows(tmp_path / "all.db") == [1, 2, 3]
    tdsproxy("extract", *stripes, tmp_path / "full.db", *store)
    assert rows(tmp_path / "full.db") == [1]
    tdsproxy("extract", *stripes, folder / "l.trn", tmp_path / "log.db", *store)
    assert rows(tmp_path / "log.db") == [1, 2, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.db", "full.db", "log.db"]
    with pytest.raises(CommandError, match="exists already"):
        tdsproxy("extract", *stripes, tmp_path / "full.db", *store)
    with pytest.raises(CommandError, match="no full backup"):
        tdsproxy("extract", folder / "l.trn", tmp_path / "x.db", *store)
    with pytest.raises(CommandError, match="1 "):
        tdsproxy("extract", folder / "s1.bak", tmp_path / "x.db", *store)
    assert not (tmp_path / "x.db").exists()


def test_sets_are_chosen_by_database_and_position(media: Workshop, tmp_path: Path) -> None:
    two = media.media / "two.bak"
    with pytest.raises(CommandError, match="several databases: other, shop"):
        tdsproxy("extract", two, tmp_path / "x.db")
    tdsproxy("extract", two, tmp_path / "x.db", "--database", "Shop")
    assert rows(tmp_path / "x.db") == [1, 2, 3, 4]
    assert "'other'" in tdsproxy("extract", two, tmp_path / "y.db", "--file", 1)
    with pytest.raises(CommandError, match="position 4"):
        tdsproxy("extract", two, tmp_path / "z.db", "--file", 4)
    with pytest.raises(CommandError, match="no backup of 'third'"):
        tdsproxy("extract", two, tmp_path / "z.db", "--database", "third")
    with pytest.raises(CommandError, match=r"incorrectly formed|cannot process"):
        tdsproxy("extract", media.store / "service_master_key", tmp_path / "z.db")


def test_encrypted_sets_open_with_the_exported_key_too(media: Workshop, tmp_path: Path) -> None:
    stripes = (media.media / "s1.bak", media.media / "s2.bak")
    nowhere = ("--store", tmp_path / "none")
    with pytest.raises(CommandError, match="Cannot find server certificate with thumbprint"):
        tdsproxy("extract", *stripes, tmp_path / "x.db", *nowhere)
    key = ("--key", media.media / "c.pvk")
    with pytest.raises(CommandError, match="password"):
        tdsproxy("extract", *stripes, tmp_path / "x.db", *nowhere, *key)
    (tmp_path / "password").write_text(f"{PASSWORD}\n")
    password = ("--key-password-file", tmp_path / "password")
    tdsproxy("extract", *stripes, tmp_path / "x.db", *nowhere, *key, *password)
    assert rows(tmp_path / "x.db") == [1]


def test_the_sqlite3_of_others_works_with_both(media: Workshop, tmp_path: Path) -> None:
    queries = ["SELECT id, v FROM t ORDER BY id", "PRAGMA integrity_check"]
    scripts = {
        "database": (tdsproxy("dump", "shop", "--store", media.store), [1, 2, 3, 4]),
        "medium": (
            tdsproxy("dump", media.media / "two.bak", "--file", 2, "--store", media.store),
            [1, 2, 3, 4],
        ),
    }
    tdsproxy("extract", media.media / "two.bak", tmp_path / "file.db", "--file", 2)
    scripts["file"] = ("INSERT INTO t VALUES (9, 'nine'); VACUUM;", [1, 2, 3, 4, 9])
    for name, (script, ids) in scripts.items():
        words = [sys.executable, "-c", _SQLITE3, str(tmp_path / f"{name}.db"), *queries]
        done = subprocess.run(words, input=script, capture_output=True, text=True, timeout=200, check=True)
        found, integrity = done.stdout.splitlines()
        assert [row[0] for row in eval(found)] == ids
        assert integrity == "[('ok',)]"


def test_a_dump_is_written_once_and_names_what_is_missing(media: Workshop, tmp_path: Path) -> None:
    out = tmp_path / "shop.sql"
    tdsproxy("dump", "shop", "--store", media.store, "-o", out)
    assert out.read_text().startswith("PRAGMA encoding")
    with pytest.raises(CommandError, match="exists already"):
        tdsproxy("dump", "shop", "--store", media.store, "-o", out)
    with pytest.raises(CommandError, match="neither a database nor a file 'nothing'"):
        tdsproxy("dump", "nothing", "--store", media.store)


@pytest.mark.parametrize(
    ("option", "failing"),
    [("--csv", "write"), ("--csv", "fsync"), ("--csv", "name"), ("--json", "write"), ("-o", "fsync")],
)
def test_a_dump_is_whole_or_not_there(
    media: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, option: str, failing: str
) -> None:
    """What has half a table is loaded as if it were one."""
    media.fill("other", "CREATE TABLE IF NOT EXISTS a (x); CREATE TABLE IF NOT EXISTS b (x)")
    media.fill("other", "INSERT INTO a SELECT value FROM json_each('[1, 2, 3]')")
    there = tmp_path / "there"
    last = {"--csv": "dbo.b.csv", "--json": "dbo.b.jsonl", "-o": "other.sql"}[option]
    target = there / last if option == "-o" else there
    there.mkdir()
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    sync, calls = os.fsync, list[int]()

    def no_space(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == (1 if option == "-o" else 2):
            raise full
        sync(descriptor)

    def failed(*arguments: object) -> Iterator[str]:
        yield "half a"
        raise full

    match failing:
        case "write":
            for name in ("table_files.csv_lines", "table_files.json_lines", "dump.dump_file"):
                monkeypatch.setattr(f"tdsproxy.store.{name}", failed)
        case "fsync":
            monkeypatch.setattr(os, "fsync", no_space)
        case "name":
            (there / last).write_text("somebody else's")
    before = sorted(there.iterdir())
    with pytest.raises(CommandError, match="exists already" if failing == "name" else "No space left"):
        tdsproxy("dump", "other", "--store", media.store, option, target)
    assert sorted(there.iterdir()) == before
    monkeypatch.undo()
    (there / last).unlink(missing_ok=True)
    tdsproxy("dump", "other", "--store", media.store, option, target)
    assert len(list(there.iterdir())) == (1 if option == "-o" else 2)


def test_a_dump_to_a_full_disk_fails(media: Workshop) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "tdsproxy", "dump", "shop", "--store", str(media.store)],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert done.returncode != 0
    assert "The standard output cannot be written: No space left on device." in done.stderr
    assert "Traceback" not in done.stderr


def test_gpg_reads_what_is_made_for_its_key(media: Workshop, tmp_path: Path) -> None:
    pytest.importorskip("pysequoia", reason="the extra 'pgp' is not installed")
    gpg = shutil.which("gpg")
    if gpg is None:
        pytest.skip("gpg is not installed")
    home = tmp_path / "gnupg"
    home.mkdir(mode=0o700)
    environment = {**os.environ, "GNUPGHOME": str(home)}

    def run(*words: object) -> bytes:
        done = subprocess.run(
            [gpg, "--batch", "--quiet", *map(str, words)],
            env=environment,
            capture_output=True,
            timeout=200,
            check=True,
        )
        return done.stdout

    try:
        run("--passphrase", "", "--quick-generate-key", "reader@example.org", "rsa2048", "default", "never")
        fingerprint = run("--list-keys", "--with-colons").decode().split("fpr:::::::::")[1].split(":")[0]
        run("--passphrase", "", "--quick-add-key", fingerprint, "rsa2048", "encr", "never")
        recipient = tmp_path / "reader.asc"
        recipient.write_bytes(run("--armor", "--export", "reader@example.org"))
        out = tmp_path / "shop.pgp"
        words = ("extract", media.media / "two.bak", out, "--file", 2, "--openpgp")
        tdsproxy(*words, recipient)
        assert b"SQLite format 3" not in out.read_bytes()
        (tmp_path / "shop.db").write_bytes(run("--decrypt", out))
        assert rows(tmp_path / "shop.db") == [1, 2, 3, 4]
        with pytest.raises(CommandError, match="exists already"):
            tdsproxy(*words, recipient)
        out.unlink()
        with pytest.raises(CommandError, match="no OpenPGP certificate"):
            tdsproxy(*words, media.media / "c.cer")
    finally:
        subprocess.run(["gpgconf", "--kill", "all"], env=environment, check=False, timeout=200)
    assert not any(path.name.startswith(".shop") for path in tmp_path.iterdir())
