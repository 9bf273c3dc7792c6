"""A channel layer over NATS, to the specification of Channels.

``channels-nats`` on PyPI has been frozen in alpha; this is the little that is needed, on the official client. Delivery
is at most once, as the specification allows: a channel that is not read keeps its newest ``capacity`` messages, and
what is sent while the server is away is lost once the client's buffer is full. Use::

    CHANNEL_LAYERS = {"default": {
        "BACKEND": "mana.layers.nats.NatsChannelLayer",
        "CONFIG": {"servers": ["nats://127.0.0.1:4222"]},
    }}
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
import nats
from channels.layers import BaseChannelLayer
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

logger = logging.getLogger("mana.layers.nats")

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class NatsChannelLayer(BaseChannelLayer):  # type: ignore[misc]  # Channels has no types
    """Channels and groups as NATS subjects below ``prefix``.

    ``capacity`` is the number of messages that wait in a channel. ``options`` go to ``nats.connect``, for example
    ``{"user": ..., "password": ..., "tls": ...}``. One connection per event loop; it reconnects for ever.
    """

    extensions = ["groups", "flush"]

    def __init__(
        self,
        servers: Sequence[str] = ("nats://127.0.0.1:4222",),
        *,
        prefix: str = "channels",
        capacity: int = 1000,
        expiry: int = 60,
        options: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.servers = list(servers)
        self.prefix = prefix
        self.options = options or {}
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, _Link] = WeakKeyDictionary()

    # -- Channels ---------------------------------------------------------------------------------------------

    async def new_channel(self, prefix: str = "specific") -> str:
        """A name for a channel of this process."""
        return f"{prefix}.nats!{secrets.token_hex(12)}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Sends to one channel."""
        self.require_valid_channel_name(channel)
        await (await self._link()).publish(self._subject("c", channel), _encode(message))

    async def receive(self, channel: str) -> dict[str, Any]:
        """Waits for the next message of a channel."""
        self.require_valid_channel_name(channel)
        link = await self._link()
        # Several processes may read a channel that is not one process's own: each message goes to one of them.
        await link.subscribe(self._subject("c", channel), channel, queue="receivers")
        return await link.inbox(channel).get()

    # -- Groups -----------------------------------------------------------------------------------------------

    async def group_add(self, group: str, channel: str) -> None:
        """Adds a channel, which must be read in this process, to a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await (await self._link()).subscribe(self._subject("g", group), channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Takes a channel out of a group."""
        self.require_valid_group_name(group)
        await (await self._link()).unsubscribe(self._subject("g", group), channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Sends to all channels of a group."""
        self.require_valid_group_name(group)
        await (await self._link()).publish(self._subject("g", group), _encode(message))

    # -- Life -------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Forgets what waits in the channels of this loop, and its groups."""
        await (await self._link()).reset()

    async def close_pools(self) -> None:
        """Closes the connection of this event loop (the name is that of channels_redis)."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.close()

    async def _link(self) -> _Link:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = self._links[loop] = _Link(self._connect, self.capacity)
        await link.connected()
        return link

    async def _connect(self) -> Client:
        return await nats.connect(
            self.servers,
            **{
                "name": "django-mana",
                "max_reconnect_attempts": -1,
                "reconnect_time_wait": 0.25,
                "connect_timeout": 3,
                "error_cb": _log_error,
                **self.options,
            },
        )

    def _subject(self, kind: str, name: str) -> str:
        # Subjects are split at dots and have wildcards; names of channels may hold anything printable.
        return f"{self.prefix}.{kind}.{hashlib.sha256(name.encode()).hexdigest()[:40]}"


class _Link:
    """The connection of one event loop, with the inboxes of its channels."""

    def __init__(self, connect: Callable[[], Awaitable[Client]], capacity: int) -> None:
        self._connect = connect
        self._capacity = capacity
        self._client: Client | None = None
        self._lock = asyncio.Lock()
        self._inboxes: dict[str, asyncio.Queue[dict[str, Any]]] = {}
        self._subscriptions: dict[tuple[str, str], Subscription] = {}

    async def connected(self) -> None:
        async with self._lock:
            if self._client is None or self._client.is_closed:
                self._subscriptions.clear()
                self._client = await self._connect()

    def inbox(self, channel: str) -> asyncio.Queue[dict[str, Any]]:
        return self._inboxes.setdefault(channel, asyncio.Queue(self._capacity))

    async def publish(self, subject: str, data: bytes) -> None:
        assert self._client is not None
        await self._client.publish(subject, data)

    async def subscribe(self, subject: str, channel: str, *, queue: str = "") -> None:
        if (subject, channel) in self._subscriptions:
            return
        assert self._client is not None
        inbox = self.inbox(channel)

        async def deliver(message: Msg) -> None:
            if inbox.full():
                inbox.get_nowait()
                logger.warning("A channel is over its capacity of %d; its oldest message was dropped.", self._capacity)
            inbox.put_nowait(_decode(message.data))

        self._subscriptions[subject, channel] = await self._client.subscribe(subject, queue=queue, cb=deliver)
        # What is published by others from here on must reach this subscription.
        await self._client.flush()

    async def unsubscribe(self, subject: str, channel: str) -> None:
        subscription = self._subscriptions.pop((subject, channel), None)
        if subscription is not None:
            await subscription.unsubscribe()

    async def reset(self) -> None:
        for subscription in self._subscriptions.values():
            await subscription.unsubscribe()
        self._subscriptions.clear()
        self._inboxes.clear()

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()


async def _log_error(error: Exception) -> None:
    logger.warning("NATS: %s", error)
