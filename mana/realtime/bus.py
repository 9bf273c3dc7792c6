"""Carries announcements between nodes over the channel layer: one channel, one group, one publishing task per process.

The layer may lose, repeat and reorder; the hub does not mind. Publishing from one task keeps to one connection, which
is what redis-py's pool and the order of messages want. What one of ``mana.layers`` takes at once needs no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
from channels.layers import InMemoryChannelLayer, get_channel_layer

from mana.conf import settings
from mana.layers.topics import TopicChannelLayer
from mana.realtime import tasks
from mana.realtime.announcements import Announcement, pack, unpack
from mana.realtime.counters import counters

if TYPE_CHECKING:
    from mana.realtime.hub import Hub

logger = logging.getLogger("mana.bus")

GROUP = "mana.nodes"
MESSAGE_TYPE = "mana.announce"
#: Bytes of one message on the layer; NATS refuses more than 1 MiB by default.
MESSAGE_BYTES = 256 * 1024
#: Announcements that may wait to be published. Beyond, the oldest are dropped; other nodes read them from the database.
BACKLOG = 50_000
#: Seconds between renewals of the group's membership, which layers let expire (channels_redis after a day).
RENEWAL = 3600.0
#: Seconds between renewals at the least.
RENEWAL_PAUSE = 1.0
SEND_TIMEOUT = 5.0
#: Seconds that a process which ends takes to publish what waits.
LAST_WORDS = 1.0


class Bus(Protocol):
    """What the hub needs of the way to other nodes."""

    async def start(self) -> None:
        """Begins to receive."""

    async def stop(self) -> None:
        """Ends receiving and publishing."""

    def publish(self, announcements: list[Announcement]) -> None:
        """Sends announcements to the other nodes, soon, if it can be done."""

    def doubt(self) -> None:
        """Events were committed that did not come this way: it may have forgotten this node."""


class NoBus:
    """For a single process: there is nobody else to tell."""

    async def start(self) -> None:
        """Nothing to begin."""

    async def stop(self) -> None:
        """Nothing to end."""

    def publish(self, announcements: list[Announcement]) -> None:
        """Nobody to tell."""

    def doubt(self) -> None:
        """Nothing can have been forgotten."""


class LayerBus:
    """The nodes that share a channel layer."""

    def __init__(self, hub: Hub, layer: Any) -> None:
        self._hub = hub
        self._layer = layer
        self._channel = ""
        self._waiting: deque[Announcement] = deque(maxlen=BACKLOG)
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()  # nothing waits to be published, and nothing is being
        self._idle.set()
        #: What was begun and made somebody wait, with what it sends; the publishing task finishes it.
        self._unfinished: tuple[Awaitable[None], list[Announcement]] | None = None
        self._doubted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.drops = 0

    @property
    def connected(self) -> bool:
        """Whether this node is in the group of nodes, as far as it knows."""
        if isinstance(self._layer, TopicChannelLayer) and not self._layer.is_connected(self._hub.loop):
            return False
        return bool(self._channel)

    @property
    def backlog(self) -> int:
        """Announcements that wait to be published."""
        return len(self._waiting)

    async def start(self) -> None:
        """Joins the group of nodes, unless that was done. A layer that is away is tried again and again; the database
        bridges the time."""
        if self._tasks:
            return
        try:
            async with asyncio.timeout(SEND_TIMEOUT):
                await self._join()
        except Exception as error:
            logger.warning("The channel layer can't be reached; events come from the database: %s", error)
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._receive(), name="mana-bus-receive"),
            loop.create_task(self._publish(), name="mana-bus-publish"),
            loop.create_task(self._renew(), name="mana-bus-renew"),
        ]

    async def stop(self) -> None:
        """Leaves the group, after the last announcements were published."""
        if self._tasks:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._idle.wait()
        await tasks.end(self._tasks)
        try:
            if self._channel:
                async with asyncio.timeout(SEND_TIMEOUT):
                    if isinstance(self._layer, TopicChannelLayer):
                        await self._layer.group_unlisten(GROUP, self._take)
                    else:
                        await self._layer.group_discard(GROUP, self._channel)
        except Exception as error:
            logger.info("The channel layer's group was not left cleanly: %s", error)
        try:
            if hasattr(self._layer, "close_pools"):
                await self._layer.close_pools()
        except Exception as error:
            logger.info("The channel layer was not left cleanly: %s", error)

    def publish(self, announcements: list[Announcement]) -> None:
        """Publishes announcements: at once what the layer takes without a wait, the rest from the publishing task."""
        overflow = len(self._waiting) + len(announcements) - BACKLOG
        if overflow > 0:
            self.drops += overflow
        self._waiting.extend(announcements)
        if self._idle.is_set() and isinstance(self._layer, TopicChannelLayer) and self.connected:
            self._publish_at_once()
        if self._waiting or self._unfinished is not None:
            self._idle.clear()
            self._wake.set()

    def _publish_at_once(self) -> None:
        """Publishes as much of what waits as the layer takes without making anybody wait: that spares a turn of the
        event loop."""
        while self._waiting and self._unfinished is None:
            sending, batch = self._begin()
            try:
                suspended = tasks.start(sending)
            except Exception as error:
                self._drop(batch, error)
            else:
                if suspended is None:
                    counters.published += len(batch)
                else:
                    self._unfinished = suspended, batch

    def doubt(self) -> None:
        """Renews the group's membership soon: a layer that was emptied does not say so."""
        self._doubted.set()

    async def _join(self) -> None:
        # With the same prefix as everybody else's in this process: channels_redis reads one prefix at a time, and would
        # leave ours unread for as long as nothing comes for the project's own consumers.
        channel = await self._layer.new_channel()
        if isinstance(self._layer, TopicChannelLayer):
            await self._layer.on_reconnect(self._hub.repair)
            await self._layer.group_listen(GROUP, self._take)
        else:
            await self._layer.group_add(GROUP, channel)
        self._channel = channel

    def _take(self, message: dict[str, Any]) -> None:
        """A message of the layer's, of whatever sender."""
        try:
            if message.get("type") == MESSAGE_TYPE and message.get("node") != self._hub.node_id:
                announcements = unpack(message["data"])
                counters.received += len(announcements)
                self._hub.receive_from_others(announcements)
        except (msgspec.DecodeError, KeyError, TypeError) as error:
            logger.warning("A message on the channel layer was not understood: %s", error)

    async def _receive(self) -> None:
        pause = 0.1
        while True:
            try:
                if not self._channel:
                    await self._join()
                    self._hub.repair()
                if isinstance(self._layer, TopicChannelLayer):
                    return  # it calls _take(), and connects again by itself
                message = await self._layer.receive(self._channel)
                pause = 0.1
                self._take(message)
            except Exception as error:
                logger.warning("The channel layer does not deliver, another try in %.1f s: %s", pause, error)
                self._channel = ""
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def _publish(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting or self._unfinished is not None:
                sending, batch = self._unfinished or self._begin()
                self._unfinished = None
                try:
                    async with asyncio.timeout(SEND_TIMEOUT):
                        await sending
                    counters.published += len(batch)
                except Exception as error:
                    self._drop(batch, error)
            self._idle.set()

    def _begin(self) -> tuple[Awaitable[None], list[Announcement]]:
        batch: list[Announcement] = []
        size = 0
        while self._waiting and size < MESSAGE_BYTES:
            batch.append(self._waiting.popleft())
            size += batch[-1].size + 64
        return self._send(batch), batch

    def _drop(self, batch: list[Announcement], error: Exception) -> None:
        self.drops += len(batch)
        logger.warning("%d announcements were not published: %s", len(batch), error)

    async def _send(self, batch: list[Announcement]) -> None:
        message = message_for(batch, self._hub.node_id)
        if isinstance(self._layer, TopicChannelLayer):
            await self._layer.group_tell(GROUP, message)
        else:
            await self._layer.group_send(GROUP, message)

    async def _renew(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(RENEWAL):
                    await self._doubted.wait()
            self._doubted.clear()
            try:
                if self._channel:
                    async with asyncio.timeout(SEND_TIMEOUT):
                        if isinstance(self._layer, TopicChannelLayer):
                            await self._join()
                        else:
                            await self._layer.group_add(GROUP, self._channel)
            except Exception as error:
                logger.warning("The channel layer's group was not renewed: %s", error)
            await asyncio.sleep(RENEWAL_PAUSE)


def message_for(announcements: list[Announcement], node_id: str) -> dict[str, Any]:
    """Announcements as a channel layer message."""
    return {"type": MESSAGE_TYPE, "node": node_id, "data": pack(announcements)}


def connects_processes(layer: Any) -> bool:
    """Whether a channel layer reaches other processes."""
    return layer is not None and not isinstance(layer, InMemoryChannelLayer)


def make_bus(hub: Hub) -> Bus:
    """The bus for the configured channel layer."""
    layer = get_channel_layer(settings.CHANNEL_LAYER)
    return LayerBus(hub, layer) if connects_processes(layer) else NoBus()
