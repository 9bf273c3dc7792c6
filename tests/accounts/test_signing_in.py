"""Registration and sign-in by name, address and number; sign-ins, devices, passwords."""

from __future__ import annotations

import asyncio
import re
import time
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from django.conf import settings

from tests.support.client import Account

PASSWORD = "a-long-one-7"


def unique(prefix: str = "p") -> str:
    """A name that nobody has."""
    return f"{prefix}{uuid4().hex[:10]}"


def register(client: httpx.Client, **body: Any) -> httpx.Response:
    return client.post("/api/auth/register", json={"username": unique(), "password": PASSWORD, **body})


def token(client: httpx.Client, username: str, password: str = PASSWORD, **more: str) -> httpx.Response:
    return client.post("/api/auth/token", json={"username": username, "password": password, **more})


def bearer(access: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access}"}


# -- Names, addresses, numbers ---------------------------------------------------------------------------------------


def test_one_signs_in_with_name_address_or_number_however_it_is_written(anonymous: httpx.Client) -> None:
    name, number = unique("Ann"), f"+49{int(time.time() * 1000) % 10**10:010d}"
    made = register(
        anonymous, username=name, email=f"{name}@Example.COM", phone=f"{number[:5]} ({number[5:8]}) {number[8:]}"
    )
    assert made.status_code == 201, made.text
    for identifier in (name, name.upper(), f"{name}@example.com".upper(), number, number.replace("+", "00")):
        assert token(anonymous, identifier).status_code == 200, identifier
    me = anonymous.get("/api/me", headers=bearer(made.json()["access"])).json()
    assert (me["email"], me["phone"]) == (f"{name}@example.com", number)


def test_addresses_and_numbers_are_given_once(anonymous: httpx.Client) -> None:
    email, phone = f"{unique()}@example.com", f"+4930{int(time.time() * 1000) % 10**8:08d}"
    assert register(anonymous, email=email, phone=phone).status_code == 201
    again = register(anonymous, email=email.upper(), phone=phone)
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert set(again.json()["fields"]) == {"email", "phone"}


@pytest.mark.parametrize(
    "name",
    [
        "p\u0430ypal-x",
        "paypal\u200b",
        "pay pal",
        "ad\u202emin",
        "someone@example.com",
        "someone\uff20example.com",
        "+491701234567",
        "\uff14\uff19\uff11\uff17\uff10\uff11\uff12\uff13",
        " lead",
        "tab\tx",
    ],
)
def test_a_name_that_could_be_taken_for_something_else_is_refused(anonymous: httpx.Client, name: str) -> None:
    answer = register(anonymous, username=name)
    assert answer.status_code == 400, answer.text
    assert "username" in answer.json()["fields"]


def test_a_name_in_letters_that_look_like_anothers_is_taken(anonymous: httpx.Client) -> None:
    suffix = str(time.time_ns())
    assert register(anonymous, username=f"cope{suffix}").status_code == 201
    lookalike = register(anonymous, username=f"\u0441\u043e\u0440\u0435{suffix}")
    wide = register(anonymous, username=f"\uff43ope{suffix}")
    assert [lookalike.status_code, wide.status_code] == [409, 409]


def test_people_of_all_scripts_are_welcome(anonymous: httpx.Client) -> None:
    for name in ("Ωμέγα", "Юлия", "さくら花子", "محمد", "Zoë-Çelik"):
        assert register(anonymous, username=f"{name}_{time.time_ns()}").status_code == 201, name


def test_what_a_client_adds_is_not_assigned(anonymous: httpx.Client) -> None:
    made = register(anonymous, is_superuser=True, is_staff=True, role="admin", groups=[1], id=1)
    me = anonymous.get("/api/me", headers=bearer(made.json()["access"])).json()
    assert me["role"] == "user"
    changed = anonymous.patch(
        "/api/me",
        json={"role": "admin", "permissions": ["delete_room"], "username": "x", "email": "x@example.com"},
        headers=bearer(made.json()["access"]),
    ).json()
    assert changed == me


def test_the_token_carries_the_role(anonymous: httpx.Client) -> None:
    import base64
    import json

    access = register(anonymous).json()["access"]
    claims = json.loads(base64.urlsafe_b64decode(access.split(".")[1] + "=="))
    assert claims["role"] == "user"


