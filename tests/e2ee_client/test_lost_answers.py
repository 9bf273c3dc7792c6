"""What is lost on the way, comes too late or not at all; and what time takes away."""

from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest

from mana_e2ee.client import journal
from mana_e2ee.client.contents import content, control
from mana_e2ee.core import groups, tables
from tests.e2ee_client.people import TIMEOUT, Person, World, lose, one_without_a_session

pytestmark = pytest.mark.slow

WEEK = 7 * 86_400


async def test_a_history_that_is_gone_stops_no_device(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    laptop = await world.person("laptop", of=ada)
    await ada.linking.link(laptop.linking.show_code().text)
    await laptop.noticed("linked")
    await laptop.close()
    # As after a crash between taking it in, which deletes the file, and writing down that it was taken in.
    file = await ada.files.upload("history", b"{}", "application/json")
    await ada.rest.delete(f"attachments/{file['id']}")
    await ada.controls.send(control("history", attachment=file), [laptop.context.address])
    room = await bob.direct(ada.id)
    await bob.send(room, "to both")
    again = await world.back(laptop)
    await again.hear("to both")
    assert (await again.rest.get("e2ee/devices/laptop/envelopes"))["messages"] == []


async def test_messages_of_a_room_that_one_is_not_in_any_more_stop_no_device(world: World) -> None:
    ada, bob = await world.person(), await world.person()
    await bob.close()
    room = await ada.group(bob)
    await ada.send(room, "for a short time")
    await ada.rest.delete(f"rooms/{room}/members/{bob.id}")
    direct = await ada.direct(bob.id)
    await ada.send(direct, "still here")
    again = await world.back(bob)
    await again.hear("still here")


async def test_a_lost_request_is_made_again_but_one_device_asks_another_once_an_hour(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    ada, bob, room = await one_without_a_session(world)
    deliver, asked = bob.controls.deliver, list[Any]()

    async def lost(messages: Any, **where: Any) -> None:
        asked.append(messages)

    monkeypatch.setattr(bob.controls, "deliver", lost)
    texts = ("asked for", "asked for as well")
    for text in texts:
        await ada.send(room, text)
    await bob.until(lambda: [one.state for one in bob.messages(room)].count("held") == 2)
    await bob.repair.remind()
    await bob.context.settled()
    assert len(asked) == 1
    monkeypatch.setattr(bob.controls, "deliver", deliver)
    lose(bob, tables.ASKED)  # as an hour later
    await bob.repair.remind()
    for text in texts:
        assert (await bob.hear(text)).healed
    # Who is asked answers once an hour as well, whatever the other one does.
    await bob.send(room, "thank you")
    await ada.hear("thank you")
    handled, answer = asyncio.Event(), ada.receiver.controls["retry"]

    async def asked_again(*arguments: Any) -> None:
        await answer(*arguments)
        handled.set()

    ada.receiver.controls["retry"] = asked_again
    lose(bob, tables.SESSION, tables.ACTIVE, tables.ASKED)
    sent = await ada.send(room, "three")
    await asyncio.wait_for(handled.wait(), TIMEOUT)
    await ada.context.settled()
    assert bob.find("three") == []
    message = bob.context.journal.message(sent.message_id)
    assert message is not None
    assert message.state == "held"


async def test_what_is_refused_does_not_keep_back_what_else_was_left_over(world: World) -> None:
    ada, bob, eve = await world.person(), await world.person(), await world.person()
    room, not_ours = await ada.direct(bob.id), await eve.group()
    await ada.close()
    with ada.context.journal.transaction() as entries:
        for place, (where, text) in enumerate([(not_ours, "for nobody"), (room, "for Bob")]):
            entries.queue({**content("text", where, ada.context.address, text=text), "at": 1_000 + place})
    again = await world.back(ada)
    await bob.hear("for Bob")
    refused = await again.noticed("not_sent")
    assert (refused.fields["room_id"], refused.fields["content"]["text"]) == (not_ours, "for nobody")


async def test_a_sender_key_is_made_anew_after_a_week(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob = await world.person(), await world.person()
    room = await ada.group(bob)
    ada.sender.pairwise_devices = 0

    def key() -> str:
        return str(ada.context.journal.fact(f"holders/{room}")["id"])

    await ada.send(room, "one")
    await bob.hear("one")
    first = key()
    for days, renewed in ((6, False), (7, True)):
        monkeypatch.setattr(groups, "clock", lambda now, days=days: (now or int(time.time())) + days * 86_400)
        await ada.send(room, f"day {days}")
        await bob.hear(f"day {days}")
        assert (key() != first) is renewed


async def test_after_a_week_nothing_is_kept_for_repair(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    ada, bob, room = await one_without_a_session(world)

    async def lost(*_: Any, **__: Any) -> None: ...

    monkeypatch.setattr(bob.controls, "deliver", lost)
    await ada.send(room, "never read")
    await bob.until(lambda: any(one.state == "held" for one in bob.messages(room)))
    assert _rows(ada, journal.SENT)
    for later, state in ((WEEK - 60, "held"), (WEEK + 60, "unreadable")):
        moment = time.time() + later
        monkeypatch.setattr(journal, "time", SimpleNamespace(time=lambda moment=moment: moment))
        for person in (ada, bob):
            person.context.journal.prune()
        assert [one.state for one in bob.messages(room)][-1] == state
        assert bool(_rows(bob, journal.HELD)) is (state == "held")
    assert not _rows(ada, journal.SENT)


def _rows(person: Person, table: str) -> int:
    with person.store.transaction() as tx:
        return len(tx.scan(table))
