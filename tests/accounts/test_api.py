"""Accounts over REST: registration, tokens, profile, users, devices; and how errors look."""

from __future__ import annotations

import httpx
import pytest

from tests.support.client import Account


def test_registering_gives_an_account_and_tokens(anonymous: httpx.Client, alice: Account) -> None:
    response = anonymous.post(
        "/api/auth/register", json={"username": f"{alice.username}-2", "password": "a-long-one-7"}
    )
    body = response.json()
    assert response.status_code == 201
    assert set(body) == {"user", "access", "refresh"}
    assert body["user"]["username"] == f"{alice.username}-2"
    assert isinstance(body["user"]["id"], str)
    me = anonymous.get("/api/me", headers={"Authorization": f"Bearer {body['access']}"}).json()
    assert me["id"] == body["user"]["id"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"username": "", "password": "a-long-one-7"}, "username"),
        ({"username": "has spaces", "password": "a-long-one-7"}, "username"),
        ({"username": "x" * 151, "password": "a-long-one-7"}, "username"),
        ({"username": "nul\x00", "password": "a-long-one-7"}, "username"),
        ({"username": "guest:x y", "password": "a-long-one-7"}, "username"),
        ({"username": "somebody-new", "password": "short"}, "password"),
        ({"username": "somebody-new", "password": "password"}, "password"),
        ({"username": "somebody-new"}, "password"),
        ({"username": "somebody-new", "password": "a-long-one-7", "email": "no"}, "email"),
        ({"username": ["x"], "password": "a-long-one-7"}, "username"),
    ],
)
def test_a_registration_that_is_wrong_names_the_field(
    anonymous: httpx.Client, body: dict[str, object], field: str
) -> None:
    response = anonymous.post("/api/auth/register", json=body)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"
    assert response.json()["detail"].startswith(f"{field}: ")
    assert field in response.json()["fields"]


def test_a_name_is_given_once_whatever_its_case(anonymous: httpx.Client, alice: Account) -> None:
    response = anonymous.post(
        "/api/auth/register", json={"username": alice.username.upper(), "password": "a-long-one-7"}
    )
    assert (response.status_code, response.json()["code"]) == (409, "conflict")


def test_signing_in(anonymous: httpx.Client, alice: Account) -> None:
    good = anonymous.post("/api/auth/token", json={"username": alice.username, "password": alice.password})
    bad = anonymous.post("/api/auth/token", json={"username": alice.username, "password": "wrong"})
    nobody = anonymous.post("/api/auth/token", json={"username": "nobody-here", "password": "wrong"})
    assert set(good.json()) == {"access", "refresh"}
    assert (bad.status_code, bad.json()["code"]) == (401, "unauthenticated")
    assert bad.json() == nobody.json(), "the answer tells whether the name exists"


def test_a_refresh_token_works_once_and_its_reuse_ends_the_sign_in(anonymous: httpx.Client, alice: Account) -> None:
    first = anonymous.post("/api/auth/token/refresh", json={"refresh": alice.refresh})
    assert first.status_code == 200
    stolen = anonymous.post("/api/auth/token/refresh", json={"refresh": alice.refresh})
    assert (stolen.status_code, stolen.json()["code"]) == (401, "revoked")
    after = anonymous.post("/api/auth/token/refresh", json={"refresh": first.json()["refresh"]})
    assert (after.status_code, after.json()["code"]) == (401, "revoked")
    assert alice.http.get("/api/me").status_code == 401


