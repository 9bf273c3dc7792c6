"""The links of the project's channel layers: servers that restart, are away or silent; clients that end or are full."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
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
from tests.support.layers import layer_of, received

#: What sending raises while the server is away, or has just gone.
AWAY = (RedisConnectionError, ConnectionError, TimeoutError, NatsError)

#: What NATS' client leaves behind of a try to connect that failed.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning")

Linked = tuple[Link, TopicChannelLayer, TopicChannelLayer]


async def test_a_nats_client_that_the_server_closed_for_good_is_made_anew_with_all_that_it_heard() -> None:
    services.require("nats")
    here, there = layer_of("nats", services.URLS["nats"]), layer_of("nats", services.URLS["nats"])
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
    assert await received(here, channel) == {"number": 1}
    for layer in (here, there):
        await layer.close_pools()


async def test_a_reconnect_of_nats_while_somebody_joins_ends_nobody() -> None:
    services.require("nats")
    layer = layer_of("nats", services.URLS["nats"])
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
            here, there = layer_of(kind, own.url), layer_of(kind, own.url)
            channel = await here.new_channel()
            await here.group_add("people", channel)
            await there.group_send("people", {"number": 1})
            assert await received(here, channel) == {"number": 1}
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
            assert await received(here, channel) == {"number": 2}
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
    assert await received(here, channel) == {"number": 1}
    link.swallow()
    # What others send still comes, so that only the missing echo of one's own tells.
    await there.group_send("people", {"number": 2})
    assert await received(here, channel) == {"number": 2}
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
    assert await received(there, channel) == {"number": 1}
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
            if (await received(there, channel))["number"] == 2:
                break


async def test_while_the_server_is_away_nothing_is_sent_and_nothing_comes_late() -> None:
    for kind in ("nats", "redis"):
        with instance(kind) as own:
            link = Link(own.url)
            here, there = layer_of(kind, link.url), layer_of(kind, own.url)
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
            here, there = layer_of(kind, own.url), layer_of(kind, own.url)
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
            assert await received(here, channel) == {"type": "once"}
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(here.receive(channel), 0.2)
            for layer in (here, there):
                await layer.close_pools()


async def test_redis_that_is_away_is_said_at_once() -> None:
    with instance("redis") as own:
        layer = layer_of("redis", own.url)
        await layer.ping()
        await asyncio.to_thread(own.kill)
        with pytest.raises((RedisConnectionError, TimeoutError)):
            await _send_for_ever(layer)
        await layer.close_pools()
        with pytest.raises(RedisConnectionError):
            await layer_of("redis", own.url).ping()


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


async def _ping_for_ever(layer: TopicChannelLayer) -> None:
    while True:
        await layer.ping()


async def _send_for_ever(layer: TopicChannelLayer) -> None:
    while True:
        await layer.group_send("people", {"type": "x"})
        await asyncio.sleep(0.01)  # until the end of the connection is seen
