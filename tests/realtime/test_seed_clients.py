"""Clients of the Go framework Mana, unmodified: only its documented frames, one object per frame."""

from __future__ import annotations

import json
from typing import Any

import pytest
import websockets

from tests.support.client import Account
from tests.support.server import Server

pytestmark = pytest.mark.slow


async def _next(socket: websockets.ClientConnection, wanted: str) -> dict[str, Any]:
    while True:
        frame: dict[str, Any] = json.loads(await socket.recv())
        assert isinstance(frame, dict), "a client without mana.v1 was sent an array"
        if frame["type"] == wanted:
            return frame


async def test_two_guests_join_talk_type_sync_and_leave(open_server: Server) -> None:
    url = f"{open_server.ws}?user_id={{0}}&username={{1}}"
    async with (
        websockets.connect(url.format("user1", "Ann")) as ann,
        websockets.connect(url.format("user2", "Ben") + "&device_id=bens-phone") as ben,
    ):
        for socket in (ann, ben):
            await socket.send(json.dumps({"type": "join", "room_id": "seed-room"}))
        await ben.send(json.dumps({"type": "join", "room_id": "seed-room", "ack_id": "joined"}))
        await _next(ben, "ack")

        await ann.send(
            json.dumps({"type": "message", "room_id": "seed-room", "payload": {"text": "hello"}, "ack_id": "ack-1"})
        )
        ack = await _next(ann, "ack")
        message = await _next(ben, "message")
        assert ack["ack_id"] == "ack-1"
        assert ack["message_id"] == message["id"]
        assert ack["sequence"] == message["sequence"]
        assert ack["room_id"] == message["room_id"] == "seed-room"
        assert (message["from"], message["sender_id"], message["username"]) == ("user1", "user1", "Ann")
        assert message["payload"] == {"text": "hello"}
        assert message["timestamp"]

        await ann.send(json.dumps({"type": "typing", "room_id": "seed-room", "payload": True}))
        typing = await _next(ben, "typing")
        assert (typing["room_id"], typing["from"], typing["payload"]) == ("seed-room", "user1", True)

        await ben.send(json.dumps({"type": "message", "to": "user1", "payload": "only you", "ack_id": "ack-2"}))
        direct = await _next(ann, "message")
        assert (direct["from"], direct["to"], direct["target_id"]) == ("user2", "user1", "user1")

        await ben.send(json.dumps({"type": "sync_request", "cursor": 0}))
        batch = await _next(ben, "message_sync")
        assert {"text": "hello"} in [one.get("payload") for one in batch["messages"]]
        assert batch["cursor"] == batch["messages"][-1]["sequence"]
        assert batch["has_more"] is False
        assert batch["device_id"] == "bens-phone"
        assert all(batch[name] for name in ("session_id", "timestamp", "reason"))

        await ben.send(json.dumps({"type": "leave", "room_id": "seed-room", "ack_id": "left"}))
        await _next(ben, "ack")
        await ben.send(json.dumps({"type": "message", "room_id": "seed-room", "payload": "!", "ack_id": "no"}))
        assert (await _next(ben, "error"))["ack_id"] == "no"


async def test_a_device_goes_on_from_its_stored_cursor(open_server: Server) -> None:
    url = f"{open_server.ws}?user_id={{0}}"
    room = "cursor-room"
    async with websockets.connect(url.format("writer")) as writer:
        await writer.send(json.dumps({"type": "join", "room_id": room, "ack_id": "0"}))
        await _next(writer, "ack")  # or the other may be the first, and see this joining
        async with websockets.connect(url.format("reader") + "&device_id=tablet") as reader:
            await reader.send(json.dumps({"type": "join", "room_id": room, "ack_id": "1"}))
            joined = await _next(reader, "ack")
            await reader.send(json.dumps({"type": "sync_request", "cursor": joined["sequence"]}))
            await _next(reader, "message_sync")
        for number in range(3):
            await writer.send(
                json.dumps({"type": "message", "room_id": room, "payload": {"n": number}, "ack_id": f"w{number}"})
            )
            await _next(writer, "ack")
        async with websockets.connect(url.format("reader") + "&device_id=tablet") as reader:
            await reader.send(json.dumps({"type": "sync_request"}))
            batch = await _next(reader, "message_sync")
    assert [one["payload"] for one in batch["messages"]] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_a_token_in_the_address_where_it_is_allowed(open_server: Server) -> None:
    account = Account(open_server)
    async with websockets.connect(f"{open_server.ws}?token={account.access}") as socket:
        assert (await _next(socket, "welcome"))["user_id"] == account.id
        await socket.send(json.dumps({"type": "join", "room_id": f"of-{account.id}", "ack_id": "j"}))
        assert (await _next(socket, "ack"))["room_id"] == f"of-{account.id}"
    assert account.access not in open_server.log, "the server's log holds the token"
