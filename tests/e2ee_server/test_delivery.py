"""Encrypted messages through a real server and its sockets: each device gets its own ciphertext, until it acks it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from mana_e2ee.core import encrypt
from tests.e2ee_server.clients import Person, Phone, b64, epochs, keys_of
from tests.support.client import Account, Socket

pytestmark = pytest.mark.slow


def _room(ada: Person, bob: Person) -> str:
    room = ada.account.room(bob.account)
    ada.phones[0].claim(ada, bob)
    return room


async def _send(socket: Socket, ada: Person, bob: Person, room: str, text: str, **frame: Any) -> dict[str, Any]:
    phone, laptop = ada.phones
    payloads = phone.sealed(text, laptop, *bob.phones)
    return await socket.request("encrypted_fanout", room_id=room, payloads=payloads, epochs=epochs(ada, bob), **frame)


async def test_every_device_but_the_sending_one_gets_a_message_with_its_own_ciphertext(
    ada: Person, bob: Person
) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    async with phone.socket() as sender, laptop.socket() as own, bob.phones[0].socket() as other:
        ack = await _send(sender, ada, bob, room, "hello")
        at_own, at_other = await own.expect("message"), await other.expect("message")
    assert at_own["encrypted"] is True
    assert (at_own["sequence"], at_own["index"]) == (at_other["sequence"], at_other["index"])
    assert (ack["sequence"], ack["message_id"]) == (at_other["sequence"], at_other["id"])
    assert at_own["payload"] != at_other["payload"]
    assert [laptop.read(at_own), bob.phones[0].read(at_other)] == ["hello", "hello"]
    assert at_own["ack_id"] == ack["ack_id"]
    assert "ack_id" not in at_other


async def test_a_device_that_was_offline_gets_its_ciphertext_by_sync_until_it_acks_it(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    theirs = bob.phones[0]
    async with ada.phones[0].socket() as sender:
        start = sender.welcome["latest_sequence"]
        sent = await _send(sender, ada, bob, room, "while you were away")
    async with theirs.socket() as socket:
        for _ in range(2):
            batch = await socket.request("sync_request", cursor=start)
            (frame,) = [one for one in batch["messages"] if one["type"] == "message"]
            assert (frame["id"], frame["encrypted"]) == (sent["message_id"], True)
        assert theirs.read(frame) == "while you were away"
        await socket.request("encrypted_ack", message_ids=[frame["id"]])
        batch = await socket.request("sync_request", cursor=start)
        (again,) = [one for one in batch["messages"] if one["type"] == "message"]
        assert (again["payload"], again["encrypted"]) == (None, True)
        page = await socket.request("history", room_id=room)
        assert [one["payload"] for one in page["messages"] if one["type"] == "message"] == [None]
    assert theirs.waiting() == []
    assert [one["id"] for one in ada.phones[1].waiting()] == [sent["message_id"]]


async def test_history_and_rest_give_ciphertext_to_the_device_that_asks_and_to_no_other(
    ada: Person, bob: Person
) -> None:
    room = _room(ada, bob)
    async with ada.phones[0].socket() as sender:
        await _send(sender, ada, bob, room, "hello")
    async with bob.phones[0].socket() as socket, bob.account.socket() as nameless:
        page = await socket.request("history", room_id=room)
        assert bob.phones[0].read(page["messages"][-1]) == "hello"
        page = await nameless.request("history", room_id=room)
        assert page["messages"][-1]["payload"] is None
    rest = bob.account.get(f"rooms/{room}/messages")["results"]
    assert [one["payload"] for one in rest if one["type"] == "message"] == [None]
    synced = bob.account.get("sync", cursor=0, device_id="phone")["messages"]
    assert [one["payload"] is None for one in synced if one["type"] == "message"] == [False]


async def test_it_counts_as_unread_and_gets_receipts_like_any_message(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    async with ada.phones[0].socket() as sender, bob.phones[0].socket() as other:
        sent = await _send(sender, ada, bob, room, "hello")
        assert bob.account.get(f"rooms/{room}")["unread"] == 1
        await other.request("receipt", room_id=room, sequence=sent["sequence"], status="read")
        receipt = await sender.expect("receipt", status="read")
    assert receipt["sequence"] == sent["sequence"]
    assert bob.account.get(f"rooms/{room}")["unread"] == 0


async def test_the_same_frame_sent_again_is_the_same_message_even_when_devices_have_changed(
    ada: Person, bob: Person
) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    frame = {
        "room_id": room,
        "payloads": phone.sealed("once", laptop, *bob.phones),
        "epochs": epochs(ada, bob),
        "ack_id": uuid4().hex,
    }
    async with phone.socket() as sender:
        first = await sender.request("encrypted_fanout", **frame)
        tablet = Phone(bob.account, "tablet")
        tablet.publish()
        bob.vouch(*bob.phones, tablet)
        again = await sender.request("encrypted_fanout", **frame)
    assert (again["sequence"], again["duplicate"]) == (first["sequence"], True)
    assert len(bob.phones[0].waiting()) == 1


async def test_a_stale_device_list_is_answered_with_what_is_missing_and_nothing_is_stored(
    ada: Person, bob: Person
) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    old = epochs(ada, bob)
    tablet = Phone(bob.account, "tablet")
    tablet.publish()
    bob.vouch(tablet)
    async with phone.socket() as sender:
        refusal = await sender.refusal(
            "encrypted_fanout", room_id=room, payloads=phone.sealed("x", laptop, *bob.phones), epochs=old
        )
        assert refusal["code"] == "stale_device_list"
        assert refusal["details"] == {
            "missing": [{"user_id": bob.account.id, "device_id": "tablet"}],
            "extra": [{"user_id": bob.account.id, "device_id": "phone"}],
            "stale": [{"user_id": bob.account.id, "epoch": 2}],
        }
        assert laptop.waiting() == []
        assert ada.account.get(f"rooms/{room}")["last_index"] == 1
    devices = ada.account.get(f"e2ee/rooms/{room}/devices")["results"]
    assert {one["user_id"]: one["device_ids"] for one in devices} == {
        ada.account.id: ["laptop", "phone"],
        bob.account.id: ["tablet"],
    }


async def test_a_bare_device_id_will_do_where_only_one_user_has_such_a_device(
    ada: Person, account: Callable[..., Account]
) -> None:
    carol = Person(account(), "tablet")
    phone, laptop = ada.phones
    phone.claim(ada, carol)
    payloads = {
        "tablet": phone.sealed("x", carol.phones[0])[carol.account.id]["tablet"],
        "laptop": phone.sealed("x", laptop)[ada.account.id]["laptop"],
    }
    async with phone.socket() as sender:
        await sender.request("encrypted_fanout", to=carol.account.id, payloads=payloads, epochs=epochs(ada, carol))
    assert [carol.phones[0].read(frame) for frame in carol.phones[0].waiting()] == ["x"]


@pytest.mark.parametrize("payload", ["attack at dawn", "YXR0YWNrIGF0IGRhd24=", {"text": "attack at dawn"}, "", 7])
async def test_what_is_no_ciphertext_is_refused(ada: Person, bob: Person, payload: Any) -> None:
    room = _room(ada, bob)
    async with ada.phones[0].socket() as sender:
        refusal = await sender.refusal(
            "encrypted_fanout",
            room_id=room,
            payloads={bob.account.id: {"phone": payload}},
            epochs=epochs(ada, bob),
        )
    assert refusal["code"] == "invalid"
    assert "dawn" not in refusal["error"]


async def test_a_first_message_with_anothers_identity_keys_is_refused(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    # A device of the same name, whose keys the server has never seen.
    impostor = Phone(ada.account, "phone")
    impostor.claim(ada, bob)
    async with phone.socket() as sender:
        refusal = await sender.refusal(
            "encrypted_fanout",
            room_id=room,
            payloads=impostor.sealed("x", laptop, *bob.phones),
            epochs=epochs(ada, bob),
        )
    assert (refusal["code"], refusal["details"]) == ("invalid", {"error": "untrusted_identity"})


async def test_who_is_no_member_or_has_no_listed_device_can_not_send(
    ada: Person, bob: Person, account: Callable[..., Account]
) -> None:
    room = _room(ada, bob)
    eve = Person(account(), "phone")
    eve.phones[0].claim(ada, bob)
    sealed = eve.phones[0].sealed("x", *ada.phones, *bob.phones)
    tablet = Phone(ada.account, "tablet")
    async with eve.phones[0].socket() as hers, tablet.socket() as unlisted, ada.account.socket() as nameless:
        frame = {"room_id": room, "payloads": sealed, "epochs": epochs(ada, bob)}
        assert (await hers.refusal("encrypted_fanout", **frame))["code"] == "not_found"
        assert (await unlisted.refusal("encrypted_fanout", **frame))["code"] in {"conflict", "invalid"}
        assert (await nameless.refusal("encrypted_fanout", **frame))["code"] == "invalid"
    assert bob.phones[0].waiting() == []


async def test_control_reaches_the_named_devices_and_is_no_message_of_the_room(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    async with phone.socket() as sender, bob.phones[0].socket() as other, laptop.socket() as own:
        start = sender.welcome["latest_sequence"]
        await sender.request(
            "encrypted_fanout", room_id=room, control=True, payloads=phone.sealed("a sender key", *bob.phones)
        )
        frame = await other.expect("encrypted")
        assert bob.phones[0].read(frame) == "a sender key"
        assert (frame["from"], frame["device_id"], frame["room_id"]) == (ada.account.id, "phone", room)
        sent = await _send(sender, ada, bob, room, "hello")
        assert frame["sequence"] < sent["sequence"]
        assert "encrypted" not in [one["type"] for one in await own.silence()]
        batch = await other.request("sync_request", cursor=start)
        assert [one["type"] for one in batch["messages"]] == ["encrypted", "message"]
        assert batch["messages"][0]["payload"] == frame["payload"]
        await other.request("encrypted_ack", message_ids=[one["id"] for one in batch["messages"]])
    assert bob.account.get(f"rooms/{room}")["unread"] == 1
    assert bob.phones[0].waiting() == []


async def test_an_old_device_can_speak_to_a_new_one_before_the_list_names_it(ada: Person) -> None:
    phone, _ = ada.phones
    tablet = Phone(ada.account, "tablet")
    tablet.publish()
    phone.account.post(f"e2ee/bundles/{ada.account.id}", device_id="tablet")
    tablet.claim(ada)
    async with tablet.socket() as new:
        await new.request("encrypted_fanout", to=ada.account.id, control=True, payloads=tablet.sealed("link me", phone))
    assert [phone.read(frame) for frame in phone.waiting()] == ["link me"]


async def test_deleting_a_message_for_everyone_deletes_its_ciphertext(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    async with ada.phones[0].socket() as sender:
        sent = await _send(sender, ada, bob, room, "oops")
        await sender.request("message_delete", message_id=sent["message_id"])
    assert bob.phones[0].waiting() == []


async def test_an_encrypted_message_can_not_be_edited_in_the_open(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    async with ada.phones[0].socket() as sender:
        sent = await _send(sender, ada, bob, room, "secret")
        refusal = await sender.refusal("message_edit", message_id=sent["message_id"], payload="in the open")
    assert refusal["code"] == "invalid"


async def test_removing_a_device_removes_its_keys_and_tells_those_who_know_its_user(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    async with phone.socket() as sender, bob.phones[0].socket() as other:
        await _send(sender, ada, bob, room, "for all")
        assert len(laptop.waiting()) == 1
        assert ada.account.http.delete("/api/devices/laptop").status_code == 204
        for socket in (other, sender):
            notice = await socket.expect("device_list")
            assert (notice["user_id"], notice["epoch"], notice["removed"]) == (ada.account.id, 1, ["laptop"])
        refusal = await _refused(sender, ada, bob, room)
        assert refusal["details"]["extra"] == [{"user_id": ada.account.id, "device_id": "laptop"}]
        await sender.request(
            "encrypted_fanout",
            room_id=room,
            payloads=phone.sealed("for the rest", *bob.phones),
            epochs=epochs(ada, bob),
        )
    assert ada.account.http.get("/api/e2ee/devices/laptop").status_code == 404


async def _refused(socket: Socket, ada: Person, bob: Person, room: str) -> dict[str, Any]:
    phone, laptop = ada.phones
    payloads = phone.sealed("x", laptop, *bob.phones)
    return await socket.refusal("encrypted_fanout", room_id=room, payloads=payloads, epochs=epochs(ada, bob))


async def test_a_new_list_is_announced_to_members_and_own_devices_and_prekeys_run_low_live(
    ada: Person, bob: Person
) -> None:
    _room(ada, bob)
    async with ada.phones[0].socket() as own, bob.phones[0].socket() as other:
        ada.vouch(ada.phones[0])
        for socket in (own, other):
            notice = await socket.expect("device_list")
            assert (notice["user_id"], notice["epoch"]) == (ada.account.id, 2)
        answer = await other.request("get_prekey_bundle", to=ada.account.id)
        assert [one["device_id"] for one in answer["bundles"]] == ["phone"]
        low = await own.expect("prekeys_low")
        assert low["device_id"] == "phone"
        await own.request(
            "prekey_refill",
            payload={"one_time": [b64(key.to_bytes()) for key in ada.phones[0].device.refill(low["remaining"])]},
        )
    assert ada.account.get("e2ee/devices/phone")["one_time_remaining"] == 100


async def test_a_claim_over_the_socket_gives_the_same_answer_to_the_same_ack_id(ada: Person, bob: Person) -> None:
    _room(ada, bob)
    async with bob.phones[0].socket() as socket:
        first = await socket.request("get_prekey_bundle", to=ada.account.id, ack_id="claim-1")
        again = await socket.request("get_prekey_bundle", to=ada.account.id, ack_id="claim-1")
        other = await socket.request("get_prekey_bundle", to=ada.account.id, ack_id="claim-2")
    assert first == again
    assert first["bundles"] != other["bundles"]
    assert (first["epoch"], len(first["bundles"])) == (1, 2)


async def test_keys_can_be_published_over_the_socket_and_only_for_its_own_device(
    ada: Person, account: Callable[..., Account]
) -> None:
    tablet = Phone(ada.account, "tablet")
    keys = keys_of(tablet.device.publish_bundle(one_time=2))
    async with tablet.socket() as socket, ada.phones[0].socket() as other:
        await socket.request("key_exchange", payload=keys)
        assert (await other.refusal("key_exchange", payload=keys))["details"] == {"error": "untrusted_identity"}
    assert ada.account.get("e2ee/devices/tablet")["one_time_remaining"] == 2


async def test_messages_of_sender_keys_are_one_ciphertext_for_all_and_forgotten_after_the_last_ack(
    ada: Person, bob: Person
) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    # The form of a group message; what it says is for the tests of the core.
    data = bytes((1, 3)) + bytes(16) + bytes(4) + bytes(48) + bytes(64)
    async with phone.socket() as sender, bob.phones[0].socket() as other:
        sent = await sender.request("encrypted_fanout", room_id=room, payload=b64(data), epochs=epochs(ada, bob))
        assert (await other.expect("message"))["payload"] == b64(data)
    for device in (laptop, bob.phones[0]):
        (frame,) = device.waiting()
        assert frame["payload"] == b64(data)
        path = f"e2ee/devices/{device.address.device}/acks"
        assert device.account.post(path, message_ids=[sent["message_id"]]) == {"acked": 1}
        assert device.waiting() == []


async def test_another_session_of_the_sending_device_can_not_lose_others_their_ciphertext(
    ada: Person, bob: Person
) -> None:
    room = _room(ada, bob)
    phone, laptop = ada.phones
    async with phone.socket() as sender:
        sent = await _send(sender, ada, bob, room, "hello")
        await sender.request("encrypted_ack", message_ids=[sent["message_id"]])
    assert len(laptop.waiting()) == 1
    assert encrypt(phone.store, laptop.address, b"still in step")


async def test_who_may_not_write_to_somebody_can_not_send_them_control_either(ada: Person, bob: Person) -> None:
    _room(ada, bob)
    ada.account.post("blocks", user_id=bob.account.id)
    theirs = bob.phones[0]
    async with theirs.socket() as socket:
        frame = {"control": True, "to": ada.account.id, "payloads": ada.phones[0].sealed("x", theirs)}
        assert (await socket.refusal("encrypted_fanout", **frame))["code"] == "forbidden"
        assert (await socket.refusal("encrypted_fanout", **{**frame, "payloads": {}}))["code"] == "invalid"
        assert (await socket.refusal("encrypted_fanout", **{**frame, "to": None}))["code"] == "invalid"
    assert ada.phones[1].waiting() == []


async def test_control_for_a_device_that_is_not_there_is_answered_with_its_name(ada: Person, bob: Person) -> None:
    room = _room(ada, bob)
    phone = ada.phones[0]
    text = phone.sealed("x", *bob.phones)[bob.account.id]["phone"]
    async with phone.socket() as socket:
        refusal = await socket.refusal(
            "encrypted_fanout", room_id=room, control=True, payloads={bob.account.id: {"gone": text}}
        )
    assert refusal["details"]["extra"] == [{"user_id": bob.account.id, "device_id": "gone"}]


async def test_somebody_with_one_device_alone_in_a_room_writes_to_nobody(account: Callable[..., Account]) -> None:
    eve = Person(account(), "phone")
    async with eve.phones[0].socket() as socket:
        ack = await socket.request("encrypted_fanout", room_id=eve.account.room(), epochs=epochs(eve))
    assert ack["index"] == 2
