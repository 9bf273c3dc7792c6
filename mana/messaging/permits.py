"""What keeps a member from writing, whatever the policy says: being muted, and slow mode."""

from __future__ import annotations

from datetime import datetime, timedelta

from mana.messaging.models import Membership, Message, Room
from mana.messaging.policies import MANAGERS
from mana.protocol import ErrorCode, ManaError


def check_not_muted(membership: Membership, now: datetime) -> None:
    """Raises ``ManaError`` with ``forbidden`` for who is muted."""
    if membership.muted_until is not None and membership.muted_until > now:
        wait = (membership.muted_until - now).total_seconds()
        raise ManaError(ErrorCode.FORBIDDEN, "You are muted in this room.", retry_after=wait)


def check_may_write(membership: Membership, room: Room, now: datetime) -> None:
    """Whether a member may send a message now. Raises ``ManaError``: ``forbidden`` or ``rate_limited``."""
    check_not_muted(membership, now)
    if room.slow_mode and membership.last_message_at is not None and membership.role not in MANAGERS:
        wait = (membership.last_message_at + timedelta(seconds=room.slow_mode) - now).total_seconds()
        if wait > 0:
            raise ManaError(ErrorCode.RATE_LIMITED, "This room is in slow mode: wait a little.", retry_after=wait)


def check_no_pending(membership: Membership, room: Room, now: datetime, using: str) -> None:
    """The same for slow mode inside of a caller's transaction, whose earlier messages have no place yet."""
    if not room.slow_mode or membership.role in MANAGERS:
        return
    since = now - timedelta(seconds=room.slow_mode)
    waiting = Message.objects.using(using).filter(
        room=room, sender_id=membership.user_id, kind=Message.Kind.MESSAGE, sequence=None, created_at__gt=since
    )
    newest = waiting.order_by("-created_at").values_list("created_at", flat=True).first()
    if newest is not None:
        wait = (newest - since).total_seconds()
        raise ManaError(ErrorCode.RATE_LIMITED, "This room is in slow mode: wait a little.", retry_after=wait)


def note_message(membership: Membership, now: datetime, using: str) -> None:
    """Remembers when a member wrote, in a room in slow mode."""
    membership.last_message_at = now
    Membership.objects.using(using).filter(pk=membership.pk).update(last_message_at=now)
