"""Bots on an engine in the test's own event loop, and what they publish: packets made by hand, nothing is encoded."""

from __future__ import annotations

import asyncio
import contextlib
import fractions
from collections.abc import AsyncIterator, Callable
from typing import Any

import av
from aiortc import MediaStreamTrack

from mana_rtc.bot import Bot
from mana_rtc.sfu.backend import Event, ParticipantInfo
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.engine import Engine
from mana_rtc.transport.config import TransportConfig


class PacketTrack(MediaStreamTrack):
    """A track of packets that are encoded already. aiortc packs them into RTP and sends them."""

    def __init__(self, kind: str, *, per_second: float = 10, size: int = 300) -> None:
        self.kind = kind
        super().__init__()
        self._interval = 1 / per_second
        self._size = size
        self._number = 0

    async def recv(self) -> av.Packet:  # type: ignore[override]  # aiortc's senders take packets as well
        await asyncio.sleep(self._interval)
        # Of VP8 the first bit tells a keyframe, which all of these are.
        packet = av.Packet(bytes(self._size))
        rate = 48000 if self.kind == "audio" else 90000
        packet.pts = packet.dts = int(self._number * self._interval * rate)
        packet.time_base = fractions.Fraction(1, rate)
        self._number += 1
        return packet


class House:
    """An engine and the bots on it."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.bots: list[Bot] = []
        self.events: list[Event] = []

    def told(self, event: Event) -> None:
        """Hands an event to whom it is for."""
        self.events.append(event)
        for bot in self.bots:
            bot.handle(event)

    async def bot(self, room: str = "room", name: str = "", **options: Any) -> Bot:
        """One more who has joined."""
        name = name or f"bot{len(self.bots)}"
        bot = Bot(self.engine, room, ParticipantInfo(id=name, user_id=f"user-{name}", username=name), **options)
        self.bots.append(bot)
        await bot.join()
        return bot

    def participant(self, bot: Bot) -> Any:
        """The server's side of a bot."""
        return self.engine.rooms[bot.room].participants[bot.info.id]


@contextlib.asynccontextmanager
async def house(**options: Any) -> AsyncIterator[House]:
    """An engine on a free port of the loopback address."""
    transport = {"addresses": ("127.0.0.1",), **options.pop("transport", {})}
    home: House
    engine = Engine(SfuConfig(transport=TransportConfig(**transport), **options), lambda event: home.told(event))  # noqa: PLW0108  there is none yet
    home = House(engine)
    await engine.start()
    try:
        yield home
    finally:
        for bot in home.bots:
            await bot.leave()
        await engine.stop()
        await asyncio.sleep(0)


async def until(condition: Callable[[], Any], what: str, seconds: float = 20) -> None:
    """Waits until something is so."""
    try:
        async with asyncio.timeout(seconds):
            while not condition():
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"Not in {seconds} s: {what}") from None
