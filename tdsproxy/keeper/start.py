"""Reaching the keeper of a store, which is started when there is none."""

from __future__ import annotations

import asyncio

from tdsproxy.keeper.client import KeeperClient, SyncKeeper
from tdsproxy.keeper.launch import ensure_keeper
from tdsproxy.keeper.options import KeeperOptions


async def connect(options: KeeperOptions) -> KeeperClient:
    """A client of the store's keeper, which is started when there is none; also again, when it is lost.
    Raises KeeperUnavailable."""

    async def start() -> None:
        await asyncio.to_thread(ensure_keeper, options)

    return await KeeperClient.connect(options.store, start)


def connect_sync(options: KeeperOptions, *, durable_commits: bool = False) -> SyncKeeper:
    """As ``connect``, for threads; see ``SyncKeeper``. Raises KeeperUnavailable."""

    async def start() -> None:
        await asyncio.to_thread(ensure_keeper, options)

    return SyncKeeper.open(options.store, start, durable_commits=durable_commits)
