"""Appending to the order of all events.

One row, the stream, holds the last sequence. Whoever appends events locks that row, in the same short transaction that
inserts them, so that sequences become visible in their order and without gaps, whatever processes write. The lock also
serializes everything else that a timeline depends on: memberships, rooms' indexes, duplicates of a send.

Inside a transaction of the caller's the lock would last as long as their business does. There the events are stored
without places, in that transaction, and get them right after its commit (``sequencer.sequence_pending``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import msgspec
from django.db import connections, router, transaction
from django.db.models import F
from django.utils import timezone

from mana.accounts.stores import Person, resolve
from mana.messaging import effects, files
from mana.messaging.extras import to_json
from mana.messaging.frames import ENTERING, LEAVING, AnyEvent, change_json, change_of, room_info, room_member
from mana.messaging.models import Membership, Message, PersonalEvent, Pin, Room, Stream
from mana.messaging.permits import note_message
from mana.messaging.statements import insert_messages, lock_stream, mark_read, move_stream, update_rows
from mana.protocol import ErrorCode, ManaError


def database() -> str:
    """The alias of the database that messages are written to."""
    return router.db_for_write(Message)


def in_callers_transaction(using: str) -> bool:
    """Whether the calling code has a transaction open; the one that wraps a ``TestCase`` does not count."""
    return any(not getattr(block, "_from_testcase", False) for block in connections[using].atomic_blocks)


class Timeline:
    """An open transaction that holds the stream. Events appended here have their places at once."""

    def __init__(self, using: str) -> None:
        self.using = using
        #: Events that are new, and events that were stored before and have now got their places.
        self.events: list[Message] = []
        self.placed: list[AnyEvent] = []
        self.personal: list[PersonalEvent] = []
        self._rooms: dict[int, Room] = {}
        self._start = self._sequence = _lock_stream(using)

    def room(self, pk: int) -> Room:
        """A room as it is under the lock; always the same object. Raises ``ManaError`` if it is deleted by now."""
        if pk not in self._rooms:
            self._rooms[pk] = _living_room(pk, self.using)
        return self._rooms[pk]

    def adopt(self, room: Room) -> Room:
        """Takes a room that was read or made under this lock."""
        return self._rooms.setdefault(room.pk, room)

    def append(self, event: Message) -> Message:
        """Gives an event the next places in the order and in its room."""
        self._place(event)
        self.events.append(event)
        if event.extra_json or event.kind != Message.Kind.MESSAGE:
            effects.apply(event, using=self.using, is_stored=False)
        return event

    def append_personal(self, person: Person, kind: str, payload: msgspec.Struct) -> PersonalEvent:
        """Gives an event that only one person is told of the next place in the order."""
        event = personal_event(person, kind, payload)
        self._sequence += 1
        event.sequence = self._sequence
        self.personal.append(event)
        return event

    def place_pending(self, limit: int | None = None) -> None:
        """Gives places to events that were stored in callers' transactions, in the order in which they were made."""
        pending = Message.objects.using(self.using).filter(sequence__isnull=True).select_related("room")
        # The time orders them better than the ids, which have milliseconds only.
        for event in pending.order_by("created_at", "pk")[:limit]:
            self._place(event)
            self.placed.append(event)
            if event.kind == Message.Kind.ROOM:
                change = change_of(event)
                people = resolve([member.user_id for member in change.members], active_only=False).values()
                apply_change(event, change.action, [person.pk for person in people], using=self.using)
                if len(people) < len(change.members):
                    _count_members(event.room, self.using)
            else:
                effects.apply(event, using=self.using, is_stored=True)
        personal = PersonalEvent.objects.using(self.using).filter(sequence__isnull=True)
        for own in personal.order_by("created_at", "pk")[:limit]:
            self._sequence += 1
            own.sequence = self._sequence
            self.placed.append(own)
        self._note_senders()

    def _note_senders(self) -> None:
        """Who wrote has read up to there, and waits in slow mode, as with messages that get their place at once."""
        newest = {
            (event.room_id, event.sender_id): event
            for event in self.placed
            if isinstance(event, Message) and event.kind == Message.Kind.MESSAGE and event.sender_id is not None
        }
        if not newest:
            return
        rows = Membership.objects.using(self.using).filter(
            room_id__in={room for room, _ in newest}, user_id__in={user for _, user in newest}, last_index=None
        )
        found = [(row, newest[row.room_id, row.user_id]) for row in rows if (row.room_id, row.user_id) in newest]
        mark_read(
            {row.pk: (event.index or 0, event.sequence or 0, event.number or 0) for row, event in found},
            using=self.using,
        )
        for row, event in found:
            if event.room.slow_mode:
                note_message(row, event.created_at, self.using)

    def _place(self, event: Message) -> None:
        room = self.adopt(event.room)
        event.room = room
        self._sequence += 1
        room.last_index += 1
        room.last_sequence = self._sequence
        if event.kind == Message.Kind.MESSAGE:
            room.message_count += 1
        event.sequence, event.index, event.number = self._sequence, room.last_index, room.message_count

    def append_change(
        self, room: Room, actor: Person | None, action: str, members: Mapping[Person, str], **details: Any
    ) -> Message:
        """Appends a change of a room that concerns ``members`` (and roles), and lets them in or out right there."""
        event = self.append(_change_event(room, actor, action, members, **details))
        apply_change(event, action, [person.pk for person in members], using=self.using)
        return event

    def finish(self) -> None:
        """Writes the places of events that had none, and the counters of the stream and of the rooms."""
        if self._sequence == self._start:
            return
        move_stream(self._sequence, using=self.using)
        placed = [event for event in self.placed if isinstance(event, Message)]
        places = {event.pk: (event.sequence or 0, event.index or 0, event.number or 0) for event in placed}
        update_rows(Message, ("sequence", "index", "number"), places, using=self.using)
        if len(placed) < len(self.placed):
            own = {event.pk: (event.sequence or 0,) for event in self.placed if isinstance(event, PersonalEvent)}
            update_rows(PersonalEvent, ("sequence",), own, using=self.using)
        if self.personal:
            PersonalEvent.objects.using(self.using).bulk_create(self.personal)
        touched = {event.room_id: self._rooms[event.room_id] for event in (*placed, *self.events)}
        update_rows(
            Room,
            ("last_index", "last_sequence", "message_count"),
            {pk: (room.last_index, room.last_sequence, room.message_count) for pk, room in touched.items()},
            using=self.using,
        )


