"""How far another place is behind this store, or this store behind another."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tdsproxy.commands.elsewhere import read_follow_state, read_sync_state
from tdsproxy.keeper.exposition import Metric


def elsewhere_metrics(store: Path) -> list[Metric]:
    """No samples for a store that is neither synchronised nor a standby."""
    lag = Metric(
        "tdsproxy_sync_lag_seconds", "gauge", "Age of the newest moment that the object store has all of."
    )
    waiting = Metric("tdsproxy_sync_files_waiting", "gauge", "Media on their way to the object store.")
    unprotected = Metric(
        "tdsproxy_sync_unprotected", "gauge", "Databases in FULL that could not be restored to the present."
    )
    going = Metric(
        "tdsproxy_sync_ok", "gauge", "1 while the object store is kept up, 0 while that fails or is refused."
    )
    standby = Metric("tdsproxy_standby_lag_seconds", "gauge", "What taking over now would lose at most.")
    behind = Metric("tdsproxy_standby_ok", "gauge", "1 for a database that is followed, by database.")
    sent = read_sync_state(store)
    if sent is not None:
        _age(lag, sent)
        going.add(int(sent.get("error") is None))
        waiting.add(sent.get("files_waiting") or 0)
        unprotected.add(len(sent.get("unprotected") or ()))
    followed = read_follow_state(store)
    if followed is not None and not followed.get("ended"):
        _age(standby, followed)
        for name, known in followed.get("databases", {}).items():
            behind.add(int(known.get("error") is None), database=name)
    return [lag, waiting, unprotected, going, standby, behind]


def _age(metric: Metric, state: dict[str, Any]) -> None:
    through = state.get("through_ns")
    if through:
        metric.add(max(0.0, (time.time_ns() - through) / 1e9))
