"""Bad input gets a clear error, the session goes on, and nothing is lost."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed

from tests.support.client import Account

pytestmark = pytest.mark.slow

BAD_FRAMES = {
    "not JSON": ("nonsense", "invalid_json"),
    "nothing": ("", "invalid_json"),
    "half a frame": ('{"type":"message","room_id":', "invalid_json"),
    "an array": ("[]", "invalid"),
    "a number": ("7", "invalid"),
    "no type": ("{}", "invalid"),
    "a type that is no string": ('{"type":7}', "invalid"),
    "an unknown type": ('{"type":"teleport","ack_id":"x"}', "unknown_type"),
    "a frame of the server": ('{"type":"welcome"}', "unknown_type"),
    "a missing field": ('{"type":"join"}', "invalid"),
    "a wrong type": ('{"type":"join","room_id":7}', "invalid"),
    "a wrong ack_id": ('{"type":"ping","ack_id":7}', "invalid"),
    "a long ack_id": (json.dumps({"type": "ping", "ack_id": "x" * 65}), "invalid"),
    "a null in the ack_id": ('{"type":"message","room_id":"x","payload":1,"ack_id":"a\\u0000"}', "invalid"),
    "a null in a name": ('{"type":"message","to":"1\\u0000","payload":1}', "not_found"),
    "an empty room": ('{"type":"join","room_id":""}', "invalid"),
    "a long room": (json.dumps({"type": "join", "room_id": "x" * 129}), "invalid"),
    "a room of control characters": ('{"type":"join","room_id":"a\\u0000b"}', "not_found"),
    "a room with spaces around": ('{"type":"join","room_id":" a "}', "not_found"),
    "a lone surrogate": ('{"type":"join","room_id":"\\ud800"}', "invalid_json"),
    "a huge integer": ('{"type":"sync_request","cursor":99999999999999999999999}', "invalid"),
    "a huge float": ('{"type":"sync_request","cursor":1e999}', "invalid"),
    "a negative cursor": ('{"type":"sync_request","cursor":-1}', "invalid"),
    "a fraction": ('{"type":"sync_request","cursor":1.5}', "invalid"),
    "limit zero": ('{"type":"sync_request","limit":0}', "invalid"),
    "deep nesting": ('{"type":"ping","x":' + "[" * 200 + "]" * 200 + "}", "too_deep"),
    "deep nesting without an end": ('{"type":"ping","x":' + "[" * 60000, "too_deep"),
    "an unknown room": ('{"type":"message","room_id":"nowhere","payload":1}', "not_found"),
    "no room at all": ('{"type":"message","payload":1}', "invalid"),
    "no payload": ('{"type":"message","room_id":"nowhere"}', "invalid"),
    "payload null": ('{"type":"message","room_id":"nowhere","payload":null}', "empty_payload"),
    "payload empty text": ('{"type":"message","room_id":"nowhere","payload":""}', "empty_payload"),
    "payload empty object": ('{"type":"message","room_id":"nowhere","payload":{ }}', "empty_payload"),
    "payload empty array": ('{"type":"message","room_id":"nowhere","payload":[]}', "empty_payload"),
    "a reply to nonsense": ('{"type":"message","room_id":"nowhere","payload":1,"reply_to":"x"}', "not_found"),
    "typing where one is not": ('{"type":"typing","room_id":"nowhere"}', "not_a_member"),
    "a receipt where one is not": ('{"type":"receipt","room_id":"x","sequence":1,"status":"read"}', "not_found"),
    "a receipt of a wrong status": ('{"type":"receipt","room_id":"x","sequence":1,"status":"eaten"}', "invalid"),
    "history where one is not": ('{"type":"history","room_id":"nowhere"}', "not_found"),
    "leaving where one is not": ('{"type":"leave","room_id":"nowhere"}', "not_found"),
    "prekeys that are none": ('{"type":"prekey_refill","payload":1}', "invalid"),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_bad_frame_is_answered_and_the_session_goes_on(alice: Account, name: str) -> None:
    text, code = BAD_FRAMES[name]
    async with alice.socket() as socket:
        await socket.connection.send(text)
        error = await socket.error()
        await socket.request("ping")
    assert error["code"] == code
    assert error["error"]


async def test_an_error_carries_the_ack_id_of_its_frame(alice: Account) -> None:
    async with alice.socket() as socket:
        for frame in ({"type": "join"}, {"type": "teleport"}, {"type": "leave", "room_id": "nowhere"}):
            await socket.connection.send(json.dumps({**frame, "ack_id": "mine"}))
            assert (await socket.error())["ack_id"] == "mine"


async def test_a_binary_frame_is_read_as_text_and_bad_utf8_is_refused(alice: Account) -> None:
    async with alice.socket() as socket:
        await socket.connection.send(b'{"type":"ping","ack_id":"binary"}')
        assert (await socket.expect("pong"))["ack_id"] == "binary"
        await socket.connection.send(b'{"type":"ping\xff"}')
        assert (await socket.error())["code"] == "invalid_json"
        await socket.request("ping")


async def test_unknown_fields_are_ignored(alice: Account) -> None:
    async with alice.socket() as socket:
        await socket.request("ping", colour="blue", nested={"a": [1]})


async def test_what_a_client_writes_as_from_is_ignored(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        forged = {"from": bob.id, "sender_id": bob.id, "username": bob.username, "device_id": "x", "sequence": 1}
        await a.request("message", room_id=room, payload="truly yours", **forged)
        message = await b.expect("message")
    assert (message["from"], message["username"]) == (alice.id, alice.username)
    assert message["device_id"] == a.welcome["device_id"]
    assert message["sequence"] > 1


async def test_a_frame_at_the_limit_passes_and_one_byte_more_closes(alice: Account) -> None:
    room = alice.room()
    frame = {"type": "message", "room_id": room, "ack_id": f"big-{alice.id}", "payload": ""}
    frame["payload"] = "x" * (65536 - len(json.dumps(frame)))
    text = json.dumps(frame)
    assert len(text) == 65536
    async with alice.socket() as socket:
        await socket.connection.send(text)
        assert (await socket.expect("ack"))["index"] == 2
        await socket.connection.send(text + " ")
        assert (await socket.error())["code"] == "too_large"
        assert await socket.closed() == 1009


async def test_sizes_are_counted_in_bytes(alice: Account) -> None:
    async with alice.socket() as socket:
        await socket.connection.send(json.dumps({"type": "ping", "x": "ü" * 40000}, ensure_ascii=False))
        assert (await socket.error())["code"] == "too_large"
        assert await socket.closed() == 1009


async def test_a_flood_is_slowed_then_closed_and_what_was_acked_is_stored(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as socket:
        # A slow machine closes before the last of them is sent.
        with contextlib.suppress(ConnectionClosed):
            for number in range(10_000):
                await socket.connection.send(
                    json.dumps(
                        {"type": "message", "room_id": room, "payload": number, "ack_id": f"{alice.id}-{number}"}
                    )
                )
                if number % 500 == 0:
                    await asyncio.sleep(0)
        assert await socket.closed() == 4029
    acked = [frame["sequence"] for frame in socket.received if frame["type"] == "ack"]
    refused = [frame for frame in socket.received if frame["type"] == "error" and "ack_id" in frame]
    assert len(acked) >= 100
    assert refused
    assert {frame["code"] for frame in refused} == {"rate_limited"}, refused
    assert all(frame["retry_after"] > 0 for frame in refused)
    async with bob.socket() as other:  # and everybody else goes on
        await other.request("ping")
        stored = []
        cursor, more = 0, True
        while more:
            await other.send("sync_request", cursor=cursor, limit=500)
            batch = await other.expect("message_sync")
            stored += [event["sequence"] for event in batch["messages"] if event["type"] == "message"]
            cursor, more = batch["cursor"], batch["has_more"]
    assert set(acked) <= set(stored)


async def test_one_who_floods_does_not_hold_up_the_others(alice: Account, bob: Account, carol: Account) -> None:
    room = bob.room(carol)
    async with alice.socket() as flooding, bob.socket() as b, carol.socket() as c:
        for _ in range(400):
            await flooding.connection.send("nonsense")
        await b.request("message", room_id=room, payload="still here")
        assert (await c.expect("message"))["payload"] == "still here"
