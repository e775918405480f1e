"""What of a directory a power cut leaves: the model of a disk that keeps what was synced, and maybe more.

A file's bytes are durable as they were at its last sync, a directory's names as they were at its own. What
came later may be there or not, a file's pages each for itself, or its sectors: then pages are torn. A C
library that is loaded before all others tells of the syncs of the product's processes, SQLite's among them,
and waits, so that the state at each can be kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil
import socket
import stat
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

PAGE = 4096
SECTOR = 512
VOLATILE = ("-shm", ".sock", ".lock", ".log", ".jsonl")
"""Endings of names that nobody needs after a power cut."""

NAMES = "names.json"
_LONGEST = 8192
"""Bytes of a message, and more: it comes in one piece."""

Entries = dict[str, int]


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc")


def build_shim(directory: Path, name: str = "power_shim") -> Path:
    """The library. Raises OSError, subprocess.CalledProcessError."""
    found = compiler()
    if found is None:
        raise FileNotFoundError("there is no C compiler")
    library = directory / f"{name}.so"
    source = Path(__file__).with_name(f"{name}.c")
    subprocess.run(
        [found, "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"], check=True, timeout=60
    )
    return library


@dataclass
class Disk:
    """The durable state of everything below ``root``, by inode. ``on_sync`` is called after each sync with
    its number, while the process that made it waits."""

    root: Path
    on_sync: Callable[[int], None] = lambda number: None
    syncs: int = 0
    _content: dict[int, bytes] = field(default_factory=dict)
    _entries: dict[int, Entries] = field(default_factory=dict)
    pool: Path = Path()
    """Where files go whose names go, so that their inodes are not given to others."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    # ------------------------------------------------------------------ events

    def synced(self, path: Path, descriptor: int) -> None:
        """``descriptor`` is the one that was synced."""
        with self._lock:
            try:
                status = path.stat()
            except FileNotFoundError:
                # Synced under a name that has gone: nothing of it can be found again.
                return
            is_directory = stat.S_ISDIR(status.st_mode)
            self._keep(path, status.st_ino, _listing(path) if is_directory else _content(path, descriptor))
            self.syncs += 1
            self.on_sync(self.syncs)

    def _keep(self, path: Path, inode: int, now: bytes | Entries) -> None:
        """What was synced is durable."""
        if isinstance(now, bytes):
            self._entries.pop(inode, None)
            self._content[inode] = now
        else:
            self._entries[inode] = now

    def going(self, path: Path) -> None:
        """A name is about to go."""
        with self._lock, contextlib.suppress(OSError):
            os.link(path, self.pool / str(path.lstat().st_ino), follow_symlinks=False)

    # ------------------------------------------------------------------ views

    def leave(self, target: Path, rng: random.Random | None) -> None:
        """Writes into ``target`` what a power cut now leaves: what is durable and nothing else, or, by the
        choices of ``rng``, also some of what came after. Only within ``on_sync``.

        A file is called by its inode there; ``NAMES`` says where each belongs."""
        target.mkdir(parents=True)
        names: dict[str, int | None] = {}
        self._leave(self.root, self.root.stat().st_ino, "", target, names, rng, {})
        target.joinpath(NAMES).write_text(json.dumps(names))

    def _leave(
        self,
        path: Path | None,
        inode: int,
        name: str,
        target: Path,
        names: dict[str, int | None],
        rng: random.Random | None,
        seen: dict[int, Path],
    ) -> None:
        names[name] = None
        entries = self._entries.get(inode, {})
        current = _listing(path) if path is not None else {}
        if path is not None:
            seen |= {number: path / name for name, number in current.items()}
        if rng is not None and path is not None and rng.random() < 0.5:
            entries = current
        for entry, number in entries.items():
            if entry.endswith(VOLATILE):
                continue
            place = seen.get(number)
            # A file may have got the number of a directory that has gone.
            is_known = number in self._entries and (place is None or place.is_dir())
            if is_known or (place is not None and place.is_dir()):
                self._leave(place, number, f"{name}/{entry}", target, names, rng, seen)
            else:
                names[f"{name}/{entry}"] = number
                (target / str(number)).write_bytes(self._bytes(place, number, rng))

    def take_all(self) -> None:
        """Moves what is still there into the pool. The day is over."""
        for place in sorted(self.root.rglob("*")):
            if place.is_file() and not place.is_symlink():
                with contextlib.suppress(FileExistsError):
                    os.link(place, self.pool / str(place.stat().st_ino))
        shutil.rmtree(self.root)

    def put_back(self, remains: Path) -> None:
        """Makes ``root`` what ``leave`` has written: each file with the inode that it had."""
        shutil.rmtree(self.root, ignore_errors=True)
        names: dict[str, int | None] = json.loads(remains.joinpath(NAMES).read_text())
        for name, number in names.items():
            place = self.root / name.lstrip("/")
            if number is None:
                place.mkdir(mode=0o700)
                continue
            pooled = self.pool / str(number)
            pooled.write_bytes(remains.joinpath(str(number)).read_bytes())
            os.link(pooled, place)

    def _bytes(self, place: Path | None, inode: int, rng: random.Random | None) -> bytes:
        durable = self._content.get(inode, b"")
        if rng is None or place is None or _is_leased(inode):
            return durable
        current = place.read_bytes()
        choice = rng.randrange(3)
        if choice == 0 or current == durable:
            return durable
        if choice == 1:
            return current
        size = rng.choice((len(durable), len(current)))
        unit = rng.choice((PAGE, SECTOR))
        mixed = bytearray()
        for at in range(0, size, unit):
            source = current if rng.random() < 0.5 else durable
            mixed += source[at : at + unit].ljust(min(unit, size - at), b"\0")[: size - at]
        return bytes(mixed)


def _content(path: Path, descriptor: int) -> bytes:
    """Of the file that was synced, without opening it, as that would break a lease."""
    if fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
        return path.read_bytes()
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0)


def _is_leased(inode: int) -> bool:
    """Whoever opens such a file waits until its holder gives it up, and the holder waits for the recorder."""
    lines = Path("/proc/locks").read_text().splitlines()
    return any(" LEASE " in line and line.split()[5].endswith(f":{inode}") for line in lines)


def _listing(path: Path) -> Entries:
    found: Entries = {}
    with os.scandir(path) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) or entry.is_dir(follow_symlinks=False):
                found[entry.name] = entry.inode()
    return found


class Recorder:
    """The end that the library tells: one at a time, each waits for the answer."""

    def __init__(self, disk: Disk, address: Path) -> None:
        self._disk = disk
        self._address = address
        self.failure: BaseException | None = None
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(address))
        self._socket.listen(64)
        self._thread = threading.Thread(target=self._serve, name="recorder", daemon=True)
        self._thread.start()

    def environment(self, library: Path) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(library),
            "POWER_RECORDER": str(self._address),
            "POWER_ROOT": str(self._disk.root),
        }

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    self._take(connection)
                    connection.sendall(b".")
                except BaseException as error:  # noqa: BLE001 - the campaign looks at it
                    self.failure = self.failure or error

    def _take(self, connection: socket.socket) -> None:
        message, descriptors, _, _ = socket.recv_fds(connection, _LONGEST, 1)
        try:
            line = message.decode(errors="surrogateescape")
            path = Path(line[1:].rstrip("\n"))
            if line[:1] == "S":
                self._disk.synced(path, descriptors[0])
            elif line[:1] == "G":
                self._disk.going(path)
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join(60)
