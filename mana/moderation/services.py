"""Use cases of moderation. REST, the admin and a project's own code call these."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db import IntegrityError, transaction
from django.utils import timezone
from msgspec import Struct

from mana import signals
from mana.accounts.services import sign_out
from mana.accounts.stores import Person, person
from mana.conf import settings
from mana.messaging import services as messaging
from mana.messaging import stores
from mana.messaging.models import Membership, Room
from mana.messaging.services.acting import readable_message
from mana.messaging.services.people import as_person
from mana.messaging.timeline import change, database
from mana.moderation import audit, evidence
from mana.moderation.models import Report
from mana.protocol import ErrorCode, ManaError

Subject, Status = Report.Subject, Report.Status

MAX_TEXT = 2000
WARNING = "A moderator asks you to keep to the rules of this place."


# -- Reporting -------------------------------------------------------------------------------------------------------


def report_user(reporter: Any, user: Any, *, reason: str, text: str = "") -> Report:
    """Reports somebody. Raises ``ManaError``: ``invalid``, ``conflict`` for a report that is open already."""
    who, other = as_person(reporter), as_person(user)
    if other.pk == who.pk:
        raise ManaError(ErrorCode.INVALID, "You can't report yourself.")
    return _file(who, Subject.USER, str(other.pk), reason, text, evidence.of_user(other), user_id=other.pk)


def report_room(reporter: Any, room_key: str, *, reason: str, text: str = "") -> Report:
    """Reports a room that the reporter is in, or that is public. Raises ``ManaError``."""
    who = as_person(reporter)
    room = stores.room_by_key(room_key)
    row = stores.membership(room, who, using=database()) if room is not None else None
    known = row is not None and row.state != Membership.State.BANNED
    if room is None or (room.is_private and not known):
        raise stores.not_in_room(None, room_key)
    return _file(who, Subject.ROOM, str(room.pk), reason, text, evidence.of_room(room), room_id=room.pk)


def report_message(reporter: Any, message_id: UUID, *, reason: str, text: str = "") -> Report:
    """Reports a message that the reporter may read, of somebody else. Raises ``ManaError``."""
    who = as_person(reporter)
    message, room, _ = readable_message(message_id, who)
    if message.sender_id == who.pk:
        raise ManaError(ErrorCode.INVALID, "You can't report yourself.")
    subject = {"user_id": message.sender_id, "room_id": room.pk, "message_id": message.pk}
    seen = evidence.of_message(message, room)
    return _file(who, Subject.MESSAGE, str(message.pk), reason, text, seen, **subject)


def _file(
    who: Person, subject_type: str, subject_pk: str, reason: str, text: str, seen: dict[str, Any], **subject: Any
) -> Report:
    if reason not in settings.REPORT_REASONS:
        raise ManaError(ErrorCode.INVALID, f"reason is one of {', '.join(settings.REPORT_REASONS)}.")
    if len(text) > MAX_TEXT or "\x00" in text:
        raise ManaError(ErrorCode.INVALID, f"The text may have {MAX_TEXT} characters, none of them null.")
    try:
        with transaction.atomic():
            report = Report.objects.create(
                reporter_id=who.pk,
                subject_type=subject_type,
                reason=reason,
                text=text.strip(),
                evidence_json=json.dumps(seen),
                open_key=f"{who.pk}:{subject_type}:{subject_pk}",
                **subject,
            )
    except IntegrityError:
        raise ManaError(ErrorCode.CONFLICT, "Your report of this is being looked at.") from None
    transaction.on_commit(lambda: signals.report_filed.send_robust(Report, report=report))
    return report


# -- Handling --------------------------------------------------------------------------------------------------------


def dismiss(report: Report, actor: Any) -> None:
    """Closes a report: nothing is wrong."""
    _close(report, actor, Status.DISMISSED, "dismissed")


def delete_reported(report: Report, actor: Any) -> None:
    """Deletes the reported message for everyone, or the reported room. Raises ``ManaError`` for a user."""
    if report.subject_type == Subject.MESSAGE:
        if report.message_id is None:
            raise ManaError(ErrorCode.NOT_FOUND, "The message is not there any more.")
        try:
            messaging.delete_as_staff(report.message_id, actor)
        except ManaError as error:
            if error.code is not ErrorCode.NOT_FOUND:  # its author was faster
                raise
    elif report.subject_type == Subject.ROOM:
        room = _room_of(report)
        if room.room_type == Room.Type.DIRECT:
            raise ManaError(ErrorCode.INVALID, "A direct room is not deleted.")
        messaging.delete_room_as_staff(room, actor)
    else:
        raise ManaError(ErrorCode.INVALID, "Only messages and rooms are deleted here; disable the account.")
    _close(report, actor, Status.RESOLVED, "deleted")


def warn_reported(report: Report, actor: Any, text: str = WARNING) -> None:
    """Warns the reported user, or the author of the reported message."""
    warn(_offender(report), text, actor=actor, room=report.room, message_id=report.message_id)
    _close(report, actor, Status.RESOLVED, "warned")


def mute_reported(report: Report, actor: Any, *, until: datetime | None = None) -> None:
    """Mutes the author of the reported message in its room."""
    messaging.mute_as_staff(_room_of(report), _offender(report), until=until, actor=actor)
    _close(report, actor, Status.RESOLVED, "muted")


def ban_reported(report: Report, actor: Any) -> None:
    """Bans the author of the reported message from its room; a user who was reported as such, from the site."""
    if report.subject_type == Subject.USER:
        disable(_offender(report), actor)
    else:
        messaging.ban_as_staff(_room_of(report), _offender(report), actor=actor)
    _close(report, actor, Status.RESOLVED, "banned")


class _WarningFrame(Struct, omit_defaults=True):
    text: str
    room_id: str | None = None
    message_id: str | None = None


def warn(
    user: Any, text: str = WARNING, *, actor: Any = None, room: Room | None = None, message_id: UUID | None = None
) -> None:
    """Tells a user, on all their devices and sooner or later on those that are offline, that a moderator warns them."""
    who = as_person(user)
    frame = _WarningFrame(
        text=text[:MAX_TEXT],
        room_id=room.key if room is not None else None,
        message_id=str(message_id) if message_id is not None else None,
    )
    with change() as timeline:
        timeline.append_personal(who, "warning", frame)
    audit.record(
        as_person(actor).pk if actor is not None else None,
        "user warned",
        who.username,
        room_key=frame.room_id or "",
        text=frame.text,
    )
    user_model = get_user_model()
    warned = user_model._default_manager.get(pk=who.pk)
    transaction.on_commit(
        lambda: signals.user_warned.send_robust(
            user_model, user=warned, text=frame.text, room_key=frame.room_id, message_id=frame.message_id
        )
    )


def disable(user: Any, actor: Any = None) -> None:
    """Bans somebody from the site: their account is disabled, their tokens die, their sockets close.

    Raises ``ManaError`` with ``forbidden`` for superusers, and for oneself.
    """
    who = as_person(user)
    by = as_person(actor) if actor is not None else None
    account = get_user_model()._default_manager.get(pk=who.pk)
    if getattr(account, "is_superuser", False) or (by is not None and by.pk == who.pk):
        raise ManaError(ErrorCode.FORBIDDEN, "This account can't be disabled here.")
    account.is_active = False
    account.save(update_fields=["is_active"])
    sign_out(account, None, everywhere=True)
    audit.record(by.pk if by else None, "user banned", who.username)


# -- Helpers ---------------------------------------------------------------------------------------------------------


def _offender(report: Report) -> Person:
    found = person(report.user_id) if report.user_id is not None else None
    if found is None:
        raise ManaError(ErrorCode.INVALID, "This report names no user.")
    return found


def _room_of(report: Report) -> Room:
    if report.room is None or report.room.deleted_at is not None:
        raise ManaError(ErrorCode.NOT_FOUND, "The room is not there any more.")
    return report.room


def _close(report: Report, actor: Any, status: str, resolution: str) -> None:
    """Closes a report and, if something was done, all others of the same thing."""
    by = as_person(actor) if actor is not None else None
    rows = Report.objects.filter(pk=report.pk)
    if status == Status.RESOLVED:
        same: dict[str, Any] = {name: getattr(report, name) for name in ("room_id", "message_id", "user_id")}
        rows = Report.objects.filter(subject_type=report.subject_type, **same)
    values = {
        "status": status,
        "open_key": None,
        "handled_by_id": by.pk if by else None,
        "handled_at": timezone.now(),
        "resolution": resolution,
    }
    if not rows.filter(status=Status.OPEN).update(**values):
        raise ManaError(ErrorCode.CONFLICT, "This report was handled already.")
    audit.record(
        by.pk if by else None,
        f"report {status}",
        str(report),
        room_key=report.room.key if report.room else "",
        report=report.pk,
        resolution=resolution,
    )
    report.refresh_from_db()
    transaction.on_commit(lambda: signals.report_handled.send_robust(Report, report=report, resolution=resolution))


__all__ = [
    "ban_reported",
    "delete_reported",
    "disable",
    "dismiss",
    "mute_reported",
    "report_message",
    "report_room",
    "report_user",
    "warn",
    "warn_reported",
]
