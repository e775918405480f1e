"""Damaged media through the statements that read them, within this process: an answer, never an exception."""

from __future__ import annotations

import random
import resource
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from scripts.campaigns.fuzz_bytes import mutate
from scripts.campaigns.outcome import Tally, Violation, check
from tdsproxy.media import format as layout
from tests.commands.support import Workshop, numbers
from tests.faults.test_fuzzed_media import structures

MEMORY = 300 << 20
"""Bytes by which the process may grow, however long a damaged length is."""

_SUCCESS = {"HEADERONLY": [], "FILELISTONLY": [], "LABELONLY": [], "VERIFYONLY": [3262]}
_EDGES = (0, 1, 2, 511, 4096, 1 << 31, (1 << 32) - 1, 1 << 63, (1 << 64) - 1)


class MediaFuzzer:
    """One store, two media of two sets each, one of them compressed."""

    def __init__(self, directory: Path, seed: int, tally: Tally) -> None:
        self._rng = random.Random(seed)
        self._tally = tally
        self._workshop = Workshop(directory)
        self._contents: list[list[list[object]]] = []
        self._sound: list[bytes] = []
        self._medium = self._workshop.store / "backup" / "damaged.bak"
        self._build()

    def _build(self) -> None:
        shop = self._workshop
        shop.run("CREATE DATABASE source")
        shop.fill("source", "CREATE TABLE t(id INTEGER PRIMARY KEY, body BLOB)")
        for number in range(2):
            shop.fill(
                "source", f"INSERT INTO t(body) VALUES (randomblob({3000 + number})), (zeroblob(20000))"
            )
            self._contents.append(shop.rows("source", "SELECT id, body FROM t"))
            for name, words in (("plain", ""), ("packed", ", COMPRESSION")):
                mode = "NOINIT" if number else "FORMAT"
                done = numbers(shop.run(f"BACKUP DATABASE source TO DISK='{name}.bak' WITH {mode}{words}"))
                check(3014 in done, f"a sound backup answers {done}")
        for name in ("plain", "packed"):
            self._sound.append((shop.store / "backup" / f"{name}.bak").read_bytes())
        check(3014 in self._restore(self._sound[0], 1), "a sound medium cannot be restored")

    def _restore(self, content: bytes, position: int) -> list[int]:
        self._medium.parent.mkdir(exist_ok=True)
        self._medium.write_bytes(content)
        return numbers(
            self._workshop.run(
                f"RESTORE DATABASE target FROM DISK='damaged.bak' WITH FILE={position}, REPLACE,"
                " MOVE 'source' TO 'target.mdf', MOVE 'source_log' TO 'target.ldf'"
            )
        )

    def _damaged(self) -> bytes:
        rng = self._rng
        sound = rng.choice(self._sound)
        if rng.random() < 0.5:
            return mutate(rng, sound, self._sound)
        # Other numbers under seals that match.
        content = bytearray(sound)
        offset, length = rng.choice(structures(sound))
        at = offset + rng.randrange(min(length, 112) - 24)
        content[at : at + 8] = struct.pack("<Q", rng.choice(_EDGES))
        body = bytes(content[offset : offset + length - layout.DIGEST_SIZE])
        content[offset + length - layout.DIGEST_SIZE : offset + length] = layout.digest(body)
        return bytes(content)

    def one(self) -> int:
        """One damaged medium under every statement that reads media. Raises Violation."""
        content = self._damaged()
        self._medium.write_bytes(content)
        position = self._rng.choice((1, 2))
        try:
            for kind in _SUCCESS:
                where = f" WITH FILE={position}" if kind not in ("LABELONLY", "HEADERONLY") else ""
                self._workshop.run(f"RESTORE {kind} FROM DISK='damaged.bak'{where}")
            before = self._workshop.rows("target", "SELECT id, body FROM t")
            done = self._restore(content, position)
            after = self._workshop.rows("target", "SELECT id, body FROM t")
        except Exception as error:
            keep = Path(tempfile.gettempdir()) / f"tdsproxy-damaged-{self._rng.getrandbits(32):08x}.bak"
            keep.write_bytes(content)
            raise Violation(f"{keep}, set {position}: {type(error).__name__}: {error}") from error
        if 3014 in done:
            check(after in self._contents, f"set {position} of a damaged medium restored to something else")
            self._tally.add("damaged media that still restore")
        else:
            check(3013 in done, f"RESTORE ended with {done}")
            check(after == before, f"a refused RESTORE ({done}) changed its target")
        self._tally.add("damaged media")
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        check(grown < self.limit, f"reading damaged media took {grown >> 20} MiB")
        return 1

    limit = MEMORY


@contextmanager
def media_fuzzer(seed: int, tally: Tally) -> Iterator[MediaFuzzer]:
    with tempfile.TemporaryDirectory(prefix="tdsproxy-torture-") as directory:
        fuzzer = MediaFuzzer(Path(directory), seed, tally)
        fuzzer.limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 + MEMORY
        yield fuzzer
