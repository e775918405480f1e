"""Damaged and odd inputs through every reader of files and texts, within this process.

Each must end in a valid result or one of the documented errors, in bounded time and memory. What comes over
the wire has a campaign of its own (``codec``). ``--n`` counts the inputs of the readers that are cheap; the
others get a tenth of it. An input follows from the seed and its number.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scripts.campaigns.bounds import bounded, feed
from scripts.campaigns.fuzz_bytes import mutate
from scripts.campaigns.fuzz_corpus import STATEMENTS
from scripts.campaigns.fuzz_text import TextMutator, repeated
from scripts.campaigns.outcome import Plan, Tally, check
from scripts.campaigns.readers_seeds import (
    Sound,
    damaged_medium,
    damaged_segment,
    foreign_files,
    media_structures,
    sealed_wal,
    segment_records,
    small_wal,
    sound_files,
)
from tdsproxy.cli.options import OptionError, read_config, resolve
from tdsproxy.log import codec, segment, wal
from tdsproxy.log.archive import Archive
from tdsproxy.log.records import ArchiveDamaged, LogGap
from tdsproxy.media import format as layout
from tdsproxy.media.codecs import CodecError, Decompressor
from tdsproxy.media.errors import MediaError
from tdsproxy.media.log_blocks import unpack_block
from tdsproxy.media.log_reader import LogReader
from tdsproxy.media.reader import MediaReader
from tdsproxy.media.set_reader import MediaSetReader
from tdsproxy.store import header as file_header
from tdsproxy.store import walindex
from tdsproxy.tsql.errors import SqlError
from tdsproxy.tsql.native import parse_native
from tdsproxy.tsql.parser import parse
from tdsproxy.tsql.script import split_batches
from tdsproxy.tsql.secrets import masked
from tdsproxy.tsql.sqlcmd import Reader, ScriptError

LONGEST_TEXT = 100_000
_BLOCK = 32 << 10
_OPENINGS = ("BACKUP", "RESTORE", "CREATE DATABASE", "ALTER DATABASE", "DROP DATABASE")


@dataclass(frozen=True, slots=True)
class Target:
    """``make`` gives an input, ``read`` reads it and raises only what is ``allowed``."""

    name: str
    make: Callable[[random.Random], Any]
    read: Callable[[Any], object]
    allowed: tuple[type[Exception], ...]
    cheap: bool = False


def targets(sound: Sound, directory: Path) -> list[Target]:
    batches, natives = TextMutator(STATEMENTS), TextMutator([*_native_statements()])

    def text(mutator: TextMutator) -> Callable[[random.Random], str]:
        def make(rng: random.Random) -> str:
            return repeated(rng, LONGEST_TEXT) if rng.random() < 0.001 else mutator.any(rng)

        return make

    structures = [(medium, media_structures(medium)) for medium in sound.media]
    records = [(content, segment_records(content)) for content in sound.segments]
    check(all(len(found) > 3 for _, found in structures), "the sound media have no structure")
    check(any(found for _, found in records), "the sound segments hold no records")
    records = [each for each in records if each[1]]
    foreign = foreign_files(sound)

    def medium(rng: random.Random) -> bytes:
        if rng.random() < 0.2:
            return mutate(rng, rng.choice(foreign), sound.media)
        if rng.random() < 0.3:
            return mutate(rng, rng.choice(sound.media), sound.media)
        return damaged_medium(rng, *rng.choice(structures))

    def log_segment(rng: random.Random) -> bytes:
        if rng.random() < 0.3:
            return mutate(rng, rng.choice(sound.segments), sound.segments)
        return damaged_segment(rng, *rng.choice(records))

    return [
        Target("T-SQL", text(batches), parse, (SqlError,)),
        Target("native statements", text(natives), parse_native, (SqlError,)),
        Target("scripts", text(TextMutator([*_scripts()])), _script, (ScriptError,), cheap=True),
        Target("texts for the log", text(natives), masked, (), cheap=True),
        Target("WAL", lambda rng: _damaged_wal(rng, sound), _read_wal, (wal.StrangeFrame,)),
        Target("WAL index", _chooser(sound.indexes), _read_index, (), cheap=True),
        Target("database header", _chooser(sound.databases), file_header.parse, (), cheap=True),
        Target(
            "blocks of log", _blocks(sound), _read_block, (ArchiveDamaged, layout.FormatError), cheap=True
        ),
        Target("log archive", log_segment, _ArchiveFile(directory), (ArchiveDamaged, LogGap)),
        Target("media", medium, read_medium, (MediaError, CodecError)),
        Target("configuration", _configuration, _Config(directory), (OptionError,)),
    ]


# ---------------------------------------------------------------------- texts


def _native_statements() -> Iterable[str]:
    """Those among the statements that are native, and some with many options."""
    yield from (text for text in STATEMENTS if text.upper().startswith(_OPENINGS))
    yield (
        "BACKUP DATABASE a FILE = 'x', FILEGROUP = N'y' TO DISK = N'a', URL = @u MIRROR TO TAPE = 'c' WITH"
        " DIFFERENTIAL, COPY_ONLY, COMPRESSION (ALGORITHM = ZSTD, LEVEL = HIGH), CREDENTIAL = 'c', STATS = 5,"
        " ENCRYPTION (ALGORITHM = AES_256, SERVER CERTIFICATE = [c]), RETAINDAYS = 5, BLOCKSIZE = 512"
    )
    yield (
        "RESTORE DATABASE @a PAGE = '1:2, 3:4' FROM DISK = 'a' WITH FILE = @n, MOVE 'a' TO 'b', NORECOVERY,"
        " STOPATMARK = 'lsn:1' AFTER '2024-01-01', STANDBY = N'x', REPLACE, KEEP_REPLICATION, STATS"
    )
    yield "RESTORE LOG a FROM DISK = 'a' WITH STOPAT = @t, RECOVERY; "
    yield "RESTORE HEADERONLY FROM DISK = N'a' WITH NOUNLOAD, FILE = 1, PASSWORD = N'x'"
    yield "BACKUP MASTER KEY TO FILE = 'a' ENCRYPTION BY PASSWORD = 'b'"
    yield "RESTORE MASTER KEY FROM FILE = 'a' DECRYPTION BY PASSWORD = 'b' ENCRYPTION BY PASSWORD = 'c' FORCE"
    yield "BACKUP CERTIFICATE a TO FILE = 'b' WITH PRIVATE KEY (FILE = 'c', ENCRYPTION BY PASSWORD = 'd')"


def _scripts() -> Iterable[str]:
    yield from (f"{first}\nGO 2\n{second}\ngo\n" for first, second in itertools.pairwise(STATEMENTS))
    yield ":setvar a \"b c\"\n:on error exit\nSELECT $(a), '$(A)' -- $(x)\n/* GO */\nGO\n:r other\n"
    yield ":exit(SELECT 1)\nquit\n:!! ls\n:connect a\n:list\n:reset\n:out STDOUT\n:error STDERR\nGO -- note\n"


def _script(text: str) -> None:
    split_batches(text)
    reader = Reader(lambda name, _source: text[:20] if name else "", environment={"a": "b"})
    for _step in reader.steps(text, "script"):
        continue


# ---------------------------------------------------------------------- WAL and log


def _damaged_wal(rng: random.Random, sound: Sound) -> bytes:
    if sound.wals and rng.random() < 0.01:
        return mutate(rng, rng.choice(sound.wals), sound.wals)
    made = mutate(rng, small_wal(rng))
    return sealed_wal(made) if rng.random() < 0.7 else made


def _read_wal(data: bytes) -> None:
    for commit in wal.verified(data):
        check(all(1 <= page <= commit.page_count for page, _ in commit.pages), "a page out of the database")
    header = wal.parse_header(data)
    if header is None:
        return
    step = wal.FRAME_HEADER_SIZE + header.page_size
    whole = (len(data) - wal.HEADER_SIZE) // step * step
    splitter = wal.Splitter(header.page_size, header.salts, 0, 4 * header.page_size)
    for _commit in splitter.feed(data[wal.HEADER_SIZE : wal.HEADER_SIZE + whole]):
        continue


def _chooser(seeds: list[bytes]) -> Callable[[random.Random], bytes]:
    # What lies behind is looked at in passing only.
    short = [seed[: 40 << 10] for seed in seeds]
    return lambda rng: mutate(rng, rng.choice(short), short)


def _read_index(data: bytes) -> None:
    # It is mapped by whole blocks.
    block = data[:_BLOCK].ljust(_BLOCK, b"\0")
    header = walindex.read_header(block)
    walindex.backfilled(block)
    if header is not None:
        pages = walindex.frame_pages(
            lambda number: memoryview(block) if number < 2 else None, header.max_frame
        )
        if pages is not None:
            walindex.newest_frames(pages, header.page_count)


def _blocks(sound: Sound) -> Callable[[random.Random], bytes]:
    """Directories of the archive and blocks of a medium's log, as they are before compression."""
    seeds: list[bytes] = []
    for content in sound.segments:
        for at, directory, _stored in segment_records(content):
            start = at + segment.RECORD_SIZE
            seeds.append(directory.to_bytes(4, "little") + content[start : start + directory] + bytes(512))
    for medium in sound.media:
        with MediaSetReader([MediaReader(Memory(medium))]) as reader:
            for position in range(1, len(reader.maps()[0].sets) + 1):
                place = reader.find(position)
                for run in reader.runs(place, reader.info(place)):
                    if run.is_log:
                        seeds.append(bytes(run.decode(Decompressor())))
    return lambda rng: mutate(rng, rng.choice(seeds), seeds)


