"""People who are let in, and mean harm: what they may not do to the others."""

from __future__ import annotations

import json
import time

import pytest

from mana_e2ee.client.contents import b64, content, control
from mana_e2ee.client.groups import replayed
from mana_e2ee.core import Address, Device, MemoryStore, NotAMember, encrypt_many
from mana_e2ee.core.throttle import throttle_of
from tests.e2ee_client.people import Person, World

pytestmark = pytest.mark.slow


async def say(person: Person, room: str, data: bytes) -> None:
    """Sends bytes as a message that no client would make."""
    recipients = await person.directory.recipients(room)
    addresses = [Address(one.user_id, device) for one in recipients for device in one.device_ids]
    addresses.remove(person.context.address)
    await person.directory.ensure_sessions(addresses)
    payloads: dict[str, dict[str, str]] = {}
    for address, message in encrypt_many(person.store, addresses, data).items():
        payloads.setdefault(address.user, {})[address.device] = b64(message)
    epochs = {one.user_id: one.epoch for one in recipients}
    await person.mana.deliver("encrypted_fanout", room_id=room, payloads=payloads, epochs=epochs)


async def test_what_can_not_be_written_down_stops_nobody(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "before")
    await bob.hear("before")
    await bob.close()
    template = json.dumps(content("custom", room, ada.context.address, data="@"))
    bad = ['"\\ud83d"', "1e999", "NaN", "[" * 400 + "]" * 400, '{"\\ud83d": 1}']
    for part in bad:
        await say(ada, room, template.replace('"@"', part).encode())
    await say(ada, room, template.replace('"@"', "[" * 60 + "]" * 60).encode())
    await ada.send(room, "after")
    again = await world.back(bob)
    await again.hear("after")
    states = [one.state for one in again.messages(room)]
    assert states == ["ok", *["unreadable"] * len(bad), "ok", "ok"]
    assert (await again.rest.get("e2ee/devices/phone/envelopes"))["messages"] == []


async def test_a_log_by_somebody_who_never_was_stops_nobody(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob, eve)
    await ada.send(room, "before")
    for person in (bob, eve):
        await person.hear("before")
    known = eve.groups.log(room)
    assert known is not None
    records = eve.groups._records(room)
    log = replayed(room, known.entries, records)
    store = MemoryStore()
    nobody = Device.generate(store, Address("../../nobody", "phone"))
    log.propose(eve.store, add="../../nobody")
    log.propose(store, add="somebody")
    entries = [b64(entry.to_bytes()) for entry in log.entries]
    brought = [b64(one.to_bytes()) for one in (*records, eve.context.device.record, nobody.record)]
    untrue = control("log", room=room, entries=entries, records=brought)
    await eve.controls.send(untrue, [bob.context.address], room_id=room)
    assert (await bob.noticed("undecryptable")).fields["room_id"] == room
    assert bob.groups.position(room) == ada.groups.position(room)
    await ada.send(room, "after")
    await bob.hear("after")
    await bob.close()
    await ada.send(room, "and after that")
    again = await world.back(bob)
    await again.hear("and after that")


async def test_something_sent_again_by_a_stranger_is_not_told(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob)
    await ada.send(room, "before")
    await bob.hear("before")
    # A server that lies puts Eve into the room. Nobody has let her in.
    await ada.rest.post(f"rooms/{room}/members", user_ids=[eve.id])
    said = content("text", room, eve.context.address, text="I belong here")
    await eve.controls.send(control("resend", content=said), [bob.context.address], room_id=room)
    assert (await bob.noticed("undecryptable")).fields["reason"] == NotAMember.code
    assert bob.find("I belong here") == []
    assert "I belong here" not in [one.text for one in bob.timeline(room)]


async def test_a_device_of_our_own_that_nobody_vouches_for_tells_nothing(world: World) -> None:
    ada = await world.person()
    laptop = await world.person("laptop", of=ada)
    posing = await world.person("phone-2", of=ada)  # what a server can add, but not vouch for
    await posing.controls.send(control("app", name="ring", data=1), [laptop.context.address, ada.context.address])
    for person in (laptop, ada):
        await person.noticed("undecryptable")
        assert not any(one.kind == "app" for one in person.notices)


async def test_failures_of_one_device_make_its_true_messages_wait_but_not_vanish(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "before")
    await bob.hear("before")
    # As after eighteen in a row that somebody has made fail: the next has to wait for four seconds.
    throttle_of(bob.store)._failures[ada.context.address] = (18, int(time.time()))
    await ada.send(room, "a true one")
    await bob.until(lambda: [one for one in bob.messages(room) if one.state == "held"])
    assert bob.find("a true one") == []
    assert (await bob.hear("a true one")).healed
