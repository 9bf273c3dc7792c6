"""What this project's channel layers have in common: channels and groups are topics of a server that publishes.

Delivery is at most once, as the specification of Channels allows: a channel that is not read keeps its newest
``capacity`` messages, and what is sent while the server is away is lost. What is sent to a channel of the same process
does not take the way over the server. A subclass says how a ``Link`` reaches its server.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import secrets
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any
from weakref import WeakKeyDictionary

import msgspec
from channels.layers import BaseChannelLayer

logger = logging.getLogger("mana.layers")

Listener = Callable[[dict[str, Any]], None]

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[str, Any]).decode


class TopicChannelLayer(BaseChannelLayer, ABC):  # type: ignore[misc]  # Channels has no types
    """Channels and groups as topics below ``prefix``; one link to the server per event loop, which reconnects for ever.

    ``capacity`` is the number of messages that wait in a channel here, ``options`` are those of the server's client.
    """

    extensions = ["groups", "flush"]

    def __init__(
        self,
        *,
        prefix: str = "channels",
        capacity: int = 1000,
        expiry: int = 60,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.prefix = prefix
        self.options = dict(options or {})
        self._links: WeakKeyDictionary[asyncio.AbstractEventLoop, Link] = WeakKeyDictionary()

    @abstractmethod
    def _make_link(self) -> Link:
        """A link to the server, not yet connected."""

    # -- Channels ----------------------------------------------------------------------------------------------------

    async def new_channel(self, prefix: str = "specific") -> str:
        """A name for a channel of this process."""
        return f"{prefix}.{type(self).__name__}!{secrets.token_hex(12)}"

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Sends to one channel: to this process's own, or to one of those who read it."""
        self.require_valid_channel_name(channel)
        link, topic, data = await self._link(), self._topic("c", channel), _encode(message)
        if not _is_specific(channel):
            await link.push(topic, data)
        elif not link.deliver(topic, data):
            await link.publish(topic, data)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Waits for the next message of a channel. Who is cancelled meanwhile has left: the channel and its groups are
        forgotten, as nobody else tells when a consumer is gone."""
        self.require_valid_channel_name(channel)
        link, topic = await self._link(), self._topic("c", channel)
        if not _is_specific(channel):
            return _decode(await link.pull(topic))
        try:
            await link.add(topic, channel)
            return _decode(await link.inbox(channel).get())
        except asyncio.CancelledError:
            link.release(channel)
            raise

    # -- Groups ------------------------------------------------------------------------------------------------------

    async def group_add(self, group: str, channel: str) -> None:
        """Adds a channel, which must be read in this process, to a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await (await self._link()).add(self._topic("g", group), channel)

    async def group_discard(self, group: str, channel: str) -> None:
        """Takes a channel out of a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await (await self._link()).discard(self._topic("g", group), channel)

    async def group_send(self, group: str, message: dict[str, Any], *, but: str = "") -> None:
        """Sends to all channels of a group, ``but`` to one of this process, where it is named."""
        self.require_valid_group_name(group)
        link, topic, data = await self._link(), self._topic("g", group), _encode(message)
        link.deliver(topic, data, but=but)
        await link.publish(topic, data)

    async def group_listen(self, group: str, listener: Listener) -> None:
        """Has ``listener`` called, in this event loop, with each message that others send to a group.

        There is no channel in between, in which messages would wait and which a task would read: it takes a third of
        the time. What ``listener`` raises is logged. Listening twice is listening once.
        """
        self.require_valid_group_name(group)
        await (await self._link()).listen(self._topic("g", group), listener)

    async def group_unlisten(self, group: str, listener: Listener) -> None:
        """Ends that."""
        self.require_valid_group_name(group)
        await (await self._link()).unlisten(self._topic("g", group), listener)

    async def group_tell(self, group: str, message: dict[str, Any]) -> None:
        """Sends to the members of a group in other processes alone.

        While the link is connected this may be begun outside its task (``mana.realtime.tasks.start``), so no link's
        ``publish`` waits inside ``asyncio.timeout``.
        """
        self.require_valid_group_name(group)
        await (await self._link()).publish(self._topic("g", group), _encode(message))

    # -- Life --------------------------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Asks the server for a sign of life, and waits for it. Raises what the link raises, ``TimeoutError`` too."""
        await (await self._link()).ping()

    def is_connected(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Whether the link of an event loop has a server at its other end, as far as it knows."""
        link = self._links.get(loop)
        return link is not None and link.is_connected

    async def on_reconnect(self, tell: Callable[[], None]) -> None:
        """Has ``tell`` called in this event loop whenever messages may have been lost and the server is back."""
        (await self._link()).on_reconnect.add(tell)

    async def flush(self) -> None:
        """Forgets what waits in the channels of this loop, and its groups."""
        await (await self._link()).reset()

    async def close_pools(self) -> None:
        """Closes the link of this event loop (the name is that of channels_redis)."""
        link = self._links.pop(asyncio.get_running_loop(), None)
        if link is not None:
            await link.close()

    async def _link(self) -> Link:
        loop = asyncio.get_running_loop()
        link = self._links.get(loop)
        if link is None:
            link = self._links[loop] = self._make_link()
        await link.connected()
        return link

    def _topic(self, kind: str, name: str) -> str:
        # Subjects of NATS are split at dots and have wildcards; names of channels may hold anything printable.
        return f"{self.prefix}.{kind}.{_digest(name)}"


@lru_cache(maxsize=1024)
def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:40]


class Link(ABC):
    """The way from one event loop to the server, with the channels that are read in this loop."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._inboxes: dict[str, asyncio.Queue[bytes]] = {}
        #: The channels here that a topic reaches.
        self._channels: dict[str, set[str]] = {}
        #: The topics that reach a channel here.
        self._topics: dict[str, set[str]] = {}
        #: Who is called with what a topic brings.
        self._listeners: dict[str, list[Listener]] = {}
        self._releasing: set[asyncio.Task[None]] = set()
        #: Called when the server is back after messages may have been lost.
        self.on_reconnect: set[Callable[[], None]] = set()
        self._adding = asyncio.Lock()

    # -- What a server is asked to do ------------------------------------------------------------------------------

    @abstractmethod
    async def connected(self) -> None:
        """Connects, unless that was done. Raises what the server's client raises."""

    @property
    @abstractmethod
    def is_connected(self) -> bool:
        """Whether the server was there a moment ago."""

    @abstractmethod
    async def publish(self, topic: str, data: bytes) -> None:
        """Sends to all other links that have subscribed to a topic. Raises what the client raises, and
        ``ConnectionError`` or the client's own, while the server is away."""

    @abstractmethod
    async def subscribe(self, topic: str) -> None:
        """Has ``take`` called with what others publish on a topic; from the return on, nothing is missed."""

    @abstractmethod
    async def unsubscribe(self, topic: str) -> None:
        """Ends that."""

    @abstractmethod
    async def push(self, topic: str, data: bytes) -> None:
        """Sends to one of those who pull from a topic."""

    @abstractmethod
    async def pull(self, topic: str) -> bytes:
        """Waits for what is pushed to a topic."""

    @abstractmethod
    async def ping(self) -> None:
        """Waits for an answer of the server."""

    @abstractmethod
    async def close(self) -> None:
        """Ends the connection."""

    # -- Channels here -----------------------------------------------------------------------------------------------

    def inbox(self, channel: str) -> asyncio.Queue[bytes]:
        """What waits in a channel."""
        return self._inboxes.setdefault(channel, asyncio.Queue(self._capacity))

    async def add(self, topic: str, channel: str) -> None:
        """Has a channel get what is published on a topic."""
        if topic not in self._channels:
            async with self._adding:
                if topic not in self._channels:
                    await self.subscribe(topic)
                    self._channels[topic] = set()
        self._channels[topic].add(channel)
        self._topics.setdefault(channel, set()).add(topic)

    async def listen(self, topic: str, listener: Listener) -> None:
        """Has ``listener`` called with what is published on a topic."""
        async with self._adding:
            if topic not in self._channels:
                await self.subscribe(topic)
                self._channels[topic] = set()
            listeners = self._listeners.setdefault(topic, [])
            if listener not in listeners:
                listeners.append(listener)

    async def unlisten(self, topic: str, listener: Listener) -> None:
        """Ends that."""
        listeners = self._listeners.get(topic, [])
        if listener in listeners:
            listeners.remove(listener)
        if not listeners:
            self._listeners.pop(topic, None)
        await self._end_unused(topic)

    async def discard(self, topic: str, channel: str) -> None:
        """Ends that."""
        self._channels.get(topic, set()).discard(channel)
        self._topics.get(channel, set()).discard(topic)
        await self._end_unused(topic)

    def release(self, channel: str) -> None:
        """Forgets a channel that nobody reads any more, and what waits in it."""
        self._inboxes.pop(channel, None)
        topics = self._topics.pop(channel, set())
        for topic in topics:
            self._channels.get(topic, set()).discard(channel)
        if any(self._is_unused(topic) for topic in topics):
            task = asyncio.get_running_loop().create_task(self._end_all_unused(topics), name="mana-layer-release")
            self._releasing.add(task)  # the event loop itself keeps only a weak reference
            task.add_done_callback(self._releasing.discard)

    async def _end_all_unused(self, topics: set[str]) -> None:
        try:
            for topic in topics:
                await self._end_unused(topic)
        except Exception as error:
            logger.info("A subscription was not ended: %s", error)

    async def _end_unused(self, topic: str) -> None:
        async with self._adding:
            if self._is_unused(topic):
                del self._channels[topic]
                await self.unsubscribe(topic)

    def _is_unused(self, topic: str) -> bool:
        return not self._channels.get(topic, True) and topic not in self._listeners

    def take(self, topic: str, data: bytes) -> None:
        """What another link has published."""
        for listener in self._listeners.get(topic, ()):
            try:
                listener(_decode(data))
            except Exception:
                logger.exception("A listener to a group has failed.")
        self.deliver(topic, data)

    def deliver(self, topic: str, data: bytes, *, but: str = "") -> bool:
        """Puts a message into the channels here that its topic reaches. Whether there are any."""
        channels = self._channels.get(topic, ())
        for channel in channels:
            if channel != but:
                self._put(channel, data)
        return bool(channels)

    def _put(self, channel: str, data: bytes) -> None:
        inbox = self.inbox(channel)
        if inbox.full():
            inbox.get_nowait()
            logger.warning("A channel is over its capacity of %d; its oldest message was dropped.", self._capacity)
        inbox.put_nowait(data)

    async def reset(self) -> None:
        """Forgets the channels and what waits in them."""
        async with self._adding:
            topics, self._channels = list(self._channels), {}
            self._topics.clear()
            self._inboxes.clear()
            self._listeners.clear()
            for topic in topics:
                await self.unsubscribe(topic)


def _is_specific(channel: str) -> bool:
    """Whether a channel belongs to one process."""
    return "!" in channel