def _read_block(data: bytes) -> None:
    try:
        codec.unpack_directory(data)
    except ArchiveDamaged:
        codec.split_block(data)
    for piece in unpack_block(data):
        check(len(piece.pages) <= piece.total, "a piece holds more pages than its transaction")


class _ArchiveFile:
    """Reads a segment on its own, and as the one segment of an archive."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "archive"
        self._directory.mkdir()
        self._path = self._directory / f"{1:025d}{segment.SUFFIX}"

    def __call__(self, data: bytes) -> None:
        for path in self._directory.iterdir():
            path.unlink()
        self._path.write_bytes(data)
        header = segment.parse_segment_header(data)
        ours = (header.database, header.fork) if header is not None else (uuid.UUID(int=1), uuid.UUID(int=2))
        archive = Archive(self._directory, *ours, base_lsn=1)
        try:
            archive.gaps()
            archive.time_ranges()
            archive.lsn_at(1 << 60)
            archive.late_at(1 << 60)
            first = archive.first_lsn()
            archive.changed_pages(first)
            for transaction in archive.read(first):
                for _number, image in transaction.pages:
                    check(len(image) == transaction.page_size, "an image has another length than its page")
        finally:
            archive.close()


# ---------------------------------------------------------------------- media


class Memory:
    """A medium that is bytes."""

    is_whole = True
    name = "memory"

    def __init__(self, data: bytes) -> None:
        self._data = data

    def size(self) -> int:
        return len(self._data)

    def read_at(self, offset: int, length: int) -> bytes:
        check(offset >= 0 and length <= 256 << 20, f"{length} bytes are read at {offset}")
        return self._data[offset : offset + length]

    def close(self) -> None:
        """Nothing is held."""


def read_medium(data: bytes) -> None:
    """All of every set, and the log in it. Raises MediaError, CodecError."""
    with MediaSetReader([MediaReader(Memory(data))]) as reader:
        reader.check_complete()
        found = reader.maps()[0]
        for position in range(1, min(len(found.sets), 4) + 1):
            place = reader.find(position)
            info = reader.info(place)
            unpack = Decompressor()
            for run in reader.runs(place, info):
                run.decode(unpack)
            for _run in reader.runs(place, info, on_damage=lambda _damage: None):
                continue
            reader.page_index(place, info)
            for transaction in LogReader(reader, place, info).transactions():
                for _page in transaction.pages:
                    continue


# ---------------------------------------------------------------------- configuration

_SOUND_CONFIG = """\
store = "/srv/store"
listen = "127.0.0.1:1433"
backup-dir = "backups"
allow_dir = ["/a", "/b"]
path_map = { "C:\\\\data" = "/srv/data" }
log-keep-size = "4G"
log-keep-time = "7d"
max-connections = 100
capture = "sync"
log_json = true
tls = "require"

