"""The project's channel layers, on real servers, by the specification of Channels."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import uuid4

import pytest

from mana.layers.nats import NatsChannelLayer
from mana.layers.redis import RedisChannelLayer
from mana.layers.topics import TopicChannelLayer
from tests.support import services
from tests.support.layers import layer_of, received

#: What NATS' client leaves behind of a try to connect that failed.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")

Make = Callable[[], TopicChannelLayer]


@pytest.fixture(params=["nats", "redis"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Makes layers of several processes that share a server and a prefix of their own."""
    services.require(request.param)
    url, prefix = services.URLS[request.param], f"test-{uuid4().hex}"
    made: list[TopicChannelLayer] = []

    def one() -> TopicChannelLayer:
        new = (
            NatsChannelLayer([url], prefix=prefix, capacity=3)
            if request.param == "nats"
            else RedisChannelLayer(url, prefix=prefix, capacity=3)
        )
        made.append(new)
        return new

    yield one
    for layer in made:
        await layer.close_pools()


@pytest.fixture
def layer(make: Make) -> TopicChannelLayer:
    """A layer of its own."""
    return make()


async def test_a_group_reaches_its_channels_in_order(layer: TopicChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(2)]
    for channel in channels:
        await layer.group_add("people", channel)
    for number in range(3):
        await layer.group_send("people", {"type": "x", "data": b"\x00\xff", "number": number})
    for channel in channels:
        assert [(await received(layer, channel))["number"] for _ in range(3)] == [0, 1, 2]


async def test_a_group_reaches_its_channels_here_and_elsewhere_once(make: Make) -> None:
    layers = make(), make()
    places = [(one, await one.new_channel()) for one in layers]
    for one, channel in places:
        await one.group_add("people", channel)
    for sender in layers:
        await sender.group_send("people", {"type": "x", "number": id(sender)})
    for one, channel in places:
        got = [(await received(one, channel))["number"] for _ in range(2)]
        assert sorted(got) == sorted(map(id, layers))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.receive(channel), 0.1)


