"""Files: known by their content, small when they are shown, given only to those who may read their message."""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from typing import Any

import httpx
import pytest
from PIL import Image

from tests.support.client import Account


def _image(size: tuple[int, int] = (640, 480), format: str = "PNG", **options: Any) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size, (200, 30, 90)).save(out, format, **options)
    return out.getvalue()


def _upload(account: Account, data: bytes, name: str = "file", content_type: str = "image/png") -> httpx.Response:
    return account.http.post("/api/attachments", files={"file": (name, data, content_type)})


def _sent(account: Account, room: str, data: bytes, name: str = "file") -> dict[str, Any]:
    file = _upload(account, data, name).json()
    account.post(f"rooms/{room}/messages", payload={"text": ""}, attachments=[file["id"]])
    return dict(file)


def _code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["code"]


async def test_an_image_travels_with_its_message(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    file = _upload(alice, _image(), "cake.png").json()
    assert (file["content_type"], file["width"], file["height"]) == ("image/png", 640, 480)
    async with alice.socket() as a, bob.socket() as b:
        await a.request("message", room_id=room, payload={"text": "look"}, attachments=[file["id"]])
        message = await b.expect("message")
        page = await b.request("history", room_id=room)
    info = {
        "id": file["id"],
        "name": "cake.png",
        "content_type": "image/png",
        "size": len(_image()),
        "width": 640,
        "height": 480,
        "thumbnail": True,
    }
    assert message["attachments"] == [info] == page["messages"][-1]["attachments"]
    got = bob.http.get(file["url"])
    assert got.content == _image()
    assert got.headers["Content-Type"] == "image/png"
    thumbnail = Image.open(io.BytesIO(bob.http.get(file["thumbnail_url"]).content))
    assert (thumbnail.format, thumbnail.size) == ("WEBP", (480, 360))


def test_what_is_served_can_not_run(alice: Account) -> None:
    room = alice.room()
    for name, data in (
        ("page.html", b"<!doctype html><script>alert(1)</script>"),
        ("logo.svg", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>'),
        ("polyglot.gif.html", b"GIF8<script>alert(1)</script>"),
        ("photo.png", b"<html>no photo</html>"),
    ):
        file = _sent(alice, room, data, name)
        assert file["content_type"] == "text/plain", name
        got = alice.http.get(file["url"])
        assert got.headers["Content-Type"].startswith("text/plain")
        assert got.headers["Content-Disposition"].startswith("attachment; ")
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in got.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("/absolute", "absolute"),
        ('quo"te\r\nX-Evil: 1.txt', 'quo"teX-Evil: 1.txt'),
        ("..", "file"),
        ("x" * 300 + ".txt", "x" * 196 + ".txt"),
        ("naïve 茶.txt", "naïve 茶.txt"),
    ],
)
def test_a_name_is_only_a_name(alice: Account, name: str, kept: str) -> None:
    from mana.messaging.files import clean_name

    assert clean_name(name) == kept
    if name.isascii() and name.isprintable() and len(name) < 200 and name != "..":
        file = _upload(alice, b"data", name).json()
        got = alice.http.get(file["url"])
        assert got.status_code == 200
        assert got.headers["Content-Disposition"].count("\n") == 0


