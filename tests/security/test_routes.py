"""Who may ask for what over HTTP: every route and method against twelve kinds of people, as ``routes.md`` says.

A request that is refused changes no row, and whoever may not read the room is told nothing of it. A route without a
line in the table fails. Of routes that name nothing of others it shows whom they are open to.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from django.urls import URLPattern, URLResolver
from PIL import Image

from mana.notifications.wishes import LEVEL
from mana.urls import urlpatterns
from tests.security import table
from tests.security.database import Watched
from tests.security.devices import PHONE, Calls
from tests.security.people import INSIDE, KINDS, KNOWN, LIMITS, NOBODY, People
from tests.security.scenes import SECRET, Scenes, filled
from tests.support import databases
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

TABLE = Path(__file__).with_name("routes.md")
METHODS = ("get", "post", "put", "patch", "delete")
#: Files are kept in the server's memory and don't come back with the database: who removes them comes last.
ORDER = ("GET", "POST", "PUT", "PATCH", "DELETE")
#: An address that is not the operators' own.
FROM_OUTSIDE = {"X-Forwarded-For": "203.0.113.9"}

#: Bodies that are right, so that only the lack of rights can refuse them; and what stands for the path's parameters
#: where it is not the target, their message and the room that they are in.
BODIES: dict[str, Any] = {
    "POST api/auth/register": {"username": "new-{number}", "password": "long-enough-{number}"},
    "POST api/auth/token": {"username": "{target_name}", "password": "{target_password}"},
    "POST api/auth/token/refresh": {"refresh": "{target_refresh}"},
    "POST api/auth/claim": {"username": "claimed-{number}", "password": "long-enough-{number}"},
    "POST api/auth/password": {"old_password": "{password}", "password": "long-enough-{number}"},
    "POST api/auth/password/reset": {"email": "nobody@example.com"},
    "POST api/auth/password/reset/confirm": {"uid": "x", "token": "x", "password": "long-enough-{number}"},
    "POST api/auth/email/confirm": {"uid": "x", "token": "x"},
    "PUT api/me/phone/verification": {"code": "260117"},
    "PATCH api/me": {"display_name": "Somebody"},
    "POST api/me/username": {"username": "renamed-{number}"},
    "POST api/me/email": {"email": "new-{number}@example.com", "password": "{password}"},
    "POST api/me/phone": {"phone": "", "password": "{password}"},
    "POST api/me/deletion": {"password": "{password}"},
    "PATCH api/devices/{device_id}": {"name": "Mine"},
    "POST api/contacts": {"user_id": "{target}"},
    "PATCH api/contacts/{user_id}": {"nickname": "Mum"},
    "POST api/blocks": {"user_id": "{target}"},
    "PUT api/preferences/{key}": {"value": "mentions"},
    "POST api/push/subscriptions": {
        "endpoint": "https://push.example.com/x",
        "keys": {"p256dh": "x" * 88, "auth": "x" * 22},
    },
    "POST api/rooms": {"name": "Mine"},
    "PATCH api/rooms/{room_id}": {"name": "Mine"},
    "POST api/rooms/{room_id}/members": {"user_ids": ["{bystander}"]},
    "PATCH api/rooms/{room_id}/members/{user_id}": {"role": "admin"},
    "POST api/rooms/{room_id}/invitations": {"user_ids": ["{bystander}"]},
    "POST api/rooms/{room_id}/messages": {"payload": "forged"},
    "POST api/rooms/{room_id}/receipts": {"sequence": "{sequence}", "status": "read"},
    "POST api/rooms/{room_id}/bans": {"user_id": "{target}"},
    "PUT api/rooms/{room_id}/owner": {"user_id": "{target}"},
    "PATCH api/rooms/{room_id}/preferences": {"archived": True},
    "PATCH api/messages/{message_id}": {"payload": "forged"},
    "POST api/messages/{message_id}/reactions": {"emoji": "👍"},
    "POST api/reports": {"message_id": "{message}", "reason": "spam"},
    "POST api/moderation/reports/{report_id}/actions": {"action": "ban"},
    "PUT api/e2ee/devices/{device_id}": "{keys}",
    "POST api/e2ee/devices/{device_id}/prekeys": {"one_time": "{refill}"},
    "POST api/e2ee/devices/{device_id}/acks": {"message_ids": ["{message}"]},
    "PUT api/e2ee/backup": {"backup": "AQY" + "A" * 77},
    "PUT api/e2ee/device-list": {"device_list": "{device_list}"},
}
FILES = {"POST api/attachments": "file", "PUT api/me/avatar": "avatar", "PUT api/rooms/{room_id}/avatar": "file"}
QUERIES = {
    "GET api/users": {"search": "user-"},
    "GET api/sync": {"cursor": "0", "limit": "500"},
    "DELETE api/push/subscriptions": {"endpoint": "https://push.example.com/x"},
}
PATHS = {
    "DELETE api/rooms/{room_id}/bans/{user_id}": {"user_id": "{banned}"},
    "GET api/invitations/{room_id}": {"room_id": "{invited_to}"},
    "POST api/invitations/{room_id}": {"room_id": "{invited_to}"},
    "DELETE api/invitations/{room_id}": {"room_id": "{invited_to}"},
    # Encryption's devices are one's own: nobody can name another's.
    **{
        name: {"device_id": PHONE}
        for name in (
            *(f"{method} api/e2ee/devices/{{device_id}}" for method in ("GET", "PUT", "DELETE")),
            "POST api/e2ee/devices/{device_id}/prekeys",
            "GET api/e2ee/devices/{device_id}/envelopes",
            "POST api/e2ee/devices/{device_id}/acks",
        )
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A node where much is tried."""
    with databases.fresh("sqlite") as url, serving(url, **LIMITS) as running:
        yield running
        assert "Traceback" not in running.log, running.log[-4000:]


