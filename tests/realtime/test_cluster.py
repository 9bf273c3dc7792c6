"""Several nodes on one database: one order for all of them, with a channel layer, with a broken one, and without."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from tests.faults import audit
from tests.faults.processes import scripts
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.instances import Redis, instance
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

FAST = {
    "MANA_RATE_LIMIT_PER_SECOND": "10000",
    "MANA_RATE_LIMIT_BURST": "10000",
    "MANA_PRESENCE_LEASE": "5",
    "MANA_PRESENCE_GRACE": "0.2",
}


@pytest.fixture(scope="module")
def redis() -> Iterator[Redis]:
    with instance("redis") as own:
        yield own


@pytest.fixture(autouse=True)
def _redis_runs(redis: Redis) -> Iterator[None]:
    yield
    redis.start()


#: A database, and which layer goes with it here: the project's own, and channels_redis'.
SITES = {"sqlite": "redis:", "postgres": "redis+core:"}


@pytest.fixture(params=SITES, scope="module")
def database(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def layer(database: str, redis: Redis) -> str:
    """The address of the layer."""
    return redis.url.replace("redis:", SITES[database])


@pytest.fixture(scope="module")
def nodes(database: str, layer: str) -> Iterator[tuple[Server, Server]]:
    """Two nodes on one database and one Redis."""
    environment = {**FAST, "CHANNEL_LAYER_URL": layer}
    with (
        databases.fresh(database) as url,
        serving(url, **environment) as one,
        serving(url, **environment) as other,
    ):
        yield one, other


def at(node: Server, account: Account, *, arrays: bool = False, **query: str) -> Socket:
    """A socket of an account at a node."""
    return Socket(node, arrays=arrays, headers={"Authorization": f"Bearer {account.access}"}, **query)


async def exchange(a: Socket, b: Socket, room: str, count: int) -> None:
    """Two people talk past each other; each must get the other's messages in order, and both the same order."""
    for number in range(count):
        await a.send("message", room_id=room, payload=f"a {number}", ack_id=uuid4().hex)
        await b.send("message", room_id=room, payload=f"b {number}", ack_id=uuid4().hex)
    acks_a = [await a.expect("ack") for _ in range(count)]
    acks_b = [await b.expect("ack") for _ in range(count)]
    assert not [ack for ack in acks_a + acks_b if ack["duplicate"]]
    at_a = [await a.expect("message") for _ in range(count)]
    at_b = [await b.expect("message") for _ in range(count)]
    assert [message["payload"] for message in at_a] == [f"b {number}" for number in range(count)]
    assert [message["payload"] for message in at_b] == [f"a {number}" for number in range(count)]
    assert [message["index"] for message in at_a] == [ack["index"] for ack in acks_b]
    assert [message["index"] for message in at_b] == [ack["index"] for ack in acks_a]
    for socket in (a, b):
        assert not [frame for frame in await socket.silence() if frame["type"] == "message"]


@pytest.mark.parametrize("arrays", [False, True], ids=["objects", "arrays"])
async def test_both_nodes_write_and_deliver_in_one_order(nodes: tuple[Server, Server], arrays: bool) -> None:
    one, other = nodes
    alice, bob, carol = (Account(one) for _ in range(3))
    room = alice.room(bob, carol)
    async with (
        at(one, alice, arrays=arrays) as a,
        at(other, bob, arrays=arrays) as b,
        at(one, carol, arrays=arrays) as c1,
        at(other, carol, arrays=not arrays) as c2,
    ):
        await exchange(a, b, room, 300)
        seen = [[(await socket.expect("message"))["index"] for _ in range(600)] for socket in (c1, c2)]
    assert seen[0] == seen[1] == list(range(2, 602))


