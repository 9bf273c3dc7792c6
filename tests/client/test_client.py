"""The Python client on a real node: durable sends, events once and in order, over kills and restarts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest

from mana.client import Account, FileState, ManaClient, Refused, StaticToken, Unauthenticated
from mana.testing.pytest_plugin import Node, Person

pytestmark = pytest.mark.slow

People = Callable[..., Awaitable[Person]]


async def room_of(owner: Person, *members: Person) -> str:
    """A new group."""
    made = await owner.rest.post("rooms", name="A room", members=[one.user_id for one in members])
    return str(made["id"])


def texts(person: Person) -> list[str]:
    """What was said, in the order in which they heard it."""
    return [frame["payload"]["text"] for frame in person.received if frame["type"] == "message"]


async def test_people_talk(mana_person: People) -> None:
    ada, bob = await mana_person(), await mana_person()
    room = await room_of(ada, bob)
    ack = await ada.send({"text": "hello"}, room_id=room)
    message = await bob.expect("message")
    assert (message["id"], message["payload"], message["from"]) == (ack["message_id"], {"text": "hello"}, ada.user_id)
    await bob.send({"text": "to you"}, to=ada.user_id)
    assert (await ada.expect("message"))["to"] == ada.user_id
    bob.signal("typing", room_id=room)
    assert (await ada.expect("typing"))["from"] == bob.user_id
    history = await ada.request("history", room_id=room)
    assert history["messages"][-1]["payload"] == {"text": "hello"}


async def test_what_is_refused_says_why(mana_person: People) -> None:
    ada = await mana_person()
    with pytest.raises(Refused) as refused:
        await ada.send({"text": "x"}, room_id="nowhere")
    assert refused.value.code in ("not_found", "not_a_member")
    with pytest.raises(Refused) as refused:
        await ada.rest.get("rooms/nowhere")
    assert (refused.value.status, refused.value.code) == (404, "not_found")
    with pytest.raises(Refused):
        await ada.request("join", room_id="")


async def test_wrong_credentials_end_it(mana_node: Node) -> None:
    for credentials in (Account("nobody", "wrong-password"), StaticToken("no.token.at-all")):
        client = ManaClient(mana_node.url, credentials)
        with pytest.raises(Unauthenticated):
            await client.start()


async def test_a_handler_that_fails_or_waits_stops_nobody(mana_person: People) -> None:
    ada, bob = await mana_person(), await mana_person()
    room = await room_of(ada, bob)
    heard: list[str] = []

    async def answer(frame: dict[str, object]) -> None:
        heard.append(str(frame["id"]))
        await bob.send({"text": "answer"}, room_id=room)  # needs the reader, while this handler runs
        raise ValueError("a bug in an application")

    bob.on("message", answer)
    for _ in range(3):
        await ada.send({"text": "question"}, room_id=room)
        await ada.expect("message")
    assert len(heard) == 3


async def test_an_iterator_gets_each_event_and_can_be_left(mana_person: People) -> None:
    ada, bob = await mana_person(), await mana_person()
    room = await room_of(ada, bob)
    events = bob.events("message")
    for number in range(5):
        await ada.send({"text": str(number)}, room_id=room)
    heard = []
    async for event in events:
        heard.append(event["payload"]["text"])
        if len(heard) == 3:
            events.close()
    assert heard == ["0", "1", "2"]
    await bob.expect("message", payload={"text": "4"})


async def test_a_lost_connection_loses_and_repeats_nothing(mana_person: People) -> None:
    ada, bob = await mana_person(), await mana_person()
    room = await room_of(ada, bob)

    async def cut() -> None:
        for person in (bob, ada, bob):
            await asyncio.sleep(0.1)
            await person.drop()

    cutting = asyncio.create_task(cut())
    sent = [str(number) for number in range(60)]
    for text in sent:
        await ada.send({"text": text}, room_id=room)
    await cutting
    await bob.expect("message", payload={"text": "59"}, within=20)
    assert texts(bob) == sent


async def test_kill_9_and_a_restart_lose_and_repeat_nothing(mana_node: Node, mana_person: People) -> None:
    ada, bob = await mana_person(), await mana_person()
    room = await room_of(ada, bob)
    sending = [asyncio.create_task(ada.send({"text": str(number)}, room_id=room)) for number in range(100)]
    for restart in (mana_node.kill, mana_node.stop):
        await bob.expect("message", within=30)
        await asyncio.to_thread(restart)
        await asyncio.to_thread(mana_node.start)
        sending += [asyncio.create_task(ada.send({"text": f"{restart.__name__}-{n}"}, room_id=room)) for n in range(20)]
    acks = await asyncio.wait_for(asyncio.gather(*sending), 60)
    await bob.expect("message", id=max(acks, key=lambda ack: ack["sequence"])["message_id"], within=30)
    heard = [frame for frame in bob.received if frame["type"] == "message"]
    assert [frame["id"] for frame in heard] == [ack["message_id"] for ack in sorted(acks, key=lambda a: a["sequence"])]
    assert [frame["index"] for frame in heard] == sorted(frame["index"] for frame in heard)


async def test_a_file_remembers_the_place_and_what_was_not_sent(
    mana_node: Node, mana_person: People, tmp_path: Path
) -> None:
    ada = await mana_person()
    account = Account(f"bot-{uuid4().hex[:8]}", "a-long-password", register=True)
    path = tmp_path / "bot.json"
    bot = Person(mana_node.url, account, device_id="bot", state=FileState(path))
    await bot.start()
    await bot.online()
    room = await room_of(ada, bot)
    await ada.send({"text": "one"}, room_id=room)
    await bot.expect("message")
    await asyncio.to_thread(mana_node.kill)
    sending = asyncio.create_task(bot.send({"text": "from before"}, room_id=room))
    await asyncio.sleep(0)
    await bot.close()
    with pytest.raises(Exception, match="closed"):
        await sending
    assert path.stat().st_mode & 0o777 == 0o600
    await asyncio.to_thread(mana_node.start)
    await ada.send({"text": "two"}, room_id=room)
    again = Person(mana_node.url, account, device_id="bot", state=FileState(path))
    await again.start()
    try:
        await again.expect("message", payload={"text": "two"})
        await ada.expect("message", payload={"text": "from before"})
        assert texts(again) == ["two"]
    finally:
        await again.close()
    assert FileState(path).unsent == {}


async def test_a_session_is_renewed_before_its_token_expires(mana_node: Node, mana_person: People) -> None:
    ada = await mana_person()
    token = await ada.rest.token()
    assert await ada.rest.token() == token
    assert await ada.rest.token(fresh=True) != token
    await ada.request("auth", token=await ada.rest.token())


async def test_a_ticket_opens_a_socket(mana_node: Node, mana_person: People) -> None:
    ada = await mana_person()

    async def ticket() -> str:
        return str((await ada.rest.post("auth/ticket"))["ticket"])

    other = ManaClient(mana_node.url, StaticToken("unused"), ticket=ticket)
    async with other:
        assert other.user_id == ada.user_id
        await other.drop()
        await other.online(timeout=10)


async def test_commands_run_on_the_nodes_database(mana_node: Node, mana_person: People) -> None:
    ada = await mana_person()
    code = "from django.contrib.auth import get_user_model as m; print(m().objects.values_list('username', flat=True))"
    assert ada.username in await asyncio.to_thread(mana_node.manage, "shell", "-v", "0", "-c", code)
