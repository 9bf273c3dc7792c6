"""Peer-to-peer signaling and what people in a call do: relayed, stamped, kept, moderated; and who is put out."""

from __future__ import annotations

import time
from typing import Any

import pytest

from tests.rtc.calls.test_life import answered, of_calls, ring
from tests.support.client import Account, Socket

RELAYED = [
    ("offer", {"sdp": "v=0 offer"}),
    ("answer", {"sdp": "v=0 answer"}),
    ("candidate", {"candidate": {"candidate": "candidate:1 1 udp 1 192.0.2.1 9 typ host", "sdpMid": "0"}}),
]


#: Of so many one must be within the second: the machine itself may stand still for a moment.
ATTEMPTS = 3


async def in_group_call(owner: Socket, members: list[tuple[Account, Socket]], room: str) -> str:
    """A call of a group in which all are."""
    call = str((await owner.request("call_start", room_id=room))["call_id"])
    for _, socket in members:
        await socket.expect("call_start")
        await socket.request("call_accept", call_id=call)
    for socket in (owner, *(socket for _, socket in members)):
        await socket.silence()
    return call


@pytest.mark.parametrize(("type", "fields"), RELAYED)
async def test_peers_signal_to_each_other_and_the_server_says_who(
    alice: Account, bob: Account, carol: Account, type: str, fields: dict[str, Any]
) -> None:
    room = alice.room(bob, carol)
    async with (
        alice.socket(device_id="desk") as one,
        bob.socket() as two,
        bob.socket() as other,
        carol.socket() as third,
    ):
        await one.request(type, room_id=room, to=bob.id, payload={"n": 1}, **fields, **{"from": carol.id})
        for socket in (two, other):
            told = await socket.expect(type)
            assert (told["from"], told["username"], told["device_id"]) == (alice.id, alice.username, "desk")
            assert (told["session_id"], told["to"]) == (one.welcome["session_id"], bob.id)
            assert told["payload"] == {"n": 1}
            assert all(told[name] == value for name, value in fields.items())
        await one.request(type, room_id=room, to=two.welcome["session_id"], **fields)
        await two.expect(type)
        for socket in (other, third, one):
            assert type not in [frame["type"] for frame in await socket.silence()]


@pytest.mark.parametrize(("type", "fields"), RELAYED)
async def test_only_members_of_the_room_signal_and_are_signalled_to(
    alice: Account, bob: Account, carol: Account, type: str, fields: dict[str, Any]
) -> None:
    room = alice.room(bob)
    async with alice.socket() as one, bob.socket() as two, carol.socket() as stranger:
        assert (await stranger.refusal(type, room_id=room, to=bob.id, **fields))["code"] == "not_a_member"
        for nobody in (carol.id, stranger.welcome["session_id"], "nobody", "a\x00"):
            assert (await one.refusal(type, room_id=room, to=nobody, **fields))["code"] == "not_found"
        assert (await one.refusal(type, room_id=room, **fields))["code"] == "invalid"
        assert (await one.refusal(type, to=bob.id, **fields))["code"] == "invalid"
        for socket in (two, stranger):
            assert type not in [frame["type"] for frame in await socket.silence()]