class Outbox:
    """Stands in for a ``Timeline`` inside a caller's transaction: stores events without places."""

    def __init__(self, using: str) -> None:
        self.using = using
        self.events: list[Message] = []
        self.personal: list[PersonalEvent] = []

    def room(self, pk: int) -> Room:
        """A room as the caller's transaction sees it. Raises ``ManaError`` if it is deleted by now."""
        return _living_room(pk, self.using)

    def adopt(self, room: Room) -> Room:
        """Nothing to share here."""
        return room

    def append(self, event: Message) -> Message:
        """Keeps an event for the end of the block."""
        self.events.append(event)
        return event

    def append_personal(self, person: Person, kind: str, payload: msgspec.Struct) -> PersonalEvent:
        """Keeps an event that only one person is told of for the end of the block."""
        event = personal_event(person, kind, payload)
        self.personal.append(event)
        return event

    def append_change(
        self, room: Room, actor: Person | None, action: str, members: Mapping[Person, str], **details: Any
    ) -> Message:
        """Keeps a change for the end of the block; people are let in or out when it gets its place."""
        return self.append(_change_event(room, actor, action, members, **details))


@contextmanager
def change() -> Iterator[Timeline | Outbox]:
    """A transaction to which events can be appended; they are announced once they are committed and have their places.

    Inside a caller's transaction it is that one, and events wait for its commit.
    """
    from mana.messaging.publish import publish
    from mana.messaging.sequencer import sequence_after_commit

    using = database()
    if in_callers_transaction(using):
        outbox = Outbox(using)
        with transaction.atomic(using=using):
            yield outbox
            if outbox.events:
                Message.objects.using(using).bulk_create(outbox.events)
            if outbox.personal:
                PersonalEvent.objects.using(using).bulk_create(outbox.personal)
        if outbox.events or outbox.personal:
            transaction.on_commit(lambda: sequence_after_commit([*outbox.events, *outbox.personal]), using=using)
        return
    with open_timeline(using) as timeline:
        # Changes of memberships count in the order in which they were committed, also after a crash.
        timeline.place_pending()
        yield timeline
    publish([*timeline.placed, *timeline.events, *timeline.personal])


@contextmanager
def open_timeline(using: str) -> Iterator[Timeline]:
    """A transaction of its own that holds the stream. The events' rows are inserted at its end."""
    with transaction.atomic(using=using, durable=True):
        timeline = Timeline(using)
        yield timeline
        timeline.finish()
        if timeline.events:
            insert_messages(timeline.events, using=using)


def _living_room(pk: int, using: str) -> Room:
    room = Room.objects.using(using).filter(pk=pk, deleted_at=None).first()
    if room is None:
        raise ManaError(ErrorCode.NOT_FOUND, "The room is not there any more.")
    return room


