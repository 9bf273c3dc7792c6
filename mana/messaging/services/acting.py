"""Who acts on what: the rooms and messages that a person may touch at all."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from mana.accounts.stores import Person
from mana.messaging import stores
from mana.messaging.frames import RoomChange, room_info, room_member
from mana.messaging.models import Hidden, Membership, Message, Room
from mana.messaging.timeline import Outbox, Timeline, database
from mana.protocol import ErrorCode, ManaError

State = Membership.State


def acting_in(timeline: Timeline | Outbox, room_key: str, person: Person) -> tuple[Room, str]:
    """The room and the person's role in it, as they are now. Raises ``ManaError`` for who is not in it."""
    room = stores.room_by_key(room_key, using=timeline.using)
    membership = stores.membership(room, person, using=timeline.using) if room is not None else None
    if room is None or membership is None or membership.state != State.JOINED:
        raise stores.not_in_room(room, room_key)
    return timeline.adopt(room), membership.role


class Touched(NamedTuple):
    """A message, its room, and the membership by which somebody may see it."""

    message: Message
    room: Room
    membership: Membership


def readable_message(message_id: UUID, person: Person, *, using: str | None = None) -> Touched:
    """A message that a person may read, also from a room that they left.

    Raises ``ManaError`` with ``not_found`` for everything else, as if it did not exist.
    """
    alias = using or database()
    missing = ManaError(ErrorCode.NOT_FOUND, f"There is no message {str(message_id)!r}.")
    rows = Message.objects.using(alias).select_related("room").filter(pk=message_id, kind=Message.Kind.MESSAGE)
    message = rows.first()
    if message is None or message.room.deleted_at is not None:
        raise missing
    membership = stores.membership(message.room, person, using=alias)
    if membership is None or not _may_see(membership, message, person):
        raise missing
    if Hidden.objects.using(alias).filter(user_id=person.pk, message_id=message.pk).exists():
        raise missing
    return Touched(message, message.room, membership)


def _may_see(membership: Membership, message: Message, person: Person) -> bool:
    if message.index is None:  # of this very transaction
        return bool(message.sender_id == person.pk)
    return membership.can_read(message.index)


def acting_on(timeline: Timeline | Outbox, message_id: UUID, person: Person) -> Touched:
    """A message that a member may act on now. Raises ``ManaError`` for who is not in its room, or can't read it."""
    message, room, membership = readable_message(message_id, person, using=timeline.using)
    if membership.state != State.JOINED:
        raise stores.not_in_room(room, room.key)
    if message.deleted_at is not None:
        raise ManaError(ErrorCode.NOT_FOUND, "This message was deleted.")
    room = timeline.adopt(room)
    message.room = room
    return Touched(message, room, membership)


def tell(timeline: Timeline | Outbox, person: Person, action: str, room: Room) -> None:
    """Tells one person alone of a room that they are not in."""
    told = _PersonalChange(action=action, room=room_info(room), members=[room_member(person)], room_id=room.key)
    timeline.append_personal(person, "room", told)


class _PersonalChange(RoomChange, kw_only=True, omit_defaults=True):
    room_id: str
