"""Rooms and who may read what of them: live, by sync and by history alike."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support.client import Account, Socket


async def _synced(account: Account, cursor: int = 0) -> list[dict[str, Any]]:
    """Everything that sync gives, page by page."""
    events: list[dict[str, Any]] = []
    more = True
    async with account.socket() as socket:
        while more:
            await socket.send("sync_request", cursor=cursor, limit=3)
            batch = await socket.expect("message_sync")
            events += batch["messages"]
            cursor, more = batch["cursor"], batch["has_more"]
    return events


def _history(account: Account, room: str) -> list[dict[str, Any]]:
    """Everything that history gives, newest page first, in order."""
    events: list[dict[str, Any]] = []
    url = f"/api/rooms/{room}/messages?limit=3"
    while url:
        page = account.http.get(url).json()
        events = page["results"] + events
        url = page["previous"]
    return events


def _indexes(events: list[dict[str, Any]], room: str) -> list[int]:
    return [event["index"] for event in events if event["room_id"] == room]


async def _say(socket: Socket, room: str, *texts: str) -> list[int]:
    return [(await socket.request("message", room_id=room, payload=text))["index"] for text in texts]


async def test_joining_an_unknown_room_makes_it(alice: Account, bob: Account) -> None:
    name = f"room-of-{alice.id}"
    async with alice.socket() as a, bob.socket() as b:
        made = await a.request("join", room_id=name, name="Tea", room_type="group")
        joined = await b.request("join", room_id=name)
        created = await a.expect("room", action="created")
        seen = await a.expect("room", action="joined")
    assert (made["index"], joined["index"]) == (1, 2)
    assert made["room_id"] == name
    assert created["room"] == {
        "id": name,
        "name": "Tea",
        "room_type": "group",
        "is_private": False,
        "topic": "",
        "shares_history": False,
    }
    assert seen["members"] == [{"user_id": bob.id, "username": bob.username, "role": "member"}]
    assert alice.get(f"rooms/{name}")["role"] == "owner"


async def test_joining_again_changes_nothing(alice: Account) -> None:
    name = f"again-{alice.id}"
    async with alice.socket() as a:
        await a.request("join", room_id=name)
        await a.request("join", room_id=name)
        await a.send("history", room_id=name)
        page = await a.expect("history")
    assert len(page["messages"]) == 1


async def test_an_interval_bounds_sync_history_and_live_alike(alice: Account, bob: Account) -> None:
    room = alice.room(is_private=False)
    async with alice.socket() as a, bob.socket() as b:
        await _say(a, room, "before", "before too")
        joined = (await b.request("join", room_id=room))["index"]
        inside = await _say(a, room, "inside", "inside too")
        left = (await b.request("leave", room_id=room))["index"]
        await _say(a, room, "after", "after too")
        live = _indexes([frame for frame in await b.silence() if frame["type"] in ("message", "room")], room)
        refused = await b.refusal("message", room_id=room, payload="!")
    expected = [joined, *inside, left]
    assert live == expected
    assert _indexes(await _synced(bob), room) == expected
    assert _indexes(_history(bob, room), room) == expected
    assert refused["code"] == "not_a_member"


async def test_who_comes_back_reads_from_there_on(alice: Account, bob: Account) -> None:
    room = alice.room(bob, is_private=False)
    async with alice.socket() as a, bob.socket() as b:
        await b.request("leave", room_id=room)
        await _say(a, room, "missed")
        back = (await b.request("join", room_id=room))["index"]
        (said,) = await _say(a, room, "heard")
        await b.expect("message", payload="heard")
    assert _indexes(await _synced(bob), room) == [back, said]
    assert _indexes(_history(bob, room), room) == [back, said]


async def test_a_room_that_shares_its_history_shows_all_of_it(alice: Account, bob: Account) -> None:
    room = alice.room(is_private=False, shares_history=True)
    async with alice.socket() as a, bob.socket() as b:
        await _say(a, room, "one", "two", "three", "four")
        await b.request("join", room_id=room)
        unread = bob.get(f"rooms/{room}")["unread"]
    assert _indexes(await _synced(bob), room) == [1, 2, 3, 4, 5, 6]
    assert _indexes(_history(bob, room), room) == [1, 2, 3, 4, 5, 6]
    assert unread == 0, "what was said before one came is not unread"


async def test_private_rooms_are_joined_by_invitation(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room()
    async with alice.socket() as a, bob.socket() as b, carol.socket() as c:
        assert (await b.refusal("join", room_id=room))["code"] == "not_found"
        alice.post(f"rooms/{room}/invitations", user_ids=[bob.id])
        await b.request("join", room_id=room)
        assert (await c.refusal("join", room_id=room))["code"] == "not_found"
        await a.request("message", room_id=room, payload="welcome")
        assert (await b.expect("message"))["payload"] == "welcome"


async def test_added_members_receive_at_once_and_removed_ones_no_more(alice: Account, bob: Account) -> None:
    room = alice.room()
    async with alice.socket() as a, bob.socket() as b, bob.socket(arrays=True) as b_too:
        alice.post(f"rooms/{room}/members", user_ids=[bob.id])
        await a.request("message", room_id=room, payload="in")
        for socket in (b, b_too):
            assert (await socket.expect("room", action="joined"))["members"][0]["user_id"] == bob.id
            assert (await socket.expect("message"))["payload"] == "in"
        assert alice.http.delete(f"/api/rooms/{room}/members/{bob.id}").status_code == 204
        await a.request("message", room_id=room, payload="out")
        for socket in (b, b_too):
            await socket.expect("room", action="removed")
            assert not [frame for frame in await socket.silence() if frame["type"] == "message"]
        assert (await b.refusal("typing", room_id=room))["code"] == "not_a_member"


async def test_members_have_no_say_over_others(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    refusals = [
        bob.http.post(f"/api/rooms/{room}/members", json={"user_ids": [carol.id]}),
        bob.http.post(f"/api/rooms/{room}/invitations", json={"user_ids": [carol.id]}),
        bob.http.delete(f"/api/rooms/{room}/members/{alice.id}"),
        bob.http.patch(f"/api/rooms/{room}", json={"name": "Mine"}),
        bob.http.patch(f"/api/rooms/{room}/members/{bob.id}", json={"role": "owner"}),
    ]
    assert [(refusal.status_code, refusal.json()["code"]) for refusal in refusals] == [(403, "forbidden")] * 5
    assert alice.http.patch(f"/api/rooms/{room}/members/{bob.id}", json={"role": "moderator"}).status_code == 200
    assert bob.http.post(f"/api/rooms/{room}/members", json={"user_ids": [carol.id]}).status_code == 200


async def test_a_strangers_room_looks_as_if_it_did_not_exist(alice: Account, bob: Account) -> None:
    room = alice.room()
    for response in (
        bob.http.get(f"/api/rooms/{room}"),
        bob.http.get(f"/api/rooms/{room}/members"),
        bob.http.get(f"/api/rooms/{room}/messages"),
        bob.http.post(f"/api/rooms/{room}/messages", json={"payload": 1}),
        bob.http.post(f"/api/rooms/{room}/receipts", json={"sequence": 1, "status": "read"}),
        bob.http.post(f"/api/rooms/{room}/members", json={}),
        bob.http.delete(f"/api/rooms/{room}/members/me"),
        bob.http.patch(f"/api/rooms/{room}", json={"name": "x"}),
        bob.http.get("/api/rooms/nowhere"),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "not_found"), response.request.url


async def test_a_changed_room_is_told_and_kept(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with bob.socket() as b:
        changed = alice.http.patch(f"/api/rooms/{room}", json={"name": "Renamed", "topic": "New"}).json()
        event = await b.expect("room", action="updated")
    assert (changed["name"], changed["topic"]) == ("Renamed", "New")
    assert event["room"]["name"] == "Renamed"
    assert event["index"] == 2
    assert (await _synced(bob))[-1]["action"] == "updated"


async def test_a_direct_room_is_the_same_for_both_and_stays(alice: Account, bob: Account) -> None:
    made = alice.http.post("/api/rooms", json={"room_type": "direct", "members": [bob.id]})
    again = bob.http.post("/api/rooms", json={"room_type": "direct", "members": [alice.id]})
    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json()["id"] == again.json()["id"]
    assert made.json()["name"] == bob.username
    assert again.json()["name"] == alice.username
    assert alice.http.delete(f"/api/rooms/{made.json()['id']}/members/me").json()["code"] == "forbidden"


async def test_public_rooms_are_found_and_private_ones_not(alice: Account, bob: Account) -> None:
    name = f"Chess {alice.id}"
    public = alice.post("rooms", name=name, is_private=False)["id"]
    alice.post("rooms", name=name, is_private=True)
    found = bob.get("rooms/public", search=name.lower())["results"]
    assert [room["id"] for room in found] == [public]


@pytest.mark.parametrize("name", ["two\nlines", "bell\x07", "nimda \u202e turns"])
def test_a_rooms_name_is_one_line_that_reads_as_it_is_written(alice: Account, name: str) -> None:
    made = alice.http.post("/api/rooms", json={"name": name})
    assert (made.status_code, made.json()["code"]) == (400, "invalid")
    room = alice.room()
    assert alice.http.patch(f"/api/rooms/{room}", json={"name": name}).status_code == 400
    assert alice.http.patch(f"/api/rooms/{room}", json={"topic": "two\nlines"}).status_code == 200


def test_a_room_needs_people_that_exist(alice: Account) -> None:
    response = alice.http.post("/api/rooms", json={"name": "x", "members": ["99999999"]})
    assert (response.status_code, response.json()["code"]) == (404, "not_found")


def test_the_shape_of_a_room(alice: Account, bob: Account) -> None:
    room = alice.post("rooms", name="Shape", room_type="group", is_private=True, members=[bob.id])
    assert {name: room[name] for name in ("name", "room_type", "is_private", "last_index", "unread")} == {
        "name": "Shape",
        "room_type": "group",
        "is_private": True,
        "last_index": 1,
        "unread": 0,
    }
    assert room["members"] == [alice.id, bob.id]


async def test_a_list_of_rooms_goes_on_over_its_pages_and_back(alice: Account) -> None:
    made = [alice.room() for _ in range(7)]
    pages, url = [], "/api/rooms?limit=3"
    while url:
        page = alice.http.get(url).json()
        pages.append([room["id"] for room in page["results"]])
        url, back = page["next"], page["previous"]
    assert [len(page) for page in pages] == [3, 3, 1]
    assert [room for page in pages for room in page] == made[::-1]
    assert [room["id"] for room in alice.http.get(back).json()["results"]] == pages[1]


@pytest.mark.parametrize("position", ["abc", "a\0b", "9" * 40])
async def test_a_cursor_that_was_made_up_is_refused(alice: Account, position: str) -> None:
    cursor = base64.b64encode(urlencode({"p": position}).encode()).decode()
    room = alice.room()
    for path in ("rooms", f"rooms/{room}/members", "rooms/public", "users?search=al", "contacts"):
        answer = alice.http.get(f"/api/{path}", params={"cursor": cursor})
        assert answer.status_code in (200, 400, 404), (path, answer.text)
