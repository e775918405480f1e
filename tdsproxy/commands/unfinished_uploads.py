"""Which uploads are under way, noted in the store: what a keeper that was killed has left is removed by the
next one."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tdsproxy.commands.environment import CommandEnvironment
from tdsproxy.commands.failure import CommandError
from tdsproxy.commands.url_devices import secret_for
from tdsproxy.objects.errors import ObjectError, Reason
from tdsproxy.objects.unfinished import abort_uploads
from tdsproxy.objects.url import Kind, parse_url

_log = logging.getLogger(__name__)
_GONE: Final = (Reason.NO_BUCKET, Reason.MISSING)


def remove_unfinished(env: CommandEnvironment, notes: Sequence[Path]) -> None:
    """For the owner of a store. What cannot be removed now is tried again at the next start."""
    for note in notes:
        try:
            _remove(env, json.loads(note.read_bytes()))
        except ObjectError as error:
            if error.reason not in _GONE:
                _log.warning("what was left of an upload could not be removed: %s", error)
                continue
        except (CommandError, OSError) as error:
            _log.warning("what was left of an upload could not be removed: %s", error)
            continue
        except (ValueError, KeyError, TypeError):
            _log.warning("%s says nothing of an upload", note)
        note.unlink(missing_ok=True)


def _remove(env: CommandEnvironment, found: dict[str, Any]) -> None:
    url = parse_url(str(found["url"]))
    secret = secret_for(env, url, found.get("credential"))
    if url.kind not in (Kind.S3, Kind.GCS) or secret is None:
        return  # Azure forgets blocks that nobody commits by itself
    with env.object_locks.hold(url.identity, lambda: True) as free:
        if not free:
            raise ObjectError(Reason.CHANGED)
        count = abort_uploads(url, secret, env.reaching, found.get("region"))
    _log.info("removed %d unfinished uploads to %s", count, url.text)
