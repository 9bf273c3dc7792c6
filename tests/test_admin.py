"""The admin: every page opens, finds things, and asks the database a fixed number of times."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from django.apps import apps
from django.contrib.admin import ModelAdmin, site
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.paginator import Paginator
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from mana import calls, contacts, model_admin, moderation, notifications, preferences
from mana.accounts import services as accounts
from mana.accounts.models import Device, SignIn
from mana.contacts.models import Block, Contact, ContactRequest
from mana.messaging import services
from mana.messaging.models import Message, Room
from mana.messaging.services.attachments import Upload
from mana.moderation import audit
from mana.moderation.models import AuditEntry
from mana.notifications.models import PushSubscription
from mana.preferences.models import Preference
from mana.realtime.models import Node, Session
from mana_e2ee.models import Device as KeyDevice
from mana_e2ee.models import DeviceList
from mana_rtc.models import MediaWorker

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
    "mana_rtc_mediaworker",
    "mana_messaging_invite",
    "mana_messaging_attachment",
    "mana_moderation_report",
    "mana_moderation_auditentry",
    "mana_e2ee_device",
    "mana_e2ee_devicelist",
]
#: Pages that are no list of rows, and have tests of their own.
PAGES = ["mana_moderation_dashboard"]


@pytest.fixture
def admin() -> Client:
    """The browser of a superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
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
        message = services.send(room, user, {"text": f"<b>needle {position}</b>"})
        services.create_invite(room.key, user)
        services.upload(user, Upload(ContentFile(f"text {position}".encode()), "text.txt", 6))
        if count > 1:
            moderation.report_message(users[position - 1], message.pk, reason="spam")
        moderation.report_user(asked, user, reason="spam")
        audit.record(user.pk, "looked at", f"person {position}")
        KeyDevice.objects.create(
            user=user, device_id="phone", record=b"r", signed_prekey=b"s", signed_prekey_id=1, updated_at=timezone.now()
        )
        DeviceList.objects.create(user=user, epoch=1, data=b"d")
        MediaWorker.objects.create(
            id=f"worker-{count}-{position}", name=f"person's {position}", channel="c", seen_at=timezone.now()
        )
        Device.objects.create(user=user, device_id="phone", last_seen_at=timezone.now())
        Session.objects.create(
            id=f"s{position}-{count}", node=node, user=user, device_id="phone", connected_at=timezone.now()
        )


def _queries(client: Client, url: str) -> int:
    from django.db import connection

    client.get(url)  # what is remembered for a while, as people's roles are, is not asked for again
    with CaptureQueriesContext(
        connection,
    ) as captured:
        response = client.get(url)
    assert response.status_code == 200, url
    return len(captured)


def test_no_page_is_forgotten_here() -> None:
    registered = {f"{one._meta.app_label}_{one._meta.model_name}" for one in site._registry}
    assert {name for name in registered if name.startswith("mana")} == {*LISTS, *PAGES}


def test_a_list_costs_the_same_for_few_and_many_rows(admin: Client) -> None:
    urls = [reverse(f"admin:{name}_changelist") for name in LISTS]
    _populate(2)
    few = {url: _queries(admin, url) for url in urls}
    _populate(12)
    assert {url: _queries(admin, url) for url in urls} == few


def test_a_list_can_be_searched_and_a_row_opened(admin: Client) -> None:
    _populate(2)
    for name in LISTS:
        listing = reverse(f"admin:{name}_changelist")
        assert admin.get(listing, {"q": "person"}).status_code == 200, name
        model: Any = admin.get(listing).context["cl"].model
        row = model._default_manager.first()
        assert admin.get(reverse(f"admin:{name}_change", args=[row.pk])).status_code == 200, name


def test_a_search_finds_what_djangos_own_finds(admin: Client, rf: RequestFactory) -> None:
    _populate(3)
    Room.objects.filter(name="Room 1").update(name="A kitchen for two")
    words = ("person0", "PERSON1-3 room", "kitchen", "'kitchen for'", '"for kitchen"', "kitchen person2", "nobody", "'")
    for name in ("mana_messaging_membership", "mana_contacts_block", "mana_moderation_report", "mana_rtc_call"):
        pages: Any = site._registry[apps.get_model(*name.rsplit("_", 1))]
        request = rf.get("/")
        for text in words:
            rows, _ = pages.get_search_results(request, pages.get_queryset(request), text)
            expected, _ = ModelAdmin.get_search_results(pages, request, pages.get_queryset(request), text)
            assert set(rows.values_list("pk")) == set(expected.values_list("pk")), (name, text)
    found, _ = pages.get_search_results(request, pages.get_queryset(request), "kitchen")
    assert found.exists()


