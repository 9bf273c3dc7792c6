"""Profiles, avatars, finding people, deleting accounts: over REST, and live over sockets."""

from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.client import Account

FUTURE = "2099-01-01T00:00:00Z"


def image(kind: str = "PNG", size: tuple[int, int] = (640, 320), mode: str = "RGB", **options: Any) -> bytes:
    made = io.BytesIO()
    Image.new(mode, size, (200, 30, 60) if mode == "RGB" else (200, 30, 60, 128)).save(made, kind, **options)
    return made.getvalue()


def upload(account: Account, data: bytes, name: str = "me.png", content_type: str = "image/png") -> httpx.Response:
    return account.http.put("/api/me/avatar", files={"avatar": (name, data, content_type)})


# -- Profiles --------------------------------------------------------------------------------------------------------


async def test_those_who_share_a_room_see_a_change_live_and_others_do_not(
    alice: Account, bob: Account, carol: Account
) -> None:
    alice.room(bob)
    async with bob.socket() as b, carol.socket() as c, alice.socket() as a:
        alice.http.patch("/api/me", json={"display_name": "Alice ✨", "status": {"text": "Busy", "emoji": "🔧"}})
        frame = await b.expect("profile")
        assert frame["person"]["user_id"] == alice.id
        assert frame["person"]["display_name"] == "Alice ✨"
        assert frame["person"]["status"] == {"text": "Busy", "emoji": "🔧"}
        assert (await a.expect("profile"))["person"] == frame["person"], "the user's other devices do not learn of it"
        assert not [one for one in await c.silence() if one["type"] == "profile"]


def test_a_status_ends_by_itself(alice: Account, bob: Account) -> None:
    alice.http.patch("/api/me", json={"status": {"text": "Lunch", "expires_at": "2020-01-01T00:00:00Z"}})
    assert bob.get(f"users/{alice.id}")["status"] is None
    alice.http.patch("/api/me", json={"status": {"text": "Lunch", "expires_at": FUTURE}})
    status = bob.get(f"users/{alice.id}")["status"]
    assert (status["text"], status["expires_at"][:10]) == ("Lunch", "2099-01-01")
    alice.http.patch("/api/me", json={"status": None})
    assert bob.get(f"users/{alice.id}")["status"] is None


@pytest.mark.parametrize(
    "change",
    [
        {"display_name": "x" * 101},
        {"display_name": "line\x07"},
        {"display_name": "two\nlines"},
        {"display_name": "nimda \u202e turns"},
        {"status": {"text": "two\nlines"}},
        {"about": "nimda \u2067 turns"},
        {"status": {"text": "x" * 141}},
        {"status": "away"},
        {"last_seen_to": "friends"},
        {"direct_messages_from": "nobody"},
        {"find_by_email": "perhaps"},
    ],
)
def test_a_profile_takes_no_nonsense(alice: Account, change: dict[str, Any]) -> None:
    before = alice.get("me")
    answer = alice.http.patch("/api/me", json=change)
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid")
    assert alice.get("me") == before