[sync]
url = "s3://bucket/prefix"
secret_file = "/etc/secret"
interval = 5

[notices]
rpo = "15m"
url = "https://example.com/hook"

[retention]
daily = 7

[policy.nightly]
databases = ["a*", "!b"]
full = "sun 01:00"
log = "every 15m"
destinations = ["/mnt/a"]
retention = { daily = 7, weekly = 4, window = "14d" }
"""
_KEYS = (
    *(
        "store",
        "listen",
        "upstream",
        "path_map",
        "allow_dir",
        "databases",
        "max-connections",
        "login-timeout",
    ),
    *(
        "log_keep_size",
        "log_keep_time",
        "s3_http",
        "sync",
        "follow",
        "notices",
        "retention",
        "trials",
        "policy",
    ),
    *(
        "metrics",
        "http",
        "log_level",
        "log_json",
        "upstream_ca",
        "tls_cert",
        "capture",
        "nothing",
        "sync.url",
    ),
    *("policy.a", "policy.a.retention", "policy.a.full", "policy.a.log", "policy.a.databases", "notices.url"),
)
_VALUES = (
    *(
        '""',
        '"x"',
        '"5s"',
        '"1e9d"',
        '"-1"',
        '"127.0.0.1:99999"',
        '":"',
        '"[::1]:0"',
        '"99999999999999999999G"',
    ),
    *("0", "-1", "1e400", "nan", "inf", "9223372036854775808", "true", "[]", "{}", "[[]]", '["a", 1]'),
    *("1979-05-27T07:32:00Z", "07:32:00", '"\\u0000"', '"\\ud800"', "{a = {b = {c = 1}}}", '"a\\nb"', "'é'"),
    *(
        '"every 0m"',
        '"sun 25:00"',
        '"every 99999999999999h"',
        '"/dev/zero/x"',
        '"s3://"',
        '"azure://a"',
        "0x7f",
    ),
)
_NESTED = ("[", "{a=", "a.", "[a.", "'''", '"""', "#", "a=[", "[[a]]\n", '"')


