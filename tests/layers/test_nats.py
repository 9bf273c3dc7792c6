"""The NATS channel layer, on a real server, by the specification of Channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import uuid4

import pytest

from mana.layers.nats import NatsChannelLayer
from tests.support import services


@pytest.fixture
async def layer() -> AsyncIterator[NatsChannelLayer]:
    """A layer of its own."""
    services.require("nats")
    made = NatsChannelLayer([services.URLS["nats"]], prefix=f"test-{uuid4().hex}", capacity=3)
    yield made
    await made.close_pools()


async def _waiting(layer: NatsChannelLayer, channel: str) -> dict[str, object]:
    return await asyncio.wait_for(layer.receive(channel), 5)


async def test_a_group_reaches_its_channels_in_order(layer: NatsChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(2)]
    for channel in channels:
        await layer.group_add("people", channel)
    for number in range(3):
        await layer.group_send("people", {"type": "x", "data": b"\x00\xff", "number": number})
    for channel in channels:
        assert [(await _waiting(layer, channel))["number"] for _ in range(3)] == [0, 1, 2]


async def test_a_discarded_channel_gets_no_more(layer: NatsChannelLayer) -> None:
    here, gone = await layer.new_channel(), await layer.new_channel()
    for channel in (here, gone):
        await layer.group_add("people", channel)
    await layer.group_discard("people", gone)
    await layer.group_send("people", {"type": "x"})
    assert await _waiting(layer, here) == {"type": "x"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(gone), 0.2)


async def test_one_channel_is_reached_directly(layer: NatsChannelLayer) -> None:
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    other = NatsChannelLayer(layer.servers, prefix=layer.prefix)
    while not receiving.done():
        await other.send(channel, {"type": "hello"})
        await asyncio.wait([receiving], timeout=0.05)
    await other.close_pools()
    assert receiving.result() == {"type": "hello"}


async def test_over_capacity_the_oldest_are_dropped(layer: NatsChannelLayer, caplog: pytest.LogCaptureFixture) -> None:
    channel, witness = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("busy", channel)
    for number in range(5):
        await layer.group_send("busy", {"number": number})
    await layer.group_add("after", witness)
    await layer.group_send("after", {"type": "done"})
    await _waiting(layer, witness)
    assert [(await _waiting(layer, channel))["number"] for _ in range(3)] == [2, 3, 4]
    assert "over its capacity" in caplog.text


async def test_names_are_checked(layer: NatsChannelLayer) -> None:
    with pytest.raises(TypeError):
        await layer.group_add("white space", "channel")


async def test_flush_forgets(layer: NatsChannelLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("people", channel)
    await layer.group_send("people", {"type": "x"})
    await layer.flush()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.2)
