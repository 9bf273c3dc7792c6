"""The project's channel layers, on real servers, by the specification of Channels."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from nats.errors import Error as NatsError
from redis.exceptions import ConnectionError as RedisConnectionError

from mana.layers.nats import NatsChannelLayer
from mana.layers.redis import RedisChannelLayer
from mana.layers.topics import TopicChannelLayer
from mana.realtime import tasks
from tests.support import services
from tests.support.instances import Link, instance

#: What sending raises while the server is away, or has just gone.
AWAY = (RedisConnectionError, ConnectionError, TimeoutError, NatsError)

#: What NATS' client leaves behind of a try to connect that failed.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")

Make = Callable[[], TopicChannelLayer]
Linked = tuple[Link, TopicChannelLayer, TopicChannelLayer]


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


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a test leaves behind is found while it is known whose it is."""
    yield
    gc.collect()


@pytest.fixture
def layer(make: Make) -> TopicChannelLayer:
    """A layer of its own."""
    return make()


async def _waiting(layer: TopicChannelLayer, channel: str) -> dict[str, object]:
    return await asyncio.wait_for(layer.receive(channel), 5)


async def test_a_group_reaches_its_channels_in_order(layer: TopicChannelLayer) -> None:
    channels = [await layer.new_channel() for _ in range(2)]
    for channel in channels:
        await layer.group_add("people", channel)
    for number in range(3):
        await layer.group_send("people", {"type": "x", "data": b"\x00\xff", "number": number})
    for channel in channels:
        assert [(await _waiting(layer, channel))["number"] for _ in range(3)] == [0, 1, 2]


async def test_a_group_reaches_its_channels_here_and_elsewhere_once(make: Make) -> None:
    layers = make(), make()
    places = [(one, await one.new_channel()) for one in layers]
    for one, channel in places:
        await one.group_add("people", channel)
    for sender in layers:
        await sender.group_send("people", {"type": "x", "number": id(sender)})
    for one, channel in places:
        got = [(await _waiting(one, channel))["number"] for _ in range(2)]
        assert sorted(got) == sorted(map(id, layers))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.receive(channel), 0.1)


async def test_a_group_may_be_told_but_for_one_channel_here(make: Make) -> None:
    here, there = make(), make()
    own, near, far = await here.new_channel(), await here.new_channel(), await there.new_channel()
    for one, channel in ((here, own), (here, near), (there, far)):
        await one.group_add("people", channel)
    await here.group_send("people", {"type": "x"}, but=own)
    assert await _waiting(here, near) == await _waiting(there, far) == {"type": "x"}
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(here.receive(own), 0.1)


async def test_those_who_join_at_once_get_everything_once(layer: TopicChannelLayer, make: Make) -> None:
    channels = [await layer.new_channel() for _ in range(3)]
    await asyncio.gather(*(layer.group_add("people", channel) for channel in channels))
    await make().group_send("people", {"type": "x"})
    for channel in channels:
        assert await _waiting(layer, channel) == {"type": "x"}
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
        got.append((await _waiting(layer, channel))["number"])
    assert got == list(range(got[0], sent + 1))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(layer.receive(channel), 0.1)


async def test_a_discarded_channel_gets_no_more(layer: TopicChannelLayer) -> None:
    here, gone = await layer.new_channel(), await layer.new_channel()
    for channel in (here, gone):
        await layer.group_add("people", channel)
    await layer.group_discard("people", gone)
    await layer.group_send("people", {"type": "x"})
    assert await _waiting(layer, here) == {"type": "x"}
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
    await _waiting(layer, witness)
    assert [(await _waiting(layer, channel))["number"] for _ in range(3)] == [2, 3, 4]
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
    assert await _waiting(layer, stays) == {"type": "x"}


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
    here, there = _layer(kind, services.URLS[kind]), _layer(kind, services.URLS[kind])
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
    assert [await _waiting(here, channel) for _ in range(2)] == [{"number": 0}, {"number": 2}]
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


async def test_a_nats_client_that_the_server_closed_for_good_is_made_anew_with_all_that_it_heard() -> None:
    services.require("nats")
    here, there = _layer("nats", services.URLS["nats"]), _layer("nats", services.URLS["nats"])
    people, back = f"people-{uuid4().hex}", asyncio.Event()
    heard: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    channel = await here.new_channel()
    await here.group_add(people, channel)
    await here.group_listen(people, heard.put_nowait)
    await here.on_reconnect(back.set)
    link: Any = await here._link()
    await link._client.close()  # what its client does when the server refuses it
    await here.ping()
    assert back.is_set(), "who listens looks into the database"
    await there.group_send(people, {"number": 1})
    assert await asyncio.wait_for(heard.get(), 10) == {"number": 1}
    assert await _waiting(here, channel) == {"number": 1}
    for layer in (here, there):
        await layer.close_pools()


