"""The log of moderating and administrating. What the services announce by signals ends here by itself."""

from __future__ import annotations

from typing import Any

from django.apps import apps
from django.db.models.signals import post_save

from mana import signals
from mana.accounts.stores import person
from mana.messaging.frames import change_of
from mana.messaging.models import Message, Room
from mana.moderation.models import AuditEntry
from mana.realtime.database import patient

#: Changes of rooms that are somebody's say over others.
RECORDED = frozenset(
    ("removed", "banned", "unbanned", "muted", "unmuted", "role", "updated", "deleted", "pinned", "unpinned")
)


def record(actor_pk: Any, action: str, subject: str = "", *, room_key: str = "", **details: Any) -> AuditEntry:
    """Adds an entry. ``actor_pk`` is ``None`` for the server itself."""
    who = person(actor_pk) if actor_pk is not None else None
    entry = AuditEntry.objects.create(
        actor_id=actor_pk if who is not None else None,
        actor_name=who.username[:200] if who is not None else "",
        action=action,
        subject=subject[:255],
        room_key=room_key,
        details=details,
    )
    signals.audited.send_robust(AuditEntry, entry=entry)
    return entry


def listen() -> None:
    """Has the signals recorded."""
    signals.room_changed.connect(_room_changed, sender=Room, dispatch_uid="mana_audit")
    signals.message_deleted.connect(_message_deleted, sender=Message, dispatch_uid="mana_audit")
    if apps.is_installed("django.contrib.admin"):
        from django.contrib.admin.models import LogEntry

        post_save.connect(_admin_logged, sender=LogEntry, dispatch_uid="mana_audit")


@patient
def _room_changed(room: Room, action: str, event: Message, **kwargs: Any) -> None:
    if action not in RECORDED:
        return
    change = change_of(event)
    members = {member.user_id: member.role for member in change.members}
    details: dict[str, Any] = {"members": members} if members else {}
    if change.until:
        details["until"] = change.until
    subject = change.message_id or ", ".join(member.username for member in change.members) or room.name
    record(event.sender_id, f"room {action}", subject, room_key=room.key, **details)


@patient
def _message_deleted(message: Message, event: Message, **kwargs: Any) -> None:
    if event.sender_id == message.sender_id:
        return  # one's own
    author = person(message.sender_id) if message.sender_id is not None else None
    record(
        event.sender_id,
        "message deleted",
        str(message.pk),
        room_key=message.room.key,
        author=author.username if author else None,
    )


def _admin_logged(instance: Any, created: bool, **kwargs: Any) -> None:
    kind = instance.content_type
    if not created or kind is None or not kind.app_label.startswith("mana"):
        return
    what = {1: "added", 2: "changed", 3: "deleted"}.get(instance.action_flag, "touched")
    record(
        instance.user_id,
        f"admin {what} {kind.model}",
        f"{instance.object_repr}"[:255],
        object_id=str(instance.object_id),  # a new entry still has the key itself, a UUID say
        message=instance.get_change_message(),
    )
