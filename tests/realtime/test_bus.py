"""The way to other nodes: bounded, told of its gaps, and always to be ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer

from mana.layers.redis import RedisChannelLayer
from mana.layers.topics import TopicChannelLayer
from mana.realtime import bus, tasks
from mana.realtime.announce import announce
from mana.realtime.announcements import Announcement, unpack
from mana.realtime.bus import LayerBus
from tests.support import services


class Layer:
    """A channel layer that does what the test says."""

    def __init__(self) -> None:
        self.failures = 0
        self.channels: list[str] = []
        self.sent: list[dict[str, Any]] = []

    async def new_channel(self) -> str:
        self.channels.append(f"channel-{len(self.channels)}")
        return self.channels[-1]

    async def group_add(self, group: str, channel: str) -> None: ...
    async def group_discard(self, group: str, channel: str) -> None: ...

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def receive(self, channel: str) -> dict[str, Any]:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("The layer is away.")
        await asyncio.Event().wait()
        raise AssertionError


class FakeHub:
    """What a bus asks of its hub."""

    def __init__(self) -> None:
        self.node_id = "here"
        self.loop = asyncio.get_running_loop()
        self.repaired = asyncio.Event()

    def repair(self) -> None:
        self.repaired.set()

    def receive_from_others(self, announcements: list[Announcement]) -> None: ...


async def test_a_layer_that_comes_back_has_the_hub_read_what_it_missed() -> None:
    hub, layer = FakeHub(), Layer()
    layer.failures = 1
    made = LayerBus(cast(Any, hub), layer)
    await made.start()
    async with asyncio.timeout(10):
        await hub.repaired.wait()
    assert layer.channels == ["channel-0", "channel-1"]
    await made.stop()


async def test_a_node_that_could_not_join_is_not_connected_and_joins_when_it_can(monkeypatch: Any) -> None:
    hub, layer = FakeHub(), Layer()
    joined = asyncio.Event()

    async def refuses(group: str, channel: str) -> None:
        if len(layer.channels) == 1:
            raise ConnectionError("The layer is away.")
        joined.set()

    monkeypatch.setattr(layer, "group_add", refuses)
    made = LayerBus(cast(Any, hub), layer)
    await made.start()
    assert not made.connected
    async with asyncio.timeout(10):
        await joined.wait()
        await hub.repaired.wait()
    assert made.connected
    await made.stop()


async def test_a_second_start_changes_nothing() -> None:
    layer = Layer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    await made.start()
    assert layer.channels == ["channel-0"]
    await made.stop()


async def test_who_announces_without_a_hub_leaves_the_layer_to_the_projects_consumers(settings: Any) -> None:
    services.require("redis")
    config = {"url": services.URLS["redis"], "prefix": f"test-{uuid4().hex}"}
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": "mana.layers.redis.RedisChannelLayer", "CONFIG": config}}
    layer, other = get_channel_layer(), RedisChannelLayer(**config)
    witness, channel = await other.new_channel(), await layer.new_channel()
    await other.group_add(bus.GROUP, witness)
    await layer.group_add("people", channel)
    waiting = asyncio.create_task(layer.receive(channel))
    try:
        await sync_to_async(announce)([Announcement(0, "from a view", "{}")])
        announce([Announcement(0, "from a coroutine", "{}")])
        heard = [unpack((await asyncio.wait_for(other.receive(witness), 5))["data"])[0].room for _ in range(2)]
        assert sorted(heard) == ["from a coroutine", "from a view"]
        await other.group_send("people", {"type": "x"})
        assert await asyncio.wait_for(waiting, 5) == {"type": "x"}
    finally:
        waiting.cancel()
        for one in (layer, other):
            await one.close_pools()


async def test_one_channel_serves_the_whole_process() -> None:
    layer = Layer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    for number in range(1, 101):
        made.publish([Announcement(number, f"room-{number}", "{}")])
    async with asyncio.timeout(10):
        while made.backlog:
            await asyncio.sleep(0)
    assert layer.channels == ["channel-0"]
    assert len(layer.sent) == 1, "what waits goes as one message"
    await made.stop()


def test_of_what_can_not_be_published_the_oldest_is_dropped_and_counted(monkeypatch: Any) -> None:
    monkeypatch.setattr(bus, "BACKLOG", 100)
    made = LayerBus(SimpleNamespace(node_id="here"), Layer())  # type: ignore[arg-type]
    for number in range(1, 111):
        made.publish([Announcement(number, "room", "{}")])
    assert (made.backlog, made.drops) == (100, 10)


async def test_it_ends_though_it_is_woken_in_that_very_moment() -> None:
    """Until Python 3.12 ``asyncio.wait_for`` swallows a cancellation that comes with what it waits for."""
    made = LayerBus(cast(Any, FakeHub()), Layer())
    await made.start()
    await asyncio.sleep(0)
    made.doubt()
    async with asyncio.timeout(10):
        await made.stop()


async def test_a_task_that_swallows_a_cancellation_is_cancelled_again(monkeypatch: Any) -> None:
    monkeypatch.setattr(tasks, "AGAIN", 0.01)
    swallowed = []

    async def deaf() -> None:
        while len(swallowed) < 2:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                swallowed.append(True)
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf())
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await tasks.end([task, None])
    assert task.cancelled()
    assert len(swallowed) == 2


async def test_what_waits_is_published_before_a_node_goes() -> None:
    layer = Layer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    made.publish([Announcement(0, "tea", "{}")])
    await made.stop()
    assert len(layer.sent) == 1


async def test_a_node_goes_though_the_layer_takes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = Layer()

    async def hangs(group: str, message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(layer, "group_send", hangs)
    monkeypatch.setattr("mana.realtime.bus.LAST_WORDS", 0.05)
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    made.publish([Announcement(0, "tea", "{}")])
    await asyncio.wait_for(made.stop(), 5)


class TopicLayer(TopicChannelLayer):
    """A layer of the project's own whose sending waits while ``gate`` is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.breaks = False

    def _make_link(self) -> Any:
        raise AssertionError

    def is_connected(self, loop: asyncio.AbstractEventLoop) -> bool:
        return True

    async def on_reconnect(self, tell: Any) -> None: ...
    async def group_listen(self, group: str, listener: Any) -> None: ...
    async def group_unlisten(self, group: str, listener: Any) -> None: ...
    async def close_pools(self) -> None: ...

    async def group_tell(self, group: str, message: dict[str, Any]) -> None:
        if not self.gate.is_set():
            await self.gate.wait()
        if self.breaks:
            raise ConnectionError("The layer is away.")
        self.sent.append([one.sequence for one in unpack(message["data"])])


