"""Edits, deletions, reactions and pins: live, by sync and in history, and never more than one may read."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from tests.support.client import Account


def _patch(account: Account, message_id: str, **body: Any) -> httpx.Response:
    return account.http.patch(f"/api/messages/{message_id}", json=body)


def _say(account: Account, room: str, payload: Any, **more: Any) -> str:
    return str(account.post(f"rooms/{room}/messages", payload=payload, **more)["id"])


def _frames(account: Account, room: str) -> list[dict[str, Any]]:
    return list(account.get(f"rooms/{room}/messages")["results"])


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


# -- Edits -----------------------------------------------------------------------------------------------------------


async def test_an_edit_is_told_to_all_and_kept(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        sent = await a.request("message", room_id=room, payload={"text": "helo"})
        ack = await a.request("message_edit", message_id=sent["message_id"], payload={"text": "hello"})
        told = await b.expect("message_edit")
        own = await a.expect("message_edit")
        batch = await b.request("sync_request", cursor=sent["sequence"] - 1)
    assert (told["sequence"], told["index"]) == (ack["sequence"], ack["index"]) == (own["sequence"], own["index"])
    assert told["message_id"] == sent["message_id"]
    assert told["payload"] == {"text": "hello"}
    assert told["from"] == alice.id
    message, edit = batch["messages"]
    assert (message["payload"], edit["payload"]) == ({"text": "hello"}, {"text": "hello"})
    assert message["edited_at"]
    assert _frames(bob, room)[1]["payload"] == {"text": "hello"}


def test_what_a_message_said_before_can_be_read(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(alice, room, "one")
    for text in ("two", "three"):
        assert _patch(alice, message, payload=text).json()["payload"] == text
    revisions = bob.get(f"messages/{message}/revisions")["results"]
    assert [one["payload"] for one in revisions] == ["one", "two"]


def test_only_its_author_edits_a_message(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    message = _say(bob, room, "mine")
    assert _code(_patch(alice, message, payload="yours")) == (403, "forbidden")
    assert _code(_patch(carol, message, payload="whose?")) == (404, "not_found")
    assert _code(_patch(bob, message, payload={})) == (400, "empty_payload")
    assert _frames(alice, room)[-1]["payload"] == "mine"


def test_edits_at_the_same_time_all_count(alice: Account) -> None:
    room = alice.room()
    message = _say(alice, room, 0)

    async def race() -> list[int]:
        async with httpx.AsyncClient(base_url=alice.server.http, headers=alice.http.headers) as http:
            answers = [http.patch(f"/api/messages/{message}", json={"payload": n}) for n in range(1, 9)]
            return [answer.status_code for answer in await asyncio.gather(*answers)]

    assert asyncio.run(race()) == [200] * 8
    said = [one["payload"] for one in alice.get(f"messages/{message}/revisions")["results"]]
    now = alice.get(f"messages/{message}")["payload"]
    assert sorted([*said, now]) == list(range(9))
    edits = [frame for frame in _frames(alice, room) if frame["type"] == "message_edit"]
    assert [edit["index"] for edit in edits] == list(range(3, 11))


# -- Deletions -------------------------------------------------------------------------------------------------------


async def test_what_was_deleted_is_nowhere_any_more(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    async with alice.socket() as a, bob.socket() as b:
        sent = await a.request("message", room_id=room, payload="a secret")
        await a.request("message_edit", message_id=sent["message_id"], payload="another secret")
        await b.request("reaction", message_id=sent["message_id"], emoji="👍")
        await a.request("message_delete", message_id=sent["message_id"])
        told = await b.expect("message_delete")
        batch = await b.request("sync_request", cursor=0)
    assert (told["message_id"], told["from"]) == (sent["message_id"], alice.id)
    assert "secret" not in str(batch)
    assert "secret" not in bob.http.get(f"/api/rooms/{room}/messages").text
    message = next(event for event in batch["messages"] if event["type"] == "message")
    assert message["payload"] is None
    assert message["deleted"] is True
    assert "reactions" not in message
    assert bob.get(f"messages/{sent['message_id']}/revisions")["results"] == []
    assert [event["type"] for event in batch["messages"]] == [
        "room",
        "message",
        "message_edit",
        "reaction",
        "message_delete",
    ]


def test_who_may_delete_for_everyone(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    message = _say(bob, room, "rude")
    assert _code(carol.http.delete(f"/api/messages/{message}")) == (403, "forbidden")
    assert alice.http.delete(f"/api/messages/{message}").status_code == 204, "the owner of the room may"
    assert _code(bob.http.delete(f"/api/messages/{message}")) == (404, "not_found")
    direct = alice.post("rooms", room_type="direct", members=[bob.id])["id"]
    whispered = _say(bob, direct, "psst")
    assert _code(alice.http.delete(f"/api/messages/{whispered}")) == (403, "forbidden")
    assert bob.http.delete(f"/api/messages/{whispered}").status_code == 204


def test_an_edit_and_a_deletion_at_the_same_time_leave_nothing(alice: Account) -> None:
    room = alice.room()
    messages = [_say(alice, room, f"secret {n}") for n in range(5)]

    async def race() -> None:
        async with httpx.AsyncClient(base_url=alice.server.http, headers=alice.http.headers) as http:
            work = []
            for message in messages:
                work.append(http.patch(f"/api/messages/{message}", json={"payload": "secret again"}))
                work.append(http.delete(f"/api/messages/{message}"))
            for answer in await asyncio.gather(*work):
                assert answer.status_code in (200, 204, 404), answer.text

    asyncio.run(race())
    assert "secret" not in alice.http.get(f"/api/rooms/{room}/messages").text


async def test_deleting_for_oneself_is_nobody_elses_business(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(alice, room, "embarrassing")
    async with alice.socket() as a, bob.socket() as phone, bob.socket() as laptop:
        await phone.request("message_delete", message_id=message, scope="me")
        told = await laptop.expect("message_delete")
        after = await bob_synced(bob)
        seen = [frame for frame in await a.silence() if frame["type"] == "message_delete"]
    assert (told["scope"], told["message_id"], told["room_id"]) == ("me", message, room)
    assert "index" not in told, "it has no place in the room"
    assert not seen
    assert message not in [event["id"] for event in after]
    assert [event["message_id"] for event in after if event["type"] == "message_delete"] == [message]
    assert [frame["type"] for frame in _frames(bob, room)] == ["room"]
    assert [frame["type"] for frame in _frames(alice, room)] == ["room", "message"]
    assert _code(bob.http.get(f"/api/messages/{message}")) == (404, "not_found")
    assert bob.get(f"rooms/{room}")["last_message"] is None
    assert alice.get(f"rooms/{room}")["last_message"]["id"] == message


async def bob_synced(account: Account) -> list[dict[str, Any]]:
    """Everything that sync gives."""
    async with account.socket() as socket:
        batch = await socket.request("sync_request", cursor=0)
    return list(batch["messages"])


async def test_a_device_that_was_offline_learns_of_it_by_sync(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(alice, room, "x")
    cursor = alice.get("sync", cursor=0)["cursor"]
    bob.http.delete(f"/api/messages/{message}?scope=me")
    _say(alice, room, "y")
    mine = bob.get("sync", cursor=cursor)["messages"]
    theirs = alice.get("sync", cursor=cursor)["messages"]
    assert [event["type"] for event in mine] == ["message_delete", "message"]
    assert [event["sequence"] for event in mine] == [cursor + 1, cursor + 2]
    assert [event["type"] for event in theirs] == ["message"]


# -- Reactions -------------------------------------------------------------------------------------------------------


async def test_reactions_are_counted_per_emoji(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    message = _say(alice, room, "cake!")
    async with alice.socket() as a, bob.socket() as b, carol.socket() as c:
        await b.request("reaction", message_id=message, emoji="🎂")
        await c.request("reaction", message_id=message, emoji="🎂")
        await c.request("reaction", message_id=message, emoji=":party-parrot:")
        counts = [(await a.expect("reaction"))["count"] for _ in range(3)]
        await b.request("reaction", message_id=message, emoji="🎂", remove=True)
        taken = await a.expect("reaction", remove=True)
        page = await c.request("history", room_id=room)
    assert counts == [1, 2, 1]
    assert (taken["from"], taken["emoji"], taken["count"]) == (bob.id, "🎂", 1)
    shown = next(event for event in page["messages"] if event["id"] == message)["reactions"]
    assert shown == [
        {"emoji": "🎂", "count": 1, "user_ids": [carol.id], "me": True},
        {"emoji": ":party-parrot:", "count": 1, "user_ids": [carol.id], "me": True},
    ]
    who = alice.get(f"messages/{message}/reactions")["results"]
    assert [(one["username"], one["emoji"]) for one in who] == [
        (carol.username, "🎂"),
        (carol.username, ":party-parrot:"),
    ]


async def test_reacting_twice_is_reacting_once(alice: Account) -> None:
    room = alice.room()
    message = _say(alice, room, "x")
    for _ in range(2):
        alice.post(f"messages/{message}/reactions", emoji="👍")
    assert [frame["type"] for frame in _frames(alice, room)] == ["room", "message", "reaction"]
    assert alice.http.delete(f"/api/messages/{message}/reactions/👍").status_code == 204
    assert alice.http.delete(f"/api/messages/{message}/reactions/👍").status_code == 204
    assert len(_frames(alice, room)) == 4


@pytest.mark.parametrize("text", ["lol", "<b>", "👍" * 20, " ", "a👍", "\u200d", "👍 👍", ":no spaces:", "\x00"])
def test_a_reaction_is_an_emoji(alice: Account, text: str) -> None:
    message = _say(alice, alice.room(), "x")
    assert _code(alice.http.post(f"/api/messages/{message}/reactions", json={"emoji": text})) == (400, "invalid")


@pytest.mark.parametrize("emoji", ["👍🏽", "👩‍👩‍👧‍👦", "🇫🇷", "❤️", "1️⃣", "🏴󠁧󠁢󠁳󠁣󠁴󠁿", "‼️", ":shipit:"])
def test_emoji_of_every_kind_are_taken(alice: Account, emoji: str) -> None:
    message = _say(alice, alice.room(), "x")
    assert alice.post(f"messages/{message}/reactions", emoji=emoji)["reactions"][0]["emoji"] == emoji


def test_nobody_covers_a_message_with_emoji(alice: Account) -> None:
    message = _say(alice, alice.room(), "x")
    answers = [alice.http.post(f"/api/messages/{message}/reactions", json={"emoji": e}) for e in "👍👎😀😂🎉🚀"]
    assert [answer.status_code for answer in answers] == [200] * 5 + [409]


# -- Pins ------------------------------------------------------------------------------------------------------------


async def test_a_pin_is_told_and_listed(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(bob, room, "the address")
    assert _code(bob.http.put(f"/api/messages/{message}/pin")) == (403, "forbidden")
    async with bob.socket() as b:
        assert alice.http.put(f"/api/messages/{message}/pin").status_code == 204
        told = await b.expect("room", action="pinned")
        assert [one["id"] for one in bob.get(f"rooms/{room}/pins")["results"]] == [message]
        assert alice.http.delete(f"/api/messages/{message}/pin").status_code == 204
        await b.expect("room", action="unpinned")
    assert told["message_id"] == message
    assert bob.get(f"rooms/{room}/pins")["results"] == []


def test_a_deleted_message_is_not_pinned_any_more(alice: Account) -> None:
    room = alice.room()
    message = _say(alice, room, "x")
    alice.http.put(f"/api/messages/{message}/pin")
    alice.http.delete(f"/api/messages/{message}")
    assert alice.get(f"rooms/{room}/pins")["results"] == []


# -- Replies ---------------------------------------------------------------------------------------------------------


def test_the_replies_to_a_message_are_its_thread(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    question = _say(alice, room, "?")
    answers = [_say(bob, room, f"!{n}", reply_to=question) for n in range(3)]
    _say(bob, room, "something else")
    thread = alice.get(f"messages/{question}/replies")["results"]
    assert [one["id"] for one in thread] == answers
    assert {one["reply_to"] for one in thread} == {question}


def test_a_deleted_message_is_not_answered(alice: Account) -> None:
    room = alice.room()
    message = _say(alice, room, "x")
    alice.http.delete(f"/api/messages/{message}")
    again = alice.http.post(f"/api/rooms/{room}/messages", json={"payload": "re", "reply_to": message})
    assert _code(again) == (404, "not_found")


# -- What lies outside of somebody's interval ------------------------------------------------------------------------


async def test_who_came_later_learns_nothing_of_older_messages(alice: Account, bob: Account) -> None:
    room = alice.room(is_private=False)
    old = _say(alice, room, "old secret")
    async with alice.socket() as a, bob.socket() as b:
        await b.request("join", room_id=room)
        await a.request("message_edit", message_id=old, payload="new secret")
        live = await b.expect("message_edit")
        synced = await b.request("sync_request", cursor=0)
        for frame in (
            {"type": "reaction", "emoji": "👍"},
            {"type": "message_edit", "payload": "x"},
            {"type": "message_delete"},
            {"type": "message_delete", "scope": "me"},
        ):
            assert (await b.refusal(**frame, message_id=old))["code"] == "not_found", frame  # type: ignore[arg-type]
        alice.http.put(f"/api/messages/{old}/pin")
    assert "payload" not in live
    assert "secret" not in str(synced)
    assert "secret" not in bob.http.get(f"/api/rooms/{room}/messages").text
    assert bob.get(f"rooms/{room}/pins")["results"] == []
    for path in ("", "/revisions", "/replies", "/reactions"):
        assert _code(bob.http.get(f"/api/messages/{old}{path}")) == (404, "not_found")
    assert alice.get(f"messages/{old}")["payload"] == "new secret"


async def test_who_left_sees_what_was_said_until_then(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = _say(alice, room, "before")
    _patch(alice, message, payload="while bob was here")
    assert bob.http.delete(f"/api/rooms/{room}/members/me").status_code == 204
    _patch(alice, message, payload="after bob left")
    alice.post(f"messages/{message}/reactions", emoji="🤫")
    shown = next(event for event in _frames(bob, room) if event["id"] == message)
    assert shown["payload"] == "while bob was here"
    assert "reactions" not in shown
    assert [one["payload"] for one in bob.get(f"messages/{message}/revisions")["results"]] == ["before"]
    assert bob.get(f"messages/{message}/reactions")["results"] == []
    assert "after bob left" not in str(bob.get("sync", cursor=0))
    refusals = [
        _patch(bob, message, payload="x"),
        bob.http.delete(f"/api/messages/{message}"),
        bob.http.post(f"/api/messages/{message}/reactions", json={"emoji": "👍"}),
        bob.http.put(f"/api/messages/{message}/pin"),
    ]
    assert [_code(refusal) for refusal in refusals] == [(404, "not_found")] * 4
    alice.http.delete(f"/api/messages/{message}")
    assert bob.get(f"messages/{message}")["payload"] is None, "deleted for everyone is for those who left as well"