def apply_change(event: Message, action: str, user_pks: Collection[Any], *, using: str) -> None:
    """Moves the bounds of what people may read to a change that has just got its place."""
    room = event.room
    memberships = Membership.objects.using(using).filter(room_id=room.pk, user_id__in=list(user_pks))
    if room.deleted_at is not None:  # by a change that got its place first
        if action in ENTERING:
            memberships.exclude(state=Membership.State.BANNED).update(state=Membership.State.LEFT)
        return
    if action in ENTERING:
        # Two transactions may have let the same person in: they are in since the first of the two events.
        count = memberships.exclude(first_index__isnull=False, last_index=None).update(
            state=Membership.State.JOINED,
            joined_sequence=event.sequence,
            first_index=1 if room.shares_history else event.index,
            last_index=None,
            delivered_index=event.index,
            delivered_sequence=event.sequence,
            read_index=event.index,
            read_sequence=event.sequence,
            read_count=room.message_count,
        )
    elif action in LEAVING:
        # Who was only invited, or is banned before they ever came, is not counted.
        count = -memberships.filter(first_index__isnull=False, last_index=None).update(last_index=event.index)
    elif action == "deleted":
        count = -_close_room(event, using)
    else:
        if action == "updated":
            _update_room(event, using)
        elif action in ("pinned", "unpinned"):
            _pin(event, action, using)
        return
    room.member_count += count
    Room.objects.using(using).filter(pk=room.pk).update(member_count=F("member_count") + count)


def _count_members(room: Room, using: str) -> None:
    """Counts anew, where some of those whom a change is about are no users any more: their rows are gone with them."""
    rows = Membership.objects.using(using).filter(room=room, first_index__isnull=False, last_index=None)
    room.member_count = rows.count()
    Room.objects.using(using).filter(pk=room.pk).update(member_count=room.member_count)


#: What the first release's changes of a room set; it did not say which of them.
FIRST_SETTINGS = ("name", "topic", "is_private")


def _update_room(event: Message, using: str) -> None:
    # Here and not where the change was asked for: a room's row that a caller's open transaction has changed would make
    # the writer wait, which counts in it. Only what was asked for is set: others may have changed the rest meanwhile.
    change = change_of(event)
    names = FIRST_SETTINGS if change.changed is None else change.changed
    values = {name: change.avatar_file if name == "avatar" else getattr(change.room, name) for name in names}
    for name, value in values.items():
        setattr(event.room, name, value)
    if values:
        if "avatar" in values:
            _discard_avatar(event.room_id, values["avatar"], using)
        Room.objects.using(using).filter(pk=event.room_id).update(**values)
    change.room = room_info(event.room)
    event.payload_json = to_json(change)
    if not event._state.adding:
        Message.objects.using(using).filter(pk=event.pk).update(payload_json=event.payload_json)


def _discard_avatar(room_pk: int, new: str, using: str) -> None:
    old = Room.objects.using(using).filter(pk=room_pk).values_list("avatar", flat=True).first()
    if old and old != new:
        transaction.on_commit(lambda: files.discard([old]), using=using)


def _close_room(event: Message, using: str) -> int:
    """Takes everybody out of a room that is deleted: all that they can read of it is this event."""
    rows = Membership.objects.using(using).filter(room_id=event.room_id)
    rows.exclude(first_index__isnull=False, last_index=None).update(first_index=None, last_index=None)
    count = rows.filter(first_index__isnull=False).update(first_index=event.index, last_index=event.index)
    rows.exclude(state=Membership.State.BANNED).update(state=Membership.State.LEFT)
    event.room.deleted_at = event.created_at
    Room.objects.using(using).filter(pk=event.room_id).update(deleted_at=event.created_at)
    return count


def _pin(event: Message, action: str, using: str) -> None:
    message_id = change_of(event).message_id or ""
    pins = Pin.objects.using(using).filter(message_id=message_id)
    if action == "unpinned":
        pins.delete()
        return
    living = Message.objects.using(using).filter(pk=message_id, deleted_at=None)
    if living.exists() and not pins.exists():
        Pin.objects.using(using).create(
            message_id=message_id, room_id=event.room_id, pinned_by_id=event.sender_id, created_at=event.created_at
        )


def personal_event(person: Person, kind: str, payload: msgspec.Struct) -> PersonalEvent:
    """An event that one person alone is told of, without its place."""
    return PersonalEvent(user_id=person.pk, kind=kind, payload_json=to_json(payload), created_at=timezone.now())


def _change_event(
    room: Room, actor: Person | None, action: str, members: Mapping[Person, str], **details: Any
) -> Message:
    concerned = [room_member(person, role) for person, role in members.items()]
    return Message(
        room=room,
        kind=Message.Kind.ROOM,
        sender_id=actor.pk if actor else None,
        payload_json=change_json(action, room, concerned, **details),
        created_at=timezone.now(),
    )


def _lock_stream(using: str) -> int:
    """Locks the stream until the end of the transaction; its sequence."""
    sequence = lock_stream(using)
    if sequence is None:
        Stream.objects.using(using).get_or_create(pk=Stream.DEFAULT_PK)
        return _lock_stream(using)
    return sequence
