"""Every route of the served document: nothing without credentials, and nothing of other people's."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.rest.test_schemathesis import _operations, _scene
from tests.support.client import Account
from tests.support.server import Server

#: Routes for everybody, signed in or not.
OPEN = ("/api/auth/", "/api/schema/")
CLOSED_IN_AUTH = (
    "/api/auth/claim",
    "/api/auth/logout",
    "/api/auth/password",
    "/api/auth/sign-ins",
    "/api/auth/sign-ins/{sign_in_id}",
    "/api/auth/ticket",
)
#: Bodies that are right, so that only the lack of rights can refuse them.
BODIES: dict[str, dict[str, Any]] = {
    "/api/messages/{message_id}": {"payload": "forged"},
    "/api/messages/{message_id}/reactions": {"emoji": "👍"},
    "/api/rooms/{room_id}": {"name": "Mine"},
    "/api/rooms/{room_id}/bans": {"user_id": "{user_id}"},
    "/api/rooms/{room_id}/invitations": {"user_ids": ["{user_id}"]},
    "/api/rooms/{room_id}/members": {"user_ids": ["{user_id}"]},
    "/api/rooms/{room_id}/members/{user_id}": {"role": "owner"},
    "/api/rooms/{room_id}/messages": {"payload": "forged"},
    "/api/rooms/{room_id}/owner": {"user_id": "{user_id}"},
    "/api/rooms/{room_id}/preferences": {"archived": True},
    "/api/rooms/{room_id}/receipts": {"sequence": 1, "status": "read"},
    "/api/reports": {"message_id": "{message_id}", "reason": "spam"},
}
#: What a path parameter of these routes names is open to whoever has it.
FOR_BEARERS = ("/api/invites/{token}",)


@pytest.fixture(scope="module")
def document(server: Server) -> dict[str, Any]:
    """The served document."""
    return dict(httpx.get(f"{server.http}/api/schema/", params={"format": "json"}, timeout=60).json())


def _filled(value: Any, ids: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(one, ids) for name, one in value.items()}
    if isinstance(value, list):
        return [_filled(one, ids) for one in value]
    return value.format(**ids) if isinstance(value, str) and value.startswith("{") else value


def test_nothing_is_given_to_who_proves_nothing(server: Server, document: dict[str, Any]) -> None:
    ids = dict.fromkeys(("room_id", "user_id", "message_id", "attachment_id", "invite_id", "token"), "1")
    ids |= {"device_id": "1", "emoji": "1"}
    with httpx.Client(base_url=server.http) as nobody:
        for method, path in _operations(document):
            if path.startswith(OPEN) and path not in CLOSED_IN_AUTH:
                continue
            for name in document["paths"][path][method].get("parameters", []):
                if name["in"] == "path":
                    ids.setdefault(name["name"], "1")
            answer = nobody.request(method, path.format(**ids))
            assert answer.status_code == 401, (method, path, answer.text)
            assert answer.json()["code"] == "unauthenticated"


def test_a_stranger_gets_nothing_of_a_private_room(server: Server, document: dict[str, Any]) -> None:
    owner, ids = _scene(server)
    stranger = Account(server)
    tried = 0
    for method, path in _operations(document):
        concerned = any(f"{{{name}}}" in path for name in ("room_id", "message_id", "attachment_id"))
        if not (concerned or path == "/api/reports") or path in FOR_BEARERS:
            continue
        url = path.format(**ids)
        body = _filled(BODIES.get(path, {}), ids)
        if path == "/api/reports" and method == "get":
            continue
        if "avatar" in path and method == "put":
            answer = stranger.http.put(url, files={"file": ("x.png", b"x", "image/png")})
        else:
            answer = stranger.http.request(method, url, json=body if method != "get" else None)
        tried += 1
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), (method, path, answer.text)
    assert tried > 35
    shown = owner.get(f"rooms/{ids['room_id']}")
    assert (shown["name"], shown["member_count"], shown["unread"]) == ("A room", 2, 0)
    assert owner.get(f"messages/{ids['message_id']}")["payload"] == {"text": "x"}


def test_a_plain_member_manages_nothing(server: Server) -> None:
    owner, member, other = Account(server), Account(server), Account(server)
    room = owner.room(member, other)
    message = owner.post(f"rooms/{room}/messages", payload="x")["id"]
    invite = owner.post(f"rooms/{room}/invites")["id"]
    for method, path, body in (
        ("patch", f"rooms/{room}", {"name": "Mine"}),
        ("delete", f"rooms/{room}", None),
        ("put", f"rooms/{room}/owner", {"user_id": member.id}),
        ("post", f"rooms/{room}/bans", {"user_id": other.id}),
        ("get", f"rooms/{room}/bans", None),
        ("post", f"rooms/{room}/invites", {}),
        ("get", f"rooms/{room}/invites", None),
        ("delete", f"rooms/{room}/invites/{invite}", None),
        ("post", f"rooms/{room}/invitations", {"user_ids": [other.id]}),
        ("patch", f"rooms/{room}/members/{other.id}", {"role": "admin"}),
        ("delete", f"rooms/{room}/members/{other.id}", None),
        ("put", f"rooms/{room}/members/{other.id}/mute", {}),
        ("delete", f"rooms/{room}/members/{other.id}/mute", None),
        ("delete", f"rooms/{room}/avatar", None),
        ("patch", f"messages/{message}", {"payload": "forged"}),
        ("delete", f"messages/{message}", None),
        ("put", f"messages/{message}/pin", {}),
        ("delete", f"messages/{message}/pin", None),
    ):
        answer = member.http.request(method, f"/api/{path}", json=body)
        assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), (method, path, answer.text)
