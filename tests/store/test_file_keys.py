"""Encrypted database files: found by their salts, opened by keys that lie in the store, read raw without."""

from __future__ import annotations

import secrets
import stat
from pathlib import Path

import apsw
import msgspec
import pytest

from tdsproxy.store import file_keys
from tdsproxy.store.errors import CannotUnwrap, DatabaseUnreadable, InstallFailed
from tdsproxy.store.file_keys import FileKeys, StoredKey
from tdsproxy.store.header import MAGIC
from tdsproxy.store.install import replace_live
from tdsproxy.store.service_key import ServiceKey
from tdsproxy.store.snapshot import Snapshot

KEY = bytes(range(32)) + bytes(range(100, 116))
SALT = KEY[32:]


def keep(store: Path, key: bytes = KEY) -> StoredKey:
    """The key's file in the store."""
    salt = key[32:]
    document = StoredKey(
        algorithm="AES_256",
        encryptor_type="CERTIFICATE",
        thumbprint=b"t",
        wrapped=b"w",
        sealed=ServiceKey(store).seal(key[:32], file_keys.purpose(salt)),
        created="2024-01-02T03:04:05",
    )
    FileKeys(store).save(salt, document)
    return document


def make(path: Path, key: bytes = b"", page_size: int = 4096, journal: str = "wal") -> None:
    connection = apsw.Connection(str(path))
    connection.execute(f"PRAGMA page_size={page_size}; PRAGMA journal_mode={journal}").fetchall()
    connection.execute("CREATE TABLE t (a); INSERT INTO t VALUES ('in the clear')")
    connection.close()
    if key:
        file_keys.change_key(path, b"", key)


def rows(path: Path) -> list[tuple[str]]:
    connection = file_keys.connect(path)
    try:
        return list(connection.execute("SELECT a FROM t"))
    finally:
        connection.close()


def test_an_encrypted_file_is_opened_by_the_key_that_its_salt_names(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, KEY)
    document = keep(tmp_path)
    assert b"in the clear" not in path.read_bytes()
    assert file_keys.salt_of(path) == SALT
    assert file_keys.find_key(path) == KEY
    assert rows(path) == [("in the clear",)]
    keys = FileKeys(tmp_path)
    assert keys.all() == [(SALT, document)]
    assert stat.S_IMODE((tmp_path / ".keys").stat().st_mode) == 0o700
    (file,) = (tmp_path / ".keys").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert KEY[:32] not in file.read_bytes()
    assert KEY[:32].hex() not in file.read_text()
    # Copies below the store, as undo copies are, find it too.
    below = tmp_path / ".undo" / "copy.db"
    below.parent.mkdir()
    below.write_bytes(path.read_bytes())
    assert rows(below) == [("in the clear",)]


def test_a_plain_file_needs_no_key(tmp_path: Path) -> None:
    make(tmp_path / "x.db")
    assert file_keys.salt_of(tmp_path / "x.db") is None
    assert file_keys.find_key(tmp_path / "x.db") is None
    assert rows(tmp_path / "x.db") == [("in the clear",)]
    (tmp_path / "empty.db").touch()
    assert file_keys.find_key(tmp_path / "empty.db") is None