async def test_what_a_layer_takes_at_once_is_published_before_publish_returns() -> None:
    layer = TopicLayer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    made.publish([Announcement(1, "tea", "{}")])
    made.publish([Announcement(2, "tea", "{}")])
    assert layer.sent == [[1], [2]]
    await made.stop()


async def test_what_a_layer_makes_wait_is_finished_before_anything_younger_goes() -> None:
    layer = TopicLayer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    layer.gate.clear()
    for number in (1, 2, 3):
        made.publish([Announcement(number, "tea", "{}")])
    await asyncio.sleep(0)
    assert layer.sent == []
    layer.gate.set()
    await made.stop()
    assert layer.sent == [[1], [2, 3]]


async def test_what_a_layer_refuses_at_once_is_counted_as_dropped() -> None:
    layer = TopicLayer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    layer.breaks = True
    made.publish([Announcement(1, "tea", "{}")])
    layer.breaks = False
    made.publish([Announcement(2, "tea", "{}")])
    assert (made.drops, layer.sent) == (1, [[2]])
    await made.stop()


async def test_a_layer_that_hangs_is_given_up_and_the_next_are_published(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus, "SEND_TIMEOUT", 0.05)
    layer = TopicLayer()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    layer.gate.clear()
    made.publish([Announcement(1, "tea", "{}")])
    async with asyncio.timeout(10):
        while not made.drops:
            await asyncio.sleep(0.01)
    layer.gate.set()
    made.publish([Announcement(2, "tea", "{}")])
    await made.stop()
    assert (made.drops, layer.sent) == (1, [[2]])


@pytest.mark.parametrize("kind", [Layer, TopicLayer])
async def test_what_can_not_be_packed_is_dropped_alone(kind: type[Layer | TopicLayer]) -> None:
    layer = kind()
    made = LayerBus(cast(Any, FakeHub()), layer)
    await made.start()
    made.publish([Announcement(1, "tea", "{}", origin=cast(Any, object()))])
    async with asyncio.timeout(10):
        while not made.drops:
            await asyncio.sleep(0)
    made.publish([Announcement(2, "tea", "{}")])
    await made.stop()
    assert (made.drops, made.backlog, len(layer.sent)) == (1, 0, 1)
