"""The way to other nodes: bounded, told of its gaps, and always to be ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from mana.realtime import bus, tasks
from mana.realtime.announcements import Announcement
from mana.realtime.bus import LayerBus


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
        self.repaired = asyncio.Event()

    def repair(self) -> None:
        self.repaired.set()

    def receive(self, announcements: list[Announcement]) -> None: ...


async def test_a_layer_that_comes_back_has_the_hub_read_what_it_missed() -> None:
    hub, layer = FakeHub(), Layer()
    layer.failures = 1
    made = LayerBus(hub, layer)  # type: ignore[arg-type]
    await made.start()
    async with asyncio.timeout(10):
        await hub.repaired.wait()
    assert layer.channels == ["channel-0", "channel-1"]
    await made.stop()


async def test_one_channel_serves_the_whole_process() -> None:
    layer = Layer()
    made = LayerBus(FakeHub(), layer)  # type: ignore[arg-type]
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
    made = LayerBus(FakeHub(), Layer())  # type: ignore[arg-type]
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