def test_others_get_nothing(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    file = _upload(alice, _image(), "x.png").json()
    paths = [f"/api/attachments/{file['id']}", file["url"], file["thumbnail_url"]]
    for path in paths:
        assert _code(bob.http.get(path)) == (404, "not_found"), "it is not sent yet"
        assert httpx.get(alice.server.http + path).status_code == 401
    stolen = bob.http.post(f"/api/rooms/{room}/messages", json={"payload": "mine", "attachments": [file["id"]]})
    assert _code(stolen) == (404, "not_found")
    alice.post(f"rooms/{room}/messages", payload="x", attachments=[file["id"]])
    for path in paths:
        assert bob.http.get(path).status_code == 200
        assert _code(carol.http.get(path)) == (404, "not_found")
    assert _code(bob.http.delete(paths[0])) == (409, "conflict")
    alice.post(f"rooms/{room}/members", user_ids=[carol.id])
    assert _code(carol.http.get(file["url"])) == (404, "not_found"), "she came later"


def test_who_left_keeps_what_they_had_and_gets_nothing_new(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    before = _sent(alice, room, b"before")
    bob.http.delete(f"/api/rooms/{room}/members/me")
    after = _sent(alice, room, b"after")
    assert bob.http.get(before["url"]).content == b"before"
    assert _code(bob.http.get(after["url"])) == (404, "not_found")


def test_a_file_goes_with_its_message(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    file = _upload(alice, _image()).json()
    message = alice.post(f"rooms/{room}/messages", payload="x", attachments=[file["id"]])["id"]
    bob.http.delete(f"/api/messages/{message}?scope=me")
    assert _code(bob.http.get(file["url"])) == (404, "not_found")
    assert alice.http.get(file["url"]).status_code == 200
    alice.http.delete(f"/api/messages/{message}")
    for path in (file["url"], file["thumbnail_url"], f"/api/attachments/{file['id']}"):
        assert _code(alice.http.get(path)) == (404, "not_found")


async def test_a_file_belongs_to_one_message(alice: Account) -> None:
    room = alice.room()
    file = _upload(alice, b"data").json()
    body = {"room_id": room, "payload": "x", "attachments": [file["id"]]}
    async with alice.socket() as a:
        first = await a.request("message", **body, ack_id=f"file-{alice.id}")
        again = await a.request("message", **body, ack_id=f"file-{alice.id}")
        assert (await a.refusal("message", **body))["code"] == "conflict"
        for number in range(2):  # in one batch
            other = _upload(alice, b"data").json()
            await a.send("message", room_id=room, payload=1, attachments=[other["id"]], ack_id=f"a-{alice.id}-{number}")
            await a.send("message", room_id=room, payload=2, attachments=[other["id"]], ack_id=f"b-{alice.id}-{number}")
            answers = [await a.expect(ack_id=f"{letter}-{alice.id}-{number}") for letter in "ab"]
            assert [answer["type"] for answer in answers] == ["ack", "error"]
        for wrong in ("not-an-id", "019ab0f2-7c1c-7000-8000-000000000001"):
            refused = await a.refusal("message", room_id=room, payload="x", attachments=[wrong])
            assert refused["code"] == "not_found"
    assert again["duplicate"]
    assert again["message_id"] == first["message_id"]


# -- What is not taken in --------------------------------------------------------------------------------------------


def _bomb(width: int, height: int) -> bytes:
    """A PNG of a few bytes that claims to be enormous."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_pixel_bombs_are_refused_unopened(alice: Account) -> None:
    assert _code(_upload(alice, _bomb(60_000, 60_000), "bomb.png")) == (413, "too_large")
    assert _code(_upload(alice, _bomb(2**31 - 1, 2**31 - 1), "bomb.png"))[0] in (400, 413)


def test_zip_bombs_are_never_unpacked(alice: Account) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(20 * 1024 * 1024))
    file = _upload(alice, out.getvalue(), "bomb.zip").json()
    assert (file["content_type"], file["size"]) == ("application/zip", len(out.getvalue()))


@pytest.mark.parametrize(
    "data",
    [_image()[:200], b"\x89PNG\r\n\x1a\n" + b"\0" * 100, b"GIF89a" + b"\xff" * 50, b"\xff\xd8\xff" + b"\0" * 50],
)
def test_damaged_images_are_refused(alice: Account, data: bytes) -> None:
    assert _code(_upload(alice, data, "x.png")) == (400, "invalid")


def test_empty_missing_and_oversized_files_are_refused(alice: Account) -> None:
    assert _code(_upload(alice, b"")) == (400, "invalid")
    assert _code(alice.http.post("/api/attachments", json={"file": "x"})) == (415, "not_supported")
    assert _code(alice.http.post("/api/attachments", files={"other": b"x"})) == (400, "invalid")
    assert _code(alice.http.post("/api/attachments", data={"file": "text"}, files={"x": b""})) == (400, "invalid")
    huge = _upload(alice, bytes(25 * 1024 * 1024 + 1))
    assert _code(huge) == (413, "too_large")


def test_metadata_stays_out_of_thumbnails(alice: Account) -> None:
    exif = Image.Exif()
    exif[0x010F] = "a camera that tells where I live"
    exif[0x0112] = 6  # lies on its side
    data = _image((600, 300), "JPEG", exif=exif)
    file = _upload(alice, data).json()
    assert (file["width"], file["height"]) == (300, 600)
    thumbnail = alice.http.get(file["thumbnail_url"]).content
    assert b"camera" not in thumbnail
    assert Image.open(io.BytesIO(thumbnail)).size == (240, 480)


def test_an_upload_can_be_thrown_away(alice: Account) -> None:
    file = _upload(alice, b"data").json()
    assert alice.http.delete(f"/api/attachments/{file['id']}").status_code == 204
    assert _code(alice.http.get(file["url"])) == (404, "not_found")


def test_a_client_that_has_a_file_need_not_get_it_again(alice: Account) -> None:
    file = _upload(alice, b"data").json()
    etag = alice.http.get(file["url"]).headers["ETag"]
    again = alice.http.get(file["url"], headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")


# -- Avatars ---------------------------------------------------------------------------------------------------------


async def test_a_rooms_avatar(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob)
    url = f"/api/rooms/{room}/avatar"
    async with bob.socket() as b:
        shown = alice.http.put(url, files={"file": ("me.jpg", _image((900, 300), "JPEG"), "image/jpeg")}).json()
        told = await b.expect("room", action="updated")
    assert told["room"]["avatar"] == shown["avatar"]
    picture = Image.open(io.BytesIO(bob.http.get(url).content))
    assert picture.size == (256, 256)
    assert _code(carol.http.get(url)) == (404, "not_found")
    assert _code(bob.http.put(url, files={"file": ("x", _image(), "image/png")})) == (403, "forbidden")
    assert _code(alice.http.put(url, files={"file": ("x.svg", b"<svg/>", "image/svg+xml")})) == (400, "invalid")
    assert alice.http.delete(url).status_code == 204
    assert _code(bob.http.get(url)) == (404, "not_found")
    assert bob.get(f"rooms/{room}")["avatar"] is None