async def test_signals_that_are_not_stored_cross_nodes_too(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(bob)
    async with at(one, alice) as a, at(other, bob) as b:
        await a.request("typing", room_id=room, payload=True)
        assert (await b.expect("typing"))["from"] == alice.id
        ack = await a.request("message", room_id=room, payload="read me")
        await b.expect("message")
        await b.request("receipt", room_id=room, sequence=ack["sequence"], status="read")
        receipt = await a.expect("receipt")
    assert (receipt["from"], receipt["sequence"], receipt["status"]) == (bob.id, ack["sequence"], "read")


async def test_who_joins_at_one_node_hears_what_is_said_at_the_other(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(is_private=False)
    async with at(one, alice) as a, at(other, bob) as b:
        for turn in range(5):
            joined = await b.request("join", room_id=room)
            said = await a.request("message", room_id=room, payload=f"hello {turn}")
            assert said["index"] > joined["index"]
            assert (await b.expect("message"))["payload"] == f"hello {turn}"
            left = await b.request("leave", room_id=room)
            unheard = await a.request("message", room_id=room, payload="gone?")
            assert unheard["index"] > left["index"]
        await b.request("join", room_id=room)
        await a.request("message", room_id=room, payload="last")
        last = await b.expect("message")
    assert last["payload"] == "last"


async def test_a_process_that_serves_nobody_reaches_the_sockets_of_all_nodes(
    nodes: tuple[Server, Server], layer: str
) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(bob)
    with scripts(one.database_url, CHANNEL_LAYER_URL=layer) as script:
        async with at(one, alice) as a, at(other, bob) as b:
            await asyncio.to_thread(script.run, send_in_a_script, room, alice.id, ["one", "two"])
            await asyncio.to_thread(script.run, send_in_an_async_script, room, alice.id, ["three", "four"])
            for socket in (a, b):
                payloads = [(await socket.expect("message"))["payload"] for _ in range(4)]
                assert payloads == ["one", "two", "three", "four"]


@pytest.mark.parametrize("disturbance", ["emptied", "connections killed", "stopped"])
async def test_a_layer_that_loses_announcements_loses_no_events(
    nodes: tuple[Server, Server], redis: Redis, disturbance: str
) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(bob)
    async with at(one, alice) as a, at(other, bob) as b:
        await exchange(a, b, room, 20)
        if disturbance == "emptied":
            redis.cli("FLUSHALL")
        elif disturbance == "connections killed":
            for kind in ("normal", "pubsub"):
                redis.cli("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")
        else:
            redis.kill()
        await exchange(a, b, room, 20)
        if disturbance == "stopped":
            redis.start()
        await exchange(a, b, room, 20)
        # The layer comes back by itself: what only it carries arrives again.
        await eventually(lambda: typing_arrives(a, b, room))
        await eventually(lambda: typing_arrives(b, a, room))


async def test_nodes_without_a_layer_between_them_read_from_each_other_by_the_database() -> None:
    with databases.fresh("sqlite") as url, serving(url, **FAST) as one, serving(url, **FAST) as other:
        alice, bob = Account(one), Account(one)
        room = alice.room(bob)
        async with at(one, alice, arrays=True) as a, at(other, bob, arrays=True) as b:
            await exchange(a, b, room, 200)
        with scripts(url) as script:
            assert script.run(audit.problems) == []


async def test_presence_crosses_nodes(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    alice.room(bob)
    async with at(one, alice) as a:
        async with at(other, bob):
            online = await a.expect("presence", user_id=bob.id, online=True)
        offline = await a.expect("presence", user_id=bob.id, online=False)
    assert online["room_id"] == offline["room_id"]
    assert offline["last_seen"] > ""


async def test_the_users_of_a_killed_node_go_offline(nodes: tuple[Server, Server], layer: str) -> None:
    one, _ = nodes
    with serving(one.database_url, **FAST, CHANNEL_LAYER_URL=layer) as doomed:
        alice, bob, carol = (Account(one) for _ in range(3))
        alice.room(bob, carol)
        async with at(one, alice) as a, at(one, carol):
            with contextlib.suppress(Exception):
                async with at(doomed, bob), at(doomed, carol):
                    await a.expect("presence", user_id=bob.id, online=True)
                    doomed.kill()
            await a.expect("presence", user_id=bob.id, online=False)
            kept = await a.silence()
    assert not [
        frame for frame in kept if frame["type"] == "presence" and frame["user_id"] == carol.id and not frame["online"]
    ]


async def test_a_process_with_the_name_of_a_killed_one_does_not_inherit_its_sockets(
    nodes: tuple[Server, Server], layer: str
) -> None:
    one, _ = nodes
    with serving(one.database_url, **FAST, CHANNEL_LAYER_URL=layer, MANA_NODE_ID="the-third") as doomed:
        alice, bob = Account(one), Account(one)
        alice.room(bob)
        async with at(one, alice) as a:
            with contextlib.suppress(Exception):
                async with at(doomed, bob):
                    await a.expect("presence", user_id=bob.id, online=True)
                    doomed.kill()
            doomed.start()
            async with at(doomed, Account(one)):  # a node begins with its first socket
                await a.expect("presence", user_id=bob.id, online=False)


# -- Helpers -----------------------------------------------------------------------------------------------------------


async def eventually(check: Callable[[], Any], *, within: float = 15) -> None:
    """Repeats a check that takes its time until it holds."""
    async with asyncio.timeout(within):
        while not await check():
            pass


async def typing_arrives(a: Socket, b: Socket, room: str) -> bool:
    await a.request("typing", room_id=room, payload=True)
    try:
        await asyncio.wait_for(b.expect("typing"), 1)
    except TimeoutError:
        return False
    return True


def send_in_a_script(room: str, user: str, texts: list[str]) -> None:
    from django.contrib.auth.models import User

    from mana.messaging import services

    for text in texts:
        services.send(room, User.objects.get(pk=user), text)


def send_in_an_async_script(room: str, user: str, texts: list[str]) -> None:
    from django.contrib.auth.models import User

    from mana.messaging import services

    sender = User.objects.get(pk=user)

    async def send() -> None:
        for text in texts:
            await services.asend(room, sender, text)

    asyncio.run(send())
