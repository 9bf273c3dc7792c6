"""A call's life over real sockets: ringing, answering, declining, hanging up, time-outs, several devices."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from tests.support import databases
from tests.support.client import Account, Refused, Socket
from tests.support.server import serving

LIFE = {"call_start", "call_accept", "call_reject", "call_end", "call_participant"}


async def ring(caller: Socket, callee: Account, **payload: Any) -> str:
    """Calls somebody; the call's id."""
    answer = await caller.request("call_start", to=callee.id, payload=payload or None)
    assert answer["type"] == "ack"
    return str(answer["call_id"])


async def answered(caller: Socket, callee: Socket, call: str) -> None:
    """The callee answers and both know."""
    await callee.request("call_accept", call_id=call)
    await callee.expect("call_accept", call_id=call)
    await caller.expect("call_accept", call_id=call)


async def of_calls(socket: Socket) -> list[str]:
    """The types of the frames about calls that nobody asked for yet."""
    return [frame["type"] for frame in await socket.silence() if frame["type"] in LIFE]


def outcome(account: Account, call: str) -> tuple[str, str | None]:
    """State and reason of a call in somebody's history."""
    found = account.get(f"rtc/calls/{call}")
    return found["state"], found["reason"]


async def test_a_call_rings_is_answered_and_ends(alice: Account, bob: Account) -> None:
    async with alice.socket(device_id="desk") as one, bob.socket(device_id="phone") as two:
        call = await ring(one, bob, audio=True, video=True)
        ringing = await two.expect("call_start")
        assert (ringing["call_id"], ringing["from"], ringing["username"]) == (call, alice.id, alice.username)
        assert (ringing["device_id"], ringing["session_id"]) == ("desk", one.welcome["session_id"])
        assert ringing["payload"] == {"audio": True, "video": True}
        states = {member["user_id"]: member["state"] for member in ringing["participants"]}
        assert states == {alice.id: "joined", bob.id: "ringing"}
        assert outcome(alice, call) == ("ringing", None)
        await two.request("call_accept", call_id=call)
        accepted = await one.expect("call_accept")
        assert (accepted["from"], accepted["device_id"]) == (bob.id, "phone")
        assert accepted["session_id"] == two.welcome["session_id"]
        found = await two.expect("call_accept")
        assert [member["camera"] for member in found["participants"] if member["user_id"] == alice.id] == [True]
        assert outcome(bob, call) == ("accepted", None)
        await two.request("call_end", call_id=call)
        for socket in (one, two):
            over = await socket.expect("call_end")
            assert (over["call_id"], over["reason"], over["from"]) == (call, "hangup", bob.id)
        await two.request("call_end", call_id=call)  # once more changes nothing
        assert await of_calls(one) == await of_calls(two) == []
    history = alice.get("rtc/calls")["results"]
    assert [one["id"] for one in history] == [call]
    assert (history[0]["outgoing"], history[0]["video"], history[0]["own_state"]) == (True, True, "left")
    assert history[0]["seconds"] >= 0


