"""Reaching the keeper of a store, which is started when there is none."""

from __future__ import annotations

import asyncio

from tdsproxy.keeper.client import KeeperClient, SyncKeeper
from tdsproxy.keeper.launch import ensure_keeper
from tdsproxy.keeper.options import KeeperOptions, wanted_elsewhere


async def connect(options: KeeperOptions, *, serves: bool = False) -> KeeperClient:
    """A client of the store's keeper, which is started when there is none; also again, when it is lost.
    The jobs of the store run while there is one that ``serves`` clients. Raises KeeperUnavailable."""

    async def start() -> None:
        await asyncio.to_thread(ensure_keeper, options)

    wants = wanted_elsewhere(options) if serves else ""
    return await KeeperClient.connect(options.store, start, serves=serves, wants=wants)


def connect_sync(
    options: KeeperOptions, *, durable_commits: bool = False, serves: bool = False
) -> SyncKeeper:
    """As ``connect``, for threads; see ``SyncKeeper``. Raises KeeperUnavailable."""

    async def start() -> None:
        await asyncio.to_thread(ensure_keeper, options)

    wants = wanted_elsewhere(options) if serves else ""
    return SyncKeeper.open(options.store, start, durable_commits=durable_commits, serves=serves, wants=wants)
