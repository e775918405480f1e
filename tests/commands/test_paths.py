"""Which files a statement may name: none outside of the allowed directories, however it is written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.paths import DevicePaths
from tests.commands.support import Workshop, messages, numbers


@pytest.fixture
def paths(tmp_path: Path) -> DevicePaths:
    (tmp_path / "store" / "backup").mkdir(parents=True)
    (tmp_path / "extra").mkdir()
    mappings = (("C:\\Backup", tmp_path / "extra"), ("/srv/dump", tmp_path / "extra" / "dump"))
    return DevicePaths.of_store(tmp_path / "store", None, (tmp_path / "extra",), mappings)


def refusal(paths: DevicePaths, name: str) -> tuple[int, int, str]:
    with pytest.raises(CommandError) as caught:
        paths.for_writing(name, [])
    (only,) = caught.value.messages
    return only.number, only.state, only.text


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("x.bak", "store/backup/x.bak"),
        ("daily/x.bak", "store/backup/daily/x.bak"),
        ("daily\\x.bak", "store/backup/daily/x.bak"),
        ("a/../x.bak", "store/backup/x.bak"),
        ("/var/opt/mssql/backup/x.bak", "store/backup/x.bak"),
        ("C:\\Backup\\sub\\x.bak", "extra/sub/x.bak"),
        ("c:/backup/x.bak", "extra/x.bak"),
        ("/srv/dump/x.bak", "extra/dump/x.bak"),
    ],
)
def test_names_find_their_place(paths: DevicePaths, tmp_path: Path, name: str, place: str) -> None:
    found = paths.for_writing(name, [])
    assert found.path == Path(os.path.realpath(tmp_path)) / place
    assert found.name in (name, str(tmp_path / "store" / "backup" / name.replace("\\", "/")))


@pytest.mark.parametrize(
    "name",
    [
        "../x.bak",
        "/etc/passwd",
        "/var/opt/mssql/backup/../../../x.bak",
        "/var/opt/mssql/backup/../keeper.lock",
        "/var/opt/mssql/data/master.db",
        "C:\\Backup\\..\\store\\master.db",
        "..",
        ".",
    ],
)
def test_nothing_outside_is_reached(paths: DevicePaths, name: str) -> None:
    number, state, text = refusal(paths, name)
    assert (number, state) == (3201, 1)
    assert text.endswith("Operating system error 5(Access is denied.).")


def test_links_are_followed_before_the_check(paths: DevicePaths, tmp_path: Path) -> None:
    backups = tmp_path / "store" / "backup"
    (tmp_path / "outside").mkdir()
    (backups / "link").symlink_to(tmp_path / "outside")
    (backups / "file.bak").symlink_to(tmp_path / "outside" / "file.bak")
    (backups / "inside").symlink_to(tmp_path / "extra")
    assert refusal(paths, "link/x.bak")[0] == 3201
    assert refusal(paths, "file.bak")[0] == 3201
    found = paths.for_writing("inside/x.bak", [])
    assert found.path == Path(os.path.realpath(tmp_path)) / "extra" / "x.bak"


def test_windows_names_need_a_mapping(paths: DevicePaths) -> None:
    number, _, text = refusal(paths, "D:\\other\\x.bak")
    assert number == 3201
    assert "3(The system cannot find the path specified.)" in text


@pytest.mark.parametrize(
    ("name", "number"), [("", 3044), ("  ", 3044), ("x" * 260, 3057), ("https://h/x.bak", 3078)]
)
def test_names_that_are_none(paths: DevicePaths, name: str, number: int) -> None:
    assert refusal(paths, name)[0] == number


def test_a_database_file_is_never_a_device(paths: DevicePaths, tmp_path: Path) -> None:
    database = tmp_path / "extra" / "d.db"
    database.write_bytes(b"x")
    (tmp_path / "extra" / "hard.bak").hardlink_to(database)
    with pytest.raises(CommandError):
        paths.for_writing("/srv/dump/../d.db", [database])
    with pytest.raises(CommandError):
        paths.for_writing("C:\\Backup\\hard.bak", [database])


def test_a_backup_does_not_leave_its_directory(shop: Workshop, tmp_path: Path) -> None:
    shop.run("CREATE DATABASE d")
    (shop.store / "backup" / "out").symlink_to(tmp_path)
    for name in ("out/x.bak", "../x.bak", f"{tmp_path}/x.bak", f"{shop.store}/d.db"):
        replies = shop.run(f"BACKUP DATABASE d TO DISK = '{name}' WITH FORMAT")
        assert numbers(replies) == [3201, 3013], name
        assert "5(Access is denied.)" in messages(replies)[0].text
    assert not (tmp_path / "x.bak").exists()
    assert 3014 in numbers(shop.run("BACKUP DATABASE d TO DISK = 'x.bak'"))
    assert (shop.store / "backup" / "x.bak").exists()


def test_no_mapping_leads_away_from_the_backup_directory(tmp_path: Path) -> None:
    """The server tells clients the directory's own path; what they make of it must be found there."""
    (tmp_path / "store" / "backup").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    mapped = ((str(tmp_path), tmp_path / "elsewhere"),)
    paths = DevicePaths.of_store(tmp_path / "store", None, (tmp_path / "elsewhere",), mapped)
    own = paths.backup_directory / "x.bak"
    assert paths.for_writing(str(own), []).path == Path(os.path.realpath(own))
    assert paths.name_of(Path(os.path.realpath(own))) == str(Path(os.path.realpath(own)))
    other = paths.for_writing(f"{tmp_path}/y.bak", [])
    assert other.path == Path(os.path.realpath(tmp_path)) / "elsewhere" / "y.bak"