def test_a_name_can_be_changed_and_the_old_one_is_free(anonymous: httpx.Client, alice: Account, bob: Account) -> None:
    old, new = alice.username, unique("new")
    assert alice.http.post("/api/me/username", json={"username": bob.username.upper()}).status_code == 409
    assert alice.post("me/username", username=new)["username"] == new
    assert token(anonymous, old, alice.password).status_code == 401
    assert token(anonymous, new, alice.password).status_code == 200
    assert register(anonymous, username=old).status_code == 201


def test_changing_the_address_needs_the_password(alice: Account) -> None:
    email = f"{unique()}@example.com"
    wrong = alice.http.post("/api/me/email", json={"email": email, "password": "wrong"})
    assert (wrong.status_code, list(wrong.json()["fields"])) == (400, ["password"])
    assert alice.post("me/email", email=email, password=alice.password)["email"] == email
    assert alice.post("me/email", email="", password=alice.password)["email"] == ""
    bad = alice.http.post("/api/me/email", json={"email": "nonsense", "password": alice.password})
    assert bad.status_code == 400


# -- Limits ----------------------------------------------------------------------------------------------------------


def test_guessing_a_password_is_slowed_down_for_the_account_and_not_for_others(stranger: httpx.Client) -> None:
    name = unique()
    assert register(stranger, username=name, email=f"{name}@example.com").status_code == 201
    for _ in range(3):
        assert token(stranger, name, "wrong").status_code == 401
    # The same account under its other names, and with the right password, has no more attempts either.
    for identifier in (name.upper(), f"{name}@example.com"):
        slow = token(stranger, identifier)
        assert (slow.status_code, slow.json()["code"]) == (429, "rate_limited")
        assert 1 <= int(slow.headers["Retry-After"]) <= 60
    assert token(stranger, "somebody-else").status_code == 401


def test_an_address_that_a_client_makes_up_does_not_help(stranger: httpx.Client) -> None:
    name = unique()
    for number in range(3):
        headers = {"X-Forwarded-For": f"10.0.0.{number}"}
        stranger.post("/api/auth/token", json={"username": name, "password": "wrong"}, headers=headers)
    headers = {"X-Forwarded-For": "10.9.9.9"}
    answer = stranger.post("/api/auth/token", json={"username": name, "password": "wrong"}, headers=headers)
    assert answer.status_code == 429


def test_a_required_address_is_asked_for(stranger: httpx.Client) -> None:
    answer = register(stranger)
    assert (answer.status_code, list(answer.json()["fields"])) == (400, ["email"])


def test_searching_is_slowed_down(stranger: httpx.Client) -> None:
    name = unique()
    headers = bearer(register(stranger, username=name, email=f"{name}@example.com").json()["access"])
    answers = [stranger.get("/api/users?search=xy", headers=headers).status_code for _ in range(5)]
    assert answers == [200, 200, 200, 200, 429]


def test_guests_come_without_a_password_and_may_stay(stranger: httpx.Client) -> None:
    made = stranger.post("/api/auth/guest", json={"display_name": "Passing by"})
    assert made.status_code == 201, made.text
    headers = bearer(made.json()["access"])
    me = stranger.get("/api/me", headers=headers).json()
    assert (me["display_name"], me["role"], me["has_password"]) == ("Passing by", "guest", False)
    refused = stranger.post("/api/rooms", json={"name": "Mine"}, headers=headers)
    assert (refused.status_code, refused.json()["code"]) == (403, "forbidden")
    name = unique("stays")
    body = {"username": name, "password": PASSWORD, "email": f"{name}@example.com"}
    claimed = stranger.post("/api/auth/claim", json=body, headers=headers)
    assert claimed.status_code == 200, claimed.text
    assert (claimed.json()["id"], claimed.json()["role"]) == (made.json()["user"]["id"], "user")
    assert token(stranger, name).status_code == 200
    assert stranger.post("/api/auth/claim", json=body, headers=headers).status_code == 409


