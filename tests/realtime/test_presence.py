"""Comings and goings: told once, however many devices, not to crowds, and not of those who are back at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node that tells of people in rooms of up to three, some seconds after they went."""
    with (
        databases.fresh("sqlite") as url,
        serving(url, MANA_PRESENCE_MAX_ROOM="3", MANA_PRESENCE_GRACE="3") as running,
    ):
        yield running


def told(socket: Socket, account: Account) -> list[tuple[str, bool]]:
    """What a socket has heard of somebody: in which room, and whether they came."""
    frames: list[dict[str, Any]] = [frame for frame in socket.received if frame["type"] == "presence"]
    return [(frame["room_id"], frame["online"]) for frame in frames if frame["user_id"] == account.id]


async def test_a_small_room_is_told_and_a_crowd_is_not(server: Server) -> None:
    alice, bob, carol, dave = (Account(server) for _ in range(4))
    crowd, few = alice.room(bob, carol, dave), alice.room(bob)
    async with alice.socket() as a:
        async with bob.socket():
            await a.expect("presence", user_id=bob.id, online=True)
        await a.expect("presence", user_id=bob.id, online=False)
        await a.silence()
        assert told(a, bob) == [(few, True), (few, False)]
        async with carol.socket():  # shares nothing but the crowd
            async with bob.socket():
                await a.expect("presence", user_id=bob.id, online=True)
            await a.expect("presence", user_id=bob.id, online=False)
        assert told(a, carol) == []
    assert crowd != few


async def test_who_comes_with_two_devices_comes_once_and_goes_with_the_last(server: Server) -> None:
    alice, bob, marker = (Account(server) for _ in range(3))
    room = alice.room(bob, marker)
    async with alice.socket() as a:
        async with bob.socket():
            await a.expect("presence", user_id=bob.id, online=True)
            async with bob.socket():
                pass
            # Went after bob's second device, and so is told of after it.
            async with marker.socket():
                pass
            await a.expect("presence", user_id=marker.id, online=False)
            assert told(a, bob) == [(room, True)]
        await a.expect("presence", user_id=bob.id, online=False)


async def test_who_is_back_at_once_was_never_away(server: Server) -> None:
    alice, bob, marker = (Account(server) for _ in range(3))
    room = alice.room(bob, marker)
    async with alice.socket() as a:
        async with bob.socket():
            await a.expect("presence", user_id=bob.id, online=True)
        async with bob.socket():
            async with marker.socket():
                pass
            await a.expect("presence", user_id=marker.id, online=False)
            assert told(a, bob) == [(room, True)]
