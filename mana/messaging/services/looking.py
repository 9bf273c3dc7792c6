"""Reading rooms: which one is in, one of them, who is in it, and which anybody may join."""

from __future__ import annotations

from typing import Any

from mana.messaging import stores
from mana.messaging.models import Membership, Room
from mana.messaging.room_store import room_store
from mana.messaging.services.asynchronous import reading
from mana.messaging.services.people import as_person
from mana.messaging.timeline import database

#: Rooms and members that one call gives at the most. REST has pages.
MOST = 1000


def get(room_key: str, user: Any) -> Room:
    """A room that the user is in. Raises ``ManaError``: ``not_found`` or ``not_a_member``."""
    room = stores.room_by_key(room_key)
    row = stores.membership(room, as_person(user), using=database()) if room is not None else None
    if room is None or row is None or row.state != Membership.State.JOINED:
        raise stores.not_in_room(room, room_key)
    return room


def rooms_of(user: Any, *, limit: int = MOST) -> list[Room]:
    """The rooms that the user is in, those with the newest events first."""
    rows = room_store().rooms_of(as_person(user)).order_by("-room__last_sequence", "-pk")
    return [row.room for row in rows[:limit]]


def members(room_key: str, user: Any, *, limit: int = MOST) -> list[Membership]:
    """Who is in a room, with role and user, in the order in which they first came. The user must be in it."""
    return list(room_store().members(get(room_key, user)).select_related("user")[:limit])


def public(search: str = "", *, limit: int = MOST) -> list[Room]:
    """Groups and channels that anybody may join, whose name contains ``search``; the largest first."""
    return list(room_store().public(search.replace("\x00", "")).order_by("-member_count", "-pk")[:limit])


aget = reading(get)
arooms_of = reading(rooms_of)
amembers = reading(members)
apublic = reading(public)
