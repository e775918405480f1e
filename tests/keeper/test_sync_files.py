"""Sending whole files: when all that is here is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tdsproxy.keeper.sync_files import FileSender
from tdsproxy.objects.folder import FolderBucket


def test_all_is_there_when_each_file_has_arrived_as_it_is(tmp_path: Path) -> None:
    media = tmp_path / "media"
    media.mkdir()

    def sources() -> Iterator[tuple[str, Path]]:
        for path in sorted(media.iterdir()):
            yield f"backup/{path.name}", path

    sender = FileSender(FolderBucket(tmp_path / "there"), lambda name: name, sources)
    try:
        assert sender.is_complete(), "nothing is here"
        (media / "full.bak").write_bytes(b"a full backup")
        assert not sender.is_complete()
        sender.send()
        sender.settle()
        assert sender.is_complete()
        (media / "full.bak").write_bytes(b"a full backup, and a log backup")
        assert not sender.is_complete(), "what is there is older"
        sender.send()
        sender.settle()
        assert sender.is_complete()
    finally:
        sender.close()
