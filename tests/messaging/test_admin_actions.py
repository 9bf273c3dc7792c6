"""The admin acts through the services: what it does is in the order of events, and told."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from mana.messaging import services
from mana.messaging.models import Invite, Membership, Message, Room

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


def _user(name: str, **fields: Any) -> Any:
    return get_user_model()._default_manager.create_user(username=name, **fields)  # type: ignore[attr-defined]


@pytest.fixture
def admin() -> Client:
    """The browser of a superuser."""
    client = Client()
    client.force_login(_user("root", is_staff=True, is_superuser=True))
    return client


def _act(client: Client, model: str, action: str, *rows: Any) -> Any:
    url = reverse(f"admin:mana_messaging_{model}_changelist")
    return client.post(url, {"action": action, "_selected_action": [row.pk for row in rows]})


def _last() -> Message:
    found = Message.objects.order_by("-sequence").first()
    assert found is not None
    return found


def test_a_message_is_deleted_for_everyone(admin: Client) -> None:
    ann = _user("ann")
    message = services.send(services.create_room(ann).room, ann, "secret")
    _act(admin, "message", "delete_for_everyone", message)
    assert Message.objects.get(pk=message.pk).payload is None
    assert (_last().kind, _last().sender.username) == ("delete", "root")  # type: ignore[union-attr]


def test_a_room_is_frozen_thawed_and_deleted(admin: Client) -> None:
    room = services.create_room(_user("ann")).room
    for action, frozen in (("freeze", True), ("thaw", False)):
        _act(admin, "room", action, room)
        room.refresh_from_db()
        assert room.is_frozen is frozen
    _act(admin, "room", "delete_rooms", room)
    room.refresh_from_db()
    assert room.deleted_at is not None
    assert [event.payload["action"] for event in room.messages.order_by("index")] == [
        "created",
        "updated",
        "updated",
        "deleted",
    ]


def test_members_are_muted_removed_and_banned(admin: Client) -> None:
    ann, ben, cat = _user("ann"), _user("ben"), _user("cat")
    room = services.create_room(ann, members=[ben, cat]).room
    row = Membership.objects.get(user=ben)
    _act(admin, "membership", "mute_for_a_day", row)
    row.refresh_from_db()
    assert row.muted_until is not None
    _act(admin, "membership", "remove", Membership.objects.get(user=ann))
    assert Membership.objects.filter(room=room, role="owner", state="joined").count() == 1, "somebody inherits"
    _act(admin, "membership", "ban", row)
    row.refresh_from_db()
    assert row.state == "banned"
    room.refresh_from_db()
    assert room.member_count == 1


def test_links_are_closed(admin: Client) -> None:
    ann = _user("ann")
    invite = services.create_invite(services.create_room(ann).room.key, ann)
    _act(admin, "invite", "revoke", invite)
    assert Invite.objects.get().revoked_at is not None


def test_who_may_only_look_does_nothing() -> None:
    staff = _user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__in=["view_message", "view_room"]))
    client = Client()
    client.force_login(staff)
    ann = _user("ann")
    message = services.send(services.create_room(ann).room, ann, "kept")
    _act(client, "message", "delete_for_everyone", message)
    _act(client, "room", "delete_rooms", message.room)
    assert Message.objects.get(pk=message.pk).payload == "kept"
    assert Room.objects.get().deleted_at is None


@pytest.mark.parametrize("model", ["room", "membership", "message"])
def test_direct_rooms_are_named_by_their_people_in_one_query(admin: Client, model: str) -> None:
    ann = _user("ann")
    url = reverse(f"admin:mana_messaging_{model}_changelist")

    def queries(count: int) -> int:
        for number in range(count):
            services.send_direct(ann, _user(f"friend-{count}-{number}"), "hi")
        with CaptureQueriesContext(
            connection,
        ) as captured:
            page = admin.get(url)
        assert f"ann &amp; friend-{count}-0" in page.content.decode()
        return len(captured)

    assert queries(2) == queries(9)
    row = Room.objects.order_by("pk").first() if model == "room" else None
    if row is not None:
        page = admin.get(reverse("admin:mana_messaging_room_change", args=[row.pk])).content.decode()
        assert "ann &amp; friend-2-0" in page


def test_a_membership_shows_its_positions(admin: Client) -> None:
    ann = _user("ann")
    services.send(services.create_room(ann).room, ann, "x")
    row = Membership.objects.get()
    page = admin.get(reverse("admin:mana_messaging_membership_change", args=[row.pk])).content.decode()
    for label in ("Read index", "Read sequence", "Delivered index", "Joined sequence"):
        assert label in page
