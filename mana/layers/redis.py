"""A channel layer over Redis' publish and subscribe, made for few messages that hold much.

Of channels_redis' two layers, the core one runs a script in Redis for every message and reads it back from a sorted
set, twenty times the work of a publish; the other one leaves messages lost in a reconnect to whoever notices. This one
tells (``on_reconnect``), and costs a write and a read. Use::

    CHANNEL_LAYERS = {"default": {
        "BACKEND": "mana.layers.redis.RedisChannelLayer",
        "CONFIG": {"url": "redis://127.0.0.1:6379/0"},
    }}

It speaks to one server (``redis://``, ``rediss://`` or ``unix://``); for Sentinel take channels_redis' core layer.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from collections.abc import Callable
from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

from mana.layers.topics import Link, TopicChannelLayer

logger = logging.getLogger("mana.layers.redis")

#: Bytes in front of every message that say which link has sent it.
ORIGIN_BYTES = 8
#: Seconds between heartbeats, which go out on one connection and come back on the other.
HEARTBEAT = 3.0
#: Seconds without an echo after which both connections are made anew.
PATIENCE = 10.0
#: Seconds between tries to connect, at first and at the most.
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0
#: Seconds that a reader of a shared channel asks for at a time.
PULL = 1

LOST = (RedisError, OSError, TimeoutError, asyncio.IncompleteReadError)


class RedisChannelLayer(TopicChannelLayer):
    """Channels and groups as topics of Redis; a channel that several processes read is a list there.

    ``url`` and ``options`` are those of ``redis.asyncio.ConnectionPool.from_url``. ``expiry`` is the number of seconds
    that what nobody has read from a shared channel stays there.
    """

    def __init__(self, url: str = "redis://127.0.0.1:6379/0", **common: Any) -> None:
        super().__init__(**common)
        self.url = url

    def _make_link(self) -> Link:
        options = {
            "socket_connect_timeout": 3,
            "socket_keepalive": True,
            **self.options,
            "protocol": 2,
            "decode_responses": False,
        }
        # The link watches its connections, and tries again, by itself.
        link_options = {**options, "socket_timeout": None, "retry": Retry(NoBackoff(), 0)}
        pool = ConnectionPool.from_url(self.url, **link_options)
        # What a URL says goes before the options; these are not its to choose.
        pool.connection_kwargs.update({name: link_options[name] for name in ("socket_timeout", "protocol")})
        lists = Redis(connection_pool=ConnectionPool.from_url(self.url, **options))
        return _RedisLink(pool, lists, self.prefix, self.capacity, self.expiry)


class _RedisLink(Link):
    """Two connections, since one that has subscribed can't publish: one is written to, the other is read."""

    def __init__(self, pool: ConnectionPool, lists: Redis, prefix: str, capacity: int, expiry: int) -> None:
        super().__init__(capacity)
        self._pool = pool
        self._lists = lists
        self._prefix = prefix
        self._expiry = expiry
        self._origin = secrets.token_bytes(ORIGIN_BYTES)
        #: Where heartbeats come back; it keeps the reading connection a subscriber.
        self._pulse = f"{prefix}.pulse.{self._origin.hex()}".encode()
        self._wanted: set[bytes] = set()
        self._waiting: dict[bytes, asyncio.Future[None]] = {}
        self._pings: list[asyncio.Future[None]] = []
        self._lock = asyncio.Lock()
        self._is_whole = False  # both connections, as far as is known
        self._writing: AbstractConnection | None = None
        self._reading: AbstractConnection | None = None
        self._reader: asyncio.Task[None] | None = None
        self._keeper: asyncio.Task[None] | None = None
        #: When something that was sent from here came back, by the loop's clock.
        self._echoed = 0.0

    # -- What a layer asks for ---------------------------------------------------------------------------------------

    async def connected(self) -> None:
        """See ``Link``. Raises ``redis.exceptions.ConnectionError`` when the server was not there the first time."""
        if self._keeper is not None:
            return
        async with self._lock:
            if self._keeper is None:
                await self._connect()
                self._keeper = asyncio.create_task(self._keep(), name="mana-redis-keep")

    @property
    def is_connected(self) -> bool:
        """See ``Link``."""
        return self._is_whole

    async def publish(self, topic: str, data: bytes) -> None:
        """See ``Link``. Raises ``redis.exceptions.ConnectionError`` while the server is away."""
        await self._publish(topic.encode(), data)

    async def subscribe(self, topic: str) -> None:
        """See ``Link``; while the server is away, it waits."""
        name = topic.encode()
        self._wanted.add(name)
        confirmed = self._waiting.get(name)
        if confirmed is None:
            confirmed = self._waiting[name] = asyncio.get_running_loop().create_future()
            if self._reading is not None:
                await self._reading.send_command("SUBSCRIBE", name, check_health=False)
        await asyncio.shield(confirmed)

    async def unsubscribe(self, topic: str) -> None:
        """See ``Link``."""
        name = topic.encode()
        self._wanted.discard(name)
        if self._reading is not None:
            await self._reading.send_command("UNSUBSCRIBE", name, check_health=False)

    async def push(self, topic: str, data: bytes) -> None:
        """See ``Link``: the newest ``capacity`` wait in a list."""
        async with self._lists.pipeline(transaction=True) as pipeline:
            pipeline.rpush(topic, data)
            pipeline.ltrim(topic, -self._capacity, -1)
            pipeline.expire(topic, self._expiry)
            await pipeline.execute()

    async def pull(self, topic: str) -> bytes:
        """See ``Link``."""
        while True:
            found: Any = await self._lists.blpop([topic], timeout=PULL)
            if found is not None:
                return found[1]  # type: ignore[no-any-return]  # bytes, since nothing is decoded

    async def ping(self) -> None:
        """See ``Link``: there on one connection, and back on the other."""
        back: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pings.append(back)
        await self._publish(self._pulse, b"")
        async with asyncio.timeout(PATIENCE):
            await back

    async def close(self) -> None:
        """See ``Link``."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        await self._disconnect()
        for asked in (*self._waiting.values(), *self._pings):
            asked.cancel()
        await self._lists.aclose(close_connection_pool=True)

    # -- The connections ---------------------------------------------------------------------------------------------

    async def _connect(self) -> None:
        make: Callable[[], AbstractConnection] = self._pool.make_connection
        writing, reading = make(), make()
        asked = {self._pulse, *self._wanted}
        try:
            async with asyncio.timeout(PATIENCE):
                await writing.connect()  # type: ignore[no-untyped-call]  # redis-py's
                # Nothing is to be read there: what was published comes back on the other connection.
                await writing.send_command("CLIENT", "REPLY", "OFF", check_health=False)
                await reading.connect()  # type: ignore[no-untyped-call]  # redis-py's
                await reading.send_command("SUBSCRIBE", *asked, check_health=False)
                open_questions = set(asked)
                while open_questions:
                    response = await reading.read_response(disable_decoding=True, timeout=math.inf)
                    self._take(response)
                    if response[0] == b"subscribe":
                        open_questions.discard(response[1])
                # Wanted meanwhile:
                for topic in self._wanted - asked:
                    await reading.send_command("SUBSCRIBE", topic, check_health=False)
        except BaseException:
            for connection in (writing, reading):
                await _cut(connection)
            raise
        self._writing, self._reading, self._is_whole = writing, reading, True
        self._echoed = asyncio.get_running_loop().time()
        self._reader = asyncio.create_task(self._read(reading), name="mana-redis-read")

    async def _disconnect(self) -> None:
        self._is_whole = False
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.wait([self._reader])
        for connection in (self._writing, self._reading):
            if connection is not None:
                await _cut(connection)
        self._writing = self._reading = self._reader = None

    async def _keep(self) -> None:
        """Sends heartbeats, and connects again when something is lost."""
        while True:
            try:
                await self._watch()
            except Exception as error:  # whatever it was: without a keeper the link would be lost for good
                logger.warning("The link to Redis was lost: %s", str(error) or type(error).__name__)
            await self._disconnect()
            pause = FIRST_PAUSE
            while self._reading is None:
                try:
                    await self._connect()
                except LOST as error:
                    logger.warning(
                        "Redis does not answer, another try in %.1f s: %s", pause, error or type(error).__name__
                    )
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE)
            for tell in self.on_reconnect:
                tell()

    async def _watch(self) -> None:
        """Returns, or raises, when the link is lost."""
        loop = asyncio.get_running_loop()
        while self._reader is not None:
            ended, _ = await asyncio.wait([self._reader], timeout=HEARTBEAT)
            if self._reader.cancelled():
                return
            if ended:
                self._reader.result()
            if loop.time() - self._echoed > PATIENCE:
                raise TimeoutError(f"nothing came back for {PATIENCE:.0f} s")
            # A peer that is gone without a word takes nothing, and says nothing.
            async with asyncio.timeout(HEARTBEAT):
                await self._publish(self._pulse, b"")

    async def _publish(self, topic: bytes, data: bytes) -> None:
        writing = self._writing
        if writing is None or not self._is_whole:
            raise RedisConnectionError("Redis is away.")
        packed = writing.pack_command("PUBLISH", topic, self._origin + data)
        try:
            await writing.send_packed_command(packed, check_health=False)
        except BaseException:
            # A write that did not end leaves half a command behind: both connections are made anew.
            self._is_whole = False
            if self._reader is not None:
                self._reader.cancel()
            raise

    async def _read(self, reading: AbstractConnection) -> None:
        while True:
            self._take(await reading.read_response(disable_decoding=True, timeout=math.inf))

    def _take(self, response: Any) -> None:
        """What comes on the reading connection: messages, and confirmations of subscriptions."""
        kind, topic, data = response
        if kind == b"message":
            if not data.startswith(self._origin):
                self.take(topic.decode(), data[ORIGIN_BYTES:])
                return
            self._echoed = asyncio.get_running_loop().time()
            if topic == self._pulse:
                self._beat()
        elif kind == b"subscribe":
            confirmed = self._waiting.pop(topic, None)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)

    def _beat(self) -> None:
        pings, self._pings = self._pings, []
        for back in pings:
            if not back.done():
                back.set_result(None)


async def _cut(connection: AbstractConnection) -> None:
    """Ends a connection at once. redis-py's own way first sends what waits, to a peer that may take nothing."""
    writer = getattr(connection, "_writer", None)
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)
