"""Reports by REST: of what one may see, once."""

from __future__ import annotations

import httpx

from tests.support.client import Account


def _report(account: Account, **body: str) -> httpx.Response:
    return account.http.post("/api/reports", json={"reason": "spam", **body})


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


def test_a_message_a_room_and_a_user_are_reported(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    message = alice.post(f"rooms/{room}/messages", payload="buy!")["id"]
    for subject in ({"message_id": message}, {"room_id": room}, {"user_id": alice.id}):
        made = _report(bob, **subject, text="Please look.")
        assert made.status_code == 201, made.text
        assert _code(_report(bob, **subject)) == (409, "conflict"), "one open report of a thing"
    mine = bob.get("reports")["results"]
    assert [one["subject_type"] for one in mine] == ["user", "room", "message"]
    assert {one["status"] for one in mine} == {"open"}
    assert alice.get("reports")["results"] == []


def test_only_what_one_may_see_is_reported(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    message = alice.post(f"rooms/{room}/messages", payload="x")["id"]
    assert _code(_report(carol, message_id=message)) == (404, "not_found")
    assert _code(_report(carol, room_id=room)) == (404, "not_found")
    assert _code(_report(carol, user_id="99999999")) == (404, "not_found")
    assert _code(_report(alice, message_id=message)) == (400, "invalid"), "one's own"
    assert _code(_report(alice, user_id=alice.id)) == (400, "invalid")


def test_a_report_says_what_and_why(alice: Account, bob: Account) -> None:
    assert _code(_report(bob)) == (400, "invalid")
    assert _code(_report(bob, user_id=alice.id, room_id="x")) == (400, "invalid")
    assert _code(_report(bob, user_id=alice.id, reason="dislike")) == (400, "invalid")
    assert _code(_report(bob, user_id=alice.id, text="x" * 2001)) == (400, "invalid")