def operations(patterns: list[Any] = urlpatterns, prefix: str = "") -> Iterator[str]:
    """Each method of each route of the URLconf: ``GET api/rooms/{room_id}``."""
    for pattern in patterns:
        route = prefix + re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from operations(pattern.url_patterns, route)
            continue
        assert isinstance(pattern, URLPattern)
        view = getattr(pattern.callback, "view_class", None)
        for method in METHODS if view is not None else ["get"]:
            if view is None or hasattr(view, method):
                yield f"{method.upper()} {route}"


def test_every_route_has_a_line_for_everybody() -> None:
    expected = table.read(TABLE)
    assert set(expected) == set(operations())
    assert all(tuple(row) == KINDS for row in expected.values())
    assert {*BODIES, *FILES, *QUERIES} <= set(expected)


def test_everybody_may_ask_for_what_the_table_says_and_nothing_else(server: Server) -> None:
    expected = table.read(TABLE)
    people = People(server)
    scenes = Scenes(people)
    more = furnish(people, scenes)
    seen: dict[str, table.Row] = {}
    with (
        Calls(people) as calls,
        Watched(server.database_url) as database,
        httpx.Client(base_url=server.http, timeout=30) as client,
    ):
        call = {"call": calls.start(scenes.names("member")["room"])}
        # Once is enough: the server forgets each time what it was given.
        encrypted = {kind: scenes.encrypted(kind) for kind in KINDS}
        database.save()
        for operation in sorted(expected, key=lambda one: (ORDER.index(one.split()[0]), list(expected).index(one))):
            for kind in KINDS:
                before = database.content()
                names = {**scenes.names(kind), **more(kind), **encrypted[kind], **call}
                answer = ask(client, operation, people.headers(kind), names)
                changed = [table for table, rows in database.content().items() if rows != before[table]]
                cell = f"{operation} by {kind}: {answer.status_code} {answer.text[:200]}"
                seen.setdefault(operation, {})[kind] = str(answer.status_code)
                assert answer.status_code < 500, cell
                if answer.status_code >= 400:
                    assert not changed, f"{cell}, and changed {changed}"
                    assert answer.headers["Content-Type"] != "text/html", cell
                if kind not in INSIDE:
                    assert SECRET not in answer.text, cell
                if changed:
                    database.restore()
    assert not table.differences(expected, seen), "\n" + table.differences(expected, seen)
    closed = {name for name, row in expected.items() if row["anonymous"] == "401"}
    assert all({expected[name][kind] for kind in NOBODY} == {"401"} for name in closed)


