"""How a member wants a room for themselves: archived, pinned, quiet. Told to their own devices only."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from msgspec import Struct

from mana.conf import settings
from mana.messaging.frames import room_info
from mana.messaging.models import Membership
from mana.messaging.services.acting import acting_in
from mana.messaging.services.asynchronous import writing
from mana.messaging.services.people import as_person
from mana.messaging.timeline import change
from mana.protocol import ErrorCode, ManaError, server
from mana.realtime.wire import timestamp

Notifications = Membership.Notifications


class _Changed(Struct):
    room_id: str
    room: server.RoomInfo
    preferences: server.RoomPreferences
    action: str = "preferences"
    members: list[server.RoomMember] = []


def set_preferences(
    room_key: str,
    user: Any,
    *,
    archived: bool | None = None,
    pinned: bool | None = None,
    notifications: str | None = None,
    silenced_until: datetime | str | None = "",
) -> server.RoomPreferences:
    """Changes what is given; ``silenced_until`` of ``None`` ends the silence.

    Raises ``ManaError``: ``conflict`` beyond ``PINNED_ROOMS_MAX`` pinned rooms.
    """
    person = as_person(user)
    with change() as timeline:
        room, _ = acting_in(timeline, room_key, person)
        rows = Membership.objects.using(timeline.using).filter(user_id=person.pk)
        row = rows.get(room=room)
        before = preferences_of(row)
        if pinned and not row.is_pinned and rows.filter(is_pinned=True).count() >= settings.PINNED_ROOMS_MAX:
            raise ManaError(ErrorCode.CONFLICT, f"You may pin {settings.PINNED_ROOMS_MAX} rooms.")
        row.is_archived = row.is_archived if archived is None else archived
        row.is_pinned = row.is_pinned if pinned is None else pinned
        if notifications is not None:
            if notifications not in Notifications.values:
                raise ManaError(ErrorCode.INVALID, f"notifications is one of {', '.join(Notifications.values)}.")
            row.notifications = notifications
        if not isinstance(silenced_until, str):
            row.silenced_until = silenced_until
        after = preferences_of(row)
        if after != before:
            row.save(
                using=timeline.using,
                update_fields=["is_archived", "is_pinned", "notifications", "silenced_until"],
            )
            timeline.append_personal(person, "room", _Changed(room.key, room_info(room), after))
    return after


def preferences_of(row: Membership) -> server.RoomPreferences:
    """What a membership says."""
    return server.RoomPreferences(
        archived=row.is_archived,
        pinned=row.is_pinned,
        notifications=row.notifications,  # type: ignore[arg-type]  # one of the choices
        silenced_until=timestamp(row.silenced_until) if row.silenced_until else None,
    )


aset_preferences = writing(set_preferences)