async def test_ringing_reaches_all_devices_and_stops_when_one_answers(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket(device_id="phone") as phone, bob.socket(device_id="desk") as desk:
        call = await ring(one, bob)
        for device in (phone, desk):
            assert (await device.expect("call_start"))["call_id"] == call
        async with bob.socket(device_id="late") as late:  # rings as well
            assert (await late.expect("call_start"))["call_id"] == call
            await answered(one, phone, call)
            for device in (desk, late):
                stop = await device.expect("call_accept")
                assert (stop["from"], stop["device_id"]) == (bob.id, "phone")
            refusal = await desk.refusal("call_accept", call_id=call)
            assert (refusal["code"], "another device" in refusal["error"]) == ("conflict", True)
        await one.request("call_end", call_id=call)


async def test_two_devices_that_answer_at_once_are_one_answer(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket(device_id="phone") as phone, bob.socket(device_id="desk") as desk:
        call = await ring(one, bob)
        answers = await asyncio.gather(
            *(device.request("call_accept", call_id=call) for device in (phone, desk)), return_exceptions=True
        )
        refused = [answer for answer in answers if isinstance(answer, Refused)]
        assert [refusal.frame["code"] for refusal in refused] == ["conflict"]
        await one.expect("call_accept")
        assert await of_calls(one) == []
        await one.request("call_end", call_id=call)


@pytest.mark.parametrize(("payload", "reason"), [(None, "rejected"), ({"reason": "busy"}, "busy")])
async def test_who_declines_ends_the_call_and_the_ringing(
    alice: Account, bob: Account, payload: Any, reason: str
) -> None:
    async with alice.socket() as one, bob.socket() as two, bob.socket() as other:
        call = await ring(one, bob)
        await two.expect("call_start")
        await other.expect("call_start")
        await two.request("call_reject", call_id=call, payload=payload)
        for socket in (one, two, other):
            assert (await socket.expect("call_reject"))["reason"] == reason
            assert (await socket.expect("call_end"))["reason"] == reason
        refusal = await two.refusal("call_accept", call_id=call)
        assert refusal["code"] == "conflict"
    assert outcome(alice, call) == ("ended", reason)


async def test_nobody_answers_and_it_is_missed(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        call = await ring(one, bob)
        await two.expect("call_start")
        for socket in (one, two):
            assert (await socket.expect("call_end"))["reason"] == "missed"
        told = await two.expect("notification")
        assert (told["kind"], told["data"]["call_id"], told["data"]["user_id"]) == ("call_missed", call, alice.id)
        assert alice.username in told["title"]
    assert bob.get("rtc/calls")["results"][0]["own_state"] == "missed"


async def test_who_cancels_stops_the_ringing_and_was_missed(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        call = await ring(one, bob)
        await two.expect("call_start")
        await one.request("call_end", call_id=call)
        assert (await two.expect("call_end"))["reason"] == "hangup"
        assert (await two.expect("notification"))["kind"] == "call_missed"
    assert bob.get(f"rtc/calls/{call}")["answered_at"] is None


async def test_who_is_in_a_call_is_busy(alice: Account, bob: Account, carol: Account) -> None:
    async with alice.socket() as one, bob.socket() as two, carol.socket() as three:
        call = await ring(one, bob)
        await answered(one, two, call)
        await two.silence()
        second = await ring(three, bob)
        assert (await three.expect("call_reject"))["reason"] == "busy"
        assert (await three.expect("call_end"))["reason"] == "busy"
        assert outcome(carol, second) == ("ended", "busy")
        told = [frame["type"] for frame in await two.silence()]
        assert "call_start" not in told
        assert (await one.refusal("call_start", to=carol.id))["code"] == "conflict"
        await one.request("call_end", call_id=call)
        third = await ring(three, bob)
        await answered(three, two, third)
        await two.request("call_end", call_id=third)


async def test_two_who_call_each_other_at_once_are_in_one_call(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        await ring(one, bob)  # makes their room
        await one.request("call_end", room_id=(await two.expect("call_start"))["room_id"])
        await two.expect("call_end")
        first, second = await asyncio.gather(
            one.request("call_start", to=bob.id), two.request("call_start", to=alice.id)
        )
        assert first["call_id"] == second["call_id"]
        assert outcome(alice, first["call_id"]) == ("accepted", None)
        await one.request("call_end", call_id=first["call_id"])
        assert (await two.expect("call_end"))["reason"] == "hangup"


async def test_a_resent_start_is_the_same_call(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        for _ in range(2):
            answer = await one.request("call_start", to=bob.id, call_id=f"mine-{alice.id}")
            assert answer["call_id"] == f"mine-{alice.id}"
        await two.expect("call_start")
        assert await of_calls(two) == []
        await one.request("call_end", call_id=f"mine-{alice.id}")
        again = await one.request("call_start", to=bob.id, call_id=f"mine-{alice.id}")
        assert again["call_id"] == f"mine-{alice.id}"
        assert outcome(alice, f"mine-{alice.id}") == ("ended", "hangup")


async def test_a_start_that_is_said_again_on_a_new_connection_moves_there(alice: Account, bob: Account) -> None:
    name = f"mine-{alice.id}"
    async with bob.socket() as two:
        async with alice.socket(device_id="phone") as first:
            await first.request("call_start", to=bob.id, call_id=name)
            await two.expect("call_start")
            await two.request("call_accept", call_id=name)
        async with alice.socket(device_id="phone") as second, alice.socket(device_id="laptop") as other:
            again = await second.request("call_start", to=bob.id, call_id=name)
            assert again["call_id"] == name
            found = {one["user_id"]: one for one in alice.get(f"rtc/calls/{name}")["participants"]}
            assert found[alice.id]["session_id"] == second.welcome["session_id"]
            assert found[alice.id]["state"] == "joined"
            await other.send("call_start", to=bob.id, call_id=name, ack_id="theirs")
            assert (await other.expect("error", ack_id="theirs"))["code"] == "conflict"


async def test_a_call_of_a_group_goes_on_until_the_last_one_leaves(
    alice: Account, bob: Account, carol: Account
) -> None:
    room = alice.room(bob, carol)
    async with alice.socket() as one, bob.socket() as two, carol.socket() as three:
        call = (await one.request("call_start", room_id=room))["call_id"]
        for socket in (two, three):
            assert (await socket.expect("call_start"))["room_id"] == room
        await answered(one, two, call)
        await three.expect("call_accept")
        await three.request("call_reject", call_id=call)
        for socket in (one, two, three):
            assert (await socket.expect("call_reject"))["from"] == carol.id
        await three.request("call_accept", call_id=call)  # thinks better of it
        for socket in (one, two):
            assert (await socket.expect("call_accept"))["from"] == carol.id
        await one.request("call_end", call_id=call)
        left = await two.expect("call_participant")
        assert (left["participant"]["user_id"], left["participant"]["state"]) == (alice.id, "left")
        assert outcome(alice, call) == ("accepted", None)
        assert [found["id"] for found in alice.get("rtc/calls", live=True)["results"]] == [call]
        await one.request("call_start", room_id=room)  # comes back to it
        assert (await three.expect("call_accept"))["from"] in (alice.id, carol.id)
        for socket in (one, two, three):
            await socket.request("call_end", call_id=call)
        assert (await three.expect("call_end"))["reason"] == "hangup"
        assert outcome(alice, call) == ("ended", "hangup")
    assert alice.get("rtc/calls", live=True)["results"] == []


async def test_who_started_a_groups_call_ends_it_for_all_and_others_do_not(
    alice: Account, bob: Account, carol: Account
) -> None:
    room = carol.room(alice, bob)
    async with alice.socket() as one, bob.socket() as two, carol.socket() as owner:
        call = (await one.request("call_start", room_id=room))["call_id"]
        await two.request("call_accept", call_id=call)
        refusal = await two.refusal("call_end", call_id=call, payload={"everybody": True})
        assert refusal["code"] == "forbidden"
        await one.request("call_end", call_id=call, payload={"everybody": True})
        assert (await two.expect("call_end"))["from"] == alice.id
        again = (await two.request("call_start", room_id=room))["call_id"]
        await owner.request("call_end", call_id=again, payload={"everybody": True})  # owns the room
        assert (await two.expect("call_end", call_id=again))["from"] == carol.id


async def test_who_vanished_is_swept_out_and_who_comes_back_stays(alice: Account, bob: Account) -> None:
    async with alice.socket() as one:
        async with bob.socket(device_id="phone") as two:
            call = await ring(one, bob)
            await answered(one, two, call)
        async with bob.socket(device_id="phone") as again:
            await again.request("call_accept", call_id=call)
            back = await one.expect("call_participant")
            assert (back["reason"], back["participant"]["session_id"]) == ("moved", again.welcome["session_id"])
            await asyncio.sleep(7)  # longer than what a lost connection is waited for
            assert outcome(alice, call) == ("accepted", None)
        over = await one.expect("call_end")
        assert over["reason"] == "disconnected"
        assert await of_calls(one) == []
    assert outcome(bob, call) == ("ended", "disconnected")


async def test_media_that_fails_is_said_so(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        call = await ring(one, bob)
        await answered(one, two, call)
        await two.request("call_end", call_id=call, payload={"reason": "failed"})
        assert (await one.expect("call_end"))["reason"] == "failed"


async def test_media_ends_with_the_call(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    async with alice.socket() as one, bob.socket() as two:
        call = (await one.request("call_start", room_id=room))["call_id"]
        await two.expect("call_start")
        refusal = await two.refusal("ready", room_id=room)
        assert (refusal["code"], "call_accept" in refusal["error"]) == ("conflict", True)
        await one.request("ready", room_id=room)
        await one.expect("ready")
        await answered(one, two, call)
        await two.request("ready", room_id=room)
        await two.expect("ready")
        await asyncio.sleep(0.6)  # the node has looked at the call
        await two.request("call_end", call_id=call)
        left = await two.expect("ready")
        assert left["payload"]["reason"] == "ended"
        assert (await one.expect("ready"))["payload"]["left"] == left["payload"]["left"]
        direct = (await one.request("call_end", call_id=call)) and await one.refusal("call_end", room_id=room)
        assert direct["code"] == "not_found"


async def test_a_call_between_two_gives_media_only_while_it_lasts(alice: Account, bob: Account) -> None:
    async with alice.socket() as one, bob.socket() as two:
        call = await ring(one, bob)
        room = (await two.expect("call_start"))["room_id"]
        await one.request("call_end", call_id=call)
        assert (await one.refusal("ready", room_id=room))["code"] == "conflict"


@pytest.mark.parametrize(
    ("type", "fields", "code"),
    [
        ("call_start", {}, "invalid"),
        ("call_start", {"to": "nobody"}, "not_found"),
        ("call_start", {"room_id": "nowhere"}, "not_found"),
        ("call_accept", {"call_id": "none"}, "not_found"),
        ("call_accept", {"call_id": "a\x00"}, "not_found"),
        ("call_reject", {"call_id": "none"}, "not_found"),
        ("call_end", {}, "invalid"),
        ("call_end", {"call_id": "none"}, "not_found"),
        ("call_end", {"room_id": "nowhere"}, "not_found"),
    ],
)
async def test_what_makes_no_sense_is_refused(alice: Account, type: str, fields: dict[str, Any], code: str) -> None:
    async with alice.socket() as one:
        assert (await one.refusal(type, **fields))["code"] == code
        assert (await one.refusal("call_start", to=alice.id))["code"] == "invalid"


@pytest.mark.slow
async def test_nobody_rings_all_the_time() -> None:
    with databases.fresh("sqlite") as url, serving(url, MANA_CALL_RATE="2/minute") as strict:
        alice, bob = Account(strict), Account(strict)
        async with alice.socket() as one:
            for _ in range(2):
                call = await ring(one, bob)
                await one.request("call_end", call_id=call)
            refusal = await one.refusal("call_start", to=bob.id)
            assert (refusal["code"], refusal["retry_after"] > 0) == ("rate_limited", True)


async def test_a_payload_has_its_limit(alice: Account, bob: Account) -> None:
    async with alice.socket() as one:
        assert (await one.refusal("call_start", to=bob.id, payload="x" * 5000))["code"] == "too_large"
        assert (await one.refusal("call_start", to=bob.id, call_id="a\x00b"))["code"] == "invalid"


async def test_strangers_learn_nothing_of_a_call(
    alice: Account, bob: Account, carol: Account, account: Callable[..., Account]
) -> None:
    async with alice.socket() as one, bob.socket() as two, carol.socket() as stranger:
        call = await ring(one, bob)
        await answered(one, two, call)
        for kind in ("call_accept", "call_reject", "call_end"):
            assert (await stranger.refusal(kind, call_id=call))["code"] == "not_found"
        assert (await stranger.refusal("call_end", call_id=call, payload={"everybody": True}))["code"] == "not_found"
        assert await of_calls(stranger) == []
        await one.request("call_end", call_id=call)
    assert carol.http.get(f"/api/rtc/calls/{call}").status_code == 404
    assert carol.http.post(f"/api/rtc/calls/{call}/end", json={}).status_code == 404
    assert carol.get("rtc/calls")["results"] == []
