"""Contacts, requests and blocks: over REST, live, and in what they stop."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.client import Account


def befriend(one: Account, two: Account) -> None:
    one.post("contacts", user_id=two.id)
    two.post(f"contacts/requests/{one.id}/accept")


def contacts(account: Account) -> list[str]:
    return [row["person"]["id"] for row in account.get("contacts")["results"]]


def requests(account: Account, direction: str = "received") -> list[str]:
    return [row["person"]["id"] for row in account.get("contacts/requests", direction=direction)["results"]]


def refusal(account: Account, method: str, path: str, **body: Any) -> str:
    answer = account.http.request(method, f"/api/{path}", json=body)
    assert answer.status_code >= 400, answer.text
    return str(answer.json()["code"])


# -- Requests --------------------------------------------------------------------------------------------------------


async def test_a_request_is_asked_answered_and_told_live(alice: Account, bob: Account) -> None:
    async with alice.socket() as a, bob.socket() as b:
        assert alice.post("contacts", user_id=bob.id, message="It's me") == {"state": "requested"}
        asked = await b.expect("contact", action="requested")
        assert (asked["from"], asked["person"]["user_id"]) == (alice.id, alice.id)
        assert (await a.expect("contact", action="requested"))["person"]["user_id"] == bob.id
        (row,) = bob.get("contacts/requests")["results"]
        assert (row["person"]["id"], row["message"], row["direction"]) == (alice.id, "It's me", "received")
        assert requests(alice, "made") == [bob.id]
        bob.post(f"contacts/requests/{alice.id}/accept")
        assert (await a.expect("contact", action="accepted"))["person"]["user_id"] == bob.id
        assert (await b.expect("contact", action="accepted"))["person"]["user_id"] == alice.id
    assert (contacts(alice), contacts(bob)) == ([bob.id], [alice.id])
    assert requests(bob) == requests(alice, "made") == []


def test_who_asks_back_has_accepted(alice: Account, bob: Account) -> None:
    alice.post("contacts", user_id=bob.id)
    assert bob.post("contacts", user_id=alice.id) == {"state": "contacts"}
    assert contacts(alice) == [bob.id]


def test_a_request_is_declined_or_withdrawn_and_can_be_made_again(alice: Account, bob: Account) -> None:
    for account, other in ((bob, alice), (alice, bob)):
        alice.post("contacts", user_id=bob.id)
        assert refusal(alice, "POST", "contacts", user_id=bob.id) == "conflict"
        assert account.http.delete(f"/api/contacts/requests/{other.id}").status_code == 204
        assert requests(bob) == []
    assert contacts(alice) == contacts(bob) == []


def test_what_is_not_there_can_not_be_answered_or_ended(alice: Account, bob: Account) -> None:
    assert refusal(alice, "POST", f"contacts/requests/{bob.id}/accept") == "not_found"
    assert refusal(alice, "DELETE", f"contacts/requests/{bob.id}") == "not_found"
    assert refusal(alice, "DELETE", f"contacts/{bob.id}") == "not_found"
    assert refusal(alice, "PATCH", f"contacts/{bob.id}", nickname="x") == "not_found"
    assert refusal(alice, "DELETE", f"blocks/{bob.id}") == "not_found"
    assert refusal(alice, "POST", "contacts", user_id=alice.id) == "invalid"
    assert refusal(alice, "POST", "contacts", user_id="nobody") == "not_found"
    # One's own request is not for oneself to accept.
    alice.post("contacts", user_id=bob.id)
    assert refusal(alice, "POST", f"contacts/requests/{bob.id}/accept") == "not_found"


async def test_two_who_ask_each_other_at_the_same_time_are_contacts(alice: Account, bob: Account) -> None:
    async def ask(client: httpx.AsyncClient, account: Account, other: Account) -> int:
        headers = {"Authorization": f"Bearer {account.access}"}
        return (await client.post("/api/contacts", json={"user_id": other.id}, headers=headers)).status_code

    async with httpx.AsyncClient(base_url=alice.server.http, timeout=30) as client:
        answers = await asyncio.gather(ask(client, alice, bob), ask(client, bob, alice))
    assert sorted(answers) == [200, 201]
    assert (contacts(alice), contacts(bob)) == ([bob.id], [alice.id])


# -- Contacts --------------------------------------------------------------------------------------------------------


async def test_a_nickname_is_ones_own(alice: Account, bob: Account) -> None:
    befriend(alice, bob)
    async with bob.socket() as b, alice.socket() as a:
        changed = alice.http.patch(f"/api/contacts/{bob.id}", json={"nickname": "Bobby", "is_favourite": True}).json()
        assert (changed["nickname"], changed["is_favourite"]) == ("Bobby", True)
        assert (await a.expect("contact"))["action"] == "updated"
        assert not [frame for frame in await b.silence() if frame["type"] == "contact"]
    (row,) = bob.get("contacts")["results"]
    assert (row["nickname"], row["is_favourite"]) == ("", False)


def test_a_contact_is_ended_on_both_sides(alice: Account, bob: Account) -> None:
    befriend(alice, bob)
    assert bob.http.delete(f"/api/contacts/{alice.id}").status_code == 204
    assert contacts(alice) == contacts(bob) == []


async def test_contacts_see_changes_of_a_profile_without_a_common_room(alice: Account, bob: Account) -> None:
    befriend(alice, bob)
    async with bob.socket() as b:
        alice.http.patch("/api/me", json={"display_name": "New"})
        assert (await b.expect("profile"))["person"]["display_name"] == "New"


# -- Who is heard ----------------------------------------------------------------------------------------------------


async def test_some_take_messages_of_contacts_only(alice: Account, bob: Account) -> None:
    bob.http.patch("/api/me", json={"direct_messages_from": "contacts"})
    async with alice.socket() as a:
        assert (await a.refusal("message", to=bob.id, payload="hello"))["code"] == "forbidden"
        befriend(alice, bob)
        ack = await a.request("message", to=bob.id, payload="hello")
        alice.http.delete(f"/api/contacts/{bob.id}")
        assert (await a.refusal("message", room_id=ack["room_id"], payload="again"))["code"] == "forbidden"
    path = f"rooms/{ack['room_id']}/messages"
    assert refusal(alice, "POST", path, payload="by REST") == "forbidden"
    assert bob.http.post(f"/api/{path}", json={"payload": "I may"}).status_code == 201


# -- Blocks ----------------------------------------------------------------------------------------------------------


async def test_a_block_stops_messages_in_both_directions_at_once(alice: Account, bob: Account, carol: Account) -> None:
    group = alice.room(bob, carol)
    async with alice.socket() as a, bob.socket() as b:
        room = (await a.request("message", to=bob.id, payload="hello"))["room_id"]
        await b.expect("message", payload="hello")
        alice.post("blocks", user_id=bob.id)
        to_alice = await b.refusal("message", room_id=room, payload="please")
        to_bob = await a.refusal("message", room_id=room, payload="no")
        assert (to_alice["code"], to_bob["code"]) == ("forbidden", "forbidden")
        assert (await b.refusal("message", to=alice.id, payload="please"))["code"] == "forbidden"
        assert "block" not in to_alice["error"].lower(), "the blocked one is told of it"
        # What is said in a group is said to the group.
        await b.request("message", room_id=group, payload="to all")
        await a.expect("message", payload="to all")
        alice.http.delete(f"/api/blocks/{bob.id}")
        await b.request("message", room_id=room, payload="thank you")
        await a.expect("message", payload="thank you")


def test_the_refusal_does_not_tell_a_block_from_a_choice(alice: Account, bob: Account, carol: Account) -> None:
    bob.post("blocks", user_id=alice.id)
    carol.http.patch("/api/me", json={"direct_messages_from": "contacts"})
    answers = [
        alice.http.post("/api/rooms", json={"room_type": "direct", "members": [other.id]}) for other in (bob, carol)
    ]
    assert answers[0].status_code == answers[1].status_code == 403
    assert answers[0].json() == answers[1].json()


def test_the_blocked_find_nobody_and_can_not_ask(alice: Account, bob: Account) -> None:
    befriend(alice, bob)
    alice.post("blocks", user_id=bob.id)
    for one, other in ((alice, bob), (bob, alice)):
        assert other.id not in [user["id"] for user in one.get("users", search=other.username)["results"]]
        assert refusal(one, "GET", f"users/{other.id}") == "not_found"
        assert contacts(one) == []
    assert refusal(bob, "POST", "contacts", user_id=alice.id) == "not_found"
    assert refusal(alice, "POST", "contacts", user_id=bob.id) == "forbidden"
    assert bob.get("blocks")["results"] == []
    assert [row["person"]["id"] for row in alice.get("blocks")["results"]] == [bob.id]


def test_nobody_is_brought_into_a_room_across_a_block(alice: Account, bob: Account, carol: Account) -> None:
    alice.post("blocks", user_id=bob.id)
    for one, other in ((alice, bob), (bob, alice)):
        room = one.room(carol)
        assert refusal(one, "POST", "rooms", name="A room", members=[carol.id, other.id]) == "forbidden"
        assert refusal(one, "POST", f"rooms/{room}/members", user_ids=[other.id]) == "forbidden"
        assert refusal(one, "POST", f"rooms/{room}/invitations", user_ids=[other.id]) == "forbidden"
        assert {row["user_id"] for row in one.get(f"rooms/{room}/members")["results"]} == {one.id, carol.id}
        # Others bring both, and who is in a room already stays.
        common = carol.room(alice, bob)
        carol.http.patch(f"/api/rooms/{common}/members/{one.id}", json={"role": "moderator"})
        assert one.http.post(f"/api/rooms/{common}/members", json={"user_ids": [other.id]}).status_code == 200
    assert alice.get("invitations")["results"] == bob.get("invitations")["results"] == []
    alice.http.delete(f"/api/blocks/{bob.id}")
    assert bob.http.post(f"/api/rooms/{room}/members", json={"user_ids": [alice.id]}).status_code == 200


async def test_what_goes_on_in_a_direct_room_does_not_reach_across_a_block(alice: Account, bob: Account) -> None:
    async with alice.socket() as a, bob.socket() as b:
        ack = await a.request("message", to=bob.id, payload="hello")
        room, path = ack["room_id"], f"messages/{ack['message_id']}/pin"
        alice.post("blocks", user_id=bob.id)
        await a.silence(), await b.silence()
        assert refusal(bob, "PUT", path) == refusal(alice, "PUT", path) == "forbidden"
        assert (await b.refusal("typing", room_id=room, payload=True))["code"] == "forbidden"
        assert (await b.refusal("reaction", message_id=ack["message_id"], emoji="👍"))["code"] == "forbidden"
        await b.request("receipt", room_id=room, sequence=ack["sequence"], status="read")
        await a.request("receipt", room_id=room, sequence=ack["sequence"], status="read")
        for socket in (a, b):
            across = ("receipt", "room", "typing", "reaction")
            assert not [frame for frame in await socket.silence() if frame["type"] in across]


async def test_presence_ends_with_a_block_in_both_directions_and_comes_back(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        await a.expect("presence", user_id=bob.id, online=True)
        alice.post("blocks", user_id=bob.id)
        assert (await a.expect("presence", user_id=bob.id))["online"] is False
        assert (await b.expect("presence", user_id=alice.id, online=False))["room_id"] == room
        online = {row["user_id"]: row["online"] for row in bob.get(f"rooms/{room}/members")["results"]}
        assert online == {alice.id: False, bob.id: True}
        alice.http.delete(f"/api/blocks/{bob.id}")
        assert (await b.expect("presence", user_id=alice.id))["online"] is True


async def test_the_blocked_do_not_see_who_comes_and_others_do(alice: Account, bob: Account, carol: Account) -> None:
    alice.room(bob, carol)
    alice.post("blocks", user_id=bob.id)
    async with bob.socket() as b, carol.socket() as c:
        await c.expect("presence", user_id=carol.id)
        async with alice.socket():
            await c.expect("presence", user_id=alice.id, online=True)
        assert not [frame for frame in await b.silence() if frame.get("user_id") == alice.id]
        alice.http.patch("/api/me", json={"display_name": "New"})
        await c.expect("profile")
        assert not [frame for frame in await b.silence() if frame["type"] == "profile"]


async def test_the_blocked_is_not_told_and_the_blockers_devices_are(alice: Account, bob: Account) -> None:
    befriend(alice, bob)
    async with alice.socket() as a, bob.socket() as b:
        alice.post("blocks", user_id=bob.id)
        assert (await a.expect("contact"))["action"] == "blocked"
        assert (await b.expect("contact"))["action"] == "removed"
        alice.post("blocks", user_id=bob.id)  # once more is no error
        assert not [frame for frame in await b.silence() if frame["type"] == "contact"]


# -- Who sees whom ---------------------------------------------------------------------------------------------------


async def test_presence_is_shown_to_whom_one_chooses(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    befriend(alice, bob)
    alice.http.patch("/api/me", json={"last_seen_to": "contacts"})
    async with bob.socket() as b, carol.socket() as c:
        async with alice.socket():
            await b.expect("presence", user_id=alice.id, online=True)
            seen = {
                viewer.id: next(
                    row for row in viewer.get(f"rooms/{room}/members")["results"] if row["user_id"] == alice.id
                )
                for viewer in (bob, carol)
            }
            assert (seen[bob.id]["online"], seen[carol.id]["online"]) == (True, False)
            assert (bob.get(f"users/{alice.id}")["online"], carol.get(f"users/{alice.id}")["online"]) == (True, None)
            # Live: nobody sees it any more, then everybody.
            alice.http.patch("/api/me", json={"last_seen_to": "nobody"})
            assert (await b.expect("presence", user_id=alice.id))["online"] is False
            alice.http.patch("/api/me", json={"last_seen_to": "everyone"})
            await c.expect("presence", user_id=alice.id, online=True)
            alice.http.patch("/api/me", json={"last_seen_to": "nobody"})
        assert carol.get(f"users/{alice.id}")["last_seen"] is None
        assert bob.get("contacts")["results"][0]["online"] is None


async def test_who_becomes_a_contact_sees_presence_at_once(alice: Account, bob: Account) -> None:
    alice.room(bob)
    alice.http.patch("/api/me", json={"last_seen_to": "contacts"})
    async with alice.socket(), bob.socket() as b:
        befriend(alice, bob)
        await b.expect("presence", user_id=alice.id, online=True)
        alice.http.delete(f"/api/contacts/{bob.id}")
        await b.expect("presence", user_id=alice.id, online=False)


async def test_contacts_see_each_other_come_and_go_without_a_common_room(
    alice: Account, bob: Account, carol: Account
) -> None:
    befriend(alice, bob)
    alice.room(carol)
    async with bob.socket() as b, carol.socket() as c:
        async with alice.socket():
            came = await b.expect("presence", user_id=alice.id, online=True)
            await c.expect("presence", user_id=alice.id, online=True)
        went = await b.expect("presence", user_id=alice.id, online=False)
        kept = await b.silence()
    assert "room_id" not in came
    assert (went["username"], bool(went["last_seen"])) == (alice.username, True)
    assert not [frame for frame in kept if frame["type"] == "presence"]


async def test_contacts_who_share_a_room_are_told_there_and_once(alice: Account, bob: Account) -> None:
    befriend(alice, bob)
    room = alice.room(bob)
    async with bob.socket() as b, alice.socket():
        assert (await b.expect("presence", user_id=alice.id))["room_id"] == room
        assert not [frame for frame in await b.silence() if frame.get("user_id") == alice.id]


async def test_contacts_without_a_common_room_see_what_one_shows(alice: Account, bob: Account) -> None:
    alice.http.patch("/api/me", json={"last_seen_to": "nobody"})
    befriend(alice, bob)
    async with bob.socket() as b, alice.socket() as a:
        await a.expect("presence", user_id=bob.id, online=True)
        assert not [frame for frame in await b.silence() if frame["type"] == "presence"]
        alice.http.patch("/api/me", json={"last_seen_to": "contacts"})
        await b.expect("presence", user_id=alice.id, online=True)
        await b.silence()
        alice.http.patch("/api/me", json={"last_seen_to": "nobody"})
        await b.expect("presence", user_id=alice.id, online=False)
        assert not [frame for frame in await b.silence() if frame["type"] == "presence"]
        alice.http.patch("/api/me", json={"last_seen_to": "everyone"})
        await b.expect("presence", user_id=alice.id, online=True)
        await b.silence()
        bob.post("blocks", user_id=alice.id)
        assert (await b.expect("presence", user_id=alice.id))["online"] is False
        assert (await a.expect("presence", user_id=bob.id))["online"] is False
    async with bob.socket() as b:
        async with alice.socket() as a:
            await a.silence()
        assert not [frame for frame in await b.silence() if frame.get("user_id") == alice.id]


async def test_a_block_of_somebody_unknown_tells_them_nothing(alice: Account, bob: Account) -> None:
    async with alice.socket(), bob.socket() as b:
        await b.silence()
        alice.post("blocks", user_id=bob.id)
        assert not [frame for frame in await b.silence() if frame["type"] in ("presence", "contact")]


async def test_who_becomes_a_contact_is_seen_without_a_common_room(alice: Account, bob: Account) -> None:
    async with alice.socket() as a, bob.socket() as b:
        befriend(alice, bob)
        for socket, other in ((a, bob), (b, alice)):
            await socket.expect("presence", user_id=other.id, online=True)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "contacts"),
        ("POST", "contacts"),
        ("PATCH", "contacts/1"),
        ("DELETE", "contacts/1"),
        ("GET", "contacts/requests"),
        ("POST", "contacts/requests/1/accept"),
        ("DELETE", "contacts/requests/1"),
        ("GET", "blocks"),
        ("POST", "blocks"),
        ("DELETE", "blocks/1"),
        ("GET", "preferences"),
        ("PUT", "preferences/notifications.level"),
        ("DELETE", "preferences/notifications.level"),
        ("GET", "notifications"),
        ("GET", "notifications/unread"),
        ("POST", "notifications/read"),
        ("DELETE", "notifications/0198a3c2-7b1e-7cc3-98a1-0242ac120002"),
        ("GET", "push/key"),
        ("POST", "push/subscriptions"),
        ("DELETE", "push/subscriptions"),
        ("GET", "users/1"),
        ("GET", "auth/sign-ins"),
        ("DELETE", "auth/sign-ins/1"),
        ("POST", "auth/password"),
        ("POST", "auth/claim"),
        ("POST", "me/username"),
        ("POST", "me/email"),
        ("POST", "me/phone"),
        ("PUT", "me/avatar"),
        ("DELETE", "me/avatar"),
        ("POST", "me/deletion"),
    ],
)
def test_nothing_of_it_is_open_to_strangers(alice: Account, method: str, path: str) -> None:
    answer = httpx.request(method, f"{alice.server.http}/api/{path}")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthenticated")
