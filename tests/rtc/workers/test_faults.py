"""A worker and nodes in one event loop, on a layer that loses, repeats and delays what it is given."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from channels.layers import InMemoryChannelLayer

from mana_rtc.bot import Bot
from mana_rtc.models import MediaWorker, Placement
from mana_rtc.sfu.backend import Event, ParticipantInfo, SfuError, TransportLost
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.transport.config import TransportConfig
from mana_rtc.workers.backend import WorkersSfu
from mana_rtc.workers.messages import MESSAGE_TYPE
from mana_rtc.workers.process import Worker
from tests.rtc.bots import PacketTrack, until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def quick(settings: Any) -> None:
    settings.MANA = {**settings.MANA, "RTC_RESUME_TIMEOUT": 3.0, "RTC_WORKER_LEASE": 2.5}


class BadLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """Loses a share of the messages, repeats some, and delivers some later than the next ones."""

    def __init__(self, loss: float = 0.0, seed: int = 7) -> None:
        super().__init__(capacity=10_000)
        self.loss = loss
        self.chance = random.Random(seed)
        self.lost = 0
        #: Channels to which nothing gets through.
        self.cut: set[str] = set()

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        if channel in self.cut or self.chance.random() < self.loss:
            self.lost += 1
            return
        for _ in range(2 if self.loss and self.chance.random() < 0.2 else 1):
            if self.loss and self.chance.random() < 0.3:
                late = partial(super().send, channel, message)
                asyncio.get_running_loop().call_later(0.05, lambda late=late: asyncio.ensure_future(late()))
            else:
                await super().send(channel, message)


class Node:
    """A node's backend, and its people."""

    def __init__(self, layer: BadLayer) -> None:
        self.backend = WorkersSfu(self._told, layer)
        self.bots: list[Bot] = []
        self.events: list[Event] = []
        self.gone = False

    def _told(self, event: Event) -> None:
        self.events.append(event)
        for bot in self.bots:
            bot.handle(event)

    async def bot(self, name: str) -> Bot:
        bot = Bot(self.backend, "room", ParticipantInfo(id=name, user_id=f"user-{name}", username=name))
        self.bots.append(bot)
        await bot.join()
        return bot

    def lost(self, name: str) -> bool:
        return any(isinstance(one, TransportLost) and one.peer == "seat" and name in one.to for one in self.events)


@contextlib.asynccontextmanager
async def worker_on(layer: BadLayer, **config: Any) -> AsyncIterator[Worker]:
    worker = Worker(SfuConfig(transport=TransportConfig(addresses=("127.0.0.1",)), **config), layer)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


@contextlib.asynccontextmanager
async def nodes_on(layer: BadLayer, count: int = 2) -> AsyncIterator[list[Node]]:
    nodes = [Node(layer) for _ in range(count)]
    try:
        yield nodes
    finally:
        for node in nodes:
            for bot in node.bots:
                await bot.leave()
            if not node.gone:
                await node.backend.aclose()


@pytest.fixture
def patient(settings: Any) -> None:
    """A worker that does without a node's word for longer than the test keeps it away."""
    settings.MANA = {**settings.MANA, "RTC_RESUME_TIMEOUT": 8.0}


@pytest.mark.usefixtures("patient")
async def test_a_call_comes_about_though_messages_are_lost() -> None:
    layer = BadLayer(loss=0.3)
    async with worker_on(layer) as worker, nodes_on(layer) as (one, other):
        bots = [await one.bot("a"), await other.bot("b"), await other.bot("c")]
        for bot in bots:
            await bot.publish({"microphone": PacketTrack("audio")})
        for bot in bots:
            await until(lambda bot=bot: len(bot.tracks) == 2, f"{bot.info.id} receives both others")  # type: ignore[misc]
        assert layer.lost > 10
        assert set(worker.engine.rooms["room"].participants) == {"a", "b", "c"}
        await bots[0].leave()
        await until(lambda: set(worker.engine.rooms["room"].participants) == {"b", "c"}, "a is out")
        assert not one.lost("a")
        assert not other.lost("b")


@pytest.mark.usefixtures("patient")
async def test_a_leave_that_nobody_heard_is_made_up_for() -> None:
    layer = BadLayer()
    async with worker_on(layer) as worker, nodes_on(layer) as (one, other):
        await one.bot("a")
        leaver = await other.bot("b")
        worker_channel = worker._mailbox.channel
        layer.cut.add(worker_channel)
        await leaver.leave()
        await asyncio.wait(other.backend._leaving)
        assert "b" in worker.engine.rooms["room"].participants
        layer.cut.clear()
        await until(lambda: set(worker.engine.rooms["room"].participants) == {"a"}, "b is out")