def ask(client: httpx.Client, operation: str, headers: dict[str, str], names: dict[str, Any]) -> httpx.Response:
    """Sends the request of a line of the table."""
    method, route = operation.split()
    parameters = {
        "room_id": names["room"],
        "user_id": names["target"],
        "message_id": names["message"],
        "emoji": "👍",
        "key": LEVEL,
        **{key: names[key] for key in ("sign_in_id", "device_id", "notification_id", "name", "invite_id", "token")},
        "attachment_id": names["image"],
        "call_id": names["call"],
        "report_id": names["report"],
        **filled(PATHS.get(operation, {}), names),
    }
    arguments: dict[str, Any] = {"headers": {**headers, **FROM_OUTSIDE}, "params": QUERIES.get(operation)}
    if operation in FILES:
        arguments["files"] = {FILES[operation]: ("x.png", picture(), "image/png")}
    elif method != "GET":
        arguments["json"] = filled(BODIES.get(operation, {}), names)
    return client.request(method, f"/{route.format(**parameters)}", **arguments)


def furnish(people: People, scenes: Scenes) -> Any:
    """What routes name beside rooms and messages, all of it the target's or the owner's; a function of the kind."""
    target, owner, stranger = people.target, people["room owner"], people["stranger"]
    room = scenes.names("member")["room"]
    image = target.http.post("/api/attachments", files={"file": ("x.png", picture(), "image/png")}).json()
    target.post(f"rooms/{room}/messages", payload="see", attachments=[image["id"]])
    owner.http.put(f"/api/rooms/{room}/avatar", files={"file": ("x.png", picture(), "image/png")}).raise_for_status()
    shown = target.http.put("/api/me/avatar", files={"avatar": ("x.png", picture(), "image/png")})
    owner.post(f"rooms/{room}/messages", payload="you!", mentions=[target.id])
    invite = owner.post(f"rooms/{room}/invites")
    invited_to = owner.room()
    owner.post(f"rooms/{invited_to}/invitations", user_ids=[stranger.id])
    target.get("sync", cursor=0, device_id="tablet")
    for kind in KNOWN:
        if kind != "guest":
            one = people[kind]
            one.post("me/email", email=f"{one.username}@example.com", password=one.password)
    people["member"].post("contacts", user_id=target.id)
    target.post(f"contacts/requests/{people['member'].id}/accept")
    target.post("contacts", user_id=people["guest"].id)
    (notification, *_) = target.get("notifications")["results"]
    report = target.post("reports", user_id=stranger.id, reason="spam")["id"]
    common = {
        "image": image["id"],
        "name": shown.json()["avatar_url"].rsplit("/", 1)[-1],
        "sign_in_id": target.get("auth/sign-ins")["results"][0]["id"],
        "device_id": "tablet",
        "notification_id": notification["id"],
        "invite_id": str(invite["id"]),
        "token": invite["token"],
        "invited_to": invited_to,
        "bystander": people["moderator"].id,
        "banned": people["banned"].id,
        "report": str(report),
        "target_name": target.username,
        "target_password": target.password,
        "target_refresh": target.refresh,
    }
    return lambda kind: {**common, "password": people[kind].password}


def picture() -> bytes:
    """A small image."""
    file = io.BytesIO()
    Image.new("RGB", (300, 300), "teal").save(file, "PNG")
    return file.getvalue()
