from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tdsproxy.store import files

NAMES = st.text(
    st.characters(exclude_characters="\0", exclude_categories=()), min_size=1, max_size=128
).filter(lambda name: name.rstrip(" "))


@given(NAMES)
def test_every_name_is_a_file_name_and_comes_back(name: str) -> None:
    stem = files.encode_name(name)
    assert "/" not in stem
    assert not stem.startswith(".")
    assert len(os.fsencode(stem)) <= 200
    decoded = files.decode_name(stem)
    assert decoded in (name.rstrip(" "), None)
    if len(name) < 20:
        assert decoded == name.rstrip(" ")


@given(NAMES, NAMES)
def test_different_names_get_different_files(one: str, other: str) -> None:
    same = one.rstrip(" ").casefold() == other.rstrip(" ").casefold()
    if not same:
        assert files.encode_name(one) != files.encode_name(other)


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("Sales", "Sales"),
        ("a/b", "a%2Fb"),
        ("..", "%2E%2E"),
        (".hidden", "%2Ehidden"),
        ("50%", "50%25"),
        ("tail  ", "tail"),
        ("C:\\x", "C%3A%5Cx"),
        ("Müller", "Müller"),
        ("tab\there", "tab%09here"),
        ("no\u00adbreak", "no%C2%ADbreak"),
        ("half\ud83d", "half%ED%A0%BD"),
        # Long ones keep their beginning, whole escapes of it, and a digest.
        ("n" * 201, "n" * 120 + "%~291c4194382c6bd5c12b872660b0fb6d"),
        ("%" * 68, "%25" * 40 + "%~019f940229f7f2a3da2c7b3e01e3ac07"),
        ("x" + "%" * 68, "x" + "%25" * 39 + "%~617e8a8b9eb74a8fbf543d7afca63006"),
    ],
)
def test_what_file_names_look_like(name: str, stem: str) -> None:
    assert files.encode_name(name) == stem


@pytest.mark.parametrize("stem", ["%", "%4", "%zz", "%FF"])
def test_malformed_file_names_are_nobodys(stem: str) -> None:
    assert files.decode_name(stem) is None


def test_a_database_is_found_whatever_the_case(tmp_path: Path) -> None:
    (tmp_path / "Sales.db").touch()
    assert files.find_database(tmp_path, "sALES ") == tmp_path / "Sales.db"
    assert files.find_database(tmp_path, "Sale") is None
    assert files.find_database(tmp_path / "nowhere", "Sales") is None


def test_temporary_files_are_no_databases(tmp_path: Path) -> None:
    for name in (".a.db.restoring", ".b.db", "c.db", "c.db-wal"):
        (tmp_path / name).touch()
    assert [path.name for path in files.database_files(tmp_path)] == ["c.db"]


def test_a_replaced_file_has_the_new_content_and_mode(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_bytes(b"old")
    files.replace_durably(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_failed_replacement_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "directory"
    path.mkdir()
    (path / "inside").touch()
    with pytest.raises(OSError):
        files.replace_durably(path, b"new")
    assert list(tmp_path.iterdir()) == [path]


def test_live_files_are_known_by_inode(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    for path in (database, tmp_path / "x.db-shm", tmp_path / "other.bak"):
        path.touch()
    (tmp_path / "link.bak").symlink_to(database)
    os.link(tmp_path / "x.db-shm", tmp_path / "hard.bak")
    assert files.is_live_file(database, [database])
    assert files.is_live_file(tmp_path / "link.bak", [database])
    assert files.is_live_file(tmp_path / "hard.bak", [database])
    assert not files.is_live_file(tmp_path / "other.bak", [database])
    assert not files.is_live_file(tmp_path / "missing", [database])


def test_a_file_is_renamed_into_another_directory(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").write_bytes(b"content")
    files.rename_durably(tmp_path / "a" / "old", tmp_path / "new")
    assert (tmp_path / "new").read_bytes() == b"content"
    assert list((tmp_path / "a").iterdir()) == []


def test_a_database_is_found_by_the_name_that_it_was_made_with(tmp_path: Path) -> None:
    for name in ("sales.db", "Sales.db"):
        (tmp_path / name).touch()
    assert files.find_database(tmp_path, "Sales") == tmp_path / "Sales.db"


def test_what_an_earlier_database_left_beside_a_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    files.clear_sidecars(path)
    for sidecar in files.sidecars(path):
        sidecar.write_bytes(b"x")
    (tmp_path / "a.db.other").write_bytes(b"x")
    files.clear_sidecars(path)
    assert [found.name for found in tmp_path.iterdir()] == ["a.db.other"]


def test_commits_lie_in_a_wal_that_is_not_empty(tmp_path: Path) -> None:
    path = tmp_path / "a.db"
    assert not files.has_wal(path)
    wal = tmp_path / "a.db-wal"
    wal.write_bytes(b"")
    assert not files.has_wal(path)
    wal.write_bytes(b"x")
    assert files.has_wal(path)
