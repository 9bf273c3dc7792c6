"""Getting into rooms and keeping order in them: invitations, roles, mutes, bans, settings, the end of a room."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from tests.support.client import Account


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def _say(account: Account, room: str, payload: Any = "x") -> httpx.Response:
    return account.http.post(f"/api/rooms/{room}/messages", json={"payload": payload})


def _roles(account: Account, room: str) -> dict[str, str]:
    return {one["user_id"]: one["role"] for one in account.get(f"rooms/{room}/members")["results"]}


def _promote(owner: Account, room: str, member: Account, role: str) -> None:
    assert owner.http.patch(f"/api/rooms/{room}/members/{member.id}", json={"role": role}).status_code == 200


# -- Links -----------------------------------------------------------------------------------------------------------


async def test_a_link_lets_people_in(alice: Account, bob: Account) -> None:
    room = alice.room()
    link = alice.post(f"rooms/{room}/invites")
    assert bob.get(f"invites/{link['token']}") == {
        "room_id": room,
        "name": "A room",
        "topic": "",
        "room_type": "group",
        "member_count": 1,
        "is_member": False,
    }
    async with alice.socket() as a, bob.socket() as b:
        assert bob.post(f"invites/{link['token']}")["id"] == room
        assert (await a.expect("room", action="joined"))["members"][0]["user_id"] == bob.id
        await a.request("message", room_id=room, payload="welcome")
        assert (await b.expect("message"))["payload"] == "welcome"
    assert bob.post(f"invites/{link['token']}")["id"] == room, "again: nothing happens"
    assert [one["uses"] for one in alice.get(f"rooms/{room}/invites")["results"]] == [1]


def test_a_link_ends(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room()
    once = alice.post(f"rooms/{room}/invites", max_uses=1)
    bob.post(f"invites/{once['token']}")
    assert _code(carol.http.post(f"/api/invites/{once['token']}")) == (404, "not_found")
    closed = alice.post(f"rooms/{room}/invites", expires_in=0)
    assert closed["expires_at"] is None
    assert alice.http.delete(f"/api/rooms/{room}/invites/{closed['id']}").status_code == 204
    for call in (carol.http.get, carol.http.post):
        assert _code(call(f"/api/invites/{closed['token']}")) == (404, "not_found")
    assert alice.get(f"rooms/{room}/invites")["results"] == []


def test_a_link_is_used_as_often_as_it_allows_however_many_come(account: Any, alice: Account) -> None:
    room = alice.room()
    link = alice.post(f"rooms/{room}/invites", max_uses=3)
    crowd = [account() for _ in range(8)]

    async def rush() -> list[int]:
        async with httpx.AsyncClient(base_url=alice.server.http) as http:
            work = [
                http.post(f"/api/invites/{link['token']}", headers={"Authorization": f"Bearer {one.access}"})
                for one in crowd
            ]
            return sorted(answer.status_code for answer in await asyncio.gather(*work))

    assert asyncio.run(rush()) == [200] * 3 + [404] * 5
    assert alice.get(f"rooms/{room}")["member_count"] == 4


def test_links_are_made_by_those_who_manage_the_room(alice: Account, bob: Account, carol: Account) -> None:
    room, elsewhere = alice.room(bob), carol.room()
    link = alice.post(f"rooms/{room}/invites")
    assert _code(bob.http.post(f"/api/rooms/{room}/invites", json={})) == (403, "forbidden")
    assert _code(bob.http.get(f"/api/rooms/{room}/invites")) == (403, "forbidden")
    assert _code(carol.http.get(f"/api/rooms/{room}/invites")) == (404, "not_found")
    assert _code(carol.http.delete(f"/api/rooms/{elsewhere}/invites/{link['id']}")) == (404, "not_found")
    assert len(alice.get(f"rooms/{room}/invites")["results"]) == 1


# -- Personal invitations --------------------------------------------------------------------------------------------


async def test_an_invitation_reaches_the_invited_and_nobody_else(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room()
    cursor = bob.get("sync", cursor=0)["cursor"]
    async with bob.socket() as b, carol.socket() as c:
        alice.post(f"rooms/{room}/invitations", user_ids=[bob.id])
        told = await b.expect("room", action="invited")
        assert not [frame for frame in await c.silence() if frame["type"] == "room"]
    assert (told["room_id"], told["room"]["name"]) == (room, "A room")
    assert "index" not in told
    assert [event["action"] for event in bob.get("sync", cursor=cursor)["messages"]] == ["invited"]
    assert [one["id"] for one in bob.get("invitations")["results"]] == [room]
    assert bob.post(f"invitations/{room}")["role"] == "member"
    assert bob.get("invitations")["results"] == []


async def test_an_invitation_can_be_declined(alice: Account, bob: Account) -> None:
    room = alice.room()
    alice.post(f"rooms/{room}/invitations", user_ids=[bob.id])
    async with alice.socket() as a, bob.socket() as b:
        assert bob.http.delete(f"/api/invitations/{room}").status_code == 204
        assert (await a.expect("room", action="declined"))["members"][0]["user_id"] == bob.id
        await b.expect("room", action="declined")
    assert _code(bob.http.delete(f"/api/invitations/{room}")) == (404, "not_found")
    assert _code(bob.http.post(f"/api/invitations/{room}")) == (404, "not_found")
    assert alice.get(f"rooms/{room}")["member_count"] == 1


def test_taking_an_invitation_back_changes_no_counts(alice: Account, bob: Account) -> None:
    room = alice.room()
    alice.post(f"rooms/{room}/invitations", user_ids=[bob.id])
    assert alice.http.delete(f"/api/rooms/{room}/members/{bob.id}").status_code == 204
    assert alice.get(f"rooms/{room}")["member_count"] == 1


# -- Roles and owners ------------------------------------------------------------------------------------------------


def test_who_may_change_whom(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    _promote(alice, room, bob, "admin")
    _promote(bob, room, carol, "moderator")
    for role in ("admin", "owner"):
        refused = bob.http.patch(f"/api/rooms/{room}/members/{carol.id}", json={"role": role})
        assert _code(refused) == (403, "forbidden"), "an admin makes no admins"
    assert _code(bob.http.patch(f"/api/rooms/{room}/members/{alice.id}", json={"role": "member"}))[0] == 403
    assert _code(carol.http.patch(f"/api/rooms/{room}/members/{bob.id}", json={"role": "member"}))[0] == 403
    assert _code(alice.http.patch(f"/api/rooms/{room}/members/{alice.id}", json={"role": "member"})) == (
        409,
        "conflict",
    )
    assert _roles(alice, room) == {alice.id: "owner", bob.id: "admin", carol.id: "moderator"}


async def test_a_room_is_given_away(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with bob.socket() as b:
        given = alice.http.put(f"/api/rooms/{room}/owner", json={"user_id": bob.id})
        told = await b.expect("room", action="role")
    assert given.json()["role"] == "admin"
    assert {one["user_id"]: one["role"] for one in told["members"]} == {alice.id: "admin", bob.id: "owner"}
    assert _code(alice.http.put(f"/api/rooms/{room}/owner", json={"user_id": alice.id})) == (403, "forbidden")


async def test_when_the_last_owner_leaves_somebody_inherits(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    _promote(alice, room, carol, "moderator")
    async with bob.socket() as b:
        alice.http.delete(f"/api/rooms/{room}/members/me")
        told = await b.expect("room", action="role", room_id=room)
    assert "from" not in told, "nobody in particular did it"
    assert _roles(bob, room) == {bob.id: "member", carol.id: "owner"}
    carol.http.delete(f"/api/rooms/{room}/members/me")
    assert _roles(bob, room) == {bob.id: "owner"}
    assert bob.http.delete(f"/api/rooms/{room}/members/me").status_code == 204


async def test_of_several_the_one_who_is_there_longest_inherits(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(carol)
    alice.post(f"rooms/{room}/members", user_ids=[bob.id])
    alice.http.delete(f"/api/rooms/{room}/members/me")
    assert _roles(bob, room) == {carol.id: "owner", bob.id: "member"}


# -- Mutes and bans --------------------------------------------------------------------------------------------------


async def test_who_is_muted_can_only_read(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(bob, room).json()["id"]
    async with alice.socket() as a, bob.socket() as b:
        assert alice.http.put(f"/api/rooms/{room}/members/{bob.id}/mute", json={}).status_code == 204
        assert (await b.expect("room", action="muted"))["members"][0]["user_id"] == bob.id
        await a.request("message", room_id=room, payload="quiet now")
        assert (await b.expect("message"))["payload"] == "quiet now"
        refusals = [
            await b.refusal("message", room_id=room, payload="but"),
            await b.refusal("message_edit", message_id=message, payload="but"),
            await b.refusal("reaction", message_id=message, emoji="😡"),
        ]
        assert [one["code"] for one in refusals] == ["forbidden"] * 3
        assert bob.get(f"rooms/{room}")["muted_until"]
        bob.http.delete(f"/api/rooms/{room}/members/me")
        alice.post(f"rooms/{room}/members", user_ids=[bob.id])
        assert (await b.refusal("message", room_id=room, payload="back"))["code"] == "forbidden", "leaving helps not"
        assert alice.http.delete(f"/api/rooms/{room}/members/{bob.id}/mute").status_code == 204
        await b.request("message", room_id=room, payload="thank you")


def test_a_mute_ends_by_itself(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    soon = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    mute = f"/api/rooms/{room}/members/{bob.id}/mute"
    assert _code(alice.http.put(mute, json={"until": past})) == (400, "invalid")
    assert alice.http.put(mute, json={"until": soon}).status_code == 204
    refused = _say(bob, room)
    assert _code(refused) == (403, "forbidden")
    assert 3000 < refused.json()["retry_after"] <= 3600


def test_nobody_mutes_those_who_have_as_much_say(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    for one in (bob, carol):
        _promote(alice, room, one, "moderator")
    for other in (alice, carol):
        assert _code(bob.http.put(f"/api/rooms/{room}/members/{other.id}/mute", json={})) == (403, "forbidden")


async def test_who_is_banned_is_out_and_stays_out(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, is_private=False)
    async with alice.socket() as a, bob.socket() as b:
        alice.post(f"rooms/{room}/bans", user_id=bob.id)
        await b.expect("room", action="banned")
        await a.request("message", room_id=room, payload="peace")
        assert not [frame for frame in await b.silence() if frame["type"] == "message"]
        assert (await b.refusal("join", room_id=room))["code"] == "forbidden"
    link = alice.post(f"rooms/{room}/invites")["token"]
    assert _code(bob.http.post(f"/api/invites/{link}")) == (403, "forbidden")
    alice.post(f"rooms/{room}/members", user_ids=[bob.id])
    assert _roles(alice, room) == {alice.id: "owner"}
    assert [one["user_id"] for one in alice.get(f"rooms/{room}/bans")["results"]] == [bob.id]
    alice.post(f"rooms/{room}/bans", user_id=carol.id)  # before she ever came
    assert alice.get(f"rooms/{room}")["member_count"] == 1
    assert _code(carol.http.post(f"/api/rooms/{room}/members", json={})) == (403, "forbidden")
    assert alice.http.delete(f"/api/rooms/{room}/bans/{bob.id}").status_code == 204
    assert bob.post(f"rooms/{room}/members")["role"] == "member"


def test_members_keep_no_order(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    message = _say(carol, room).json()["id"]
    for response in (
        bob.http.post(f"/api/rooms/{room}/bans", json={"user_id": carol.id}),
        bob.http.get(f"/api/rooms/{room}/bans"),
        bob.http.delete(f"/api/rooms/{room}/bans/{carol.id}"),
        bob.http.put(f"/api/rooms/{room}/members/{carol.id}/mute", json={}),
        bob.http.put(f"/api/rooms/{room}/owner", json={"user_id": bob.id}),
        bob.http.delete(f"/api/rooms/{room}"),
        bob.http.patch(f"/api/rooms/{room}", json={"slow_mode": 5}),
        bob.http.delete(f"/api/rooms/{room}/avatar"),
        bob.http.put(f"/api/messages/{message}/pin"),
        bob.http.delete(f"/api/messages/{message}"),
    ):
        assert _code(response) == (403, "forbidden"), response.request


def test_strangers_see_no_difference_to_a_room_that_is_not_there(alice: Account, bob: Account) -> None:
    room = alice.room()
    message = _say(alice, room).json()["id"]
    for place in (room, "nowhere"):
        for response in (
            bob.http.post(f"/api/rooms/{place}/bans", json={"user_id": alice.id}),
            bob.http.get(f"/api/rooms/{place}/bans"),
            bob.http.put(f"/api/rooms/{place}/members/{alice.id}/mute", json={}),
            bob.http.put(f"/api/rooms/{place}/owner", json={"user_id": bob.id}),
            bob.http.delete(f"/api/rooms/{place}"),
            bob.http.get(f"/api/rooms/{place}/avatar"),
            bob.http.get(f"/api/rooms/{place}/pins"),
            bob.http.get(f"/api/rooms/{place}/preferences"),
            bob.http.patch(f"/api/rooms/{place}/preferences", json={"archived": True}),
            bob.http.delete(f"/api/invitations/{place}"),
        ):
            assert _code(response) == (404, "not_found"), response.request
    assert _code(bob.http.get(f"/api/messages/{message}")) == (404, "not_found")


# -- Settings of a room ----------------------------------------------------------------------------------------------


async def test_in_a_frozen_room_only_its_admins_write(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(alice, room).json()["id"]
    async with bob.socket() as b:
        alice.http.patch(f"/api/rooms/{room}", json={"is_frozen": True})
        assert (await b.expect("room", action="updated"))["room"]["is_frozen"] is True
        assert (await b.refusal("message", room_id=room, payload="?"))["code"] == "forbidden"
        assert (await b.refusal("reaction", message_id=message, emoji="👍"))["code"] == "forbidden"
    assert _say(alice, room).status_code == 201


async def test_slow_mode_spaces_messages(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    alice.http.patch(f"/api/rooms/{room}", json={"slow_mode": 600})
    async with bob.socket() as b:
        await b.request("message", room_id=room, payload=1)
        refused = await b.refusal("message", room_id=room, payload=2)
    assert refused["code"] == "rate_limited"
    assert 500 < refused["retry_after"] <= 600
    again = _say(bob, room)
    assert _code(again) == (429, "rate_limited")
    assert int(again.headers["Retry-After"]) > 500
    assert [_say(alice, room).status_code for _ in range(3)] == [201] * 3, "those who manage the room do not wait"


async def test_two_messages_in_one_batch_are_not_slow(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    alice.http.patch(f"/api/rooms/{room}", json={"slow_mode": 600})
    async with bob.socket() as b:
        for number in range(5):
            await b.send("message", room_id=room, payload=number, ack_id=f"slow-{bob.id}-{number}")
        answers = [await b.expect(ack_id=f"slow-{bob.id}-{number}") for number in range(5)]
    assert [answer["type"] for answer in answers] == ["ack"] + ["error"] * 4


# -- One's own way ---------------------------------------------------------------------------------------------------


async def test_how_one_wants_a_room_is_told_to_ones_own_devices(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    wish = {"archived": True, "pinned": True, "notifications": "mentions"}
    async with alice.socket() as a, bob.socket() as phone, bob.socket() as laptop:
        changed = bob.http.patch(f"/api/rooms/{room}/preferences", json=wish).json()
        told = [await device.expect("room", action="preferences") for device in (phone, laptop)]
        assert not [frame for frame in await a.silence() if frame["type"] == "room"]
    assert {name: changed[name] for name in wish} == wish
    assert [one["preferences"] for one in told] == [changed] * 2
    assert bob.get(f"rooms/{room}")["preferences"] == changed == bob.get(f"rooms/{room}/preferences")
    assert alice.get(f"rooms/{room}")["preferences"]["archived"] is False
    assert bob.get("sync", cursor=0)["messages"][-1]["preferences"] == changed
    assert [event["type"] for event in alice.get("sync", cursor=0)["messages"]] == ["room"]


# -- The end of a room -----------------------------------------------------------------------------------------------


async def test_a_deleted_room_leaves_nothing_but_the_news(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    message = _say(alice, room, "a secret").json()["id"]
    link = alice.post(f"rooms/{room}/invites")["token"]
    carol.http.delete(f"/api/rooms/{room}/members/me")
    cursor = carol.get("sync", cursor=0)["cursor"]
    async with bob.socket() as b:
        assert alice.http.delete(f"/api/rooms/{room}").status_code == 204
        await b.expect("room", action="deleted")
        assert (await b.refusal("message", room_id=room, payload="?"))["code"] == "not_found"
        assert (await b.refusal("typing", room_id=room))["code"] == "not_a_member"
        assert (await b.refusal("join", room_id=room))["code"] == "conflict", "the name is not free for another one"
    for account in (alice, bob, carol):
        assert room not in [one["id"] for one in account.get("rooms")["results"]]
        assert _code(account.http.get(f"/api/rooms/{room}/messages")) == (404, "not_found")
        assert _code(account.http.get(f"/api/messages/{message}")) == (404, "not_found")
        assert "secret" not in account.http.get("/api/sync?cursor=0").text
    assert [event["action"] for event in bob.get("sync", cursor=cursor)["messages"]] == ["deleted"]
    assert carol.get("sync", cursor=cursor)["messages"] == []
    assert _code(carol.http.get(f"/api/invites/{link}")) == (404, "not_found")