def test_logging_out_everywhere(anonymous: httpx.Client, alice: Account) -> None:
    other = anonymous.post("/api/auth/token", json={"username": alice.username, "password": alice.password}).json()
    alice.post("auth/logout", everywhere=True)
    for token in (alice.access, other["access"]):
        response = anonymous.get("/api/me", headers={"Authorization": f"Bearer {token}"})
        assert (response.status_code, response.json()["code"]) == (401, "revoked")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/me"),
        ("GET", "/api/rooms"),
        ("POST", "/api/rooms"),
        ("GET", "/api/rooms/public"),
        ("GET", "/api/rooms/x"),
        ("PATCH", "/api/rooms/x"),
        ("GET", "/api/rooms/x/members"),
        ("POST", "/api/rooms/x/members"),
        ("DELETE", "/api/rooms/x/members/me"),
        ("POST", "/api/rooms/x/invitations"),
        ("GET", "/api/rooms/x/messages"),
        ("POST", "/api/rooms/x/messages"),
        ("POST", "/api/rooms/x/receipts"),
        ("GET", "/api/sync"),
        ("GET", "/api/users?search=al"),
        ("GET", "/api/devices"),
        ("DELETE", "/api/devices/x"),
        ("POST", "/api/auth/ticket"),
        ("POST", "/api/auth/logout"),
    ],
)
def test_nothing_is_open_to_strangers(anonymous: httpx.Client, method: str, path: str) -> None:
    response = anonymous.request(method, path)
    assert (response.status_code, response.json()["code"]) == (401, "unauthenticated")
    assert "WWW-Authenticate" in response.headers


def test_profile(alice: Account) -> None:
    changed = alice.http.patch("/api/me", json={"display_name": "Ålice ✨", "about": "hi"})
    assert changed.json() == alice.get("me")
    assert (changed.json()["display_name"], changed.json()["about"]) == ("Ålice ✨", "hi")
    assert alice.http.patch("/api/me", json={"display_name": "x" * 101}).status_code == 400


def test_users_are_found_by_the_beginning_of_their_name(alice: Account, bob: Account) -> None:
    found = alice.get("users", search=bob.username[:-2])["results"]
    assert bob.id in [user["id"] for user in found]
    assert set(found[0]) == {"id", "username", "display_name", "avatar_url"}
    assert alice.get("users", search=alice.username)["results"] == []
    assert alice.get("users", search=bob.username[3:])["results"] == []
    for search in ("", "a", "x" * 151):
        assert alice.http.get("/api/users", params={"search": search}).status_code == 400
    assert alice.http.get("/api/users", params={"search": "李"}).status_code == 200


async def test_devices_are_listed_renamed_and_forgotten(alice: Account, bob: Account) -> None:
    async with alice.socket(device_id="my-phone"):
        pass
    (device,) = alice.get("devices")["results"]
    assert device["device_id"] == "my-phone"
    assert alice.http.patch("/api/devices/my-phone", json={"name": "Phone"}).json()["name"] == "Phone"
    assert bob.http.delete("/api/devices/my-phone").json()["code"] == "not_found"
    assert alice.http.delete("/api/devices/my-phone").status_code == 204
    assert alice.get("devices")["results"] == []


@pytest.mark.parametrize(
    ("content", "code", "status"),
    [
        (b"nonsense", "invalid_json", 400),
        (b"[]", "invalid", 400),
        (b'{"name": "\xff"}', "invalid_json", 400),
        (b'{"x": ' + b"[" * 200 + b"]" * 200 + b"}", "too_deep", 400),
        (b'{"room_type": "castle"}', "invalid", 400),
        (b'{"members": "all"}', "invalid", 400),
        (b'{"name": "a\\u0000b"}', "invalid", 400),
    ],
)
def test_a_bad_body_is_a_clear_refusal(alice: Account, content: bytes, code: str, status: int) -> None:
    response = alice.http.post("/api/rooms", content=content, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert response.json()["detail"]


@pytest.mark.parametrize(
    ("payload", "code", "status"),
    [
        ("null", "empty_payload", 400),
        ('""', "empty_payload", 400),
        ("{}", "empty_payload", 400),
        ('"' + "x" * 65536 + '"', "too_large", 413),
    ],
)
def test_a_bad_payload_is_refused_by_rest_as_well(alice: Account, payload: str, code: str, status: int) -> None:
    room = alice.room()
    response = alice.http.post(
        f"/api/rooms/{room}/messages",
        content=f'{{"payload": {payload}}}',
        headers={"Content-Type": "application/json"},
    )
    assert (response.status_code, response.json()["code"]) == (status, code)


def test_a_wrong_method_or_form_is_refused_in_json(alice: Account) -> None:
    wrong_method = alice.http.put("/api/me", json={})
    wrong_form = alice.http.post("/api/rooms", data={"name": "x"})
    assert (wrong_method.status_code, wrong_method.json()["code"]) == (405, "not_supported")
    assert (wrong_form.status_code, wrong_form.json()["code"]) == (415, "not_supported")