async def test_a_group_may_be_told_but_for_one_channel_here(make: Make) -> None:
    here, there = make(), make()
    own, near, far = await here.new_channel(), await here.new_channel(), await there.new_channel()
    for one, channel in ((here, own), (here, near), (there, far)):
        await one.group_add("people", channel)
    await here.group_send("people", {"type": "x"}, but=own)
    assert await received(here, near) == await received(there, far) == {"type": "x"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(here.receive(own), 0.1)


async def test_those_who_join_at_once_get_everything_once(layer: TopicChannelLayer, make: Make) -> None:
    channels = [await layer.new_channel() for _ in range(3)]
    await asyncio.gather(*(layer.group_add("people", channel) for channel in channels))
    await make().group_send("people", {"type": "x"})
    for channel in channels:
        assert await received(layer, channel) == {"type": "x"}
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(layer.receive(channel), 0.1)


async def test_a_shared_channel_gives_each_message_to_one_reader(make: Make) -> None:
    sender, readers = make(), (make(), make())
    got: list[Any] = []

    async def read(reader: TopicChannelLayer) -> None:
        while True:
            got.append((await reader.receive("thumbnails"))["number"])

    reading = [asyncio.create_task(read(reader)) for reader in readers]
    number = 0
    async with asyncio.timeout(10):
        while len(got) < 6:
            number += 1
            await sender.send("thumbnails", {"number": number})
            await asyncio.sleep(0.05)  # paced, so that no reader is behind by more than its capacity
    for task in reading:
        task.cancel()
    await asyncio.wait(reading)
    assert len(got) == len(set(got)), "nothing came twice"


async def test_a_message_to_a_channel_that_is_read_here_comes_once(layer: TopicChannelLayer) -> None:
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    sent = 0
    while not receiving.done():
        sent += 1
        await layer.send(channel, {"number": sent})
        await asyncio.wait([receiving], timeout=0.05)
    sent += 1
    await layer.send(channel, {"number": sent})
    got = [receiving.result()["number"]]
    while got[-1] != sent:
        got.append((await received(layer, channel))["number"])
    assert got == list(range(got[0], sent + 1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.1)


async def test_a_discarded_channel_gets_no_more(layer: TopicChannelLayer) -> None:
    here, gone = await layer.new_channel(), await layer.new_channel()
    for channel in (here, gone):
        await layer.group_add("people", channel)
    await layer.group_discard("people", gone)
    await layer.group_send("people", {"type": "x"})
    assert await received(layer, here) == {"type": "x"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(gone), 0.2)


async def test_one_channel_is_reached_directly(layer: TopicChannelLayer, make: Make) -> None:
    channel = await layer.new_channel()
    receiving = asyncio.create_task(layer.receive(channel))
    other = make()
    while not receiving.done():
        await other.send(channel, {"type": "hello"})
        await asyncio.wait([receiving], timeout=0.05)
    assert receiving.result() == {"type": "hello"}


async def test_over_capacity_the_oldest_are_dropped(layer: TopicChannelLayer, caplog: pytest.LogCaptureFixture) -> None:
    channel, witness = await layer.new_channel(), await layer.new_channel()
    await layer.group_add("busy", channel)
    for number in range(5):
        await layer.group_send("busy", {"number": number})
    await layer.group_add("after", witness)
    await layer.group_send("after", {"type": "done"})
    await received(layer, witness)
    assert [(await received(layer, channel))["number"] for _ in range(3)] == [2, 3, 4]
    assert "over its capacity" in caplog.text


async def test_a_channel_whose_reader_is_gone_is_forgotten(layer: TopicChannelLayer, make: Make) -> None:
    """A consumer whose socket has ended is cancelled in ``receive``, and says nothing more."""
    stays = await layer.new_channel()
    await layer.group_add("people", stays)
    link = await layer._link()
    before = {topic: set(channels) for topic, channels in link._channels.items()}
    readers = []
    for _ in range(5):
        channel = await layer.new_channel()
        await layer.group_add("people", channel)
        await layer.group_add(channel.replace("!", "."), channel)
        readers.append(asyncio.create_task(layer.receive(channel)))
    await make().group_send("people", {"type": "x"})
    for reader in readers[:4]:
        assert await asyncio.wait_for(reader, 5) == {"type": "x"}
    again = [asyncio.create_task(layer.receive(channel)) for channel in list(link._topics) if channel != stays]
    await asyncio.sleep(0)
    for reader in (*again, *readers[4:]):
        reader.cancel()
    await asyncio.wait(again)
    async with asyncio.timeout(5):
        while link._channels != before:
            await asyncio.sleep(0.01)
    assert (set(link._topics), set(link._inboxes)) == ({stays}, {stays})
    assert await received(layer, stays) == {"type": "x"}


async def test_names_are_checked(layer: TopicChannelLayer) -> None:
    with pytest.raises(TypeError):
        await layer.group_add("white space", "channel")


async def test_flush_forgets(layer: TopicChannelLayer) -> None:
    channel = await layer.new_channel()
    await layer.group_add("people", channel)
    await layer.group_send("people", {"type": "x"})
    await layer.flush()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.2)


async def test_a_ping_comes_back(layer: TopicChannelLayer) -> None:
    await layer.ping()


# Listeners


@pytest.mark.parametrize("kind", ["nats", "redis"])
async def test_a_listener_hears_what_other_processes_send_to_a_group_and_nothing_of_its_own(kind: str) -> None:
    services.require(kind)
    here, there = layer_of(kind, services.URLS[kind]), layer_of(kind, services.URLS[kind])
    people = f"people-{uuid4().hex}"
    heard: list[int] = []
    all_heard = asyncio.Event()

    def listen(message: dict[str, Any]) -> None:
        if message["number"] == 0:
            raise ValueError("A listener may fail.")
        heard.append(message["number"])
        all_heard.set()

    channel = await here.new_channel()
    await here.group_add(people, channel)
    for _ in range(2):
        await here.group_listen(people, listen)
    await here.group_tell(people, {"number": 1})
    await there.group_send(people, {"number": 0})
    await there.group_tell(people, {"number": 2})
    await asyncio.wait_for(all_heard.wait(), 10)
    assert heard == [2]
    assert [await received(here, channel) for _ in range(2)] == [{"number": 0}, {"number": 2}]
    await here.group_discard(people, channel)
    all_heard.clear()
    await there.group_send(people, {"number": 3})
    await asyncio.wait_for(all_heard.wait(), 10)
    await here.group_unlisten(people, listen)
    await there.group_send(people, {"number": 4})
    await here.ping()
    await there.ping()
    await here.ping()
    assert heard == [2, 3]
    for layer in (here, there):
        await layer.close_pools()
