"""The store of rooms and memberships: what ``MANA["ROOM_STORE"]`` names, and what the services look rooms up with.

A replacement extends this class, or keeps its promises, which ``mana.testing.message_store_suite`` checks. Each method
has an async twin with an ``a`` before its name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from django.db.models import QuerySet

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging.intervals import Interval
from mana.messaging.models import Membership, Room
from mana.messaging.timeline import database
from mana.messaging.twins import twin

State = Membership.State


class RoomStore:
    """Rooms and who is in them, on the ORM. ``using`` is the database alias of a transaction that is open."""

    def get(self, key: str, *, using: str | None = None) -> Room | None:
        """The room with this id on the wire, unless it is deleted."""
        if "\x00" in key or key != key.rstrip():
            return None  # PostgreSQL would fail; MariaDB takes no notice of spaces at the end
        return Room.objects.using(using or database()).filter(key=key, deleted_at=None).first()

    def membership(self, room: Room, person: Person, *, using: str | None = None) -> Membership | None:
        """A person's row in a room, whatever its state."""
        return Membership.objects.using(using or database()).filter(room=room, user_id=person.pk).first()

    def memberships(self, room: Room, people: Collection[Person], *, using: str | None = None) -> dict[Any, Membership]:
        """The rows of several people in a room, by primary key of the user."""
        rows = Membership.objects.using(using or database()).filter(
            room=room, user_id__in=[person.pk for person in people]
        )
        return {row.user_id: row for row in rows}

    def members(self, room: Room, *, state: str = State.JOINED) -> QuerySet[Membership]:
        """The rows of those who are in a room (or in another state), in the order in which they first came."""
        return Membership.objects.using(database()).filter(room=room, state=state).order_by("pk")

    def readable(self, room: Room, person: Person) -> Interval | None:
        """What a person may read of a room, ``None`` for nothing."""
        row = (
            Membership.objects.using(database())
            .filter(room=room, user_id=person.pk, first_index__isnull=False)
            .values_list("first_index", "last_index")
            .first()
        )
        return Interval(row[0] or 0, row[1]) if row else None

    def rooms_of(self, person: Person) -> QuerySet[Membership]:
        """The memberships of the rooms that a person is in, with their rooms."""
        return (
            Membership.objects.using(database())
            .filter(user_id=person.pk, state=State.JOINED, first_index__isnull=False)
            .select_related("room")
        )

    def invitations_of(self, person: Person) -> QuerySet[Membership]:
        """The memberships of the rooms that a person is invited to, with their rooms."""
        rows = Membership.objects.using(database()).filter(user_id=person.pk, state=State.INVITED)
        return rows.filter(room__deleted_at=None).select_related("room")

    def public(self, search: str = "") -> QuerySet[Room]:
        """Rooms that anybody may join, whose name contains ``search``."""
        rooms = Room.objects.using(database()).filter(is_private=False, deleted_at=None)
        rooms = rooms.exclude(room_type=Room.Type.DIRECT)
        return rooms.filter(name__icontains=search) if search else rooms

    def subscriptions(self, user_pk: Any) -> Iterable[tuple[str, int]]:
        """The rooms that a user is in, and the sequence at which they joined."""
        return (
            Membership.objects.using(database())
            .filter(user_id=user_pk, state=State.JOINED, first_index__isnull=False)
            .values_list("room__key", "joined_sequence")
        )

    def rooms_of_users(self, user_pks: Collection[Any], *, max_members: int) -> Iterable[tuple[Any, str]]:
        """(user, room) for every room of at most ``max_members`` that a user is in."""
        return (
            Membership.objects.using(database())
            .filter(user_id__in=user_pks, state=State.JOINED, room__member_count__lte=max_members)
            .values_list("user_id", "room__key")
        )

    aget = twin(get)
    amembership = twin(membership)
    amemberships = twin(memberships)
    areadable = twin(readable)


def room_store() -> RoomStore:
    """The project's store."""
    made: RoomStore = settings.ROOM_STORE()
    return made
