"""How far people have got and read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import transaction
from django.utils import timezone

from mana.accounts.stores import Person, resolve
from mana.conf import settings
from mana.contacts.stores import store as contact_store
from mana.messaging import stores
from mana.messaging.frames import peer_of
from mana.messaging.message_store import message_store
from mana.messaging.models import Membership, Room
from mana.messaging.services.asynchronous import reading
from mana.messaging.services.people import as_person
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError, encode
from mana.protocol.server import ReceiptEvent
from mana.realtime.announce import announce
from mana.realtime.announcements import Announcement
from mana.realtime.wire import timestamp

DELIVERED, READ = "delivered", "read"


@dataclass(frozen=True, slots=True)
class Position:
    """Where a member stands: the last event delivered or read."""

    room_key: str
    sequence: int
    index: int
    moved: bool


def mark(room_key: str, user: Any, sequence: int, status: str, *, session_id: str = "") -> Position:
    """Notes that everything up to ``sequence`` was delivered to a member, or read by them, and tells the room.

    Positions never move back; what is read is also delivered. Across a block only the member's own devices are told:
    a receipt shows that somebody is there. Raises ``ManaError`` for who is not a member.
    """
    if status not in (DELIVERED, READ):
        raise ManaError(ErrorCode.INVALID, "status must be delivered or read.")
    person = as_person(user)
    room = stores.room_by_key(room_key)
    membership = stores.membership(room, person, using=database()) if room is not None else None
    if room is None or membership is None or membership.state != Membership.State.JOINED:
        raise stores.not_in_room(room, room_key)
    event = stores.last_visible(membership, up_to_sequence=sequence)
    if event is None:
        return Position(room_key, 0, 0, moved=False)
    assert event.sequence is not None
    assert event.index is not None
    moved = message_store().mark_delivered(membership, event, read=status == READ)
    if moved and room.member_count <= settings.RECEIPTS_MAX_ROOM:
        frame = ReceiptEvent(
            room_id=room.key,
            from_=person.user_id,
            sequence=event.sequence,
            index=event.index,
            status=status,  # type: ignore[arg-type]  # checked above
            timestamp=timestamp(timezone.now()),
        )
        users = [person.user_id] if _across_block(person, room) else []
        announcement = Announcement(0, room.key, encode(frame).decode(), origin=session_id, users=users)
        transaction.on_commit(lambda: announce([announcement]), using=database())
    return Position(room.key, event.sequence, event.index, moved)


def _across_block(person: Person, room: Room) -> bool:
    """Whether it is a direct room with somebody whom the person blocks, or who blocks them."""
    peer = peer_of(room, person)
    other = resolve([peer], active_only=False).get(peer) if peer is not None else None
    return other is not None and bool(contact_store().blocks_between([(person.pk, other.pk)]))


amark = reading(mark)
