"""Backups of any database in any way, made from a number: for a test of some, and a campaign of many."""

from __future__ import annotations

import random
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tdsproxy.backup.operations import (
    BackupOptions,
    apply_differential,
    apply_log,
    backup_database,
    backup_differential,
    backup_log,
    read_headers,
    restore_image,
    verify_set,
)
from tdsproxy.backup.recode import recode
from tdsproxy.media.codecs import ALGORITHMS, Compression
from tdsproxy.media.device import DiskDevice, MediaDevice
from tdsproxy.media.device_set import DeviceSet
from tdsproxy.media.documents import EncryptionEnvelope, SetDescription
from tdsproxy.media.encryption import KEY_SIZES, AesGcm, new_set_key
from tdsproxy.media.errors import MediaError
from tdsproxy.media.sealing import ChunkCipher, KeyMissing, SetSealing
from tests.backup.history import History
from tests.backup.making import description
from tests.store import processes

PAGE_SIZES = (512, 1024, 2048, 4096, 8192, 16384, 32768, 65536)


class Disagreement(AssertionError):
    """What was restored is not what was backed up, or damage was not noticed."""


def demand(condition: bool, what: str) -> None:
    """Raises Disagreement."""
    if not condition:
        raise Disagreement(what)


class _Keys:
    """A keyring of one set key, found by the envelope."""

    def __init__(self, rng: random.Random) -> None:
        algorithm = rng.choice(list(KEY_SIZES))
        self.key = new_set_key(algorithm)
        self.envelope = EncryptionEnvelope(
            algorithm=algorithm.lower(), thumbprint=bytes(20), wrapped_key=rng.randbytes(8)
        )

    def __call__(self, envelope: EncryptionEnvelope) -> ChunkCipher:
        if envelope != self.envelope:
            raise KeyMissing(envelope)
        return AesGcm(self.key)

    @property
    def sealing(self) -> SetSealing:
        return SetSealing(self.envelope, AesGcm(self.key))


@dataclass
class Media:
    """The devices of a case, and how they are written."""

    copies: list[list[DiskDevice]]
    options: BackupOptions
    keys: _Keys | None

    @classmethod
    def random(cls, rng: random.Random, folder: Path) -> Media:
        families, mirrors = rng.choice((1, 1, 2, 3, 5)), rng.choice((0, 0, 0, 1, 2))
        copies = [
            [DiskDevice(folder / f"copy{copy}.{family}.bak") for family in range(families)]
            for copy in range(mirrors + 1)
        ]
        keys = _Keys(rng) if rng.random() < 0.3 else None
        codec = Compression.of(rng.choice(list(ALGORITHMS)), rng.choice(("LOW", "MEDIUM", "HIGH")))
        options = BackupOptions(
            format=True,
            compression=rng.random() < 0.6,
            codec=codec,
            sealing=keys.sealing if keys else None,
            run_bytes=rng.choice((4096, 20_000, 65536, 1 << 20)),
        )
        return cls(copies, options, keys)

    @property
    def all(self) -> DeviceSet:
        """For writing."""
        first, *mirrors = (tuple[MediaDevice, ...](copy) for copy in self.copies)
        return DeviceSet(first, tuple(mirrors))

    def any(self, rng: random.Random) -> DeviceSet:
        """For reading: of each family one copy, in any order."""
        devices: list[MediaDevice] = [
            rng.choice(self.copies)[family] for family in range(len(self.copies[0]))
        ]
        rng.shuffle(devices)
        if self.keys is None:
            return DeviceSet(tuple(devices))
        return DeviceSet(tuple(devices), keys=self.keys)

    def appending(self) -> BackupOptions | None:
        """How more sets are written; None where they cannot be."""
        if self.keys is not None:
            return None
        return replace(self.options, format=False, compression=None)


def run_case(seed: int, folder: Path) -> str:
    """One database, backed up and restored. Returns what it was; raises Disagreement."""
    rng = random.Random(seed)
    media = Media.random(rng, folder)
    kind = rng.choice(("full", "full", "differential", "log"))
    if kind == "log":
        positions = _logged(rng, folder, media)
    else:
        positions = _unlogged(rng, folder, media, differential=kind == "differential")
    _check_damage(rng, media, positions)
    shape = f"{len(media.copies[0])} families, {len(media.copies)} copies"
    return f"{kind}: {shape}, {media.options.codec if media.options.compression else 'stored'}"