def test_what_has_not_changed_is_not_sent_again(alice: Account) -> None:
    first = alice.http.get("/api/me")
    again = alice.http.get("/api/me", headers={"If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    alice.http.patch("/api/me", json={"about": "new"})
    assert alice.http.get("/api/me", headers={"If-None-Match": first.headers["ETag"]}).status_code == 200


# -- Avatars ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF"])
def test_an_avatar_is_made_square_and_written_anew(alice: Account, bob: Account, kind: str) -> None:
    answer = upload(alice, image(kind))
    assert answer.status_code == 200, answer.text
    url = answer.json()["avatar_url"]
    assert bob.get(f"users/{alice.id}")["avatar_url"] == url
    served = httpx.get(f"{alice.server.http}{url}")
    assert served.headers["Content-Type"] == "image/webp"
    assert served.headers["X-Content-Type-Options"] == "nosniff"
    assert "immutable" in served.headers["Cache-Control"]
    with Image.open(io.BytesIO(served.content)) as stored:
        assert (stored.format, stored.size) == ("WEBP", (256, 256))


def test_an_avatar_keeps_transparency_and_no_metadata(alice: Account) -> None:
    exif = Image.Exif()
    exif[0x010E] = "where I live"
    assert upload(alice, image(mode="RGBA", exif=exif)).status_code == 200
    served = httpx.get(f"{alice.server.http}{alice.get('me')['avatar_url']}").content
    assert b"where I live" not in served
    with Image.open(io.BytesIO(served)) as stored:
        assert stored.mode == "RGBA"


def test_a_replaced_avatar_is_removed(alice: Account) -> None:
    first = upload(alice, image()).json()["avatar_url"]
    second = upload(alice, image(size=(10, 10))).json()["avatar_url"]
    assert httpx.get(f"{alice.server.http}{first}").status_code == 404
    assert httpx.get(f"{alice.server.http}{second}").status_code == 200
    assert alice.http.delete("/api/me/avatar").json()["avatar_url"] is None
    assert httpx.get(f"{alice.server.http}{second}").status_code == 404


def bomb() -> bytes:
    """A PNG of some kilobytes that says it has 30,000 times 30,000 pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    body = zlib.compress(b"\0" * 1_000_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "invalid"),
        (b"<html><script>alert(1)</script></html>", "invalid"),
        (b"GIF89a<script>alert(1)</script>", "invalid"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "invalid"),
        (image()[:200], "invalid"),
        (b"%PDF-1.4", "invalid"),
        (bomb(), "too_large"),
        (b"\xff\xd8\xff" + b"\0" * (5 * 1024 * 1024), "too_large"),
    ],
)
def test_what_is_no_image_or_too_much_of_one_is_refused(alice: Account, data: bytes, code: str) -> None:
    started = time.monotonic()
    answer = upload(alice, data)
    assert (answer.json()["code"], alice.get("me")["avatar_url"]) == (code, None)
    assert answer.status_code in (400, 413)
    assert time.monotonic() - started < 5


def test_a_script_behind_an_image_is_not_served(alice: Account) -> None:
    polyglot = image("GIF") + b"<script>alert(1)</script>"
    url = upload(alice, polyglot, "x.html", "text/html").json()["avatar_url"]
    assert b"script" not in httpx.get(f"{alice.server.http}{url}").content


@pytest.mark.parametrize("name", ["..%2f..%2fdemo.sqlite3", "nothing.webp", "%00.webp", "a" * 300])
def test_only_avatars_are_served(alice: Account, name: str) -> None:
    assert httpx.get(f"{alice.server.http}/api/avatars/{name}").status_code == 404


def test_an_avatar_needs_a_file(alice: Account) -> None:
    assert alice.http.put("/api/me/avatar", json={"avatar": "x"}).status_code == 400
    assert alice.http.put("/api/me/avatar", files={"other": b"x"}).status_code == 400


# -- Finding people --------------------------------------------------------------------------------------------------


def test_people_are_found_by_address_and_number_only_if_they_allow_it(alice: Account, bob: Account) -> None:
    email, phone = f"{bob.username}@example.com", f"+4940{int(time.time() * 1000) % 10**8:08d}"
    bob.post("me/email", email=email, password=bob.password)
    bob.post("me/phone", phone=phone, password=bob.password)
    for text in (email, phone):
        assert alice.get("users", search=text)["results"] == []
    bob.http.patch("/api/me", json={"find_by_email": True, "find_by_phone": True})
    for text in (email.upper(), f"{phone[:5]} {phone[5:]}"):
        assert [user["id"] for user in alice.get("users", search=text)["results"]] == [bob.id], text
    for text in (email[:-1], email[:8] + "@", phone[:-1]):
        assert alice.get("users", search=text)["results"] == [], "a part of it must not do"


def test_what_others_see_of_a_user_holds_nothing_private(alice: Account, bob: Account) -> None:
    bob.post("me/email", email=f"{bob.username}@example.com", password=bob.password)
    seen = alice.get(f"users/{bob.id}")
    assert set(seen) == {
        "id",
        "username",
        "display_name",
        "avatar_url",
        "about",
        "status",
        "online",
        "last_seen",
    }
    for user_id in ("0", "999999999", "nobody", "9" * 40):
        assert alice.http.get(f"/api/users/{user_id}").status_code == 404


# -- Deletion --------------------------------------------------------------------------------------------------------


async def test_a_deleted_account_leaves_its_messages_and_nothing_else(
    anonymous: httpx.Client, alice: Account, bob: Account
) -> None:
    room = alice.room(bob)
    alice.post(f"rooms/{room}/messages", payload={"text": "I was here"})
    avatar = upload(alice, image()).json()["avatar_url"]
    wrong = alice.http.post("/api/me/deletion", json={"password": "wrong"})
    assert (wrong.status_code, list(wrong.json()["fields"])) == (400, ["password"])
    async with alice.socket() as a, bob.socket() as b:
        assert alice.http.post("/api/me/deletion", json={"password": alice.password}).status_code == 204
        assert await a.closed() == 4003
        left = await b.expect("room", action="left")
        assert [member["user_id"] for member in left["members"]] == [alice.id]
        gone = await b.expect("profile")
        assert gone["person"] == {"user_id": alice.id, "username": "", "deleted": True}
    assert anonymous.get("/api/me", headers=dict(alice.http.headers)).status_code == 401
    again = {"username": alice.username, "password": alice.password}
    assert anonymous.post("/api/auth/token", json=again).status_code == 401
    events = bob.get(f"rooms/{room}/messages")["results"]
    (message,) = [event for event in events if event["type"] == "message"]
    assert message["payload"] == {"text": "I was here"}
    assert "from" not in message
    assert bob.http.get(f"/api/users/{alice.id}").status_code == 404
    assert httpx.get(f"{alice.server.http}{avatar}").status_code == 404
    assert anonymous.post("/api/auth/register", json=again).status_code == 201, "the name is not free"


def test_a_chat_of_two_survives_the_other_one(alice: Account, bob: Account) -> None:
    room = alice.post("rooms", room_type="direct", members=[bob.id])["id"]
    alice.post(f"rooms/{room}/messages", payload="hello")
    alice.post("me/deletion", password=alice.password)
    shown = next(one for one in bob.get("rooms")["results"] if one["id"] == room)
    assert (shown["name"], shown["peer"]) == ("Deleted account", None)
    assert bob.http.post(f"/api/rooms/{room}/messages", json={"payload": "are you there?"}).status_code == 201
