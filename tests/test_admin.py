"""The admin: every page opens, finds things, and asks the database a fixed number of times."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from mana import calls, contacts, notifications, preferences
from mana.accounts import services as accounts
from mana.accounts.models import Device, SignIn
from mana.contacts.models import Block, Contact, ContactRequest
from mana.messaging import services
from mana.messaging.models import Message, Room
from mana.notifications.models import PushSubscription
from mana.preferences.models import Preference
from mana.realtime.models import Node, Session

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]

LISTS = [
    "mana_messaging_room",
    "mana_messaging_membership",
    "mana_messaging_message",
    "mana_accounts_profile",
    "mana_accounts_device",
    "mana_accounts_signin",
    "mana_accounts_identifier",
    "mana_contacts_contact",
    "mana_contacts_contactrequest",
    "mana_contacts_block",
    "mana_preferences_preference",
    "mana_notifications_notification",
    "mana_notifications_pushsubscription",
    "mana_realtime_node",
    "mana_realtime_session",
    "mana_rtc_call",
]


@pytest.fixture
def admin() -> Client:
    """The browser of a superuser."""
    client = Client()
    client.force_login(get_user_model()._default_manager.create_superuser("root"))  # type: ignore[attr-defined]
    return client


def _populate(count: int) -> None:
    users = [accounts.register(username=f"person{n}-{count}", password="a-long-one-7") for n in range(count)]
    node = Node.objects.create(id=f"node-{count}", seen_at=timezone.now())
    asked, blocked, stranger = (
        accounts.register(username=f"{name}{count}", password="a-long-one-7") for name in ("person-asked", "b", "s")
    )
    for position, user in enumerate(users):
        accounts.sign_in(user)
        contacts.request(user, asked)
        contacts.request(stranger, user)
        contacts.accept(user, stranger)
        contacts.block(user, blocked)
        preferences.set(user, "notifications.level", "mentions")
        notifications.send(user, "Hello")
        PushSubscription.objects.create(user=user, digest=f"{count}-{position}", endpoint="https://push.example/x")
        room = services.create_room(user, name=f"Room {position}", members=users).room
        calls.start(room, user)
        services.send(room, user, {"text": f"<b>needle {position}</b>"})
        Device.objects.create(user=user, device_id="phone", last_seen_at=timezone.now())
        Session.objects.create(
            id=f"s{position}-{count}", node=node, user=user, device_id="phone", connected_at=timezone.now()
        )


def _queries(client: Client, url: str) -> int:
    from django.db import connection

    with CaptureQueriesContext(
        connection,
    ) as captured:
        response = client.get(url)
    assert response.status_code == 200, url
    return len(captured)


@pytest.mark.parametrize("name", LISTS)
def test_a_list_costs_the_same_for_few_and_many_rows(admin: Client, name: str) -> None:
    url = reverse(f"admin:{name}_changelist")
    _populate(2)
    few = _queries(admin, url)
    _populate(12)
    assert _queries(admin, url) == few


@pytest.mark.parametrize("name", LISTS)
def test_a_list_can_be_searched_and_a_row_opened(admin: Client, name: str) -> None:
    _populate(1)
    listing = reverse(f"admin:{name}_changelist")
    assert admin.get(listing, {"q": "person"}).status_code == 200
    model: Any = admin.get(listing).context["cl"].model
    row = model._default_manager.first()
    assert admin.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200


def test_messages_are_found_by_their_text_and_shown_escaped(admin: Client) -> None:
    _populate(3)
    page = admin.get(reverse("admin:mana_messaging_message_changelist"), {"q": "needle 1"})
    assert page.context["cl"].result_count == 1
    message = Message.objects.get(payload_json__contains="needle 1")
    detail = admin.get(reverse("admin:mana_messaging_message_change", args=[message.pk])).content
    assert b"&lt;b&gt;needle 1" in detail
    assert b"<b>needle" not in detail


def test_timelines_are_not_edited_by_hand(admin: Client) -> None:
    _populate(1)
    room = Room.objects.get()
    url = reverse("admin:mana_messaging_room_change", args=[room.pk])
    assert admin.post(url, {"name": "Forged"}).status_code == 403
    assert admin.get(reverse("admin:mana_messaging_message_add")).status_code == 403
    for name, row in (("room", room), ("message", Message.objects.first()), ("membership", room.memberships.get())):
        assert row is not None
        assert admin.post(reverse(f"admin:mana_messaging_{name}_delete", args=[row.pk])).status_code == 403


def test_a_sign_in_is_ended_here(admin: Client) -> None:
    _populate(2)
    open_before = SignIn.objects.filter(revoked_at=None).count()
    row = SignIn.objects.filter(session_key="").first()
    assert row is not None
    admin.post(
        reverse("admin:mana_accounts_signin_changelist"), {"action": "revoke", "_selected_action": [str(row.pk)]}
    )
    row.refresh_from_db()
    assert row.revoked_at is not None
    assert SignIn.objects.filter(revoked_at=None).count() == open_before - 1


def test_staff_without_permission_see_nothing() -> None:
    staff = get_user_model()._default_manager.create_user("staff", is_staff=True)  # type: ignore[attr-defined]
    client = Client()
    client.force_login(staff)
    for name in LISTS:
        assert client.get(reverse(f"admin:{name}_changelist")).status_code == 403


def _act(admin: Client, name: str, action: str, *pks: Any) -> Any:
    url = reverse(f"admin:{name}_changelist")
    return admin.post(url, {"action": action, "_selected_action": [str(pk) for pk in pks]}, follow=True)


def test_a_profile_is_called_like_its_user(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    page = admin.get(reverse("admin:mana_accounts_profile_change", args=[ann.pk])).content.decode()
    assert "<h2>ann</h2>" in page
    assert "profile of" not in page


def test_a_sign_in_has_nothing_to_save(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    accounts.sign_in(ann)
    row = SignIn.objects.get(user=ann)
    page = admin.get(reverse("admin:mana_accounts_signin_change", args=[row.pk])).content
    assert b'name="_save"' not in page
    assert row.refresh_jti.encode() not in page


def test_users_are_disabled_and_enabled_and_nobody_disables_themselves(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    accounts.sign_in(ann)
    root = get_user_model()._default_manager.get(username="root")
    accounts.update_profile(root, about="me")
    _act(admin, "mana_accounts_profile", "disable", ann.pk, root.pk)
    ann.refresh_from_db()
    root.refresh_from_db()
    assert (ann.is_active, root.is_active) == (False, True)
    assert not SignIn.objects.filter(user=ann, revoked_at=None).exists()
    _act(admin, "mana_accounts_profile", "enable", ann.pk)
    ann.refresh_from_db()
    assert ann.is_active
    for action in ("disconnect", "remove_avatars"):
        assert _act(admin, "mana_accounts_profile", action, ann.pk).status_code == 200


def test_a_device_that_is_removed_takes_its_sign_ins_along(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    accounts.sign_in(ann, accounts.Client(device_id="lost"))
    _act(admin, "mana_accounts_device", "remove", Device.objects.get().pk)
    assert not Device.objects.exists()
    assert not SignIn.objects.filter(user=ann, revoked_at=None).exists()


def test_devices_are_filtered_by_platform(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    for position, platform in enumerate(("Chrome on Android", "Firefox on Linux", "", "Fridge")):
        Device.objects.create(user=ann, device_id=str(position), platform=platform, last_seen_at=timezone.now())
    url = reverse("admin:mana_accounts_device_changelist")
    for chosen, expected in (("Android", {"0"}), ("none", {"2"}), ("other", {"3"})):
        listed = admin.get(url, {"platform": chosen}).context["cl"].result_list
        assert {device.device_id for device in listed} == expected


def test_contacts_and_blocks_are_ended_for_both(admin: Client) -> None:
    ann, bob = (accounts.register(username=name, password="a-long-one-7") for name in ("ann", "bob"))
    contacts.request(ann, bob)
    _act(admin, "mana_contacts_contactrequest", "end", *ContactRequest.objects.values_list("pk", flat=True))
    contacts.request(ann, bob)
    contacts.accept(bob, ann)
    _act(admin, "mana_contacts_contact", "end", *Contact.objects.values_list("pk", flat=True))
    contacts.block(ann, bob)
    _act(admin, "mana_contacts_block", "end", *Block.objects.values_list("pk", flat=True))
    assert not any(model.objects.exists() for model in (ContactRequest, Contact, Block))


def test_a_notification_is_sent_again_and_a_preference_reset(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    preferences.set(ann, "notifications.level", "mentions")
    row = notifications.send(ann, "Hello")
    _act(admin, "mana_notifications_notification", "send_again", row.pk)
    assert notifications.unread_count(ann) == 2
    _act(admin, "mana_preferences_preference", "reset", *Preference.objects.values_list("pk", flat=True))
    assert preferences.get(ann, "notifications.level") == "all"


def test_staff_who_may_only_look_can_not_act() -> None:
    from django.contrib.auth.models import Permission

    ann = accounts.register(username="ann", password="a-long-one-7")
    accounts.sign_in(ann)
    staff = get_user_model()._default_manager.create_user("staff", is_staff=True)  # type: ignore[attr-defined]
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(staff)
    _act(client, "mana_accounts_profile", "disable", ann.pk)
    _act(client, "mana_accounts_signin", "revoke", SignIn.objects.get(user=ann).pk)
    ann.refresh_from_db()
    assert ann.is_active
    assert SignIn.objects.filter(user=ann, revoked_at=None).count() == 1
