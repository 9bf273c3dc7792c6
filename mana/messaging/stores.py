"""Queries for rooms, memberships and events: the project's stores, and what is the same whatever they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any
from uuid import UUID

from mana.accounts.stores import Person
from mana.messaging.intervals import Interval
from mana.messaging.message_store import AnyEvent, message_store
from mana.messaging.models import Membership, Message, Room
from mana.messaging.room_store import room_store
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError


def room_by_key(key: str, *, using: str | None = None) -> Room | None:
    """The room with this id on the wire, unless it is deleted."""
    return room_store().get(key, using=using)


def membership(room: Room, person: Person, *, using: str) -> Membership | None:
    """A person's row in a room, whatever its state."""
    return room_store().membership(room, person, using=using)


def memberships(room: Room, people: Collection[Person], *, using: str) -> dict[Any, Membership]:
    """The rows of several people in a room, by primary key of the user."""
    return room_store().memberships(room, people, using=using)


def not_in_room(room: Room | None, key: str) -> ManaError:
    """What somebody is told who is not in a room. Private rooms look as if they did not exist."""
    if room is None or room.is_private:
        return ManaError(ErrorCode.NOT_FOUND, f"There is no room {key[:128]!r}.")
    return ManaError(ErrorCode.NOT_A_MEMBER)


def readable(room: Room, person: Person) -> Interval | None:
    """What a person may read of a room, ``None`` for nothing."""
    return room_store().readable(room, person)


def message(message_id: UUID) -> Message:
    """A stored event with its room."""
    return Message.objects.using(database()).select_related("room").get(pk=message_id)


def latest_sequence() -> int:
    """The sequence of the newest committed event."""
    return message_store().latest_sequence()


def last_visible(row: Membership, *, up_to_sequence: int) -> Message | None:
    """The newest event in the row's room, up to a sequence, that its user may read."""
    if row.first_index is None:
        return None
    events = Message.objects.using(database()).filter(
        room_id=row.room_id, sequence__lte=up_to_sequence, index__gte=row.first_index
    )
    return events.defer("payload_json").order_by("-sequence").first()


def events_between(first: int, last: int) -> list[AnyEvent]:
    """All events with sequences from ``first`` to ``last``, in order."""
    return message_store().events_between(first, last)


def subscriptions(user_pk: Any) -> Iterable[tuple[str, int]]:
    """The rooms that a user is in, and the sequence at which they joined."""
    return room_store().subscriptions(user_pk)


def rooms_of_users(user_pks: Collection[Any], *, max_members: int) -> Iterable[tuple[Any, str]]:
    """(user, room) for every room of at most ``max_members`` that a user is in."""
    return room_store().rooms_of_users(user_pks, max_members=max_members)
