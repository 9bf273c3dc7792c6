"""What users want to be told of: the preferences of notifications, and what they mean for one of them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone

from mana.messaging.models import Membership
from mana.messaging.timeline import database
from mana.preferences import services as preferences

LEVEL = "notifications.level"
QUIET = "notifications.quiet_hours"
ALL, MENTIONS, NONE = "all", "mentions", "none"
LEVELS = (ALL, MENTIONS, NONE)


@dataclass(frozen=True, slots=True)
class Wish:
    """What is done with a notification: stored at all, and shown without sound and push."""

    wanted: bool = True
    silent: bool = False


def register() -> None:
    """Registers the preferences."""
    preferences.register(
        LEVEL,
        str,
        ALL,
        choices=LEVELS,
        help_text="What notifies: everything, mentions and what concerns the user alone, or nothing; in rooms where "
        "the user chose nothing else (rooms/{id}/preferences).",
    )
    preferences.register(
        QUIET,
        dict,
        None,
        validator=_check_quiet_hours,
        help_text='Hours without sound and push: {"start": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}.',
    )


def wishes_of(
    user_pks: Collection[Any], *, room: str | None, mention: bool, now: datetime | None = None
) -> dict[Any, Wish]:
    """What several users want done with a notification, with two queries.

    ``room`` is the id of the room that it comes from, ``None`` for what concerns the user alone. What a room sends is
    not stored for who does not want it; the rest is stored and silent.
    """
    now = now or timezone.now()
    chosen = preferences.get_many(user_pks, [LEVEL, QUIET])
    members = _members(user_pks, room) if room is not None else {}
    return {pk: _wish(values, room, members.get(pk), mention, now) for pk, values in chosen.items()}


def _wish(
    values: dict[str, Any], room: str | None, member: tuple[str, datetime | None] | None, mention: bool, now: datetime
) -> Wish:
    silent = is_quiet(values[QUIET], now)
    if room is None:
        return Wish(silent=silent or values[LEVEL] == NONE)
    level = values[LEVEL]
    if member is not None:
        in_room, silenced_until = member
        if silenced_until is not None and silenced_until > now:
            return Wish(wanted=False)
        if in_room != Membership.Notifications.DEFAULT:
            level = in_room
    return Wish(wanted=level == ALL or (level == MENTIONS and mention), silent=silent)


def _members(user_pks: Collection[Any], room: str) -> dict[Any, tuple[str, datetime | None]]:
    """What members chose in the room itself (``rooms/{id}/preferences``)."""
    rows = Membership.objects.using(database()).filter(room__key=room, user_id__in=list(user_pks))
    return {pk: (level, until) for pk, level, until in rows.values_list("user_id", "notifications", "silenced_until")}


def is_quiet(hours: dict[str, str] | None, now: datetime) -> bool:
    """Whether ``now`` lies in quiet hours, which may go over midnight."""
    if not hours:
        return False
    local = now.astimezone(ZoneInfo(hours["time_zone"])).time()
    start, end = time.fromisoformat(hours["start"]), time.fromisoformat(hours["end"])
    return start <= local < end if start <= end else local >= start or local < end


def _check_quiet_hours(value: dict[str, Any]) -> None:
    if set(value) != {"start", "end", "time_zone"} or not all(isinstance(one, str) for one in value.values()):
        raise ValueError("give start, end and time_zone.")
    for name in ("start", "end"):
        if len(value[name]) != 5 or time.fromisoformat(value[name]).tzinfo is not None:
            raise ValueError(f"{name} must be like 22:00.")
    try:
        ZoneInfo(value["time_zone"])
    except (KeyError, OSError, ValueError):
        raise ValueError(f"there is no time zone {value['time_zone'][:60]!r}.") from None