def test_a_search_compares_once(admin: Client) -> None:
    from django.db import connection

    _populate(3)
    for text, found in (("needle 1", 1), ("no such needle", 0)):
        with CaptureQueriesContext(connection) as captured:
            page = admin.get(reverse("admin:mana_messaging_message_changelist"), {"q": text})
        assert page.context["cl"].result_count == found
        searching = [one["sql"] for one in captured if "payload_json" in one["sql"] and " LIKE " in one["sql"]]
        assert len([sql for sql in searching if " IN (" not in sql]) == 1, "the others look at what this one found"


def test_messages_are_found_by_their_text_and_shown_escaped(admin: Client) -> None:
    _populate(3)
    page = admin.get(reverse("admin:mana_messaging_message_changelist"), {"q": "needle 1"})
    assert page.context["cl"].result_count == 1
    message = Message.objects.get(payload_json__contains="needle 1")
    detail = admin.get(reverse("admin:mana_messaging_message_change", args=[message.pk])).content
    assert b"&lt;b&gt;needle 1" in detail
    assert b"<b>needle" not in detail


def test_no_page_needs_a_style_that_a_sites_policy_refuses(admin: Client) -> None:
    _populate(2)
    for name in LISTS:
        model: Any = apps.get_model(*name.rsplit("_", 1))
        row = model._default_manager.first()
        page = admin.get(reverse(f"admin:{name}_change", args=[row.pk])).content.decode()
        assert ' style="' not in page, name
        assert "mana/admin.css" in page


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
    staff = User.objects.create_user("staff", is_staff=True)
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
    root = User.objects.get(username="root")
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


class TestTheLog:
    """Each act is in the log of moderation, one entry for each row."""

    def test_of_what_is_done_to_many_rows_at_once(self, admin: Client) -> None:
        _populate(2)
        acts = {
            ("mana_accounts_profile", "disable"): "admin changed profile",
            ("mana_accounts_signin", "revoke"): "admin changed signin",
            ("mana_accounts_device", "remove"): "admin deleted device",
            ("mana_contacts_block", "end"): "admin changed block",
            ("mana_messaging_invite", "revoke"): "admin changed invite",
            ("mana_notifications_notification", "send_again"): "admin changed notification",
            ("mana_preferences_preference", "reset"): "admin changed preference",
            ("mana_realtime_session", "disconnect"): "admin changed session",
        }
        for (name, action), logged in acts.items():
            model: Any = apps.get_model(*name.rsplit("_", 1))
            found = SignIn.objects.filter(session_key="") if model is SignIn else model._default_manager
            rows = list(found.order_by("-pk").values_list("pk", flat=True)[:2])
            assert len(rows) == 2, name
            AuditEntry.objects.all().delete()
            _act(admin, name, action, *rows)
            entries = AuditEntry.objects.filter(action__startswith="admin")
            assert [(one.action, one.actor_name) for one in entries] == [(logged, "root")] * 2, name

    def test_of_a_call_that_is_ended(self, admin: Client) -> None:
        ann, bob = (accounts.register(username=name, password="a-long-one-7") for name in ("ann", "bob"))
        call = calls.start(services.create_room(ann, name="Room", members=[bob]).room, ann)
        AuditEntry.objects.all().delete()
        _act(admin, "mana_rtc_call", "end", call.pk)
        assert [one.action for one in AuditEntry.objects.all()] == ["admin changed call"]

    def test_of_djangos_own_deletion_of_many(self, admin: Client) -> None:
        _populate(2)
        rows = list(PushSubscription.objects.values_list("pk", flat=True))
        AuditEntry.objects.all().delete()
        url = reverse("admin:mana_notifications_pushsubscription_changelist")
        admin.post(url, {"action": "delete_selected", "_selected_action": rows, "post": "yes"})
        assert not PushSubscription.objects.exists()
        assert [one.action for one in AuditEntry.objects.all()] == ["admin deleted pushsubscription"] * 2


