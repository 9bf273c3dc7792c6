"""What does not open heals by itself; keys are refilled and rotated; devices come in between."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from mana_e2ee.client import Message, contents
from mana_e2ee.core import tables
from tests.e2ee_client.people import Person, World, lose, one_without_a_session

pytestmark = pytest.mark.slow


async def test_a_message_without_its_session_heals_and_takes_its_place(world: World) -> None:
    ada, bob, room = await one_without_a_session(world)
    sent = await ada.send(room, "two")
    also = await ada.send(room, "three")
    healed = await bob.hear("two")
    assert healed.healed
    assert (healed.message_id, healed.sequence, healed.index) == (sent.message_id, sent.sequence, sent.index)
    assert (await bob.hear("three")).message_id == also.message_id
    await bob.send(room, "four")
    await ada.hear("four")
    assert [one.text for one in bob.timeline(room) if one.text in ("one", "two", "three", "four")] == [
        "one",
        "two",
        "three",
        "four",
    ]
    assert len(bob.find("two")) == 1
    await bob.until(lambda: not _held(bob))


async def test_a_message_that_was_deleted_while_it_did_not_open_is_never_told(world: World) -> None:
    ada, bob, room = await one_without_a_session(world)
    may_answer = _held_back(ada)
    sent = await ada.send(room, "two")
    await bob.until(lambda: sent.message_id in _held(bob))
    frame = _held(bob)[sent.message_id]["frame"]
    await ada.delete(sent)
    await bob.until(lambda: sent.message_id not in _held(bob))
    may_answer.set()
    await bob.receiver.take_again(frame, sent.content)  # as a resend that was on its way brings it
    await ada.send(room, "three")
    await bob.hear("three")
    assert not bob.find("two")
    assert [(one.text, one.deleted) for one in bob.timeline(room)][-2:] == [(None, True), ("three", False)]


async def test_a_message_that_was_deleted_before_it_came_is_not_told_though_its_sender_says_it_again(
    world: World,
) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "one")
    await bob.hear("one")
    await bob.close()
    sent = await ada.send(room, "two")
    await ada.delete(sent)
    again = await world.back(bob)
    said = contents.control("resend", content=sent.content, message_id=sent.message_id)
    await ada.controls.send(said, [again.context.address], room_id=room)
    await ada.send(room, "three")
    await again.hear("three")
    assert not again.find("two")
    assert [one.text for one in again.timeline(room)] == ["one", "three"]


async def test_what_somebody_deletes_for_themself_is_still_sent_again_to_others(world: World) -> None:
    ada, bob, room = await one_without_a_session(world)
    may_answer = _held_back(ada)
    sent = await ada.send(room, "two")
    await bob.until(lambda: sent.message_id in _held(bob))
    await ada.mana.request("message_delete", message_id=sent.message_id, scope="me")
    await ada.mana.request("ping")
    may_answer.set()
    assert (await bob.hear("two")).message_id == sent.message_id


async def test_what_is_sent_while_a_session_starts_over_is_sent_again_as_well(world: World) -> None:
    ada, bob, room = await one_without_a_session(world)
    may_answer = _held_back(ada)
    sent = [await ada.send(room, text) for text in ("two", "three")]
    await bob.until(lambda: sent[1].message_id in _held(bob))
    sent.append(await ada.send(room, "four"))
    await bob.until(lambda: sent[2].message_id in _held(bob))
    may_answer.set()
    for text in ("two", "three", "four"):
        await bob.hear(text)


async def test_what_a_moderator_deletes_is_forgotten(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.group(bob)
    sent = await bob.send(room, "something rude")
    await ada.hear("something rude")
    await bob.edit(sent, "something ruder")
    await ada.until(lambda: any((one.content or {}).get("kind") == "edit" for one in ada.heard))
    await ada.mana.request("message_delete", message_id=sent.message_id, scope="everyone")
    for person in (ada, bob):
        await person.until(lambda person=person: person.messages(room)[0].state == "deleted")
        assert [(one.text, one.deleted) for one in person.timeline(room)] == [(None, True)]
        assert "rude" not in json.dumps(person.backups.export(1_000_000))
        with person.context.journal.transaction() as entries:
            assert "rude" not in json.dumps(list(entries.sent().values()))
    known = {"v": 1, "user": ada.id, "logs": {}, "messages": [_row(sent)]}
    assert ada.backups.take_in(known) == 0, "nor does it come back from an older backup"


def _held_back(person: Person) -> asyncio.Event:
    """Lets someone answer requests to send again only after the event."""
    event = asyncio.Event()
    answer = person.repair._start_over

    async def later(*args: Any) -> None:
        await event.wait()
        await answer(*args)

    person.repair._start_over = later  # type: ignore[method-assign]
    return event


def _row(message: Message) -> dict[str, Any]:
    """What a backup holds of a message."""
    return {name: getattr(message, name) for name in ("message_id", "sequence", "index", "timestamp", "content")}


def _held(person: Person) -> dict[str, Any]:
    with person.context.journal.transaction() as entries:
        return entries.held()


async def test_a_group_message_without_its_sender_key_heals(world: World) -> None:
    ada, bob, carol = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob, carol)
    for person in (ada, bob, carol):
        person.sender.pairwise_devices = 0
    await ada.send(room, "one")
    await bob.hear("one")
    lose(bob, tables.GROUP_PEER)
    sent = await ada.send(room, "two")
    assert (await bob.hear("two")).message_id == sent.message_id
    await ada.send(room, "three")  # the key that came goes on
    await bob.hear("three")
    await carol.hear("three")


async def test_a_lost_membership_log_comes_back(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.group(bob)
    await ada.send(room, "one")
    await bob.hear("one")
    bob.context.journal.keep(f"log/{room}", None)
    bob.groups._logs.clear()
    await ada.send(room, "two")
    await bob.hear("two")
    assert bob.groups.position(room) == ada.groups.position(room)


async def test_two_who_found_a_group_at_once_agree(world: World) -> None:
    ada, bob, carol = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob, carol)
    mine = await ada.groups._found(room)
    bob.context.journal.keep(f"log/{room}", None)
    bob.groups._logs.clear()
    theirs = await bob.groups._found(room)
    assert mine.entries[0].hash() != theirs.entries[0].hash()
    for person in (ada, bob, carol):
        await person.send(room, f"from {person.id}")
    for person in (ada, bob, carol):
        for other in (ada, bob, carol):
            if other is not person:
                await person.hear(f"from {other.id}")

    def same() -> bool:
        places = [str(person.groups.position(room)) for person in (ada, bob, carol)]
        return len(set(places)) == 1 and places[0] != "None"

    await carol.until(same)


async def test_offline_devices_read_everything_when_they_are_back(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "zero")
    await bob.hear("zero")
    await bob.close()
    for number in range(10):
        await ada.send(room, f"text {number}")
    again = await world.back(bob)
    assert [one.text for one in again.timeline(room)] == ["zero", *(f"text {number}" for number in range(10))]
    waiting = await again.rest.get("e2ee/devices/phone/envelopes")
    assert waiting["messages"] == []


async def test_a_crash_between_reading_and_writing_down_loses_nothing(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "one")
    await bob.hear("one")

    def crash(*_: object, **__: object) -> None:
        raise RuntimeError("the process ends here")

    bob.receiver._keep_message = crash  # type: ignore[method-assign, assignment]
    handled: list[Any] = []
    bob.mana.on("message", handled.append)
    await ada.send(room, "two")
    await bob.until(lambda: handled)
    assert bob.find("two") == []
    await bob.close()
    again = await world.back(bob)
    await again.hear("two")
    assert [one.text for one in again.timeline(room)] == ["one", "two"]


async def test_one_time_prekeys_are_refilled_and_prekeys_rotated(world: World) -> None:
    ada, bob, carol = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob, carol)
    for _ in range(80):
        await ada.rest.post(f"e2ee/bundles/{bob.id}")

    await bob.until_rest("e2ee/devices/phone", lambda status: status["one_time_remaining"] > 80)
    await ada.send(room, "one")
    await bob.hear("one")
    before = await bob.rest.get("e2ee/devices/phone")
    bob.context.device.rotate(force=True)  # as after seven days, by a process that ended before it could upload them
    await bob.directory.settle()
    after = await bob.rest.get("e2ee/devices/phone")
    assert after["signed_prekey_id"] == before["signed_prekey_id"] + 1
    assert after["kem_prekey_id"] == before["kem_prekey_id"] + 1
    await carol.send(room, "with the new ones")
    await ada.send(room, "on the old session")
    await bob.hear("with the new ones")
    await bob.hear("on the old session")


async def test_a_device_that_comes_between_looking_and_sending_is_not_left_out(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "one")
    stale = dict(ada.directory._rooms)
    laptop = await world.person("laptop", of=bob)
    await bob.linking.link(laptop.linking.show_code().text)
    await ada.until(lambda: any(one.kind == "devices_changed" for one in ada.notices))
    ada.directory._rooms = stale  # as if the notice had been lost
    ada.directory.follow = _trusting(ada)  # type: ignore[method-assign]
    await ada.send(room, "two")
    await laptop.hear("two")
    await bob.hear("two")


def _trusting(person: Person) -> Any:
    """Follows lists but for what the stale entry says of them, which is older than what is known."""
    follow = type(person.directory).follow

    async def followed(user_id: str, epoch: int | None) -> None:
        known = person.directory.current(user_id)
        if known is None or epoch is None or epoch >= known.epoch:
            await follow(person.directory, user_id, epoch)

    return followed


async def test_prekeys_whose_upload_failed_are_uploaded_and_no_others_are_made(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada = await world.person()
    post, tried = ada.rest.post, list[list[str]]()

    async def unreliable(path: str, **body: Any) -> Any:
        if path.endswith("/prekeys"):
            tried.append(body["one_time"])
            if len(tried) < 3:
                raise ConnectionError("no answer")
        return await post(path, **body)

    monkeypatch.setattr(ada.rest, "post", unreliable)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await ada.directory.refill(10)
    await ada.directory.refill(10)
    assert len(tried) == 3
    assert tried[0] == tried[1] == tried[2]
    await ada.directory.refill_now()
    assert len(tried) == 3, "the server has enough of them now"
