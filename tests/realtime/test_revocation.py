"""Who may no longer be there is closed out, also by a node that nothing but the database connects with the others."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from http.cookies import SimpleCookie

import httpx
import pytest

from tests.faults.processes import Scripts, scripts
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Server, Server]]:
    """Two nodes, each with an in-memory layer of its own."""
    with databases.fresh("sqlite") as url, serving(url) as one, serving(url) as other:
        yield one, other


@pytest.fixture(scope="module")
def script(nodes: tuple[Server, Server]) -> Iterator[Scripts]:
    """A process that serves nobody, as a task queue or a shell would be."""
    with scripts(nodes[0].database_url) as running:
        yield running


def at(node: Server, account: Account) -> Socket:
    return Socket(node, headers={"Authorization": f"Bearer {account.access}"})


# What ends somebody's credentials, in a process of its own.


def disable(user: str) -> None:
    from django.contrib.auth.models import User

    found = User.objects.get(pk=user)
    found.is_active = False
    found.save()


def disable_without_a_word(user: str) -> None:
    from django.contrib.auth.models import User

    User.objects.filter(pk=user).update(is_active=False)


def delete(user: str) -> None:
    from django.contrib.auth.models import User

    User.objects.get(pk=user).delete()


def change_password(user: str) -> None:
    from django.contrib.auth.models import User

    found = User.objects.get(pk=user)
    found.set_password("another-one-entirely")
    found.save()


def change_password_and_think_better_of_it(user: str) -> None:
    from django.contrib.auth.models import User
    from django.db import transaction

    with transaction.atomic():
        found = User.objects.get(pk=user)
        found.set_password("another-one-entirely")
        found.save()
        transaction.set_rollback(True)


def rename(user: str) -> None:
    from django.contrib.auth.models import User

    found = User.objects.get(pk=user)
    found.first_name = "Somebody"
    found.save()


def end_the_sign_ins(user: str) -> None:
    from django.contrib.auth.models import User

    from mana.accounts import services

    services.sign_out(User.objects.get(pk=user), None, everywhere=True)


def remove_the_device(user: str) -> None:
    from django.contrib.auth.models import User

    from mana.accounts import services

    services.remove_device(User.objects.get(pk=user), "stolen-phone")


def disconnect_all(user: str) -> None:
    from mana.realtime.models import Session
    from mana.realtime.revocation import disconnect

    for session in Session.objects.filter(user_id=user):
        disconnect(session.pk)


def disconnect_in_the_admin(user: str) -> str:
    from django.contrib.auth.models import User
    from django.contrib.messages import get_messages
    from django.test import Client
    from django.urls import reverse

    from mana.realtime.models import Session

    client = Client()
    client.force_login(User.objects.create_superuser(f"root-{user}"))
    chosen = Session.objects.filter(user_id=user).values_list("pk", flat=True)
    url = reverse("admin:mana_realtime_session_changelist")
    answer = client.post(url, {"action": "disconnect", "_selected_action": list(chosen)})
    assert answer.status_code == 302
    return str(next(iter(get_messages(answer.wsgi_request))))


def live_rooms(user: str) -> list[tuple[str, int, int]]:
    from mana import rooms

    return [
        (one.room.key, one.people, one.sessions)
        for one in rooms.live()
        if one.room.memberships.filter(user_id=user).exists()
    ]


@pytest.mark.parametrize(
    ("end", "code"),
    [
        (disable, 4003),
        (disable_without_a_word, 4003),
        (delete, 4003),
        (change_password, 4009),
        (end_the_sign_ins, 4009),
    ],
)
async def test_who_lost_their_credentials_is_closed_out_everywhere(
    nodes: tuple[Server, Server], script: Scripts, end: Callable[[str], None], code: int
) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    async with at(one, alice) as here, at(other, alice) as there, at(other, bob) as untouched:
        script.run(end, alice.id)
        for socket in (here, there):
            assert (await socket.expect("error"))["code"] == "revoked"
            assert await socket.closed() == code
        await untouched.request("ping")
    assert alice.http.get("/api/me").status_code == 401
    assert alice.http.post("/api/auth/token/refresh", json={"refresh": alice.refresh}).status_code == 401
    again = at(other, alice)
    await again.connect()
    assert (await again.expect("error"))["code"] in {"revoked", "unauthenticated"}
    assert await again.closed() == 4001


@pytest.mark.parametrize("change", [rename, change_password_and_think_better_of_it])
async def test_a_change_that_ends_nothing_closes_nobody(
    nodes: tuple[Server, Server], script: Scripts, change: Callable[[str], None]
) -> None:
    _, other = nodes
    alice, bob = Account(other), Account(other)
    async with at(other, alice) as socket, at(other, bob) as marker:
        script.run(change, alice.id)
        script.run(disable, bob.id)  # by the time this is acted on, so is what was before it
        assert await marker.closed() == 4003
        await socket.request("ping")


async def test_a_removed_device_is_closed_out_and_the_others_go_on(
    nodes: tuple[Server, Server], script: Scripts
) -> None:
    _, other = nodes
    alice = Account(other)
    phones = {"Authorization": f"Bearer {alice.access}"}
    webs = {"Authorization": f"Bearer {alice.sign_in_again()}"}
    async with Socket(other, headers=phones, device_id="stolen-phone") as phone, Socket(other, headers=webs) as web:
        script.run(remove_the_device, alice.id)
        assert await phone.closed() == 4009
        await web.request("ping")


async def test_a_disconnected_session_may_come_back(nodes: tuple[Server, Server], script: Scripts) -> None:
    one, other = nodes
    alice = Account(one)
    async with at(one, alice) as here, at(other, alice) as there:
        await _stored(script, alice, 2)
        script.run(disconnect_all, alice.id)
        assert [await socket.closed() for socket in (here, there)] == [4009, 4009]
    async with at(other, alice) as socket:
        await socket.request("ping")


async def test_the_admin_disconnects_sessions(nodes: tuple[Server, Server], script: Scripts) -> None:
    _, other = nodes
    alice = Account(other)
    async with at(other, alice) as socket:
        await _stored(script, alice, 1)
        assert script.run(live_rooms, alice.id) == []
        room = alice.room()
        assert script.run(live_rooms, alice.id) == [(room, 1, 1)]
        assert script.run(disconnect_in_the_admin, alice.id) == "1 sessions are being disconnected."
        assert await socket.closed() == 4009


async def test_the_socket_of_a_django_session_ends_with_it(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice = Account(one)
    with httpx.Client(base_url=one.http) as browser:
        csrf = browser.get("/login/").cookies["csrftoken"]
        form = {"username": alice.username, "password": alice.password, "csrfmiddlewaretoken": csrf}
        assert browser.post("/login/", data=form).status_code == 302
        cookie = SimpleCookie({"sessionid": browser.cookies["sessionid"]}).output(header="").strip()
        headers = {"Cookie": cookie, "Origin": other.http}
        async with Socket(other, headers=headers) as socket, at(other, alice) as app:
            browser.post("/logout/", data={"csrfmiddlewaretoken": browser.cookies["csrftoken"]})
            assert await socket.closed() == 4009
            await app.request("ping")


async def test_who_is_removed_from_a_room_at_one_node_hears_nothing_more_at_the_other(
    nodes: tuple[Server, Server],
) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(bob)
    async with at(one, alice) as a, at(other, bob) as b, at(other, alice) as witness:
        alice.http.delete(f"/api/rooms/{room}/members/{bob.id}").raise_for_status()
        await b.expect("room", action="removed")
        await a.request("message", room_id=room, payload="among ourselves")
        await witness.expect("message")  # bob's node has it
        assert (await b.refusal("message", room_id=room, payload="still here?"))["code"] in {
            "not_found",
            "not_a_member",
        }
        assert not [frame for frame in await b.silence() if frame["type"] == "message"]


async def test_who_is_banned_at_one_node_hears_nothing_more_at_the_other(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(bob)
    async with at(one, alice) as a, at(other, bob) as b, at(other, alice) as witness:
        alice.http.post(f"/api/rooms/{room}/bans", json={"user_id": bob.id}).raise_for_status()
        await b.expect("room", action="banned")
        await a.request("message", room_id=room, payload="among ourselves")
        await witness.expect("message")  # bob's node has it
        assert (await b.refusal("message", room_id=room, payload="still here?"))["code"] in {
            "not_found",
            "not_a_member",
            "forbidden",
        }
        assert not [frame for frame in await b.silence() if frame["type"] == "message"]


async def test_a_role_that_was_taken_allows_nothing_more_on_open_sockets(nodes: tuple[Server, Server]) -> None:
    one, other = nodes
    alice, bob = Account(one), Account(one)
    room = alice.room(bob)
    role = f"/api/rooms/{room}/members/{bob.id}"
    async with at(one, alice) as a, at(other, bob) as b:
        alice.http.patch(role, json={"role": "moderator"}).raise_for_status()
        first, second = [
            (await a.request("message", room_id=room, payload=text))["message_id"] for text in ("first", "second")
        ]
        await b.request("message_delete", message_id=first)
        alice.http.patch(role, json={"role": "member"}).raise_for_status()
        assert (await b.refusal("message_delete", message_id=second))["code"] == "forbidden"


async def _stored(script: Scripts, account: Account, count: int) -> None:
    async with asyncio.timeout(30):
        while await asyncio.to_thread(script.run, _sessions, account.id) < count:
            pass


def _sessions(user: str) -> int:
    from mana.realtime.models import Session

    return Session.objects.filter(user_id=user).count()
