"""Rooms as they are right now: who in them is connected, on whatever node."""

from __future__ import annotations

from dataclasses import dataclass

from django.db.models import Count

from mana.messaging.models import Membership, Room
from mana.messaging.services.asynchronous import reading
from mana.messaging.timeline import database
from mana.realtime.stores import living_nodes


@dataclass(frozen=True, slots=True)
class LiveRoom:
    """A room in which somebody is connected: ``people`` of its members, with ``sessions`` open sockets."""

    room: Room
    people: int
    sessions: int


def live(*, limit: int = 100) -> list[LiveRoom]:
    """The rooms in which most people are connected, at most ``limit``."""
    using = database()
    connected = (
        Membership.objects.using(using)
        .filter(state=Membership.State.JOINED, user__mana_sessions__node__in=living_nodes())
        .values("room_id")
        .annotate(people=Count("user_id", distinct=True), sessions=Count("user__mana_sessions", distinct=True))
        .order_by("-people", "room_id")[:limit]
    )
    counts = {row["room_id"]: (row["people"], row["sessions"]) for row in connected}
    rooms = Room.objects.using(using).in_bulk(counts)
    return [LiveRoom(rooms[pk], *numbers) for pk, numbers in counts.items() if pk in rooms]


alive = reading(live)
