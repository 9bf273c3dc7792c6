"""People who share a room know each other: they see changes of each other's profiles live."""

from __future__ import annotations

from typing import Any

from mana.accounts import live
from mana.accounts.services.deletion import departs
from mana.accounts.stores import people
from mana.conf import settings
from mana.messaging.models import Membership, Room
from mana.messaging.services.rooms import leave
from mana.messaging.timeline import database

State = Membership.State


@live.knows
def who_share_a_room(user_pk: Any) -> list[str]:
    """The wire ids of those in the user's rooms, as far as presence is announced there."""
    rooms = Membership.objects.using(database()).filter(
        user_id=user_pk, state=State.JOINED, room__member_count__lte=settings.PRESENCE_MAX_ROOM
    )
    others = Membership.objects.using(database()).filter(
        room_id__in=list(rooms.values_list("room_id", flat=True)), state=State.JOINED
    )
    return [person.user_id for person in people(set(others.values_list("user_id", flat=True))).values()]


@departs
def leave_all(user: Any) -> None:
    """Takes a user whose account is deleted out of groups and channels, in the order of all events."""
    rooms = Membership.objects.using(database()).filter(user_id=user.pk, state=State.JOINED)
    for key in list(rooms.exclude(room__room_type=Room.Type.DIRECT).values_list("room__key", flat=True)):
        leave(key, user)