async def test_who_the_worker_lost_joins_anew() -> None:
    layer = BadLayer()
    async with worker_on(layer) as worker, nodes_on(layer, 1) as (node,):
        await node.bot("a")
        await worker._close("room")
        await until(lambda: node.lost("a"), "a is told", 5)
        with pytest.raises(SfuError, match="not in this call"):
            await node.backend.ready("room", "a")
        await node.bot("a")
        assert set(worker.engine.rooms["room"].participants) == {"a"}


async def test_people_of_a_silent_node_are_let_out() -> None:
    layer = BadLayer()
    async with worker_on(layer) as worker, nodes_on(layer) as (one, other):
        await one.bot("a")
        await other.bot("b")
        other.gone = True
        await other.backend.aclose()
        await until(lambda: set(worker.engine.rooms["room"].participants) == {"a"}, "b is out", 8)


async def test_somebody_comes_back_at_another_node() -> None:
    layer = BadLayer()
    async with worker_on(layer) as worker, nodes_on(layer) as (one, other):
        await one.bot("a")
        before = worker.engine.rooms["room"].participants["a"]
        await other.backend.resume("room", "a")
        with pytest.raises(SfuError, match="not in this call"):
            await other.backend.resume("room", "nobody")
        await until(lambda: one.lost("a"), "the first node knows that it has lost them", 5)
        await one.backend.leave("room", "a")
        assert worker.engine.rooms["room"].participants["a"] is before
        await other.backend.ready("room", "a")


async def test_rooms_move_when_a_worker_is_told_to_end() -> None:
    layer = BadLayer()
    async with nodes_on(layer) as (one, other), contextlib.AsyncExitStack() as stack:
        leaving = Worker(SfuConfig(transport=TransportConfig(addresses=("127.0.0.1",))), layer)
        await leaving.start()
        await one.bot("a")
        await other.bot("b")
        staying = await stack.enter_async_context(worker_on(layer))
        await leaving.stop()
        assert one.lost("a")
        assert other.lost("b")
        await one.bot("a")
        await other.bot("b")
        assert set(staying.engine.rooms["room"].participants) == {"a", "b"}
        assert await asyncio.to_thread(lambda: [row.pk for row in MediaWorker.objects.all()]) == [staying.id]


async def test_a_worker_that_was_taken_for_dead_lets_go_of_its_rooms() -> None:
    layer = BadLayer()
    async with worker_on(layer) as worker, nodes_on(layer, 1) as (node,):
        await node.bot("a")
        await asyncio.to_thread(lambda: MediaWorker.objects.all().delete())
        await until(lambda: node.lost("a"), "a is told", 5)
        await until(lambda: not worker.engine.rooms, "the room is closed", 5)
        await node.bot("a")  # it is there again, and takes rooms
        assert set(worker.engine.rooms["room"].participants) == {"a"}


async def test_an_empty_room_is_nowhere() -> None:
    layer = BadLayer()
    async with worker_on(layer), nodes_on(layer, 1) as (node,):
        await node.bot("a")
        assert await asyncio.to_thread(Placement.objects.count) == 1
        await node.bots[0].leave()
        async with asyncio.timeout(10):
            while await asyncio.to_thread(Placement.objects.count):
                await asyncio.sleep(0.05)
        await node.bot("a")  # and is placed again


async def test_without_a_worker_it_is_said_so() -> None:
    layer = BadLayer()
    async with nodes_on(layer, 1) as (node,):
        with pytest.raises(SfuError, match="No media worker runs") as raised:
            await node.backend.join("room", ParticipantInfo(id="a", user_id="a", username="a"))
        assert raised.value.full


async def test_refusals_come_through() -> None:
    layer = BadLayer()
    async with worker_on(layer, max_participants=2), nodes_on(layer, 1) as (node,):
        await node.bot("a")
        with pytest.raises(SfuError, match="does not begin"):
            await node.backend.publish("room", "a", "nonsense", {})
        await node.bot("b")
        with pytest.raises(SfuError, match="full") as raised:
            await node.backend.join("room", ParticipantInfo(id="c", user_id="c", username="c"))
        assert raised.value.full


async def test_what_is_not_understood_is_left_aside(caplog: pytest.LogCaptureFixture) -> None:
    layer = BadLayer()
    async with worker_on(layer) as worker, nodes_on(layer, 1) as (node,):
        for data in (b"", b"\xc1", b"\x81\xa4type\xa4Evil", "text", None, b"\x80" * 2000):
            await layer.send(worker._mailbox.channel, {"type": MESSAGE_TYPE, "data": data})
        await layer.send(worker._mailbox.channel, {"type": "something.else"})
        await node.bot("a")
        assert set(worker.engine.rooms["room"].participants) == {"a"}
    assert "not understood" in caplog.text
