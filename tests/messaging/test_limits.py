"""So many rooms are made and joined by one person, whatever door they come through."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node where a person makes three rooms and joins five an hour."""
    with (
        databases.fresh("sqlite") as url,
        serving(url, MANA_ROOM_CREATION_RATE="3/hour", MANA_JOIN_RATE="5/hour") as running,
    ):
        yield running


async def test_rooms_that_one_makes_are_counted_over_both_doors(alice: Account, bob: Account, carol: Account) -> None:
    alice.room()
    alice.post("rooms", room_type="direct", members=[bob.id])
    alice.post("rooms", room_type="direct", members=[bob.id])  # is there already
    async with alice.socket() as socket:
        assert (await socket.request("join", room_id=f"third-{alice.id}"))["index"] == 1
        refusal = await socket.refusal("join", room_id=f"fourth-{alice.id}")
        assert refusal["code"] == "rate_limited"
        assert refusal["retry_after"] > 60
        await socket.request("join", room_id=f"third-{alice.id}")  # what is there can be joined
    answer = alice.http.post("/api/rooms", json={"name": "Another", "members": []})
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")
    assert int(answer.headers["Retry-After"]) > 60
    assert carol.room()  # others are not concerned


async def test_joins_are_counted_over_both_doors(alice: Account, bob: Account) -> None:
    rooms = [bob.room(is_private=False) for _ in range(3)]
    for room in rooms:
        alice.http.post(f"/api/rooms/{room}/members", json={}).raise_for_status()
    async with alice.socket() as socket:
        for room in rooms[:2]:
            await socket.request("join", room_id=room)
        assert (await socket.refusal("join", room_id=rooms[2]))["code"] == "rate_limited"
    assert alice.http.post(f"/api/rooms/{rooms[0]}/members", json={}).status_code == 429
