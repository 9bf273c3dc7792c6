"""Catching up by cursor, and pages of history."""

from __future__ import annotations

import pytest

from tests.support.client import Account


async def _write(account: Account, room: str, count: int) -> list[int]:
    async with account.socket() as socket:
        return [(await socket.request("message", room_id=room, payload=n))["sequence"] for n in range(count)]


async def test_a_device_that_stores_its_cursor_misses_nothing_and_gets_nothing_twice(
    alice: Account, bob: Account
) -> None:
    rooms = [alice.room(bob), alice.room(bob)]
    written = [sequence for room in rooms for sequence in await _write(alice, room, 5)]
    seen: list[int] = []
    cursor, more = 0, True
    async with bob.socket() as b:
        while more:
            batch = await b.request("sync_request", cursor=cursor, limit=4)
            assert batch["type"] == "message_sync"
            sequences = [event["sequence"] for event in batch["messages"]]
            assert batch["cursor"] == sequences[-1]
            seen += sequences
            cursor, more = batch["cursor"], batch["has_more"]
        empty = await b.request("sync_request", cursor=cursor)
    assert seen == sorted(set(seen))
    assert set(written) <= set(seen)
    assert (empty["messages"], empty["has_more"], empty["cursor"]) == ([], False, cursor)


async def test_without_a_cursor_the_devices_own_counts(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    await _write(alice, room, 2)
    async with bob.socket(device_id="tablet") as b:
        first = await b.request("sync_request")
        await b.request("sync_request", cursor=first["cursor"])
    (written,) = await _write(alice, room, 1)
    async with bob.socket(device_id="tablet") as b, bob.socket(device_id="new") as new:
        later = await b.request("sync_request")
        everything = await new.request("sync_request")
    assert [event["sequence"] for event in later["messages"]] == [written]
    assert len(everything["messages"]) == 4
    devices = {one["device_id"]: one["cursor"] for one in bob.get("devices")["results"]}
    assert devices["tablet"] == first["cursor"]


async def test_a_cursor_ahead_of_everything_is_set_back(alice: Account) -> None:
    alice.room()
    async with alice.socket() as a:
        batch = await a.request("sync_request", cursor=2**62)
    assert batch["reason"] == "rewound"
    assert batch["cursor"] < 2**62
    assert batch["messages"] == []


async def test_sync_shows_only_ones_own_rooms(alice: Account, bob: Account) -> None:
    await _write(alice, alice.room(), 3)
    async with bob.socket() as b:
        batch = await b.request("sync_request", cursor=0)
    assert batch["messages"] == []


async def test_large_messages_make_small_pages(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a:
        for number in range(12):
            await a.request("message", room_id=room, payload=f"{number:02d}" + "x" * 60_000)
    seen, cursor, more, pages = [], 0, True, 0
    async with bob.socket() as b:
        while more:
            batch = await b.request("sync_request", cursor=cursor, limit=100)
            seen += [event["payload"][:2] for event in batch["messages"] if event["type"] == "message"]
            cursor, more, pages = batch["cursor"], batch["has_more"], pages + 1
    assert seen == [f"{number:02d}" for number in range(12)]
    assert pages > 1


@pytest.mark.parametrize("door", ["socket", "rest"])
async def test_history_goes_back_and_forth(alice: Account, bob: Account, door: str) -> None:
    room = alice.room(bob)
    await _write(alice, room, 9)  # indexes 2 to 10 after the room's creation
    async with bob.socket() as b:

        async def page(**query: int) -> tuple[list[int], bool]:
            if door == "rest":
                body = bob.get(f"rooms/{room}/messages", **query)
                more = body["next"] if "after" in query else body["previous"]
                return [event["index"] for event in body["results"]], more is not None
            answer = await b.request("history", room_id=room, **query)
            return [event["index"] for event in answer["messages"]], answer["has_more"]

        assert await page(limit=4) == ([7, 8, 9, 10], True)
        assert await page(before=7, limit=4) == ([3, 4, 5, 6], True)
        assert await page(before=3, limit=4) == ([1, 2], False)
        assert await page(after=8, limit=4) == ([9, 10], False)
        assert await page(after=2, limit=4) == ([3, 4, 5, 6], True)
        assert await page(after=10, limit=4) == ([], False)


def test_both_directions_at_once_are_refused(alice: Account) -> None:
    room = alice.room()
    response = alice.http.get(f"/api/rooms/{room}/messages", params={"before": 5, "after": 1})
    assert (response.status_code, response.json()["code"]) == (400, "invalid")


def test_sync_by_rest_is_the_same(alice: Account) -> None:
    room = alice.room()
    alice.post(f"rooms/{room}/messages", payload={"text": "x"})
    body = alice.get("sync", cursor=0, device_id="bot")
    assert [event["type"] for event in body["messages"]] == ["room", "message"]
    assert body["cursor"] == body["messages"][-1]["sequence"]
    assert alice.get("sync", cursor=body["cursor"], device_id="bot")["messages"] == []
    assert {one["device_id"]: one["cursor"] for one in alice.get("devices")["results"]} == {"bot": body["cursor"]}


async def test_the_sender_finds_the_ack_id_in_sync_and_history(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        await a.request("message", room_id=room, payload="x", ack_id=f"mine-{alice.id}")
        for reader, expected in ((a, f"mine-{alice.id}"), (b, None)):
            batch = await reader.request("sync_request", cursor=0)
            page = await reader.request("history", room_id=room)
            assert batch["messages"][-1].get("ack_id") == expected
            assert page["messages"][-1].get("ack_id") == expected
