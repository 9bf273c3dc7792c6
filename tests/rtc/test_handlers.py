"""The frames of calls, over a real server: who gets in, what is answered, what is refused."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from tests.rtc.bots import PacketTrack
from tests.rtc.media.sdps import CHROMIUM_OFFER
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import Server, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node with media on loopback, whose seats are cold after a few seconds."""
    with (
        databases.fresh("sqlite") as url,
        serving(url, MANA_RTC_ADDRESSES="127.0.0.1", MANA_RTC_RESUME_TIMEOUT="5") as running,
    ):
        yield running
        assert "Traceback" not in running.log, running.log[-4000:]


async def joined(socket: Socket, room: str, **payload: Any) -> dict[str, Any]:
    """Joins the room's call; what is found there."""
    await socket.request("ready", room_id=room, payload=payload or None)
    frame = await socket.expect("ready", room_id=room)
    return dict(frame["payload"])


async def test_only_members_get_into_a_call(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as one, carol.socket() as stranger:
        assert "sfu_offer" in one.welcome["features"]
        await joined(one, room)
        for kind, fields in (
            ("ready", {}),
            ("sfu_offer", {"sdp": CHROMIUM_OFFER}),
            ("sfu_answer", {"sdp": CHROMIUM_OFFER, "payload": {"number": 1}}),
            ("sfu_candidate", {"candidate": {}}),
            ("subscribe", {"payload": {"tracks": {}}}),
            ("ice_restart", {}),
            ("network_change", {}),
        ):
            refusal = await stranger.refusal(kind, room_id=room, **fields)
            assert refusal["code"] == "not_a_member", kind
        assert (await stranger.refusal("ready"))["code"] == "invalid"
        assert not [frame for frame in await one.silence() if frame["type"] in ("ready", "track_added")]


async def test_who_has_no_seat_publishes_nothing(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as one:
        for kind, fields in (("sfu_offer", {"sdp": CHROMIUM_OFFER}), ("subscribe", {"payload": {"tracks": {}}})):
            assert (await one.refusal(kind, room_id=room, **fields))["code"] == "conflict"
        assert (await one.refusal("ready", room_id=room, payload=False))["code"] == "conflict"


async def test_a_track_is_announced_and_offered(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as one, bob.socket() as two:
        seat = await joined(one, room)
        await joined(two, room)
        await one.request(
            "sfu_offer", room_id=room, sdp=CHROMIUM_OFFER, payload={"sources": {"0": "microphone", "1": "camera"}}
        )
        answer = await one.expect("sfu_answer")
        assert "a=simulcast:recv q;h;f" in answer["sdp"]
        added = [(await two.expect("track_added"))["payload"] for _ in range(2)]
        assert {(track["kind"], track["source"], track["participant"]) for track in added} == {
            ("audio", "microphone", seat["participant"]),
            ("video", "camera", seat["participant"]),
        }
        assert all(track["user_id"] == alice.id for track in added)
        offer = await two.expect("sfu_offer")
        assert sorted(offer["payload"]["tracks"].values()) == sorted(track["id"] for track in added)
        await one.request("ready", room_id=room, payload=False)
        removed = [(await two.expect("track_removed"))["payload"]["id"] for _ in range(2)]
        assert sorted(removed) == sorted(track["id"] for track in added)
        left = await two.expect("ready")
        assert (left["payload"]["left"], left["from"]) == (seat["participant"], alice.id)


@pytest.mark.parametrize(
    ("type", "fields"),
    [
        ("sfu_offer", {"sdp": "nonsense"}),
        ("sfu_offer", {"sdp": CHROMIUM_OFFER.replace("a=setup:actpass", "a=setup:passive")}),
        ("sfu_offer", {"sdp": CHROMIUM_OFFER, "payload": {"sources": {"0": "a cellar"}}}),
        ("sfu_offer", {"sdp": CHROMIUM_OFFER, "payload": [1]}),
        ("sfu_answer", {"sdp": CHROMIUM_OFFER}),
        ("sfu_answer", {"sdp": CHROMIUM_OFFER, "payload": {"number": 77}}),
        ("subscribe", {"payload": {"tracks": {"x": {"enabled": 3}}}}),
        ("subscribe", {"payload": {"tracks": {"x": {"surprise": 3}}}}),
        ("subscribe", {"payload": {"tracks": {str(number): {} for number in range(300)}}}),
        ("ready", {"payload": {"resume": "x" * 200}}),
        ("ready", {"payload": 5}),
    ],
)
async def test_what_makes_no_sense_is_refused(alice: Account, bob: Account, type: str, fields: dict[str, Any]) -> None:
    room = alice.room(bob)
    async with alice.socket() as one:
        await joined(one, room)
        refusal = await one.refusal(type, room_id=room, **fields)
        assert refusal["code"] == "invalid"
        await one.request("subscribe", room_id=room, payload={"tracks": {}})  # the seat is still there


async def test_a_seat_is_kept_for_who_has_its_token(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with bob.socket() as two:
        await joined(two, room)
        async with alice.socket() as one:
            seat = await joined(one, room)
        async with alice.socket() as again:
            assert (await again.refusal("ready", room_id=room, payload={"resume": "guess"}))["code"] == "not_found"
            assert (await two.refusal("ready", room_id=room, payload={"resume": seat["resume"]}))["code"] == "not_found"
            back = await joined(again, room, resume=seat["resume"])
            assert (back["participant"], back["resumed"]) == (seat["participant"], True)
            assert [one["user_id"] for one in back["participants"]] == [bob.id]
        left = await two.expect("ready")  # gone for good this time
        assert left["payload"] == {"left": seat["participant"], "reason": "disconnected"}


async def test_a_removed_member_is_out_of_the_call(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as one, bob.socket() as two:
        await joined(one, room)
        seat = await joined(two, room)
        await two.request("leave", room_id=room)
        assert (await one.expect("ready"))["payload"] == {"left": seat["participant"], "reason": "removed"}
        assert (await two.expect("ready"))["payload"]["reason"] == "removed"


@pytest.mark.slow
async def test_media_over_the_wire(alice: Account, bob: Account) -> None:
    """aiortc's peer connections and the protocol's frames: a track of one reaches the other."""
    room = alice.room(bob)
    publishing, receiving = (RTCPeerConnection(RTCConfiguration(iceServers=[])) for _ in range(2))
    async with alice.socket() as one, bob.socket() as two:
        await joined(one, room)
        await joined(two, room)
        publishing.addTrack(PacketTrack("audio", per_second=50))
        await publishing.setLocalDescription(await publishing.createOffer())
        await one.request("sfu_offer", room_id=room, sdp=publishing.localDescription.sdp)
        answer = await one.expect("sfu_answer")
        await publishing.setRemoteDescription(RTCSessionDescription(answer["sdp"], "answer"))
        offer = await two.expect("sfu_offer")
        await receiving.setRemoteDescription(RTCSessionDescription(offer["sdp"], "offer"))
        await receiving.setLocalDescription(await receiving.createAnswer())
        await two.request(
            "sfu_answer",
            room_id=room,
            sdp=receiving.localDescription.sdp,
            payload={"number": offer["payload"]["number"]},
        )
        async with asyncio.timeout(20):
            while True:
                stats = (await receiving.getStats()).values()
                if any(stat.type == "inbound-rtp" and stat.packetsReceived > 50 for stat in stats):
                    break
                await asyncio.sleep(0.05)
    await publishing.close()
    await receiving.close()