def test_a_guest_gets_a_name_together_with_a_password_and_nobody_gets_a_guests_name(stranger: httpx.Client) -> None:
    made = stranger.post("/api/auth/guest", json={}).json()
    headers = bearer(made["access"])
    named = stranger.post("/api/me/username", json={"username": unique("sneaks")}, headers=headers)
    assert (named.status_code, named.json()["code"]) == (409, "conflict")
    taken = stranger.get("/api/me", headers=headers).json()["username"]
    for name in (taken, "guest-0123456789abcdef"):
        body = {"username": name, "password": PASSWORD, "email": f"{unique('x')}@example.com"}
        refused = stranger.post("/api/auth/register", json=body)
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid")
        assert "username" in refused.json()["fields"]


def test_guests_are_let_in_only_where_the_project_says_so(anonymous: httpx.Client) -> None:
    answer = anonymous.post("/api/auth/guest", json={})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


# -- Sign-ins and devices --------------------------------------------------------------------------------------------


async def test_sign_ins_are_listed_and_ended_one_by_one(anonymous: httpx.Client, alice: Account, bob: Account) -> None:
    body = {
        "username": alice.username,
        "password": alice.password,
        "device_id": "phone-1",
        "device_name": "Ann's phone",
    }
    other = anonymous.post("/api/auth/token", json=body, headers={"User-Agent": "Mozilla (Android) Chrome/1"}).json()
    listed = alice.get("auth/sign-ins")["results"]
    assert [row["current"] for row in listed] == [False, True]
    assert listed[0]["device_id"] == "phone-1"
    (device,) = alice.get("devices")["results"]
    assert (device["name"], device["platform"]) == ("Ann's phone", "Chrome on Android")
    ended = listed[0]["id"]
    assert bob.http.delete(f"/api/auth/sign-ins/{ended}").json()["code"] == "not_found"
    assert alice.http.delete("/api/auth/sign-ins/nonsense").json()["code"] == "not_found"
    alice_on_phone = Account.__new__(Account)
    alice_on_phone.server, alice_on_phone.access = alice.server, other["access"]
    async with alice_on_phone.socket() as phone, alice.socket() as desk:
        assert phone.welcome["device_id"] == "phone-1"
        assert alice.http.delete(f"/api/auth/sign-ins/{ended}").status_code == 204
        assert await phone.closed() == 4009
        await desk.request("ping")
    assert anonymous.get("/api/me", headers=bearer(other["access"])).json()["code"] == "revoked"


async def test_removing_a_device_closes_its_sockets_and_ends_its_tokens(
    anonymous: httpx.Client, alice: Account
) -> None:
    body = {"username": alice.username, "password": alice.password, "device_id": "lost"}
    lost = anonymous.post("/api/auth/token", json=body).json()
    on_lost = Account.__new__(Account)
    on_lost.server, on_lost.access = alice.server, lost["access"]
    async with on_lost.socket() as there, alice.socket(device_id="kept") as kept:
        online = {row["device_id"]: row["online"] for row in alice.get("devices")["results"]}
        assert set(online) == {"lost", "kept"}
        assert alice.http.delete("/api/devices/lost").status_code == 204
        assert await there.closed() == 4009
        await kept.request("ping")
    assert anonymous.get("/api/me", headers=bearer(lost["access"])).json()["code"] == "revoked"
    assert anonymous.post("/api/auth/token/refresh", json={"refresh": lost["refresh"]}).json()["code"] == "revoked"
    assert [row["device_id"] for row in alice.get("devices")["results"]] == ["kept"]


def test_a_browsers_session_is_a_sign_in_too(anonymous: httpx.Client, alice: Account) -> None:
    anonymous.get("/login/")
    form = {"username": alice.username, "password": alice.password}
    form["csrfmiddlewaretoken"] = anonymous.cookies["csrftoken"]
    assert anonymous.post("/login/", data=form).status_code == 302
    assert anonymous.get("/api/me").status_code == 200
    (browser,) = [row for row in alice.get("auth/sign-ins")["results"] if not row["current"]]
    assert alice.http.delete(f"/api/auth/sign-ins/{browser['id']}").status_code == 204
    assert anonymous.get("/api/me").status_code == 401
    assert anonymous.get("/").status_code == 302, "the pages of the site still take the session"


# -- Passwords -------------------------------------------------------------------------------------------------------


