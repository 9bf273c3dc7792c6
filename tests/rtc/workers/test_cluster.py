"""Media workers and two nodes, all of them processes: people meet, and calls outlive what is killed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from tests.rtc.workers.cluster import (
    ENVIRONMENT,
    Cluster,
    Listener,
    all_hear_all,
    in_call,
    signals,
    until,
    worker_of,
)
from tests.support import databases
from tests.support.client import Account
from tests.support.instances import instance
from tests.support.server import Server

pytestmark = pytest.mark.slow


@pytest.fixture(params=("redis", "core", "nats"))
def small_cluster(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """Two nodes and a worker, for each layer."""
    with instance("nats" if request.param == "nats" else "redis") as own, databases.fresh("sqlite") as url:
        layer = own.url.replace("redis:", "redis+core:") if request.param == "core" else own.url
        environment = {**ENVIRONMENT, "CHANNEL_LAYER_URL": layer}
        cluster = Cluster(url, environment)
        with cluster.stack:
            cluster.add_node()
            cluster.add_node()
            cluster.add_worker()
            yield cluster


async def test_people_at_two_nodes_meet(small_cluster: Cluster) -> None:
    one, other = small_cluster.nodes
    accounts = [Account(one), Account(other), Account(other)]
    room = accounts[0].room(*accounts[1:])
    listeners = [Listener(account, account.server) for account in accounts]
    async with in_call(room, *listeners):
        await all_hear_all(*listeners)
        assert [one.bot.joins for one in listeners] == [1, 1, 1]
        await listeners[0].bot.leave()
        await until(
            lambda: all(any(_left(frame) == "left" for frame in one.frames) for one in listeners[1:]),
            "the others hear that somebody left",
        )


@pytest.fixture
async def call(workers_cluster: Cluster) -> AsyncIterator[tuple[Cluster, str, str, list[Listener]]]:
    """Three people at two nodes in an answered group's call, all of them heard; the room's key and the call's."""
    cluster = workers_cluster
    await asyncio.to_thread(cluster.staff)
    one, other = cluster.nodes
    accounts = [Account(one), Account(other), Account(other)]
    room = accounts[0].room(*accounts[1:])
    listeners = [
        Listener(accounts[0], one, device_id="phone"),
        *(Listener(who, other, one, device_id="phone") for who in accounts[1:]),
    ]
    async with listeners[0].bot, listeners[1].bot, listeners[2].bot:
        key = (await listeners[0].bot.request("call_start", room_id=room))["call_id"]
        for listener in listeners[1:]:
            await listener.bot.request("call_accept", call_id=key)
        await asyncio.gather(*(listener.bot.join(room) for listener in listeners))
        await all_hear_all(*listeners)
        yield cluster, room, key, listeners
    for listener in listeners:
        listener.close()


async def test_a_worker_tells_what_it_does(call: tuple[Cluster, str, str, list[Listener]]) -> None:
    cluster, room, _, _ = call
    worker = await asyncio.to_thread(worker_of, cluster, room)
    page = await asyncio.to_thread(lambda: httpx.get(f"http://{worker.options[-1]}/metrics").text)
    assert "mana_media_participants 3.0" in page
    assert 'mana_media_room_participants_bucket{le="3.0"} 1.0' in page
    assert room not in page


def _left(frame: dict[str, Any]) -> str | None:
    payload = frame.get("payload")
    is_leaving = frame["type"] == "ready" and isinstance(payload, dict) and "left" in payload
    return str(payload["reason"]) if is_leaving else None


#: Seconds in which a call is back, and attempts of which one must be so fast: the machine may stand still for a moment.
GOAL, ATTEMPTS = 5, 3


async def until_all_are_back(listeners: list[Listener]) -> float:
    """Waits until all have joined once more and hear all others; seconds that it took."""
    began = time.monotonic()
    before = [listener.bot.joins for listener in listeners]
    await until(
        lambda: all(one.bot.joins > joins for one, joins in zip(listeners, before, strict=True)),
        "all have joined anew",
    )
    await all_hear_all(*listeners)
    return time.monotonic() - began


async def test_a_killed_worker_s_calls_go_on_elsewhere(call: tuple[Cluster, str, str, list[Listener]]) -> None:
    cluster, room, key, listeners = call
    took: list[float] = []
    for _ in range(ATTEMPTS):
        await asyncio.to_thread(cluster.staff)
        (await asyncio.to_thread(worker_of, cluster, room)).kill()
        took.append(await until_all_are_back(listeners))
        if took[-1] <= GOAL:
            break
    assert min(took) <= GOAL, took
    assert listeners[0].account.get(f"rtc/calls/{key}")["state"] == "accepted"
    for listener in listeners:
        await listener.bot.request("call_end", call_id=key)
    await until(lambda: len(signals(cluster, key)) == 2, "the call is over")
    assert signals(cluster, key) == ["started", "ended hangup"]


async def test_a_worker_that_is_told_to_end_gives_its_calls_away(
    call: tuple[Cluster, str, str, list[Listener]],
) -> None:
    cluster, room, _, listeners = call
    took: list[float] = []
    for _ in range(ATTEMPTS):
        await asyncio.to_thread(cluster.staff)
        leaving = await asyncio.to_thread(worker_of, cluster, room)
        ended = asyncio.create_task(asyncio.to_thread(leaving.terminate))
        took.append(await until_all_are_back(listeners))
        assert await ended == 0
        assert await asyncio.to_thread(worker_of, cluster, room) is not leaving
        if took[-1] <= GOAL:
            break
    assert min(took) <= GOAL, took


async def test_a_worker_that_hung_has_no_call_any_more(call: tuple[Cluster, str, str, list[Listener]]) -> None:
    cluster, room, _, listeners = call
    hung = await asyncio.to_thread(worker_of, cluster, room)
    hung.freeze()
    try:
        await until(lambda: all(one.bot.joins == 2 for one in listeners), "all have joined anew")
        await all_hear_all(*listeners)
    finally:
        hung.thaw()
    await until(lambda: "A room has moved to another worker" in hung.log, "it lets go")
    await all_hear_all(*listeners)
    assert [one.bot.joins for one in listeners] == [2, 2, 2]
    assert await asyncio.to_thread(worker_of, cluster, room) is not hung


async def test_a_killed_node_s_people_stay_in_the_call(call: tuple[Cluster, str, str, list[Listener]]) -> None:
    cluster, room, key, listeners = call
    node: Server = cluster.nodes[1]
    node.kill()
    try:
        await all_hear_all(*listeners)  # media does not notice
        await until(
            lambda: all(any(_resumed(frame) for frame in one.frames) for one in listeners[1:]),
            "they have come back to their seats at the other node",
        )
        for listener in listeners[1:]:
            await listener.bot.request("mute", room_id=room, payload=True)
        await until(
            lambda: sum(frame["type"] == "mute" for frame in listeners[0].frames) == 2, "they are heard of again"
        )
        # What the dead node left is cleared away meanwhile.
        await asyncio.sleep(float(ENVIRONMENT["MANA_RTC_RESUME_TIMEOUT"]) + 1)
        await all_hear_all(*listeners)
        assert [one.bot.joins for one in listeners] == [1, 1, 1]
        assert signals(cluster, key) == ["started"]
    finally:
        await asyncio.to_thread(node.start)


def _resumed(frame: dict[str, Any]) -> bool:
    payload = frame.get("payload")
    return frame["type"] == "ready" and isinstance(payload, dict) and payload.get("resumed") is True
