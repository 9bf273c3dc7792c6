"""Several clients do the same thing at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from tests.faults import audit
from tests.faults.processes import Scripts, all_at_once, scripts
from tests.support import databases
from tests.support.client import Account, Refused
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(params=databases.KINDS, scope="module")
def site(request: pytest.FixtureRequest) -> Iterator[tuple[Server, Scripts]]:
    """A server, and four task workers beside it, on a database of each kind."""
    with databases.fresh(request.param) as url, serving(url) as server, scripts(url, 4) as workers:
        yield server, workers


async def test_ten_clients_join_a_room_that_does_not_exist(site: tuple[Server, Scripts]) -> None:
    server, workers = site
    key = uuid4().hex
    accounts = [Account(server) for _ in range(10)]
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(one.socket()) for one in accounts]
        acks = await asyncio.gather(*(socket.request("join", room_id=key) for socket in sockets))
        await sockets[0].request("message", room_id=key, payload="all here?")
        for socket in sockets[1:]:
            assert (await socket.expect("message"))["index"] == 11
    assert sorted(ack["index"] for ack in acks) == list(range(1, 11))
    members = accounts[0].get(f"rooms/{key}/members")["results"]
    assert [member["role"] for member in members].count("owner") == 1
    assert await in_worker(workers, audit.problems) == []


async def test_processes_join_a_room_that_does_not_exist(site: tuple[Server, Scripts]) -> None:
    server, workers = site
    accounts = [Account(server) for _ in range(4)]
    key = uuid4().hex
    indexes = await asyncio.gather(*(in_worker(workers, join_together, key, one.id) for one in accounts))
    assert sorted(indexes) == [1, 2, 3, 4]
    assert await in_worker(workers, audit.problems) == []


async def test_two_people_write_to_each_other_for_the_first_time_at_once(site: tuple[Server, Scripts]) -> None:
    server, _ = site
    for _ in range(5):
        alice, bob = Account(server), Account(server)
        async with alice.socket() as a, bob.socket() as b:
            acks = await asyncio.gather(
                a.request("message", to=bob.id, payload="from alice"),
                b.request("message", to=alice.id, payload="from bob"),
            )
            assert (await a.expect("message"))["payload"] == "from bob"
            assert (await b.expect("message"))["payload"] == "from alice"
        assert acks[0]["room_id"] == acks[1]["room_id"]
        assert sorted(ack["index"] for ack in acks) == [2, 3]


async def test_processes_make_one_direct_room(site: tuple[Server, Scripts]) -> None:
    server, workers = site
    alice, bob = Account(server), Account(server)
    pairs = [(alice, bob), (bob, alice)] * 2
    keys = await asyncio.gather(*(in_worker(workers, direct_together, one.id, other.id) for one, other in pairs))
    assert len(set(keys)) == 1
    assert await in_worker(workers, audit.problems) == []


async def test_receipts_never_move_back_and_unread_is_what_was_not_read(site: tuple[Server, Scripts]) -> None:
    server, _ = site
    alice, bob = Account(server), Account(server)
    room = alice.room(bob)
    async with alice.socket() as a, AsyncExitStack() as stack:
        devices = [await stack.enter_async_context(bob.socket()) for _ in range(3)]
        sequences = [(await a.request("message", room_id=room, payload=n))["sequence"] for n in range(30)]

        async def read(device: Any, order: list[int]) -> None:
            for sequence in order:
                await device.request("receipt", room_id=room, sequence=sequence, status="read")

        await asyncio.gather(
            read(devices[0], sequences[:20]), read(devices[1], sequences[19::-1]), read(devices[2], sequences[:20:3])
        )
        receipts = [frame for frame in await a.silence() if frame["type"] == "receipt"]
    read_up_to = [frame["sequence"] for frame in receipts if frame["status"] == "read"]
    assert max(read_up_to) == sequences[19]
    (entry,) = [one for one in bob.get("rooms")["results"] if one["id"] == room]
    assert entry["unread"] == 10
    # Who writes has read.
    bob.post(f"rooms/{room}/messages", payload="me too")
    (entry,) = [one for one in bob.get("rooms")["results"] if one["id"] == room]
    assert entry["unread"] == 0


async def test_what_one_may_read_is_the_same_live_by_sync_and_by_history(site: tuple[Server, Scripts]) -> None:
    server, _ = site
    alice, bob = Account(server), Account(server)
    room = alice.room(is_private=False)
    async with alice.socket() as a, bob.socket() as b:

        async def say(text: str) -> None:
            await a.request("message", room_id=room, payload=text)

        await say("before")
        await b.request("join", room_id=room)
        await say("inside")
        await b.request("leave", room_id=room)
        await say("outside")
        with pytest.raises(Refused):
            await b.request("message", room_id=room, payload="from outside")
        live, sync, history = await views(b, room)
        assert live == sync == history == [3, 4, 5]
        await b.request("join", room_id=room)
        await say("inside again")
        # Nothing of the time outside, and nothing that came before, whatever else is kept of the first stay.
        live, sync, history = await views(b, room)
        assert live == [3, 4, 5, 7, 8]
        assert sync == history
        assert sync[-2:] == [7, 8]
        assert not {1, 2, 6} & set(sync)


# -- Helpers -----------------------------------------------------------------------------------------------------------


async def views(socket: Any, room: str) -> tuple[list[int], list[int], list[int]]:
    """The room's indexes as they came live, by sync and by history."""
    await socket.request("ping")
    await socket.send("sync_request", cursor=0)
    sync = (await socket.expect("message_sync"))["messages"]
    await socket.send("history", room_id=room)
    history = (await socket.expect("history"))["messages"]
    live = [frame for frame in socket.received if frame["type"] in ("message", "room") and "sequence" in frame]
    return tuple([one["index"] for one in view if one["room_id"] == room] for view in (live, sync, history))  # type: ignore[return-value]


async def in_worker(workers: Scripts, function: Any, *arguments: Any) -> Any:
    return await asyncio.wait_for(asyncio.wrap_future(workers.start(function, *arguments)), 60)


# -- In the workers ----------------------------------------------------------------------------------------------------


def join_together(key: str, user: str) -> int:
    from django.contrib.auth.models import User

    from mana.messaging import services

    person = User.objects.get(pk=user)
    all_at_once()
    result = services.join(key, person, create=True)
    assert result.event is not None
    assert result.event.index is not None
    return result.event.index


def direct_together(user: str, other: str) -> str:
    from django.contrib.auth.models import User

    from mana.messaging import services

    one, another = User.objects.get(pk=user), User.objects.get(pk=other)
    all_at_once()
    return services.direct_room(one, another).room.key
