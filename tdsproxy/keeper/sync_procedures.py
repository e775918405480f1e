"""``sp_sync @take_over``: what is where this store is synchronised to, and taking it over."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from tdsproxy.commands.context import Context
from tdsproxy.commands.elsewhere import read_sync_state
from tdsproxy.commands.failure import fail
from tdsproxy.commands.file_procedures import Procedure, Row
from tdsproxy.keeper import sync_layout as layout
from tdsproxy.keeper.options import SyncOptions
from tdsproxy.tsql.values import Value

_log = logging.getLogger(__name__)


def sync_procedures(options: Callable[[], SyncOptions | None]) -> dict[str, Procedure]:
    """For ``CommandEnvironment.procedures``."""

    def asked(context: Context, values: Sequence[Value]) -> list[Row]:
        """One row: a JSON document. Its ``error`` tells why nothing can be said, or was taken over."""
        if not context.is_admin:
            raise fail(229, "EXECUTE", "sp_sync", "master", "dbo")
        take = bool(values) and str(values[0]) == "1"
        return [(json.dumps(_told(context, options(), take=take), ensure_ascii=False),)]

    return {"sp_sync": asked}


def _told(context: Context, options: SyncOptions | None, *, take: bool) -> dict[str, Any]:
    # With an object store come libraries that a keeper without one does not load.
    from tdsproxy.keeper.sync import reach
    from tdsproxy.keeper.sync_claim import (
        Identity,
        NotOurs,
        Superseded,
        claim,
        formers,
        read_manifest,
    )
    from tdsproxy.objects.errors import ObjectError, Reason
    from tdsproxy.objects.lease import LeaseTaken

    if options is None:
        return {"url": None, "error": "this store is not synchronised (serve --sync URL)"}
    store = context.env.catalog.store
    identity = Identity(store)
    found: dict[str, Any] = {
        "url": options.url,
        "state": read_sync_state(store),
        "error": None,
        "taken": None,
    }
    try:
        bucket, key = reach(context.env, options)
        if take:
            claimed = claim(bucket, key, identity, take_over=True)
            claimed.lease.release()
            found["taken"] = claimed.epoch
            _log.info("taken over what is at %s: epoch %d", options.url, claimed.epoch)
        manifest, _ = read_manifest(bucket, key)
        if manifest is not None:
            found |= {
                "ours": identity.wrote(manifest),
                "writer": manifest.about or manifest.store,
                "epoch": manifest.epoch,
                "through_ns": manifest.through_ns,
                "databases": manifest.databases,
            }
        found["former"] = [
            {"epoch": epoch, "taken_over": at} for epoch, at in sorted(formers(bucket, key).values())
        ]
        try:
            lease = json.loads(bucket.read_all(key(layout.LEASE))[0])
            left = float(lease.get("until", 0)) - time.time()
            found["holder"] = str(lease.get("about", "")) if left > 0 else None
        except ObjectError as error:
            if error.reason is not Reason.MISSING:
                raise
    except (NotOurs, LeaseTaken, Superseded, ObjectError, OSError, layout.ManifestDamaged) as error:
        found["error"] = str(error)
    return found