def _configuration(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.4:
        return mutate(rng, _SOUND_CONFIG.encode())
    if kind < 0.41:
        return (
            rng.choice(("a = ", "", "store = ")) + rng.choice(_NESTED) * rng.choice((10, 500, 20_000))
        ).encode()
    lines = [f"{rng.choice(_KEYS)} = {rng.choice(_VALUES)}" for _ in range(rng.randrange(1, 4))]
    return "\n".join(lines).encode()


class _Config:
    """Reads a configuration file and merges it into options."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / "tdsproxy.toml"

    def __call__(self, data: bytes) -> None:
        self._path.write_bytes(data)
        read_config(self._path)
        resolve({}, {}, self._path)


# ---------------------------------------------------------------------- the campaign


def main(plan: Plan, tally: Tally) -> None:
    """Findings are violations; so is a sound input that is refused."""
    end = time.monotonic() + plan.seconds
    sound = sound_files()
    # Where syncs cost nothing, if there is such a place.
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="tdsproxy-readers-", dir=place) as directory:
        for medium in sound.media:
            read_medium(medium)
        every = targets(sound, Path(directory))
        with bounded(tally):
            for index, target in enumerate(every):
                left = max(0.0, end - time.monotonic()) / (len(every) - index)
                _try(target, plan, time.monotonic() + left, tally)


def _try(target: Target, plan: Plan, end: float, tally: Tally) -> None:
    cases = plan.cases if target.cheap else max(1, plan.cases // 10)

    def one(number: int) -> tuple[Callable[[], object], str]:
        made = target.make(random.Random(f"{plan.seed} {target.name} {number}"))
        told = made.hex() if isinstance(made, bytes) else json.dumps(made)
        return lambda: target.read(made), f"input {number}: {told[:4000]}"

    feed(target.name, one, target.allowed, cases, end, tally)
