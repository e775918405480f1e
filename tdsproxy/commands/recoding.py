"""Another codec for backup files, without a statement: nothing like it is in SQL Server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tdsproxy.backup.recode import Recoded, recode
from tdsproxy.media.codecs import ALGORITHMS, Compression
from tdsproxy.media.device import DiskDevice
from tdsproxy.media.errors import MediaError

NO_CODEC: Final = "none"
CODECS: Final = (*(name.lower() for name in ALGORITHMS), NO_CODEC)
LEVELS: Final = ("low", "medium", "high")


class RecodingError(Exception):
    """The files stay as they are; the text says why."""


def recode_files(files: Sequence[Path], codec: str, level: str | None = None) -> Recoded:
    """Give backup files the codec, one of ``CODECS``; of a striped media set all files are named.

    Raises RecodingError.
    """
    if codec.lower() not in CODECS:
        raise RecodingError(f"'{codec}' is no codec: {', '.join(CODECS)}.")
    if level is not None and (codec.lower() == NO_CODEC or level.lower() not in LEVELS):
        raise RecodingError(f"'{level}' is no level of {codec.lower()}.")
    compression = None
    if codec.lower() != NO_CODEC:
        compression = Compression.of(codec.upper(), None if level is None else level.upper())
    missing = [str(path) for path in files if not path.is_file()]
    if missing:
        raise RecodingError(f"'{missing[0]}' is no file.")
    try:
        return recode([DiskDevice(path) for path in files], compression)
    except MediaError as error:
        raise RecodingError(f"Nothing was changed. {error}.") from error
