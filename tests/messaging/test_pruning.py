"""``mana_prune``: what is not to be kept goes, and nothing else."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings
from django.utils import timezone

from mana import pruning
from mana.accounts import services as accounts
from mana.accounts.models import SignIn, Ticket
from mana.messaging import files, services
from mana.messaging.models import Attachment, Invite, Membership, Message, Room
from mana.messaging.services.attachments import Upload
from mana.moderation import audit
from mana.moderation.models import AuditEntry
from mana.realtime.models import Node

pytestmark = [pytest.mark.database, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def ann() -> Any:
    """Somebody."""
    return get_user_model()._default_manager.create_user(username="ann")  # type: ignore[attr-defined]


def _prune(**options: Any) -> str:
    out = io.StringIO()
    call_command("mana_prune", stdout=out, **options)
    return out.getvalue()


def _aged(rows: Any, **fields: timedelta) -> None:
    rows.update(**{name: timezone.now() - age for name, age in fields.items()})


def _upload(user: Any) -> Attachment:
    return services.upload(user, Upload(ContentFile(b"data"), "x.txt", 4))


def test_events_beyond_a_rooms_count_go(ann: Any) -> None:
    ben = get_user_model()._default_manager.create_user(username="ben")  # type: ignore[attr-defined]
    room = services.create_room(ann, members=[ben]).room
    other = services.create_room(ann).room
    file = _upload(ann)
    services.send(room, ann, "first", attachments=[file.pk])
    sent = [services.send(room, ann, number) for number in range(10)]
    services.send(other, ann, "stays")
    services.update_room(room.key, ann, retention_count=3)
    assert "10 to remove" in _prune(dry_run=True)
    assert Message.objects.filter(room=room).count() == 13
    assert "10 removed" in _prune()
    assert list(room.messages.order_by("index").values_list("index", flat=True)) == [11, 12, 13]
    assert other.messages.count() == 2
    assert not Attachment.objects.exists()
    assert not files.storage().exists(file.file)
    assert services.history(room.key, ben).indexes == [11, 12, 13]
    row = Membership.objects.get(room=room, user=ben)
    room.refresh_from_db()
    assert room.message_count - row.read_count == 2, "what is gone is not unread"
    assert services.send(room, ann, "goes on").index == sent[-1].index + 2  # type: ignore[operator]
    assert not _prune(dry_run=True).startswith("10")


def test_events_older_than_a_room_keeps_go(ann: Any) -> None:
    room = services.create_room(ann).room
    for number in range(4):
        services.send(room, ann, number)
    services.update_room(room.key, ann, retention_days=7)
    _aged(Message.objects.filter(room=room, index__lte=3), created_at=timedelta(days=8))
    _prune()
    assert list(room.messages.order_by("index").values_list("index", flat=True)) == [4, 5, 6]


def test_rooms_that_say_nothing_keep_what_the_setting_says(ann: Any) -> None:
    room = services.create_room(ann).room
    services.send(room, ann, "old")
    _aged(Message.objects.all(), created_at=timedelta(days=31))
    assert _prune(dry_run=True).startswith("nothing to remove")
    with override_settings(MANA={"RETENTION_DAYS": 30}):
        assert "2 removed" in _prune()
    assert not Message.objects.exists()


def test_orphaned_files_go_and_others_stay(ann: Any) -> None:
    room = services.create_room(ann).room
    orphan, sent, fresh = _upload(ann), _upload(ann), _upload(ann)
    services.send(room, ann, "x", attachments=[sent.pk])
    _aged(Attachment.objects.exclude(pk=fresh.pk), created_at=timedelta(days=2))
    assert "1 removed" in _prune()
    assert set(Attachment.objects.values_list("pk", flat=True)) == {sent.pk, fresh.pk}
    assert not files.storage().exists(orphan.file)
    assert files.storage().exists(sent.file)


def test_what_has_expired_goes(ann: Any) -> None:
    room = services.create_room(ann).room
    services.create_invite(room.key, ann, expires_in=60)
    kept = services.create_invite(room.key, ann, expires_in=0)
    accounts.make_ticket(ann)
    accounts.sign_in(ann)
    Node.objects.create(id="dead", seen_at=timezone.now() - timedelta(days=2))
    Node.objects.create(id="alive", seen_at=timezone.now())
    audit.record(None, "something")
    past = timedelta(hours=1)
    _aged(Invite.objects.exclude(pk=kept.pk), expires_at=past)
    _aged(Ticket.objects.all(), expires_at=past)
    _aged(SignIn.objects.all(), expires_at=past)
    _aged(AuditEntry.objects.all(), at=timedelta(days=366))
    assert _prune(dry_run=True).count("  1 to remove\n") == 5
    _prune()
    assert list(Invite.objects.all()) == [kept]
    assert not Ticket.objects.exists()
    assert not SignIn.objects.exists()
    assert not AuditEntry.objects.exists()
    assert [node.pk for node in Node.objects.all()] == ["alive"]


def test_a_deleted_room_goes_in_the_end(ann: Any) -> None:
    room = services.create_room(ann, key="tea").room
    services.send(room, ann, "x")
    services.delete_room("tea", ann)
    _prune()
    assert Room.objects.get().messages.count() == 3, "devices that are offline still learn of it"
    _aged(Room.objects.all(), deleted_at=timedelta(days=31))
    _prune()
    assert not Room.objects.exists()
    assert not Message.objects.exists()
    assert services.create_room(ann, key="tea").event.sequence == 4  # type: ignore[union-attr]


def test_a_room_that_everybody_has_left_goes(ann: Any) -> None:
    room = services.create_room(ann).room
    services.leave(room.key, ann)
    _aged(Room.objects.all(), created_at=timedelta(days=31))
    _aged(Message.objects.all(), created_at=timedelta(days=31))
    _prune()
    assert Room.objects.get().deleted_at is None
    with override_settings(MANA={"EMPTY_ROOM_DAYS": 30}):
        _prune()
    assert Room.objects.get().deleted_at is not None


def test_retention_does_not_hasten_the_end_of_a_room_that_everybody_has_left(ann: Any) -> None:
    room = services.create_room(ann).room
    services.send(room, ann, "x")
    services.update_room(room.key, ann, retention_days=7)
    services.leave(room.key, ann)
    _aged(Room.objects.all(), created_at=timedelta(days=31))
    _aged(Message.objects.all(), created_at=timedelta(days=8))
    with override_settings(MANA={"EMPTY_ROOM_DAYS": 30}):
        assert "3 to remove" in _prune(dry_run=True)
        _prune()
        assert Room.objects.get().deleted_at is None
        assert Message.objects.get().index == Room.objects.get().last_index
        _aged(Message.objects.all(), created_at=timedelta(days=31))
        _prune()
    assert Room.objects.get().deleted_at is not None


def test_a_quota_bounds_the_files_of_a_user(ann: Any) -> None:
    from mana.protocol import ErrorCode, ManaError

    with override_settings(MANA={"ATTACHMENT_QUOTA": 10, "ATTACHMENT_TYPES": ["text/*", "text/plain"]}):
        for _ in range(2):
            _upload(ann)
        with pytest.raises(ManaError) as refused:
            _upload(ann)
        assert refused.value.code is ErrorCode.TOO_LARGE
        with pytest.raises(ManaError) as refused:
            services.upload(ann, Upload(ContentFile(b"\0\1"), "x.txt", 2))
        assert refused.value.code is ErrorCode.INVALID


def test_what_fails_keeps_nothing_else_from_being_removed(ann: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(dry_run: bool) -> int:
        raise OSError("The disk is full.\nAnd more of it.")

    monkeypatch.setattr(pruning, "TASKS", (pruning.Task("what can't be", fail), *pruning.TASKS))
    Ticket.objects.create(user=ann, digest="x" * 64, expires_at=timezone.now() - timedelta(days=1))
    out, err = io.StringIO(), io.StringIO()
    with pytest.raises(CommandError, match=r"1 of \d+ tasks failed") as failure:
        call_command("mana_prune", stdout=out, stderr=err)
    assert failure.value.returncode == 1
    assert not Ticket.objects.exists()
    assert err.getvalue().strip() == "what can't be: OSError: The disk is full."
    assert "failed" in out.getvalue()


def test_the_columns_are_aligned_and_the_last_line_sums_up(ann: Any) -> None:
    assert _prune().startswith("nothing was to be removed, in ")
    Ticket.objects.create(user=ann, digest="x" * 64, expires_at=timezone.now() - timedelta(days=1))
    lines = _prune(dry_run=True, verbosity=2).splitlines()
    assert lines[-1].startswith("1 to remove, in ")
    assert len({line.index(line.split("  ")[-1].strip()) for line in lines[:-1]}) == 1
    assert _prune(verbosity=0) == f"{lines[0].replace('to remove', 'removed')}\n"
