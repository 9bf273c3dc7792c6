"""The review queue by REST: for who has the permission, the same as in the admin."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mana.moderation.services import WARNING
from tests.support.client import Account
from tests.support.staff import REVIEWER, allow


@pytest.fixture
def moderator(account: Any) -> Account:
    """Somebody whose group was given the permissions, as an administrator does it."""
    made: Account = account()
    allow(made, *REVIEWER)
    return made


def _act(who: Account, report: Any, action: str, **more: Any) -> httpx.Response:
    return who.http.post(f"/api/moderation/reports/{report}/actions", json={"action": action, **more})


def _reported(troll: Account, reporter: Account, payload: str = "buy this") -> tuple[str, str, int]:
    room = reporter.room(troll)
    message = troll.post(f"rooms/{room}/messages", payload={"text": payload})["id"]
    return room, message, reporter.post("reports", message_id=message, reason="spam", text="Look")["id"]


async def test_a_report_is_looked_at_and_its_author_warned_and_muted(
    moderator: Account, alice: Account, bob: Account
) -> None:
    room, message, report = _reported(bob, alice)
    shown = moderator.get(f"moderation/reports/{report}")
    assert (shown["reporter"]["id"], shown["user"]["username"]) == (alice.id, bob.username)
    assert (shown["room_id"], shown["message_id"], shown["status"]) == (room, message, "open")
    assert shown["evidence"]["message"]["payload"] == {"text": "buy this"}
    async with bob.socket() as socket:
        done = _act(moderator, report, "warn", text="Not here.")
        assert (done.status_code, done.json()["resolution"]) == (200, "warned"), done.text
        assert done.json()["handled_by"]["id"] == moderator.id
        assert (await socket.expect("warning"))["text"] == "Not here."
        again = alice.post("reports", message_id=message, reason="spam")["id"]
        assert _act(moderator, again, "warn").status_code == 200
        assert (await socket.expect("warning"))["text"] == WARNING
        again = alice.post("reports", message_id=message, reason="spam")["id"]
        assert _act(moderator, again, "mute", seconds=3600).json()["resolution"] == "muted"
        assert (await socket.refusal("message", room_id=room, payload="x"))["code"] == "forbidden"
    assert _act(moderator, again, "ban").json()["code"] == "conflict", "handled already"


def test_messages_are_deleted_people_banned_and_reports_dismissed(
    moderator: Account, alice: Account, bob: Account
) -> None:
    room, message, report = _reported(bob, alice)
    assert _act(moderator, report, "delete").json()["status"] == "resolved"
    assert alice.get(f"messages/{message}")["deleted"] is True
    room, message, report = _reported(bob, alice)
    assert _act(moderator, report, "dismiss").json()["status"] == "dismissed"
    report = alice.post("reports", message_id=message, reason="spam")["id"]
    assert _act(moderator, report, "ban").status_code == 200
    assert bob.http.get(f"/api/rooms/{room}").status_code == 404, "banned from the room"
    report = alice.post("reports", user_id=bob.id, reason="abuse")["id"]
    assert _act(moderator, report, "mute").json()["code"] == "not_found", "there is no room to mute them in"
    assert _act(moderator, report, "ban").status_code == 200
    assert bob.http.get("/api/me").status_code == 401, "banned from the site"
    actions = [entry["action"] for entry in moderator.get("moderation/audit")["results"]]
    assert {"user banned", "message deleted", "room banned", "report dismissed"} <= set(actions)


def test_the_queue_is_filtered_and_has_pages(moderator: Account, alice: Account, bob: Account) -> None:
    ids = [_reported(bob, alice)[2] for _ in range(3)]
    _act(moderator, ids[0], "dismiss")
    found, page = [], moderator.get("moderation/reports", status="open", subject_type="message", limit=1)
    while True:
        found += [one["id"] for one in page["results"]]
        if not page["next"]:
            break
        page = moderator.http.get(page["next"]).json()
    assert [one for one in found if one in ids] == [ids[2], ids[1]]
    assert ids[0] in [one["id"] for one in moderator.get("moderation/reports", status="dismissed")["results"]]
    assert moderator.http.get("/api/moderation/reports", params={"status": "burnt"}).status_code == 400


def test_only_who_has_the_permission_gets_in(moderator: Account, alice: Account, bob: Account) -> None:
    *_, report = _reported(bob, alice)
    for path in ("reports", f"reports/{report}", "reports/0", "audit"):
        answer = alice.http.get(f"/api/moderation/{path}")
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert _act(alice, report, "dismiss").status_code == 403
    assert moderator.get(f"moderation/reports/{report}")["status"] == "open"


def test_nonsense_is_refused(moderator: Account, alice: Account, bob: Account) -> None:
    *_, report = _reported(bob, alice)
    for body in ({}, {"action": "burn"}, {"action": "mute", "seconds": 0}, {"action": "mute", "seconds": 10**12}):
        assert moderator.http.post(f"/api/moderation/reports/{report}/actions", json=body).status_code == 400
    assert _act(moderator, report, "warn", text="x" * 2001).status_code == 400
    for number in ("0", "-1", "9" * 18, "9" * 40, "x", "²", "%00"):
        assert moderator.http.get(f"/api/moderation/reports/{number}").status_code == 404, number
    assert moderator.get(f"moderation/reports/{report}")["status"] == "open"
