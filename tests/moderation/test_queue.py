"""What moderators do about reports, and the log of it."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from msgspec import Raw

from mana import signals
from mana.accounts import services as accounts
from mana.accounts.models import SignIn
from mana.accounts.stores import profiles
from mana.messaging import services as messaging
from mana.messaging.models import Membership, Message, PersonalEvent, Room
from mana.messaging.services.attachments import Upload
from mana.moderation import pruning, services
from mana.moderation.models import AuditEntry, Report
from mana.protocol import ErrorCode, ManaError

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


class Scene:
    """A room in which the troll writes and ann reports."""

    def __init__(self) -> None:
        make = get_user_model()._default_manager.create_user  # type: ignore[attr-defined]
        self.ann, self.troll, self.mod = make(username="ann"), make(username="troll"), make(username="mod")
        self.room = messaging.create_room(self.ann, name="Kitchen", members=[self.troll]).room
        self.message = messaging.send(self.room, self.troll, "buy this")

    def report(self) -> Report:
        """Ann reports the troll's message."""
        return services.report_message(self.ann, self.message.pk, reason="spam")


@pytest.fixture
def scene() -> Scene:
    """A fresh one."""
    return Scene()


def _audited() -> list[str]:
    return list(AuditEntry.objects.order_by("pk").values_list("action", flat=True))


def _admin(*permissions: str) -> Client:
    staff = get_user_model()._default_manager.create_user(username="staff", is_staff=True)  # type: ignore[attr-defined]
    staff.user_permissions.set(Permission.objects.filter(codename__in=permissions))
    client = Client()
    client.force_login(staff)
    return client


def _act(client: Client, action: str, *reports: Report) -> Any:
    return client.post(
        reverse("admin:mana_moderation_report_changelist"),
        {"action": action, "_selected_action": [report.pk for report in reports]},
    )


def test_a_dismissed_report_is_closed_and_can_be_made_again(scene: Scene) -> None:
    report = scene.report()
    services.dismiss(report, scene.mod)
    assert (report.status, report.resolution, report.handled_by) == ("dismissed", "dismissed", scene.mod)
    with pytest.raises(ManaError) as refused:
        services.dismiss(report, scene.mod)
    assert refused.value.code is ErrorCode.CONFLICT
    assert scene.report().pk != report.pk
    assert _audited() == ["report dismissed"]


def test_a_report_keeps_what_the_message_said(scene: Scene) -> None:
    report = scene.report()
    messaging.edit(scene.message.pk, scene.troll, "have a nice day")
    messaging.delete(scene.message.pk, scene.troll)
    report.refresh_from_db()
    assert report.evidence["message"]["payload"] == "buy this"
    assert report.evidence["user"]["username"] == "troll"
    assert report.evidence["room"] == {"id": scene.room.key, "name": "Kitchen", "topic": ""}
    shown = _admin("view_report").get(reverse("admin:mana_moderation_report_change", args=[report.pk]))
    assert "buy this" in shown.content.decode()


