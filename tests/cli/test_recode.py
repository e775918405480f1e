from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tdsproxy.backup.operations import backup_database, read_headers, verify_set
from tdsproxy.cli.app import app
from tdsproxy.cli.errors import CommandError
from tests.backup.making import description, disk
from tests.store import processes


@pytest.fixture
def medium(tmp_path: Path) -> Path:
    processes.build(tmp_path / "x.db", rows=60)
    path = tmp_path / "x.bak"
    backup_database(tmp_path / "x.db", disk(path), description())
    return path


def recode(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["recode", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_file_gets_another_codec(medium: Path) -> None:
    before = medium.stat().st_size
    found = json.loads(recode(medium, "--codec", "gzip", "--level", "high", "--json"))
    size = medium.stat().st_size
    assert found == {
        "files": [str(medium)],
        "codec": "gzip",
        "sets": 1,
        "bytes_before": before,
        "bytes_after": size,
    }
    assert size < before
    assert read_headers(disk(medium)).sets[0].header.compression == "GZIP"
    told = recode(medium, "--codec", "none")
    assert told == f"'{medium}': 1 backup set, codec none, {before} bytes instead of {size}.\n"
    assert verify_set(disk(medium), 1).header.compression is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--codec", "lz4"], "'lz4' is no codec: zstd, gzip, bzip2, xz, none."),
        (["--codec", "xz", "--level", "9"], "'9' is no level of xz."),
        (["--codec", "none", "--level", "low"], "'low' is no level of none."),
        (["missing.bak", "--codec", "xz"], "'missing.bak' is no file."),
    ],
)
def test_what_is_refused_changes_nothing(medium: Path, arguments: list[str], words: str) -> None:
    before = medium.read_bytes()
    with pytest.raises(CommandError) as caught:
        recode(medium, *arguments)
    assert str(caught.value) == words
    damaged = bytearray(before)
    damaged[len(before) // 2] ^= 1
    medium.write_bytes(damaged)
    with pytest.raises(CommandError, match="Nothing was changed"):
        recode(medium, "--codec", "xz")
    assert medium.read_bytes() == damaged
