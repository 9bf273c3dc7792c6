"""Receipts, unread counts, typing and presence."""

from __future__ import annotations

from tests.support.client import Account


async def test_delivered_and_read_reach_the_sender(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        ack = await a.request("message", room_id=room, payload="?")
        await b.request("receipt", room_id=room, sequence=ack["sequence"], status="delivered")
        delivered = await a.expect("receipt")
        await b.request("receipt", room_id=room, sequence=ack["sequence"], status="read")
        read = await a.expect("receipt")
    for receipt, status in ((delivered, "delivered"), (read, "read")):
        assert receipt["status"] == status
        assert (receipt["room_id"], receipt["from"]) == (room, bob.id)
        assert (receipt["sequence"], receipt["index"]) == (ack["sequence"], ack["index"])
    members = {member["user_id"]: member for member in alice.get(f"rooms/{room}/members")["results"]}
    assert members[bob.id]["read_index"] == members[bob.id]["delivered_index"] == ack["index"]


async def test_unread_counts_messages_only_and_falls_when_read(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        for text in ("one", "two"):
            await a.request("message", room_id=room, payload=text)
        alice.post(f"rooms/{room}/members", user_ids=[carol.id])
        last = await a.request("message", room_id=room, payload="three")
        assert bob.get(f"rooms/{room}")["unread"] == 3
        assert alice.get(f"rooms/{room}")["unread"] == 0
        assert carol.get(f"rooms/{room}")["unread"] == 1
        await b.request("receipt", room_id=room, sequence=last["sequence"], status="read")
        assert bob.get(f"rooms/{room}")["unread"] == 0


async def test_a_receipt_never_moves_back_nor_past_the_end(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        first = await a.request("message", room_id=room, payload=1)
        second = await a.request("message", room_id=room, payload=2)
        await b.request("receipt", room_id=room, sequence=2**60, status="read")
        receipt = await a.expect("receipt")
        await b.request("receipt", room_id=room, sequence=first["sequence"], status="read")
        await a.request("ping")
    assert receipt["sequence"] == second["sequence"]
    assert bob.get(f"rooms/{room}")["read_index"] == second["index"]
    assert not [frame for frame in a.received[a.received.index(receipt) + 1 :] if frame["type"] == "receipt"]


async def test_writing_is_reading(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        await a.request("message", room_id=room, payload="?")
        await b.request("message", room_id=room, payload="!")
    assert bob.get(f"rooms/{room}")["unread"] == 0
    assert alice.get(f"rooms/{room}")["unread"] == 1


async def test_typing_reaches_the_others_and_is_not_stored(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, alice.socket() as a_too, bob.socket() as b:
        await a.request("typing", room_id=room, payload=True)
        await a.request("typing", room_id=room, payload=False)
        started, stopped = await b.expect("typing"), await b.expect("typing")
        assert (await a_too.expect("typing"))["from"] == alice.id
        assert not [frame for frame in await a.silence() if frame["type"] == "typing"]
    assert (started["from"], started["payload"], stopped["payload"]) == (alice.id, True, False)
    assert bob.get(f"rooms/{room}")["last_index"] == 1


async def test_typing_to_a_person(alice: Account, bob: Account) -> None:
    async with alice.socket() as a, bob.socket() as b:
        await a.request("message", to=bob.id, payload="hi")
        room = (await b.expect("message"))["room_id"]
        await a.request("typing", to=bob.id)
        typing = await b.expect("typing")
    assert (typing["room_id"], typing["to"], typing["payload"]) == (room, bob.id, True)


async def test_presence_is_told_to_those_who_share_a_room(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, carol.socket() as c:
        async with bob.socket() as b:
            came = await a.expect("presence", user_id=bob.id)
            online = {one["user_id"]: one["online"] for one in alice.get(f"rooms/{room}/members")["results"]}
            await b.request("ping")
        went = await a.expect("presence", online=False)
        kept = await c.silence()
    assert (came["online"], came["room_id"], came["username"]) == (True, room, bob.username)
    assert online[bob.id] is True
    assert (went["user_id"], went["room_id"]) == (bob.id, room)
    assert went["last_seen"]
    assert not [frame for frame in kept if frame["type"] == "presence" and frame["user_id"] == bob.id]


async def test_a_second_device_changes_nothing_about_presence(alice: Account, bob: Account) -> None:
    alice.room(bob)
    async with alice.socket() as a, bob.socket():
        await a.expect("presence", user_id=bob.id, online=True)
        async with bob.socket() as second:
            await second.request("ping")
        await a.request("ping")
        assert not [one for one in await a.silence() if one["type"] == "presence" and one["user_id"] == bob.id]