class TestPagesOfLongLists:
    """What the database reads for them."""

    @pytest.fixture(autouse=True)
    def long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Every list is long."""
        monkeypatch.setattr(model_admin, "LONG", 1)

    def test_they_hold_the_same_as_simple_ones(self, monkeypatch: pytest.MonkeyPatch) -> None:
        user = User.objects.create_user("ann")
        for number in range(23):
            Preference.objects.create(user=user, key=f"key {number:02}", value_json=str(number % 3))
        assert list(model_admin.KeysFirstPaginator(Preference.objects.none(), 4).page(1)) == []
        for long, order in itertools.product((1, 1000), (["pk"], ["-value_json", "key"], ["user__username", "-pk"])):
            monkeypatch.setattr(model_admin, "LONG", long)
            rows = Preference.objects.select_related("user").order_by(*order)
            simple, keys_first = Paginator(rows, 4), model_admin.KeysFirstPaginator(rows, 4)
            for number in simple.page_range:
                found = list(keys_first.page(number).object_list)
                assert found == list(simple.page(number).object_list), (order, number)

    def test_nothing_is_joined_to_what_they_skip(self, admin: Client) -> None:
        from django.db import connection

        _populate(3)
        ann = User.objects.create_user("ann")
        for number in range(220):
            Preference.objects.create(user=ann, key=f"key {number}", value_json="1")
        with CaptureQueriesContext(connection) as captured:
            page = admin.get(reverse("admin:mana_preferences_preference_changelist"), {"p": 2})
        assert len(page.context["cl"].result_list) == 100
        skipping = [one["sql"] for one in captured if "OFFSET" in one["sql"]]
        assert len(skipping) == 1
        assert "JOIN" not in skipping[0]


def test_what_a_profile_can_not_have_is_said_beside_the_field(admin: Client) -> None:
    ann, bob = (accounts.register(username=name, password="a-long-one-7") for name in ("ann", "bob"))
    accounts.change_phone(bob, "+4930901820")
    url = reverse("admin:mana_accounts_profile_change", args=[ann.pk])
    for field, value in (("phone", "no number"), ("phone", "+49 30 901820"), ("display_name", "bell\x07")):
        page = admin.post(url, {"display_name": "Ann", field: value})
        assert page.status_code == 200, (field, value)
        assert field in page.context["adminform"].form.errors
    assert admin.post(url, {"display_name": " Ann ", "phone": "+49 (30) 901821"}).status_code == 302
    profile = ann.mana_profile
    profile.refresh_from_db()
    assert (profile.display_name, profile.phone) == ("Ann", "+4930901821")


def test_a_profile_goes_with_its_user_only(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    url = reverse("admin:mana_accounts_profile_delete", args=[ann.pk])
    assert admin.post(url, {"post": "yes"}).status_code == 403
    assert b"delete_selected" not in admin.get(reverse("admin:mana_accounts_profile_changelist")).content


def test_a_preference_of_an_app_that_is_gone_is_reset_as_well(admin: Client) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    row = Preference.objects.create(user=ann, key="gone.app", value_json="1")
    assert _act(admin, "mana_preferences_preference", "reset", row.pk).status_code == 200
    assert not Preference.objects.exists()


def test_what_is_deleted_here_goes_from_the_users_devices(admin: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    ann = accounts.register(username="ann", password="a-long-one-7")
    preferences.set(ann, "notifications.level", "mentions")
    rows = [notifications.send(ann, f"Hello {number}") for number in range(3)]
    told: list[Any] = []
    for module in ("notifications", "preferences"):
        monkeypatch.setattr(f"mana.{module}.services.tell", lambda users, frame: told.append(frame))
    url = reverse("admin:mana_notifications_notification_changelist")
    chosen = [str(row.pk) for row in rows[:2] if row is not None]
    admin.post(url, {"action": "delete_selected", "_selected_action": chosen, "post": "yes"})
    assert rows[2] is not None
    admin.post(reverse("admin:mana_notifications_notification_delete", args=[rows[2].pk]), {"post": "yes"})
    row = Preference.objects.get()
    admin.post(reverse("admin:mana_preferences_preference_delete", args=[row.pk]), {"post": "yes"})
    assert [getattr(frame, "unread", None) for frame in told] == [1, 0, None]
    assert preferences.get(ann, "notifications.level") == "all"


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
    staff = User.objects.create_user("staff", is_staff=True)
    staff.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client = Client()
    client.force_login(staff)
    _act(client, "mana_accounts_profile", "disable", ann.pk)
    _act(client, "mana_accounts_signin", "revoke", SignIn.objects.get(user=ann).pk)
    ann.refresh_from_db()
    assert ann.is_active
    assert SignIn.objects.filter(user=ann, revoked_at=None).count() == 1