def _unlogged(rng: random.Random, folder: Path, media: Media, *, differential: bool) -> list[int]:
    source = folder / "x.db"
    processes.build(
        source,
        page_size=rng.choice(PAGE_SIZES),
        auto_vacuum=rng.choice((0, 0, 1, 2)),
        journal=rng.choice(("wal", "wal", "delete")),
        rows=rng.choice((0, 3, 40, 150)),
        free=rng.random() < 0.5,
        empty=rng.random() < 0.1,
        full_text=rng.random() < 0.4,
        seed=rng.randrange(1 << 30),
    )
    source.touch()
    maps = folder / "maps" / "x"
    base = description()
    backup_database(source, media.all, base, media.options, page_map=maps)
    positions = [1]
    image = folder / "image"
    more = media.appending()
    if more is not None and rng.random() < 0.5:
        backup_database(source, media.all, description("other"), more)
    _recode(rng, media)
    if not differential:
        _restore(rng, media, [1], image)
        _same(source, image)
        return positions
    if rng.random() < 0.8:
        processes.run("commit", source, str(rng.choice((1, 20))))
    apart = Media.random(rng, folder / "apart") if more is None else media
    if apart is not media:
        (folder / "apart").mkdir()
    changed = description(differential_base_guid=base.set_guid)
    options = more or apart.options
    done = backup_differential(source, None, apart.all, changed, options, page_map=maps)
    restore_image(media.any(rng), 1, image)
    apply_differential(apart.any(rng), done.position, image)
    _same(source, image)
    return positions


def _logged(rng: random.Random, folder: Path, media: Media) -> list[int]:
    history = History(folder / "x.db", page_size=rng.choice(PAGE_SIZES), auto_vacuum=rng.choice((0, 1, 2)))
    history.random.seed(rng.random())
    history.work(rng.randrange(1, 12))
    start = history.count
    base: SetDescription = history.full(start)
    during = rng.randrange(4)
    tail = history.tail(start, lambda: history.work(during))
    backup_database(history.path, media.all, base, media.options, log=tail)
    middle = history.count
    history.work(rng.randrange(8))
    if rng.random() < 0.2:
        history.commit("INSERT INTO t(body) VALUES(?)", rng.randbytes(1_500_000))
    end = history.count
    more = media.appending()
    apart = media
    if more is None:
        apart = Media.random(rng, folder / "apart")
        (folder / "apart").mkdir()
        more = apart.options
    done = backup_log(history.log(middle, end), apart.all, history.log_set(middle, end), more)
    history.close()
    _recode(rng, media)
    image = folder / "image"
    restore_image(media.any(rng), 1, image)
    demand(image.read_bytes() == history.states[middle], "the full set is not the state at its end")
    apply_log(apart.any(rng), done.position, image, history.lsn(middle))
    demand(image.read_bytes() == history.states[end], "the log does not lead to the state at its end")
    return [1]


def _recode(rng: random.Random, media: Media) -> None:
    if media.keys is None and rng.random() < 0.3:
        codec = rng.choice((None, *(Compression.of(name) for name in ALGORITHMS)))
        # One copy only: the others stay as they are, and serve as well.
        recode(rng.choice(media.copies), codec)


def _restore(rng: random.Random, media: Media, positions: Sequence[int], image: Path) -> None:
    for position in positions:
        restore_image(media.any(rng), position, image)


def _same(source: Path, image: Path) -> None:
    """Another SQLite sees the same content in both, and both are sound."""
    expected, found = processes.check(source), processes.check(image)
    demand(found["integrity"] == ["ok"], f"integrity: {found['integrity']}")
    demand(found == expected, "the restored content is another one")


def _check_damage(rng: random.Random, media: Media, positions: Sequence[int]) -> None:
    for position in positions:
        devices = media.any(rng)
        verify_set(devices, position)
        device = rng.choice(devices.devices)
        assert isinstance(device, DiskDevice)
        sound = device.path.read_bytes()
        length = sum(item.length for item in read_headers(device).sets[:position])
        at = rng.randrange(4096 + length)
        if rng.random() < 0.3:
            device.path.write_bytes(sound[:at])
        else:
            changed = bytearray(sound)
            changed[at] ^= 1 << rng.randrange(8)
            device.path.write_bytes(changed)
        try:
            verify_set(devices, position)
        except MediaError as error:
            demand(error.device == device.name, f"{error} is told of another device than {device.name}")
        else:
            raise Disagreement(f"damage at byte {at} of {device.name} was not noticed")
        finally:
            device.path.write_bytes(sound)


def fresh(folder: Path) -> Path:
    """A directory of its own for one case."""
    made = folder / str(uuid.uuid4())
    made.mkdir()
    return made