async def test_what_is_relayed_has_its_limits(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as one:
        big = {"candidate": "x" * 5000}
        assert (await one.refusal("candidate", room_id=room, to=bob.id, candidate=big))["code"] == "too_large"
        refusal = await one.refusal("offer", room_id=room, to=bob.id, sdp="v=0", payload="x" * 5000)
        assert refusal["code"] == "too_large"


async def test_keys_reach_those_in_the_call_alone(alice: Account, bob: Account, carol: Account) -> None:
    """Each gets what is sealed for them, on the device that is in the call."""
    room = alice.room(bob, carol)
    async with alice.socket() as one, bob.socket() as two, bob.socket() as other, carol.socket() as third:
        call = await in_group_call(one, [(bob, two)], room)
        keys = {"room_id": room, "call_id": call}
        await one.request("call_key", **keys, payloads={bob.id: {"phone": "for bob"}, carol.id: "for carol"})
        told = await two.expect("call_key")
        assert (told["from"], told["session_id"], told["to"]) == (alice.id, one.welcome["session_id"], bob.id)
        assert (told["payload"], told["call_id"]) == ({"phone": "for bob"}, call)
        for socket in (one, other, third):  # carol is rung and has not answered
            assert "call_key" not in [frame["type"] for frame in await socket.silence()]
        for outside in (third, other):
            assert (await outside.refusal("call_key", **keys, payloads={bob.id: "x"}))["code"] == "conflict"
        big = {bob.id: "x" * 33_000}
        assert (await one.refusal("call_key", **keys, payloads=big))["code"] == "too_large"
        assert (await one.refusal("call_key", **keys, payloads={}))["code"] == "invalid"
        assert (await one.refusal("call_key", room_id=room, call_id="old", payloads={bob.id: 1}))["code"] == "conflict"


async def test_a_late_joiner_sees_who_is_muted_and_shares(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    async with alice.socket() as one, bob.socket() as two, carol.socket() as late:
        call = await in_group_call(one, [(bob, two)], room)
        for kind, payload in (("mute", True), ("camera_toggle", True), ("screen_share_start", None), ("pin", bob.id)):
            await one.request(kind, room_id=room, payload=payload)
            told = await two.expect(kind)
            assert (told["from"], told["session_id"]) == (alice.id, one.welcome["session_id"])
            assert told.get("payload") == payload
        await late.silence()
        await late.request("call_accept", call_id=call)
        found = {member["user_id"]: member for member in (await late.expect("call_accept"))["participants"]}
        assert found[alice.id]["muted"] is found[alice.id]["camera"] is found[alice.id]["screen"] is True
        assert found[alice.id]["pinned"] == bob.id
        assert "muted" not in found[bob.id]
        await one.request("screen_share_stop", room_id=room)
        await one.request("mute", room_id=room, payload=False)
        await late.expect("screen_share_stop")
        shown = {member["user_id"]: member for member in carol.get(f"rtc/calls/{call}")["participants"]}
        assert (shown[alice.id]["screen"], shown[alice.id]["muted"], shown[alice.id]["camera"]) == (False, False, True)
        for kind, payload in (("mute", "yes"), ("camera_toggle", None), ("pin", "x" * 200), ("pin", "a\x00")):
            assert (await one.refusal(kind, room_id=room, payload=payload))["code"] == "invalid"
        await one.request("call_end", call_id=call, payload={"everybody": True})
        assert (await one.refusal("mute", room_id=room, payload=True))["code"] == "conflict"


async def test_who_is_not_in_the_call_changes_nothing_in_it(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as one, bob.socket() as two, carol.socket() as stranger:
        call = (await one.request("call_start", room_id=room))["call_id"]
        assert (await two.refusal("mute", room_id=room, payload=True))["code"] == "conflict"
        assert (await stranger.refusal("mute", room_id=room, payload=True))["code"] == "not_found"
        await one.request("call_end", call_id=call)


async def test_moderators_mute_and_remove_and_others_do_not(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    async with alice.socket() as owner, bob.socket() as two, carol.socket() as three:
        call = await in_group_call(owner, [(bob, two), (carol, three)], room)
        assert (await two.refusal("mute", room_id=room, to=carol.id, payload=True))["code"] == "forbidden"
        assert (await two.refusal("call_end", call_id=call, to=carol.id))["code"] == "forbidden"
        assert (await owner.refusal("mute", room_id=room, to=carol.id, payload=False))["code"] == "forbidden"
        await owner.request("mute", room_id=room, to=carol.id, payload=True)
        for socket in (two, three):
            told = await socket.expect("mute")
            assert (told["from"], told["to"], told["payload"]) == (alice.id, carol.id, True)
        shown = {member["user_id"]: member["muted"] for member in bob.get(f"rtc/calls/{call}")["participants"]}
        assert shown == {alice.id: False, bob.id: False, carol.id: True}
        await owner.request("call_end", call_id=call, to=carol.id)
        assert (await three.expect("call_end"))["reason"] == "removed"
        gone = await two.expect("call_participant")
        assert (gone["participant"]["user_id"], gone["participant"]["state"]) == (carol.id, "removed")
        for kind in ("call_accept", "call_start"):
            fields = {"call_id": call} if kind == "call_accept" else {"room_id": room}
            assert (await three.refusal(kind, **fields))["code"] == "forbidden"
        await two.request("call_end", call_id=call)
        await owner.request("call_end", call_id=call)


async def test_who_is_removed_from_the_room_is_out_within_a_second(
    alice: Account, bob: Account, carol: Account
) -> None:
    async with alice.socket() as owner, bob.socket() as two, carol.socket() as three:
        took: list[float] = []
        for _ in range(ATTEMPTS):
            room = alice.room(bob, carol)
            call = await in_group_call(owner, [(bob, two), (carol, three)], room)
            began = time.monotonic()
            assert alice.http.delete(f"/api/rooms/{room}/members/{carol.id}").status_code < 300
            assert (await three.expect("call_end", call_id=call))["reason"] == "removed"
            gone = await two.expect("call_participant", call_id=call)
            assert gone["participant"]["user_id"] == carol.id
            took.append(time.monotonic() - began)
            if took[-1] < 1:
                break
            await owner.request("call_end", call_id=call, payload={"everybody": True})
            await two.expect("call_end", call_id=call)
        assert min(took) < 1, took
        assert (await three.refusal("call_accept", call_id=call))["code"] == "not_found"
        assert (await three.refusal("offer", room_id=room, to=bob.id, sdp="v=0"))["code"] == "not_a_member"
        await owner.request("call_end", call_id=call, payload={"everybody": True})
        await two.expect("call_end")
        assert await of_calls(three) == []


async def test_a_block_ends_the_call_of_the_two_within_a_second(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        took: list[float] = []
        for _ in range(ATTEMPTS):
            call = await ring(one, bob)
            room = (await two.expect("call_start", call_id=call))["room_id"]
            await answered(one, two, call)
            began = time.monotonic()
            bob.post("blocks", user_id=alice.id)
            for socket in (one, two):
                await socket.expect("call_end", call_id=call)
            took.append(time.monotonic() - began)
            if took[-1] < 1:
                break
            assert bob.http.delete(f"/api/blocks/{alice.id}").status_code < 300
        assert min(took) < 1, took
        for kind, fields in RELAYED:
            refusal = await one.refusal(kind, room_id=room, to=bob.id, **fields)
            assert refusal["code"] == "forbidden"


async def test_the_blocked_do_not_ring_and_are_told_what_others_are(
    alice: Account, bob: Account, carol: Account
) -> None:
    async with alice.socket() as one, bob.socket() as two, carol.socket() as three:
        bob.post("blocks", user_id=alice.id)
        refusal = await one.refusal("call_start", to=bob.id)
        # Who hears only contacts says the same to everybody else.
        assert carol.http.patch("/api/me", json={"direct_messages_from": "contacts"}).status_code == 200
        assert await one.refusal("call_start", to=carol.id) | {"ack_id": ""} == refusal | {"ack_id": ""}
        assert (await two.refusal("call_start", to=alice.id))["code"] == "forbidden"
        for socket in (two, three):
            assert await of_calls(socket) == []
    assert alice.get("rtc/calls")["results"] == bob.get("rtc/calls")["results"] == []
    assert bob.get("notifications")["results"] == []


async def test_a_groups_call_does_not_ring_across_a_block(alice: Account, bob: Account, carol: Account) -> None:
    room = carol.room(alice, bob)
    bob.post("blocks", user_id=alice.id)
    async with alice.socket() as one, bob.socket() as two, carol.socket() as three:
        call = (await one.request("call_start", room_id=room))["call_id"]
        await three.expect("call_start")
        assert await of_calls(two) == []
        await one.request("call_end", call_id=call)


async def test_servers_are_told_by_frame_and_rest(alice: Account, bob: Account) -> None:
    async with alice.socket() as one:
        told = await one.request("ice_servers")
    assert told["ice_servers"][0] == {"urls": ["stun:stun.example.com:3478"]}
    answer = alice.http.get("/api/rtc/ice-servers")
    assert answer.headers["Cache-Control"] == "no-store"
    turn = answer.json()["ice_servers"][1]
    assert turn["urls"] == ["turn:turn.example.com:3478?transport=udp"]
    until, _, user = turn["username"].partition(":")
    assert user == alice.id
    assert 500 < int(until) - time.time() <= 600
    assert answer.json()["expires_in"] == told["expires_in"] == 600
    assert "north-by-northwest" not in answer.text
    assert bob.get("rtc/ice-servers")["ice_servers"][1]["credential"] != turn["credential"]


async def test_calls_are_declined_and_ended_without_a_socket(alice: Account, bob: Account) -> None:
    async with alice.socket() as one:
        call = await ring(one, bob)
        assert bob.post(f"rtc/calls/{call}/reject")["reason"] == "rejected"
        assert (await one.expect("call_end"))["reason"] == "rejected"
        again = bob.http.post(f"/api/rtc/calls/{call}/reject", json={})
        assert (again.status_code, again.json()["code"]) == (409, "conflict")
        call = await ring(one, bob)
        assert alice.post(f"rtc/calls/{call}/end")["state"] == "ended"
        await one.expect("call_end", call_id=call)
    assert alice.get("rtc/calls", limit=1)["next"] is not None
    assert len(alice.get("rtc/calls")["results"]) == 2
    assert alice.get("rtc/calls", room_id="elsewhere")["results"] == []
