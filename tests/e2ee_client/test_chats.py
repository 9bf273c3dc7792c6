"""Encrypted chats: direct and in groups, pairwise and with sender keys, with files, edits and reactions."""

from __future__ import annotations

from typing import Any

import pytest

from mana.client import Refused
from mana_e2ee.client import InvalidContent, UnknownMember
from mana_e2ee.core import MemoryStore, NotAMember
from tests.e2ee_client.people import World

pytestmark = pytest.mark.slow


async def test_two_people_talk(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    sent = await ada.send(room, "hello")
    heard = await bob.hear("hello")
    assert (heard.message_id, heard.sender, heard.device_id) == (sent.message_id, ada.id, "phone")
    assert await bob.direct(ada.id) == room
    await bob.send(room, "and hello to you", reply_to=heard)
    answer = await ada.hear("and hello to you")
    assert answer.content is not None
    assert answer.content["reply_to"] == {"from": ada.id, "id": sent.content["id"] if sent.content else None}
    assert [one.text for one in bob.timeline(room)] == ["hello", "and hello to you"]


async def test_edits_reactions_and_deletions_reach_whom_they_should_and_only_authors_change(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.direct(bob.id)
    first = await ada.send(room, "first")
    second = await ada.send(room, "second")
    heard = await bob.hear("first")
    await bob.react(heard, "👍")
    await bob.edit(heard, "forged")
    await ada.until(lambda: any((one.content or {}).get("kind") == "edit" for one in ada.heard))
    await ada.edit(first, "first, better")
    await ada.delete(second)
    await ada.send(room, "done")
    await bob.hear("done")
    for person in (ada, bob):
        shown = person.timeline(room)
        assert [(one.text, one.edited, one.deleted) for one in shown] == [
            ("first, better", True, False),
            (None, False, True),
            ("done", False, False),
        ]
        assert shown[0].reactions == {"👍": {bob.id}}


@pytest.mark.parametrize("most", [16, 0], ids=["pairwise", "sender keys"])
async def test_a_group_with_several_devices_talks(world: World, most: int) -> None:
    ada, bob, carol = await world.person(), await world.person(), await world.person()
    laptop = await world.person("laptop", of=bob)
    await bob.linking.link(laptop.linking.show_code().text)
    await laptop.noticed("linked")
    room = await ada.group(bob, carol)
    for person in (ada, bob, carol, laptop):
        person.sender.pairwise_devices = most
    for speaker in (ada, bob, laptop, carol, ada):
        text = f"{speaker.context.address} says {len(speaker.messages(room))}"
        await speaker.send(room, text)
        for other in (ada, bob, carol, laptop):
            if other is not speaker:
                await other.hear(text)
    assert len({tuple(one.text for one in person.timeline(room)) for person in (ada, bob, carol, laptop)}) == 1


async def test_a_long_text_for_many_devices_goes_by_sender_key_and_what_is_too_long_is_refused(world: World) -> None:
    ada, bob, carol = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob, carol)
    await ada.send(room, "ä" * 14_000)
    await carol.hear("ä" * 14_000)
    with pytest.raises(InvalidContent):
        await ada.send(room, "x" * 40_000)
    with pytest.raises(InvalidContent):
        await ada.send(room, "")
    await ada.send(room, "short")
    await bob.hear("short")


async def test_a_file_arrives_and_the_server_has_neither_its_name_nor_its_bytes(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room = await ada.direct(bob.id)
    data = b"\x89PNG\r\n\x1a\n not really a picture" * 5_000
    file = await ada.files.upload("secret plan.png", data, "image/png", width=8)
    sent = await ada.send(room, "look", attachments=[file])
    heard = await bob.hear("look")
    assert heard.content is not None
    assert await bob.files.download(heard.content["attachments"][0]) == data
    known = (await bob.rest.get(f"messages/{sent.message_id}"))["attachments"][0]
    assert (known["name"], known["content_type"]) == ("file", "application/octet-stream")
    assert data[:24] not in await bob.rest.download(file["id"])
    with pytest.raises(Refused):
        await eve.files.download(file)


async def test_somebody_whom_nobody_let_in_gets_nothing(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob)
    await ada.send(room, "before")
    await bob.hear("before")
    await ada.rest.post(f"rooms/{room}/members", user_ids=[eve.id])
    for person in (ada, bob):
        with pytest.raises(UnknownMember) as refused:
            await person.send(room, "for the three of us")
        assert refused.value.users == [eve.id]
        assert (await person.noticed("unknown_member")).fields["users"] == [eve.id]
    await bob.groups.admit(room, eve.id)
    await ada.until(lambda: eve.id in (ada.groups.log(room) or bob.groups.log(room)).members)  # type: ignore[union-attr]
    await ada.send(room, "welcome")
    await eve.hear("welcome")
    assert [one.state for one in eve.messages(room) if one.content is None] in ([], ["missing"])


@pytest.mark.parametrize("most", [16, 0], ids=["pairwise", "sender keys"])
async def test_who_was_removed_can_read_nothing_after(world: World, most: int) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room = await ada.group(bob, eve)
    for person in (ada, bob, eve):
        person.sender.pairwise_devices = most
    for person in (ada, bob):
        await person.send(room, f"while {person.id} is watched")
        await eve.hear(f"while {person.id} is watched")
    await ada.groups.remove(room, eve.id)
    await bob.until(lambda: eve.id not in (bob.groups.log(room) or ada.groups.log(room)).members)  # type: ignore[union-attr]
    frames: list[dict[str, Any]] = []
    for person in (ada, bob):
        person.mana.on("message", frames.append)
    for person, other in ((ada, bob), (bob, ada)):
        await person.send(room, f"{person.id} alone")
        await other.hear(f"{person.id} alone")
    await eve.mana.drop()
    await eve.mana.online(timeout=20)
    await eve.receiver.drain()
    # Not even a hostile server, which gives the removed what it has for others, lets them read it.
    assert len(frames) == 2
    for frame in frames:
        await eve.receiver.handle(frame)
        found = eve.context.journal.message(frame["id"])
        assert found is not None
        assert found.content is None
    assert all("alone" not in str(one.content) for one in eve.messages(room))
    with pytest.raises((Refused, NotAMember)):
        await eve.send(room, "let me in")


async def test_sealed_things_open_once_for_their_purpose_alone(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    given = await ada.seal([bob.id, ada.id], b"media key", purpose="call", context="call-1")
    assert list(given) == [bob.id]
    text = given[bob.id]["phone"]
    assert await bob.open(ada.id, "phone", text, purpose="call", context="call-1") == b"media key"
    with pytest.raises(Exception, match="decrypted before"):
        await bob.open(ada.id, "phone", text, purpose="call", context="call-1")
    again = await bob.seal([ada.id], {"key": 1}, purpose="call", context="call-1")
    with pytest.raises(InvalidContent):
        await ada.open(bob.id, "phone", again[ada.id]["phone"], purpose="call", context="call-2")


async def test_applications_have_control_messages_of_their_own_and_devices_share_whom_one_trusts(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    laptop = await world.person("laptop", of=bob)
    await bob.linking.link(laptop.linking.show_code().text, history=False)
    await laptop.noticed("linked")
    room = await ada.direct(bob.id)
    await ada.send(room, "hello")
    await laptop.hear("hello")
    await bob.hear("hello")
    await bob.verify(ada.id)
    await laptop.until(lambda: laptop.directory.is_verified(ada.id))
    await bob.verify(ada.id, verified=False)
    await laptop.until(lambda: not laptop.directory.is_verified(ada.id))
    await ada.send_app("ring", {"tone": 3}, [bob.context.address, laptop.context.address], room_id=room)
    for person in (bob, laptop):
        notice = await person.noticed("app")
        assert notice.fields == {"from": ada.id, "device_id": "phone", "name": "ring", "data": {"tone": 3}}


async def test_what_was_not_acked_is_sent_by_the_next_process(world: World) -> None:
    ada, bob = await world.person(store=MemoryStore()), await world.person()
    room = await ada.direct(bob.id)
    await ada.send(room, "one")
    content = ada.context.journal
    await ada.close()
    with content.transaction() as entries:
        first = entries.messages(room)[-1].content
        assert first is not None
        entries.queue({**first, "id": "ab" * 16, "text": "two", "files": []})
        entries.queue({**first, "files": []})  # it had arrived: the server says so, and nobody hears it twice
    again = await world.back(ada)
    await bob.hear("two")
    await again.until(lambda: len(again.timeline(room)) == 2)
    assert len(bob.find("one")) == 1