async def test_a_reconnect_of_nats_while_somebody_joins_ends_nobody() -> None:
    services.require("nats")
    layer = _layer("nats", services.URLS["nats"])
    await layer.ping()
    link: Any = await layer._link()

    async def never(timeout: float) -> None:
        await asyncio.Event().wait()

    link._client.flush = never
    joining = asyncio.create_task(layer.group_add("people", await layer.new_channel()))
    while not link._round_trips:
        await asyncio.sleep(0)
    await link._reconnected()
    with pytest.raises(ConnectionError):
        await asyncio.wait_for(joining, 5)
    await layer.close_pools()


# A server that goes away


async def test_a_layer_whose_server_restarts_goes_on_and_tells() -> None:
    for kind in ("nats", "redis"):
        with instance(kind) as own:
            here, there = _layer(kind, own.url), _layer(kind, own.url)
            channel = await here.new_channel()
            await here.group_add("people", channel)
            await there.group_send("people", {"number": 1})
            assert await _waiting(here, channel) == {"number": 1}
            back = asyncio.Event()
            await here.on_reconnect(back.set)
            await asyncio.to_thread(own.kill)
            await asyncio.to_thread(own.start)
            await asyncio.wait_for(back.wait(), 15)
            async with asyncio.timeout(15):
                while True:
                    try:
                        await there.group_send("people", {"number": 2})
                        await asyncio.wait_for(there.ping(), 1)
                        break
                    except AWAY:
                        await asyncio.sleep(0.05)
            assert await _waiting(here, channel) == {"number": 2}
            for layer in (here, there):
                await layer.close_pools()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Links that have not heard anything for half a second are given up."""
    monkeypatch.setattr("mana.layers.redis.HEARTBEAT", 0.1)
    monkeypatch.setattr("mana.layers.redis.PATIENCE", 0.5)
    monkeypatch.setattr("mana.layers.nats.PATIENCE", 1)


@pytest.fixture(params=["nats", "redis"])
async def linked(request: pytest.FixtureRequest, impatient: None) -> AsyncIterator[Linked]:
    """A layer whose way to its server is a link, and one on the same server that has a way of its own."""
    services.require(request.param)
    url, prefix = services.URLS[request.param], f"test-{uuid4().hex}"
    link = Link(url)
    if request.param == "nats":
        here: TopicChannelLayer = NatsChannelLayer([link.url], prefix=prefix, options={"ping_interval": 0.2})
        there: TopicChannelLayer = NatsChannelLayer([url], prefix=prefix)
    else:
        here, there = RedisChannelLayer(link.url, prefix=prefix), RedisChannelLayer(url, prefix=prefix)
    yield link, here, there
    for layer in (here, there):
        await layer.close_pools()
    link.close()


async def test_a_link_on_which_nothing_arrives_is_made_anew(linked: Linked) -> None:
    link, here, there = linked
    back = asyncio.Event()
    channel = await here.new_channel()
    await here.group_add("people", channel)
    await here.on_reconnect(back.set)
    await there.group_send("people", {"number": 1})
    assert await _waiting(here, channel) == {"number": 1}
    link.swallow()
    # What others send still comes, so that only the missing echo of one's own tells.
    await there.group_send("people", {"number": 2})
    assert await _waiting(here, channel) == {"number": 2}
    with pytest.raises(AWAY):
        await _ping_for_ever(here)
    assert not back.is_set()
    link.mend()
    await asyncio.wait_for(back.wait(), 15)
    await here.ping()


async def test_a_peer_that_is_gone_without_a_word_while_much_is_sent_is_given_up(linked: Linked) -> None:
    link, here, there = linked
    back = asyncio.Event()
    channel = await there.new_channel()
    await there.group_add("people", channel)
    await here.on_reconnect(back.set)
    await here.group_send("people", {"number": 1})
    assert await _waiting(there, channel) == {"number": 1}
    link.abandon()

    async def send_much() -> None:
        while not back.is_set():
            try:
                async with asyncio.timeout(0.3):
                    await here.group_send("others", {"data": b"x" * 500_000})
            except AWAY:
                await asyncio.sleep(0.01)

    await asyncio.wait_for(send_much(), 30)
    async with asyncio.timeout(15):
        while True:  # NATS' client may have kept what was sent in the meantime
            try:
                await here.group_send("people", {"number": 2})
            except AWAY:  # what was given up in the middle of a write has cost another connection
                await asyncio.sleep(0.05)
                continue
            if (await _waiting(there, channel))["number"] == 2:
                break


async def test_while_the_server_is_away_nothing_is_sent_and_nothing_comes_late() -> None:
    for kind in ("nats", "redis"):
        with instance(kind) as own:
            link = Link(own.url)
            here, there = _layer(kind, link.url), _layer(kind, own.url)
            channel = await there.new_channel()
            await there.group_add("people", channel)
            await here.ping()
            assert here.is_connected(asyncio.get_running_loop())
            back = asyncio.Event()
            await here.on_reconnect(back.set)
            link.cut()
            with pytest.raises((RedisConnectionError, ConnectionError)):
                await _send_for_ever(here)
            assert not here.is_connected(asyncio.get_running_loop())
            with pytest.raises((RedisConnectionError, ConnectionError)):
                await here.ping()
            with pytest.raises((RedisConnectionError, ConnectionError)):
                await here.group_send("people", {"type": "late"})
            link.mend()
            await asyncio.wait_for(back.wait(), 15)
            await here.group_send("people", {"type": "fresh"})
            async with asyncio.timeout(10):
                while (await there.receive(channel))["type"] != "fresh":
                    pass  # what was sent before the end of the connection was seen
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(there.receive(channel), 0.2)
            for layer in (here, there):
                await layer.close_pools()
            link.close()


async def test_a_subscription_that_is_not_confirmed_in_time_is_not_made_twice() -> None:
    for kind in ("nats", "redis"):
        with instance(kind) as own:
            here, there = _layer(kind, own.url), _layer(kind, own.url)
            for layer in (here, there):
                await layer.ping()
            channel = await here.new_channel()
            own.freeze()
            for _ in range(2):
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(here.group_add("people", channel), 0.2)
            own.thaw()
            await asyncio.wait_for(here.group_add("people", channel), 10)
            await there.group_send("people", {"type": "once"})
            assert await _waiting(here, channel) == {"type": "once"}
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(here.receive(channel), 0.2)
            for layer in (here, there):
                await layer.close_pools()


async def test_redis_that_is_away_is_said_at_once() -> None:
    with instance("redis") as own:
        layer = _layer("redis", own.url)
        await layer.ping()
        await asyncio.to_thread(own.kill)
        with pytest.raises((RedisConnectionError, TimeoutError)):
            await _send_for_ever(layer)
        await layer.close_pools()
        with pytest.raises(RedisConnectionError):
            await _layer("redis", own.url).ping()


async def _ping_for_ever(layer: TopicChannelLayer) -> None:
    while True:
        await layer.ping()


async def _send_for_ever(layer: TopicChannelLayer) -> None:
    while True:
        await layer.group_send("people", {"type": "x"})
        await asyncio.sleep(0.01)  # until the end of the connection is seen


def _layer(kind: str, url: str) -> TopicChannelLayer:
    return NatsChannelLayer([url]) if kind == "nats" else RedisChannelLayer(url)


async def test_what_is_more_than_a_nats_client_keeps_waits_for_the_server_and_comes_in_order() -> None:
    """It may be begun outside a task, and the client waits in a way that from Python 3.12 on needs one."""
    services.require("nats")
    url, prefix = services.URLS["nats"], f"test-{uuid4().hex}"
    here = NatsChannelLayer([url], prefix=prefix, options={"pending_size": 100_000})
    there = NatsChannelLayer([url], prefix=prefix)
    came: list[int] = []
    try:
        await there.group_listen("people", lambda message: came.append(message["number"]))
        await here.ping()
        for number in range(10):
            sending = tasks.start(here.group_tell("people", {"number": number, "data": b"x" * 60_000}))
            assert (sending is not None) == (number > 0)
            if sending is not None:
                await sending
        async with asyncio.timeout(10):
            while len(came) < 10:
                await asyncio.sleep(0.01)
        assert came == list(range(10))
    finally:
        await here.close_pools()
        await there.close_pools()


async def test_what_the_url_of_redis_says_of_timeouts_is_not_for_the_link() -> None:
    """With one, redis-py writes inside ``wait_for``, which from Python 3.12 on needs a task around it."""
    services.require("redis")
    url, prefix = services.URLS["redis"], f"test-{uuid4().hex}"
    here = RedisChannelLayer(f"{url}?socket_timeout=5", prefix=prefix)
    there = RedisChannelLayer(url, prefix=prefix)
    came: list[int] = []
    told = asyncio.Event()
    try:
        await there.group_listen("people", lambda message: (came.append(message["number"]), told.set()))
        await here.ping()
        assert tasks.start(here.group_tell("people", {"number": 1})) is None
        await asyncio.wait_for(told.wait(), 5)
        assert came == [1]
    finally:
        await here.close_pools()
        await there.close_pools()
