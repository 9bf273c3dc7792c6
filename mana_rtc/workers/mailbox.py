"""One channel of the layer for a node's or a worker's messages about media, and one task that sends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import msgspec

from mana.realtime import tasks
from mana_rtc.workers.messages import MESSAGE_TYPE, ToNode, ToWorker, encode

logger = logging.getLogger("mana.rtc.workers")

#: Messages that may wait to be sent; the oldest give way, and are sent again by whoever misses them.
BACKLOG = 5000
TIMEOUT = 2.0
LONGEST_PAUSE = 2.0


class Mailbox:
    """``take`` is called with the bytes of each message that comes."""

    def __init__(self, layer: Any, take: Callable[[bytes], None]) -> None:
        self._layer = layer
        self._take = take
        self._outgoing: deque[tuple[str, ToWorker | ToNode]] = deque(maxlen=BACKLOG)
        self._wake = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()
        self._tasks: list[asyncio.Task[None]] = []
        #: Where answers come to; another one after the layer had failed.
        self.channel = ""
        self.dropped = 0

    async def start(self) -> None:
        """Begins to receive and to send."""
        self.channel = await self._layer.new_channel()
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(self._receive(), name="mana-sfu-receive"),
            loop.create_task(self._send(), name="mana-sfu-send"),
        ]

    async def stop(self) -> None:
        """Ends both."""
        await tasks.end(self._tasks)

    def post(self, channel: str, message: ToWorker | ToNode) -> None:
        """Sends a message soon, if the layer takes it."""
        self.dropped += len(self._outgoing) == BACKLOG
        self._outgoing.append((channel, message))
        self._empty.clear()
        self._wake.set()

    async def settle(self) -> None:
        """Waits until everything was handed to the layer, for a moment at the most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TIMEOUT):
                await self._empty.wait()

    async def _receive(self) -> None:
        pause = 0.1
        while True:
            try:
                message = await self._layer.receive(self.channel)
                pause = 0.1
                if message.get("type") == MESSAGE_TYPE:
                    self._take(message["data"])
            except (msgspec.DecodeError, KeyError, TypeError) as error:
                logger.warning("A message about media was not understood: %s", error)
            except Exception as error:
                logger.warning("The channel layer does not deliver, another try in %.1f s: %s", pause, error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outgoing:
                channel, message = self._outgoing[0]
                try:
                    async with asyncio.timeout(TIMEOUT):
                        await self._layer.send(channel, {"type": MESSAGE_TYPE, "data": encode(message)})
                except Exception as error:
                    self.dropped += 1
                    logger.info("A message about media was not sent: %r", error)
                if self._outgoing and self._outgoing[0][1] is message:
                    self._outgoing.popleft()
            self._empty.set()