def test_a_report_keeps_what_files_a_message_had(scene: Scene) -> None:
    data = b"%PDF- buy this"
    file = messaging.upload(scene.troll, Upload(ContentFile(data), "offer.pdf", len(data)))
    message = messaging.send(scene.room, scene.troll, "look", attachments=[file.pk])
    report = services.report_message(scene.ann, message.pk, reason="spam")
    messaging.delete(message.pk, scene.troll)
    report.refresh_from_db()
    (kept,) = report.evidence["attachments"]
    assert kept == {
        "name": "offer.pdf",
        "content_type": "application/pdf",
        "size": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


def test_what_no_database_takes_as_json_is_kept_as_well(scene: Scene) -> None:
    message = messaging.send(scene.room, scene.troll, Raw(b'{"text": "a\\u0000b \\ud800"}'))
    report = services.report_message(scene.ann, message.pk, reason="spam")
    report.refresh_from_db()
    assert report.evidence["message"]["payload"]["text"] == "a\0b \ud800"
    shown = _admin("view_report").get(reverse("admin:mana_moderation_report_change", args=[report.pk]))
    assert shown.status_code == 200


def test_a_report_outlives_the_account_and_the_room(scene: Scene) -> None:
    of_message, of_user = scene.report(), services.report_user(scene.ann, scene.troll, reason="abuse")
    of_room = services.report_room(scene.ann, scene.room.key, reason="spam")
    accounts.delete_account(scene.troll)
    Room.objects.filter(pk=scene.room.pk).delete()
    for report in (of_message, of_user, of_room):
        report.refresh_from_db()
    assert of_message.evidence["message"]["payload"] == "buy this"
    assert (of_user.user, of_user.evidence["user"]["username"]) == (None, "troll")
    assert (of_room.room, of_room.evidence["room"]["name"]) == (None, "Kitchen")
    listed = _admin("view_report").get(reverse("admin:mana_moderation_report_changelist")).content.decode()
    assert "user troll" in listed
    assert "room Kitchen" in listed
    services.dismiss(of_user, scene.mod)


def test_handled_reports_are_pruned_and_open_ones_are_not(scene: Scene) -> None:
    handled, still_open = scene.report(), services.report_user(scene.ann, scene.troll, reason="abuse")
    services.dismiss(handled, scene.mod)
    long_ago = timezone.now() - timedelta(days=366)
    Report.objects.update(created_at=long_ago)
    Report.objects.filter(pk=handled.pk).update(handled_at=long_ago)
    assert pruning.handled_reports(True) == 1
    pruning.handled_reports(False)
    assert list(Report.objects.all()) == [still_open]


def test_deleting_closes_all_reports_of_the_message(scene: Scene) -> None:
    first = scene.report()
    messaging.add_members(scene.room.key, scene.ann, [scene.mod])
    scene.message = messaging.send(scene.room, scene.troll, "buy that")
    second = scene.report()
    third = services.report_message(scene.mod, scene.message.pk, reason="abuse")
    services.delete_reported(second, scene.mod)
    assert {report.pk: report.status for report in Report.objects.all()} == {
        first.pk: "open",
        second.pk: "resolved",
        third.pk: "resolved",
    }
    assert Message.objects.get(pk=scene.message.pk).payload is None
    entry = AuditEntry.objects.get(action="message deleted")
    assert (entry.actor_name, entry.room_key, entry.details) == ("mod", scene.room.key, {"author": "troll"})


def test_a_warning_reaches_the_author_alone_in_the_order_of_events(scene: Scene) -> None:
    told: list[Any] = []
    receiver = lambda user, text, **kwargs: told.append((user.username, text))  # noqa: E731
    signals.user_warned.connect(receiver)
    try:
        services.warn_reported(scene.report(), scene.mod, "No advertising, please.")
    finally:
        signals.user_warned.disconnect(receiver)
    assert told == [("troll", "No advertising, please.")]
    event = PersonalEvent.objects.get()
    assert event.user == scene.troll
    assert event.sequence == scene.message.sequence + 1  # type: ignore[operator]
    frames = messaging.sync(scene.troll, scene.message.sequence).frames
    assert len(frames) == 1
    assert b'"type":"warning"' in frames[0]
    assert b"No advertising" in frames[0]
    assert messaging.sync(scene.ann, scene.message.sequence).frames == []


def test_the_author_is_muted_or_banned_in_the_room(scene: Scene) -> None:
    report = scene.report()
    services.mute_reported(report, scene.mod)
    with pytest.raises(ManaError, match="muted"):
        messaging.send(scene.room, scene.troll, "more")
    services.ban_reported(scene.report(), scene.mod)
    row = Membership.objects.get(room=scene.room, user=scene.troll)
    assert row.state == Membership.State.BANNED
    assert Room.objects.get().member_count == 1
    assert _audited() == ["room muted", "report resolved", "room banned", "report resolved"]


def test_a_reported_user_is_banned_from_the_site(scene: Scene) -> None:
    accounts.sign_in(scene.troll)
    services.ban_reported(services.report_user(scene.ann, scene.troll, reason="abuse"), scene.mod)
    scene.troll.refresh_from_db()
    assert not scene.troll.is_active
    assert SignIn.objects.get().revoked_at is not None
    root = get_user_model()._default_manager.create_superuser(username="root")  # type: ignore[attr-defined]
    with pytest.raises(ManaError):
        services.disable(root, scene.mod)


def test_a_reported_room_is_deleted(scene: Scene) -> None:
    services.delete_reported(services.report_room(scene.ann, scene.room.key, reason="illegal"), scene.mod)
    assert Room.objects.get().deleted_at is not None
    assert not Membership.objects.filter(state=Membership.State.JOINED).exists()


def test_the_queue_is_worked_on_in_the_admin(scene: Scene) -> None:
    client = _admin("change_report", "view_report")
    report = scene.report()
    page = client.get(reverse("admin:mana_moderation_report_changelist"))
    assert b"buy this" in page.content
    assert client.get(reverse("admin:mana_moderation_report_change", args=[report.pk])).status_code == 200
    _act(client, "delete", report)
    report.refresh_from_db()
    assert (report.status, report.resolution) == ("resolved", "deleted")
    assert "(deleted)" in client.get(reverse("admin:mana_moderation_report_changelist")).content.decode()
    assert AuditEntry.objects.filter(action="message deleted", actor_name="staff").exists()


def test_looking_is_not_acting(scene: Scene) -> None:
    client = _admin("view_report")
    report = scene.report()
    assert client.get(reverse("admin:mana_moderation_report_changelist")).status_code == 200
    _act(client, "delete", report)
    report.refresh_from_db()
    assert report.status == "open"
    assert Message.objects.get(pk=scene.message.pk).payload == "buy this"
    assert client.get(reverse("admin:mana_moderation_auditentry_changelist")).status_code == 403
    assert client.get(reverse("admin:mana_moderation_dashboard_changelist")).status_code == 403
    assert client.get(reverse("admin:mana_moderation_dashboard_numbers")).status_code == 403


def test_the_log_is_only_added_to(scene: Scene) -> None:
    services.dismiss(scene.report(), scene.mod)
    entry = AuditEntry.objects.get()
    client = Client()
    client.force_login(get_user_model()._default_manager.create_superuser(username="root"))  # type: ignore[attr-defined]
    url = reverse("admin:mana_moderation_auditentry_change", args=[entry.pk])
    assert client.get(url).status_code == 200
    assert client.post(url, {"action": "forged"}).status_code == 403
    assert client.post(reverse("admin:mana_moderation_auditentry_delete", args=[entry.pk])).status_code == 403
    assert client.get(reverse("admin:mana_moderation_auditentry_add")).status_code == 403


def test_what_is_done_by_hand_in_the_admin_is_logged() -> None:
    root = get_user_model()._default_manager.create_superuser(username="root")  # type: ignore[attr-defined]
    client = Client()
    client.force_login(root)
    profile = profiles().get(root)
    url = reverse("admin:mana_accounts_profile_change", args=[profile.pk])
    client.post(url, {"user": root.pk, "display_name": "Boss", "about": ""})
    entry = AuditEntry.objects.get()
    assert (entry.actor_name, entry.action) == ("root", "admin changed profile")


def test_the_dashboard_shows_what_there_is(scene: Scene) -> None:
    scene.report()
    client = _admin("view_dashboard")
    page = client.get(reverse("admin:mana_moderation_dashboard_changelist"))
    assert page.status_code == 200
    shown = client.get(reverse("admin:mana_moderation_dashboard_numbers")).json()
    assert (shown["rooms"], shown["messages"], shown["open_reports"]) == (1, 1, 1)
    assert shown["messages_per_minute"] == 1
