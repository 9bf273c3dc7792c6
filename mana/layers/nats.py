"""A channel layer over NATS, to the specification of Channels.

``channels-nats`` on PyPI has been frozen in alpha; this is the little that is needed, on the official client. Use::

    CHANNEL_LAYERS = {"default": {
        "BACKEND": "mana.layers.nats.NatsChannelLayer",
        "CONFIG": {"servers": ["nats://127.0.0.1:4222"]},
    }}
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

import nats
from nats.aio.client import DEFAULT_PENDING_SIZE, Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription

from mana.layers.topics import Link, TopicChannelLayer

logger = logging.getLogger("mana.layers.nats")

#: Seconds that the server has for an answer.
PATIENCE = 10.0
#: Seconds after which the client may give an answer up that nobody waits for any more.
NEVER = 10**9
#: Bytes of a command around what it publishes, at the most.
COMMAND_BYTES = 256
#: Seconds between looks at whether the client is stuck.
LOOK = 1.0


class NatsChannelLayer(TopicChannelLayer):
    """Channels and groups as NATS subjects; those who read the same shared channel are a queue group.

    ``options`` go to ``nats.connect``, for example ``{"user": ..., "password": ..., "tls": ...}``.
    """

    def __init__(self, servers: Sequence[str] = ("nats://127.0.0.1:4222",), **common: Any) -> None:
        super().__init__(**common)
        self.servers = list(servers)

    def _make_link(self) -> Link:
        return _NatsLink(self.servers, self.options, self.capacity)


class _NatsLink(Link):
    """The client's one connection, which reconnects and subscribes again by itself.

    The client would keep what is sent while the server is away, and say that it is fine: what is refused here instead
    would come late, a presence after a newer one.
    """

    def __init__(self, servers: list[str], options: dict[str, Any], capacity: int) -> None:
        super().__init__(capacity)
        self._servers = servers
        self._options = options
        #: Bytes that the client keeps before whoever publishes waits for the server.
        self._pending_bytes = int(options.get("pending_size", DEFAULT_PENDING_SIZE))
        self._client: Client | None = None
        self._lock = asyncio.Lock()
        self._subscriptions: dict[str, Subscription] = {}
        self._confirmed: set[str] = set()
        self._subscribing = asyncio.Lock()
        self._keeper: asyncio.Task[None] | None = None
        self._round_trips: set[asyncio.Task[None]] = set()
        #: What has come for this process on the shared channels that it reads.
        self._pulled: dict[str, asyncio.Queue[bytes]] = {}

    async def connected(self) -> None:
        """See ``Link``."""
        if self._client is not None and not self._client.is_closed:
            return
        async with self._lock:
            if self._client is None or self._client.is_closed:
                again = self._client is not None
                await self._begin()
                if again:  # it closes for good when the server refuses it
                    for tell in self.on_reconnect:
                        tell()
            if self._keeper is None:
                self._keeper = asyncio.create_task(self._keep(), name="mana-nats-keep")

    async def _begin(self) -> None:
        """A client, with the subscriptions of the one before."""
        self._subscriptions.clear()
        self._confirmed.clear()
        client = self._client = await self._connect()
        try:
            for topic in list(self._channels):
                await self.subscribe(topic)
            for topic in list(self._pulled):
                await self._read_shared(topic)
        except BaseException:
            await client.close()  # the next one who asks begins anew
            raise

    @property
    def is_connected(self) -> bool:
        """See ``Link``."""
        return self._client is not None and self._client.is_connected

    async def publish(self, topic: str, data: bytes) -> None:
        """See ``Link``. Raises ``ConnectionError`` while the server is away."""
        client = self._present_client
        if client.pending_data_size + len(data) + COMMAND_BYTES > self._pending_bytes:
            # The client will wait for the server, as only a task can, from Python 3.12 on.
            await asyncio.sleep(0)
            client = self._present_client
        await client.publish(topic, data)

    async def subscribe(self, topic: str) -> None:
        """See ``Link``."""

        async def take(message: Msg) -> None:
            self.take(topic, message.data)

        await self._subscribe(topic, "", take)

    async def unsubscribe(self, topic: str) -> None:
        """See ``Link``."""
        self._confirmed.discard(topic)
        subscription = self._subscriptions.pop(topic, None)
        if subscription is not None:
            await subscription.unsubscribe()

    async def push(self, topic: str, data: bytes) -> None:
        """See ``Link``. What is pushed here is not echoed, so it is for others, unless this process alone reads."""
        pulled = self._pulled.get(topic)
        if pulled is not None and not pulled.full():
            pulled.put_nowait(data)
        else:
            await self.publish(topic, data)

    async def pull(self, topic: str) -> bytes:
        """See ``Link``."""
        await self._read_shared(topic)
        return await self._pulled[topic].get()

    async def _read_shared(self, topic: str) -> None:
        pulled = self._pulled.setdefault(topic, asyncio.Queue(self._capacity))

        async def take(message: Msg) -> None:
            await pulled.put(message.data)

        await self._subscribe(topic, "receivers", take)

    async def ping(self) -> None:
        """See ``Link``."""
        await self._round_trip(self._present_client)

    async def reset(self) -> None:
        """See ``Link``."""
        await super().reset()
        for topic in list(self._pulled):
            await self.unsubscribe(topic)
        self._pulled.clear()

    async def close(self) -> None:
        """See ``Link``."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        if self._client is not None:
            if not self._client.is_connected:
                _cut_what_ends(self._client)
            async with asyncio.timeout(PATIENCE):
                await self._client.close()
        self._forget_round_trips()

    @property
    def _any_client(self) -> Client:
        assert self._client is not None, "connected() comes first"
        return self._client

    @property
    def _present_client(self) -> Client:
        client = self._any_client
        if not client.is_connected:
            raise ConnectionError("NATS is away.")
        return client

    async def _subscribe(self, topic: str, queue: str, take: Any) -> None:
        if topic in self._confirmed:
            return
        async with self._subscribing:
            # A second one beside one that was not confirmed in time would bring everything twice.
            if topic not in self._subscriptions:
                self._subscriptions[topic] = await self._any_client.subscribe(topic, queue=queue, cb=take)
            # What is published by others from here on must reach this subscription.
            await self._round_trip(self._any_client)
            self._confirmed.add(topic)

    async def _round_trip(self, client: Client) -> None:
        """Returns when the server has seen all that was sent. Raises ``TimeoutError`` after ``PATIENCE`` seconds.

        The client's own ``flush`` must not be given up: a PONG that comes for one that was ends its reader, and the
        process is deaf until the next reconnect. Raises ``ConnectionError`` if there was one meanwhile.
        """
        task = asyncio.create_task(client.flush(timeout=NEVER), name="mana-nats-flush")
        self._round_trips.add(task)  # the event loop itself keeps only a weak reference
        task.add_done_callback(self._round_trips.discard)
        done, _ = await asyncio.wait([task], timeout=PATIENCE)
        if not done:
            raise TimeoutError(f"NATS has not answered for {PATIENCE} s")
        if task.cancelled():  # which is nobody's wish to end the caller
            raise ConnectionError("NATS was away meanwhile.")
        task.result()

    def _forget_round_trips(self) -> None:
        """On another connection nobody answers them."""
        for task in self._round_trips:
            task.cancel()

    async def _connect(self) -> Client:
        return await nats.connect(
            self._servers,
            **{
                "name": "django-mana",
                "max_reconnect_attempts": -1,
                "reconnect_time_wait": 0.25,
                "connect_timeout": 3,
                # A link on which nothing arrives any more is noticed within 10 s.
                "ping_interval": 3,
                "max_outstanding_pings": 2,
                "error_cb": _log_error,
                **self._options,
                "reconnected_cb": self._reconnected,
                # What a process sends to itself does not take the way over the server.
                "no_echo": True,
            },
        )

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if self._client is not None and not self._client.is_connected:
                _cut_what_ends(self._client)

    async def _reconnected(self) -> None:
        self._forget_round_trips()
        for tell in self.on_reconnect:
            tell()


def _cut_what_ends(client: Client) -> None:
    """Ends the connection that the client has given up. Its own way first sends what waits, and waits for a peer that
    may take nothing any more, before it connects again."""
    writer = getattr(client._transport, "_io_writer", None)
    if writer is not None and writer.transport.is_closing():
        writer.transport.abort()


async def _log_error(error: Exception) -> None:
    logger.warning("NATS: %s", error)
