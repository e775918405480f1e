"""Taking back a restore: the content that it replaced comes into its place again."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from tdsproxy.backup.errors import NothingToUndo, OperationCancelled
from tdsproxy.backup.image import target_error
from tdsproxy.store import crashpoints
from tdsproxy.store.errors import DatabaseBusy, InstallFailed
from tdsproxy.store.install import Installed, image_path, install_new, replace_live, settle_copy, undo_copies

_COPY_BYTES = 1 << 20


def undo_restore(
    target: Path,
    undo: Path | None = None,
    *,
    busy_milliseconds: int = 5_000,
    cancel: threading.Event | None = None,
    locked: Callable[[], None] = lambda: None,
) -> Installed:
    """Give ``target`` the content that the last restore in place replaced, or that of the copy ``undo``.

    The present content is kept in turn, so that this can be undone, too. ``locked`` as in
    ``store.install.replace_live``. When it raises, the target is what it was. Raises NothingToUndo,
    OperationCancelled, TargetError, DatabaseBusy, InstallFailed.
    """
    stop = cancel if cancel is not None else threading.Event()
    source = undo
    if source is None:
        copies = undo_copies(target)
        source = copies[-1] if copies else None
    if source is None or not source.exists():
        raise NothingToUndo(target)
    image = image_path(target)
    try:
        settle_copy(source)
        _copy(source, image, stop)
        crashpoints.reach("undo.copied")
        if not target.exists():
            locked()
            return install_new(image, target)
        return replace_live(
            image, target, busy_milliseconds=busy_milliseconds, cancelled=stop.is_set, locked=locked
        )
    except (InstallFailed, DatabaseBusy) as error:
        if stop.is_set():
            raise OperationCancelled("the undo was cancelled") from error
        raise
    except OSError as error:
        raise target_error(target, error) from error
    finally:
        image.unlink(missing_ok=True)


def _copy(source: Path, image: Path, stop: threading.Event) -> None:
    """The kept copy itself stays where it is until the replacement is committed."""
    with source.open("rb") as reading, image.open("wb") as writing:
        while block := reading.read(_COPY_BYTES):
            if stop.is_set():
                raise OperationCancelled("the undo was cancelled")
            writing.write(block)
        writing.flush()
        os.fsync(writing.fileno())
