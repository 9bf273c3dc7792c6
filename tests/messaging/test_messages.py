"""Messages through the socket: acked, ordered, delivered once."""

from __future__ import annotations

import json
from uuid import UUID

from tests.support.client import Account


async def test_a_message_is_acked_to_its_sender_and_delivered_to_the_other(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        ack = await a.request("message", room_id=room, payload={"text": "hello"}, ack_id="one")
        message = await b.expect("message")
        kept = await a.silence()
    assert ack["type"] == "ack"
    assert ack["message_id"] == ack["msg_id"] == message["id"]
    assert UUID(ack["message_id"]).version == 7
    assert (ack["sequence"], ack["index"]) == (message["sequence"], message["index"])
    assert message["index"] == 2  # the room's creation was the first event
    assert message["from"] == message["sender_id"] == alice.id
    assert message["username"] == alice.username
    assert message["payload"] == {"text": "hello"}
    assert "ack_id" not in message
    assert not [frame for frame in kept if frame["type"] == "message"], "the sending session got its own message"


async def test_the_senders_other_devices_get_the_message_with_its_ack_id(alice: Account) -> None:
    room = alice.room()
    async with alice.socket() as phone, alice.socket() as laptop:
        await phone.request("message", room_id=room, payload="hi", ack_id="from my phone")
        message = await laptop.expect("message")
    assert message["ack_id"] == "from my phone"


async def test_a_resend_is_answered_with_the_first_ack(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        first = await a.request("message", room_id=room, payload=1, ack_id="again")
        second = await a.request("message", room_id=room, payload=2, ack_id="again")
        await a.request("message", room_id=room, payload=3)
        payloads = [(await b.expect("message"))["payload"] for _ in range(2)]
    assert not first["duplicate"]
    assert second["duplicate"]
    assert {**second, "duplicate": False} == first
    assert payloads == [1, 3]


async def test_two_people_may_use_the_same_ack_id(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        one = await a.request("message", room_id=room, payload=1, ack_id="same")
        other = await b.request("message", room_id=room, payload=2, ack_id="same")
    assert not other["duplicate"]
    assert one["message_id"] != other["message_id"]


async def test_pipelined_messages_keep_their_order(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket(arrays=True) as b:
        for number in range(150):
            await a.send("message", room_id=room, payload=number, ack_id=f"pipelined-{alice.id}-{number}")
        acks = [await a.expect("ack") for _ in range(150)]
        messages = [await b.expect("message") for _ in range(150)]
    assert [ack["ack_id"].rsplit("-", 1)[1] for ack in acks] == [str(number) for number in range(150)]
    assert [message["payload"] for message in messages] == list(range(150))
    indexes = [message["index"] for message in messages]
    assert indexes == list(range(indexes[0], indexes[0] + 150))


async def test_a_payload_comes_back_exactly_as_it_was_sent(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    payload = '{"b": 1.0, "a": [1e5, -0, 123456789012345678901234567890], "ü": "\\u0041\\u0000", "n": {"x": null}}'
    async with alice.socket() as a, bob.socket() as b:
        await a.connection.send(f'{{"type":"message","room_id":"{room}","payload":{payload},"ack_id":"exact"}}')
        await a.expect("ack")
        live: str | bytes = ""
        while '"type":"message"' not in str(live):  # presence may come first
            live = await b.connection.recv()
        await b.connection.send(json.dumps({"type": "history", "room_id": room, "limit": 1}))
        page = await b.connection.recv()
    over_rest = bob.http.get(f"/api/rooms/{room}/messages").text
    for text in (live, page, over_rest):
        assert f'"payload":{payload}' in str(text)


async def test_a_reply_names_the_message_it_answers(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    elsewhere = alice.room()
    async with alice.socket() as a, bob.socket() as b:
        question = await a.request("message", room_id=room, payload="?")
        secret = await a.request("message", room_id=elsewhere, payload="secret")
        await b.request("message", room_id=room, payload="!", reply_to=question["message_id"])
        answer = await a.expect("message")
        refused = await b.refusal("message", room_id=room, payload="!", reply_to=secret["message_id"])
    assert answer["reply_to"] == question["message_id"]
    assert refused["code"] == "not_found"


async def test_a_direct_message_makes_the_room_of_the_two(alice: Account, bob: Account) -> None:
    async with alice.socket() as a, bob.socket() as b:
        ack = await a.request("message", to=bob.id, payload="psst")
        message = await b.expect("message")
        back = await b.request("message", to=alice.id, payload="yes?")
    assert message["to"] == message["target_id"] == bob.id
    assert ack["room_id"] == message["room_id"] == back["room_id"]
    (room,) = bob.get("rooms")["results"]
    assert room["room_type"] == "direct"
    assert room["peer"]["username"] == room["name"] == alice.username


async def test_only_members_write(alice: Account, bob: Account) -> None:
    private = alice.room()
    public = alice.room(is_private=False)
    async with bob.socket() as b:
        assert (await b.refusal("message", room_id=private, payload=1))["code"] == "not_found"
        assert (await b.refusal("message", room_id=public, payload=1))["code"] == "not_a_member"
        assert (await b.refusal("message", room_id="nowhere", payload=1))["code"] == "not_found"
        assert (await b.refusal("message", to="999999999", payload=1))["code"] == "not_found"
        assert (await b.refusal("message", payload=1))["code"] == "invalid"


async def test_in_a_channel_only_those_who_manage_it_write(alice: Account, bob: Account) -> None:
    channel = alice.room(bob, room_type="channel")
    async with alice.socket() as a, bob.socket() as b:
        await a.request("message", room_id=channel, payload="news")
        assert (await b.expect("message"))["payload"] == "news"
        assert (await b.refusal("message", room_id=channel, payload="me too"))["code"] == "forbidden"


async def test_a_message_sent_by_rest_arrives_live(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with bob.socket() as b:
        sent = alice.post(f"rooms/{room}/messages", payload={"text": "over REST"}, ack_id=f"rest-{alice.id}")
        message = await b.expect("message")
    again = alice.post(f"rooms/{room}/messages", payload={"text": "other"}, ack_id=f"rest-{alice.id}")
    assert {**message, "ack_id": f"rest-{alice.id}"} == sent == again