async def test_a_new_password_ends_all_other_sign_ins(anonymous: httpx.Client, alice: Account) -> None:
    other = token(anonymous, alice.username, alice.password).json()
    new = "another-long-one-8"
    wrong = alice.http.post("/api/auth/password", json={"old_password": "wrong", "password": new})
    weak = alice.http.post("/api/auth/password", json={"old_password": alice.password, "password": "12345678"})
    assert [list(one.json()["fields"]) for one in (wrong, weak)] == [["old_password"], ["password"]]
    elsewhere = Account.__new__(Account)
    elsewhere.server, elsewhere.access = alice.server, other["access"]
    async with elsewhere.socket() as there, alice.socket() as here:
        alice.post("auth/password", old_password=alice.password, password=new)
        assert await there.closed() == 4009
        await here.request("ping")
    assert anonymous.get("/api/me", headers=bearer(other["access"])).json()["code"] == "revoked"
    assert alice.get("me")["username"] == alice.username
    assert token(anonymous, alice.username, alice.password).status_code == 401
    assert token(anonymous, alice.username, new).status_code == 200


def mails_to(address: str, count: int = 1) -> list[Any]:
    """The mails to an address, as soon as there are so many."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        found = []
        for file in Path(settings.EMAIL_FILE_PATH).glob("*.log") if Path(settings.EMAIL_FILE_PATH).exists() else ():
            for part in file.read_bytes().split(b"-" * 79):
                mail = message_from_bytes(part.strip(), policy=policy.default)
                if mail["To"] == address:
                    found.append(mail)
        if len(found) >= count:
            return found
        time.sleep(0.05)
    raise AssertionError(f"No mail to {address} came.")


def test_a_forgotten_password_is_set_anew_once(anonymous: httpx.Client) -> None:
    name = unique()
    tokens = register(anonymous, username=name, email=f"{name}@example.com").json()
    known = anonymous.post("/api/auth/password/reset", json={"email": f"{name}@EXAMPLE.com"})
    unknown = anonymous.post("/api/auth/password/reset", json={"email": "nobody@example.com"})
    assert (known.status_code, known.content) == (unknown.status_code, unknown.content) == (202, b"")
    (mail,) = mails_to(f"{name}@example.com")
    uid, secret = re.findall(r"^(\S+)$", mail.get_content(), re.M)[-2:]
    new = {"uid": uid, "token": secret, "password": "another-long-one-8"}
    weak = anonymous.post("/api/auth/password/reset/confirm", json={**new, "password": "123"})
    assert list(weak.json()["fields"]) == ["password"]
    forged = anonymous.post("/api/auth/password/reset/confirm", json={**new, "token": secret[:-1] + "x"})
    assert (forged.status_code, forged.json()["code"]) == (403, "forbidden")
    assert anonymous.post("/api/auth/password/reset/confirm", json=new).status_code == 204
    assert anonymous.post("/api/auth/password/reset/confirm", json=new).status_code == 403
    assert token(anonymous, name, "another-long-one-8").status_code == 200
    assert anonymous.get("/api/me", headers=bearer(tokens["access"])).json()["code"] == "revoked"


@pytest.mark.parametrize(
    "body", [{"uid": "!!", "token": "x"}, {"uid": "////", "token": "x"}, {"uid": "OTk5", "token": "x"}]
)
def test_a_made_up_link_sets_nothing(anonymous: httpx.Client, body: dict[str, str]) -> None:
    answer = anonymous.post("/api/auth/password/reset/confirm", json={**body, "password": PASSWORD})
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_a_mailbox_is_not_flooded_and_the_answer_does_not_tell(stranger: httpx.Client) -> None:
    name = unique()
    register(stranger, username=name, email=f"{name}@example.com")
    answers = [stranger.post("/api/auth/password/reset", json={"email": f"{name}@example.com"}) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202] * 4
    mails_to(f"{name}@example.com", 2)
    assert len(mails_to(f"{name}@example.com")) == 2


async def test_many_who_want_one_name_at_the_same_time(anonymous: httpx.Client) -> None:
    name = unique("race")
    variants = [name, name.upper(), name.capitalize(), name]

    async def one(client: httpx.AsyncClient, variant: str) -> int:
        body = {"username": variant, "password": PASSWORD}
        return (await client.post("/api/auth/register", json=body)).status_code

    async with httpx.AsyncClient(base_url=str(anonymous.base_url), timeout=30) as client:
        answers = await asyncio.gather(*(one(client, variant) for variant in variants))
    assert sorted(answers) == [201, 409, 409, 409]
