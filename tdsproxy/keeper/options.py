"""How a keeper is started: what it is told on its command line, and by whom it may be asked."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SyncOptions:
    """Where the store is synchronised to, or which one it follows. ``secret_file`` holds the credential;
    without it, the store's own for the URL is used. ``key_file`` holds a passphrase: only with it the service
    master key is sent, sealed by it. ``interval`` in seconds."""

    url: str
    secret_file: Path | None = None
    key_file: Path | None = None
    interval: float = 1.0


@dataclass(frozen=True, slots=True)
class KeeperOptions:
    """``backup_directory`` None is ``STORE/backup``; ``server_name`` empty is the machine's name.

    A keeper without clients stops after ``idle_seconds``. When it is told to stop, running statements may
    go on for ``grace_seconds``. Of what is already in log backups, a database's archive keeps at most
    ``log_bytes``, and nothing older than ``log_seconds``. ``s3_http`` and ``ca_file`` are those of
    ``objects.options.Reaching``. ``max_rate``: bytes a second that all statements together may read from
    media and write to them, None: any.
    """

    store: Path
    backup_directory: Path | None = None
    allowed: tuple[Path, ...] = ()
    mappings: tuple[tuple[str, Path], ...] = ()
    server_name: str = ""
    idle_seconds: float = 5.0
    grace_seconds: float = 10.0
    log_level: str = "info"
    log_bytes: int = 1 << 30
    log_seconds: float | None = None
    s3_http: tuple[str, ...] = ()
    ca_file: Path | None = None
    sync: SyncOptions | None = None
    follow: SyncOptions | None = None
    log_json: bool = False
    max_rate: int | None = None

    def arguments(self) -> list[str]:
        """The command line that says the same."""
        words = ["--store", str(self.store)]
        if self.backup_directory is not None:
            words += ["--backup-dir", str(self.backup_directory)]
        for directory in self.allowed:
            words += ["--allow-dir", str(directory)]
        for source, target in self.mappings:
            words += ["--path-map", f"{source}={target}"]
        if self.server_name:
            words += ["--server-name", self.server_name]
        words += ["--log-keep-size", str(self.log_bytes)]
        if self.log_seconds is not None:
            words += ["--log-keep-time", str(self.log_seconds)]
        if self.max_rate is not None:
            words += ["--max-rate", str(self.max_rate)]
        for host in self.s3_http:
            words += ["--s3-http", host]
        if self.ca_file is not None:
            words += ["--ca-file", str(self.ca_file)]
        if self.sync is not None:
            words += ["--sync", self.sync.url, "--sync-interval", str(self.sync.interval)]
            if self.sync.secret_file is not None:
                words += ["--sync-secret-file", str(self.sync.secret_file)]
            if self.sync.key_file is not None:
                words += ["--sync-key-file", str(self.sync.key_file)]
        if self.follow is not None:
            words += ["--follow", self.follow.url, "--follow-interval", str(self.follow.interval)]
            if self.follow.secret_file is not None:
                words += ["--follow-secret-file", str(self.follow.secret_file)]
        words += ["--idle", str(self.idle_seconds), "--grace", str(self.grace_seconds)]
        if self.log_json:
            words.append("--log-json")
        return [*words, "--log-level", self.log_level]


def wanted_elsewhere(options: KeeperOptions) -> str:
    """What a keeper is to be sent to and to follow, for one that was started for something else; empty for
    nothing."""
    if options.sync is None and options.follow is None:
        return ""
    return json.dumps([_elsewhere(options.sync), _elsewhere(options.follow)])


def read_wanted(text: str) -> tuple[SyncOptions | None, SyncOptions | None]:
    """Of ``wanted_elsewhere``. Raises ValueError."""
    found: list[SyncOptions | None] = []
    for item in json.loads(text) if text else (None, None):
        if item is None:
            found.append(None)
            continue
        url, secret, key, interval = item
        secret_file, key_file = (Path(path) if path else None for path in (secret, key))
        found.append(SyncOptions(str(url), secret_file, key_file, float(interval)))
    sync, follow = found
    return sync, follow


def _elsewhere(options: SyncOptions | None) -> list[str | float | None] | None:
    if options is None:
        return None
    files = (options.secret_file, options.key_file)
    return [options.url, *(str(path.absolute()) if path else None for path in files), options.interval]


def parse_mapping(text: str) -> tuple[str, Path]:
    """``FROM=TO``. Raises ValueError."""
    source, equals, target = text.partition("=")
    if not (source and equals and target):
        raise ValueError(f"{text!r} is not FROM=TO")
    return source, Path(target)


def parse_arguments(words: Sequence[str]) -> tuple[KeeperOptions, int | None]:
    """The options, and the descriptor to which readiness is told. Exits with a usage message."""
    import argparse  # the keeper's own start needs it, those who start one don't

    parser = argparse.ArgumentParser(
        prog="python -m tdsproxy.keeper", description="Owns a store: runs its native statements."
    )
    parser.add_argument("--store", type=Path, required=True)
    parser.add_argument("--backup-dir", type=Path)
    parser.add_argument("--allow-dir", type=Path, action="append", default=[])
    parser.add_argument("--path-map", type=parse_mapping, action="append", default=[])
    parser.add_argument("--server-name", default="")
    parser.add_argument("--idle", type=float, default=5.0)
    parser.add_argument("--grace", type=float, default=10.0)
    parser.add_argument("--log-level", default="info")
    parser.add_argument("--log-json", action="store_true")
    parser.add_argument("--log-keep-size", type=int, default=1 << 30)
    parser.add_argument("--log-keep-time", type=float)
    parser.add_argument("--max-rate", type=int)
    parser.add_argument("--s3-http", action="append", default=[])
    parser.add_argument("--ca-file", type=Path)
    parser.add_argument("--sync")
    parser.add_argument("--sync-secret-file", type=Path)
    parser.add_argument("--sync-key-file", type=Path)
    parser.add_argument("--sync-interval", type=float, default=1.0)
    parser.add_argument("--follow")
    parser.add_argument("--follow-secret-file", type=Path)
    parser.add_argument("--follow-interval", type=float, default=1.0)
    parser.add_argument("--ready-fd", type=int)
    found = parser.parse_args(words)
    sync = None
    if found.sync:
        sync = SyncOptions(found.sync, found.sync_secret_file, found.sync_key_file, found.sync_interval)
    follow = None
    if found.follow:
        follow = SyncOptions(found.follow, found.follow_secret_file, None, found.follow_interval)
    options = KeeperOptions(
        found.store,
        found.backup_dir,
        tuple(found.allow_dir),
        tuple(found.path_map),
        found.server_name,
        found.idle,
        found.grace,
        found.log_level,
        found.log_keep_size,
        found.log_keep_time,
        tuple(found.s3_http),
        found.ca_file,
        sync,
        follow,
        found.log_json,
        found.max_rate,
    )
    return options, found.ready_fd
