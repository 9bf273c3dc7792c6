"""Mentions: of members only, counted until they are read."""

from __future__ import annotations

from tests.support.client import Account


def _unread(account: Account, room: str) -> tuple[int, int]:
    shown = account.get(f"rooms/{room}")
    return shown["unread"], shown["unread_mentions"]


async def test_a_mention_is_counted_until_it_is_read(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    async with alice.socket() as a, bob.socket() as b:
        await a.request("message", room_id=room, payload="hi @bob", mentions=[bob.id])
        message = await b.expect("message")
        await a.request("message", room_id=room, payload="anyway")
        assert message["mentions"] == [bob.id]
        assert _unread(bob, room) == (2, 1)
        assert _unread(carol, room) == (2, 0)
        await b.request("receipt", room_id=room, sequence=message["sequence"], status="read")
    assert _unread(bob, room) == (1, 0)


def test_everybody_is_called_by_those_who_manage_the_room(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    refused = bob.http.post(f"/api/rooms/{room}/messages", json={"payload": "wake up", "mentions": ["@all"]})
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    alice.post(f"rooms/{room}/messages", payload="wake up", mentions=["@all", bob.id])
    assert _unread(bob, room) == (1, 1)
    assert _unread(alice, room) == (0, 0)


def test_only_members_are_mentioned(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    for mentions in ([carol.id], [bob.id, carol.id], ["99999999"], ["nobody"], [""]):
        refused = alice.http.post(f"/api/rooms/{room}/messages", json={"payload": "x", "mentions": mentions})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid"), mentions
    assert alice.get(f"rooms/{room}")["last_message"] is None


def test_who_is_mentioned_follows_edits_and_deletions(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    message = alice.post(f"rooms/{room}/messages", payload="@bob", mentions=[bob.id])["id"]
    edited = alice.http.patch(f"/api/messages/{message}", json={"payload": "@carol", "mentions": [carol.id]}).json()
    assert edited["mentions"] == [carol.id]
    assert (_unread(bob, room)[1], _unread(carol, room)[1]) == (0, 1)
    alice.http.patch(f"/api/messages/{message}", json={"payload": "@carol!"})
    assert _unread(carol, room)[1] == 1, "without mentions in the edit they stay"
    alice.http.delete(f"/api/messages/{message}")
    assert _unread(carol, room)[1] == 0


def test_who_comes_later_was_not_meant(alice: Account, bob: Account) -> None:
    room = alice.room(is_private=False, shares_history=True)
    alice.post(f"rooms/{room}/messages", payload="x", mentions=["@all"])
    bob.post(f"rooms/{room}/members")
    assert _unread(bob, room) == (0, 0)
