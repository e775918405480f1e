"""Backups and restores in processes of their own, to be killed or starved: run as a script by tests.

``operate.py serve`` reads requests, ``[arguments, crash point]`` as one line of JSON each, runs each in a
fork of itself, and answers ``[exit status, what it printed]``; ``operate.py ARGUMENTS`` runs one. Arguments::

    backup SOURCE MEDIUM [new|append|init] [zstd] [map=DIRECTORY]
    differential SOURCE MEDIUM map=DIRECTORY
    log MEDIUM COUNT
    restore MEDIUM TARGET
    image MEDIUM IMAGE
    apply MEDIUM POSITION IMAGE
    undo TARGET
    statement DIRECTORY RESTART_BYTES TEXT

``limit=BYTES`` is the largest file that may be written. Prints ``done`` when the operation has been
acknowledged, or the error.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from uuid import UUID

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from tdsproxy.backup.errors import TargetError
from tdsproxy.backup.operations import (
    BackupOptions,
    apply_differential,
    apply_log,
    backup_database,
    backup_differential,
    backup_log,
    read_set,
    restore_database,
    restore_image,
    undo_restore,
)
from tdsproxy.log.records import Transaction
from tdsproxy.media.documents import DIFFERENTIAL
from tdsproxy.media.errors import MediaError
from tdsproxy.store import crashpoints
from tdsproxy.store.errors import StoreError
from tests.backup.making import description, disk

BASE = UUID("00000000-0000-0000-0000-00000000ba5e")
PAGE_SIZE = 4096


def transactions(count: int) -> list[Transaction]:
    """A log: transaction ``n`` fills pages ``n`` to ``n + 199`` of a database of 1000 with its number."""
    return [
        Transaction(
            number,
            number + 1,
            number,
            PAGE_SIZE,
            1000,
            [(page, bytes([number]) * PAGE_SIZE) for page in range(number, number + 200)],
        )
        for number in range(1, count + 1)
    ]


def backup(source: str, medium: str, *words: str) -> None:
    options = BackupOptions(
        init="init" in words, format="format" in words, compression=True if "zstd" in words else None
    )
    maps = _option(words, "map")
    about = description(name="new", set_guid=BASE) if maps else description(name="new")
    backup_database(Path(source), disk(Path(medium)), about, options, page_map=Path(maps) if maps else None)


def differential(source: str, medium: str, *words: str) -> None:
    about = description(name="new", differential_base_guid=BASE)
    backup_differential(Path(source), None, disk(Path(medium)), about, page_map=Path(_option(words, "map")))


def restore(medium: str, target: str, *words: str) -> None:
    del words
    restore_database(disk(Path(medium)), 1, Path(target), replace=True)


def log(medium: str, count: str, *words: str) -> None:
    del words
    about = description(name="new", first_lsn=1, last_lsn=int(count) + 1)
    backup_log(transactions(int(count)), disk(Path(medium)), about)


def image(medium: str, path: str, *words: str) -> None:
    del words
    restore_image(disk(Path(medium)), 1, Path(path))


def apply(medium: str, position: str, path: str, *words: str) -> None:
    del words
    device, number = disk(Path(medium)), int(position)
    if read_set(device, number).header.description.backup_type == DIFFERENTIAL:
        apply_differential(device, number, Path(path))
    else:
        apply_log(device, number, Path(path), 1)


def undo(target: str, *words: str) -> None:
    del words
    undo_restore(Path(target))


def statement(directory: str, restart_bytes: str, text: str, *words: str) -> None:
    del words
    from tests.commands.support import Workshop, numbers

    shop = Workshop(Path(directory))
    shop.env = replace(shop.env, restart_bytes=int(restart_bytes))
    print(*numbers(shop.run(text)))
    shop.close()


COMMANDS: dict[str, Callable[..., None]] = {
    "backup": backup,
    "differential": differential,
    "restore": restore,
    "log": log,
    "image": image,
    "apply": apply,
    "undo": undo,
    "statement": statement,
}


def _option(words: tuple[str, ...], name: str) -> str:
    return next((word.partition("=")[2] for word in words if word.startswith(f"{name}=")), "")


def run(arguments: list[str]) -> int:
    """Do what the arguments say; returns the exit status."""
    limit = _option(tuple(arguments), "limit")
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    try:
        COMMANDS[arguments[0]](*arguments[1:])
    except (MediaError, StoreError, TargetError, OSError) as error:
        print(type(error).__name__, error, flush=True)
        return 1
    print("done", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, flush=True)
    return 0


def serve() -> None:
    """Fork for each request: it must not cost the start of an interpreter."""
    for line in sys.stdin:
        arguments, crash_at = json.loads(line)
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.dup2(writing, 1)
            if crash_at:
                crashpoints._ARMED = crashpoints.CrashPoint(crash_at)
            os._exit(run(arguments))
        os.close(writing)
        with os.fdopen(reading) as output:
            printed = output.read()
        _, status = os.waitpid(child, 0)
        print(json.dumps([os.waitstatus_to_exitcode(status), printed]), flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve()
    else:
        raise SystemExit(run(sys.argv[1:]))