def test_a_file_changes_its_key_and_becomes_plain(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    other = KEY[:32][::-1] + bytes(range(200, 216))
    make(path, KEY)
    keep(tmp_path, other)
    file_keys.change_key(path, KEY, other)
    assert file_keys.salt_of(path) == other[32:]
    assert rows(path) == [("in the clear",)]
    file_keys.change_key(path, other, b"")
    assert path.read_bytes().startswith(MAGIC)
    assert rows(path) == [("in the clear",)]
    assert list(tmp_path.glob("*-journal")) == []


def test_an_attached_file_takes_its_key_from_the_uri(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, KEY)
    flags = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE | apsw.SQLITE_OPEN_URI
    connection = apsw.Connection(":memory:", flags=flags)
    connection.execute("ATTACH ? AS d", (f"file:{path}?{file_keys.attach_parameters(KEY)}",))
    assert connection.execute("SELECT a FROM d.t").fetchall() == [("in the clear",)]
    connection.close()


def test_without_its_key_a_file_is_unreadable_and_says_why(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, KEY)
    with pytest.raises(DatabaseUnreadable, match=r"the key of .*x\.db is not in the store"):
        file_keys.connect(path)
    keep(tmp_path)
    ServiceKey(tmp_path).begin_replacement(secrets.token_bytes(32))
    ServiceKey(tmp_path).end_replacement()
    with pytest.raises(DatabaseUnreadable, match=r"cannot be opened: .*another store"):
        file_keys.find_key(path)
    FileKeys(tmp_path).remove(SALT)
    FileKeys(tmp_path).remove(SALT)
    assert FileKeys(tmp_path).key(SALT) is None


@pytest.mark.parametrize("content", [b"", b"{", b'{"algorithm": 1}', b"\xff\xfe"])
def test_a_damaged_key_file_is_told(tmp_path: Path, content: bytes) -> None:
    make(tmp_path / "x.db", KEY)
    keep(tmp_path)
    (file,) = (tmp_path / ".keys").iterdir()
    file.write_bytes(content)
    with pytest.raises(CannotUnwrap, match="the key file is damaged"):
        FileKeys(tmp_path).find(SALT)
    assert FileKeys(tmp_path).all() == [(SALT, None)]
    with pytest.raises(DatabaseUnreadable, match=r"cannot be opened: the key file is damaged"):
        file_keys.connect(tmp_path / "x.db")


def test_what_does_not_belong_among_the_keys_is_passed_over(tmp_path: Path) -> None:
    document = keep(tmp_path)
    (tmp_path / ".keys" / "notes.key").write_bytes(msgspec.json.encode(document))
    (tmp_path / ".keys" / f"{SALT.hex()}.bak").touch()
    assert FileKeys(tmp_path).all() == [(SALT, document)]
    assert FileKeys(tmp_path / "nowhere").all() == []


def test_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, KEY)
    keep(tmp_path, KEY[:32][::-1] + SALT)
    with pytest.raises(apsw.NotADBError):
        rows(path)


def test_what_cannot_be_opened_at_all(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreadable, match="SQLite cannot open"):
        file_keys.connect(tmp_path / "missing.db")


def test_no_new_key_makes_a_file_look_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """An encrypted file is known by not beginning as a plain one does."""
    drawn = iter([bytes(32) + MAGIC, KEY])
    monkeypatch.setattr(secrets, "token_bytes", lambda size: next(drawn))
    assert file_keys.new_file_key() == KEY


def test_pages_and_log_are_copied_without_the_key(tmp_path: Path) -> None:
    path = tmp_path / "x.db"
    make(path, KEY)
    keep(tmp_path)
    connection = file_keys.connect(path)
    connection.execute("PRAGMA journal_mode=wal").fetchall()
    connection.execute("INSERT INTO t VALUES ('later')")
    with Snapshot(path) as snapshot:
        image = bytearray(snapshot.size)
        for first, part in snapshot.stream():
            image[(first - 1) * 4096 : (first - 1) * 4096 + len(part)] = part
    connection.close()
    assert b"in the clear" not in image
    assert b"later" not in image
    copy = tmp_path / "copy.db"
    copy.write_bytes(image)
    assert sorted(rows(copy)) == [("in the clear",), ("later",)]


def test_an_encrypted_image_replaces_a_database_of_its_page_size_only(tmp_path: Path) -> None:
    live, image = tmp_path / "x.db", tmp_path / "image"
    keep(tmp_path)
    make(live, page_size=8192)
    make(image, KEY)
    # Somebody has it open, so the pages go through SQLite.
    handle = apsw.Connection(str(live))
    handle.execute("SELECT a FROM t").fetchall()
    with pytest.raises(InstallFailed, match="keep their size"):
        replace_live(image, live)
    handle.close()
    assert rows(live) == [("in the clear",)]
    assert not image.exists()
