"""Catching up: everything since a cursor, and pages of a room's past."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeVar

from mana.accounts.stores import cursor_of, move_cursor
from mana.conf import settings
from mana.messaging import stores
from mana.messaging.frames import event_frames
from mana.messaging.message_store import message_store
from mana.messaging.models import Message, PersonalEvent
from mana.messaging.services.asynchronous import reading
from mana.messaging.services.people import as_person
from mana.protocol import ErrorCode, ManaError

#: Bytes of payloads after which a page ends early. WebSocket libraries refuse messages over 1 MiB by default.
PAGE_BYTES = 512 * 1024
#: Bytes that what is around the frames of a page may take.
PAGE_SLACK = 1024


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in order of sequence, as frames. ``cursor`` is what to ask with next."""

    frames: list[bytes]
    cursor: int
    has_more: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Page:
    """Events of a room in order of index, as frames."""

    frames: list[bytes]
    indexes: list[int]
    has_more: bool


def sync(user: Any, cursor: int | None = None, *, device_id: str | None = None, limit: int | None = None) -> Batch:
    """The events after ``cursor`` that the user may see. Without a cursor the device's stored one counts.

    A given cursor is stored for the device: the events up to it have arrived there. One that lies ahead of all events
    (of another database, say) is set back, with the reason ``rewound``.
    """
    person = as_person(user)
    latest = stores.latest_sequence()
    reason = "sync"
    if cursor is None:
        cursor = cursor_of(person.pk, device_id) if device_id else 0
    if cursor > latest:
        cursor, reason = latest, "rewound"
    elif device_id:
        move_cursor(person.pk, device_id, cursor)
    store = message_store()
    events = store.sync_after(person.pk, cursor, page_limit(limit) + 1, up_to=latest)
    events, has_more = _cut(events, page_limit(limit))
    new_cursor = events[-1].sequence if events else cursor
    assert new_cursor is not None
    if hidden := store.hidden(person.pk, events):
        events = [event for event in events if event.pk not in hidden]
    frames = event_frames(events, reader_pk=person.pk, device_id=device_id)
    fitting = _fitting(frames)
    if fitting < len(frames):
        frames, has_more, new_cursor = frames[:fitting], True, events[fitting - 1].sequence or cursor
    return Batch(frames, new_cursor, has_more, reason)


def history(
    room_key: str,
    user: Any,
    *,
    before: int | None = None,
    after: int | None = None,
    limit: int | None = None,
    device_id: str | None = None,
) -> Page:
    """A page of a room's events before or after an index; without either, the newest.

    A user who left sees what they could see then. Raises ``ManaError`` for who was never in the room.
    """
    if before is not None and after is not None:
        raise ManaError(ErrorCode.INVALID, "Ask for events before or after an index, not both.")
    person = as_person(user)
    room = stores.room_by_key(room_key)
    interval = stores.readable(room, person) if room is not None else None
    if room is None or interval is None:
        raise stores.not_in_room(room, room_key)
    count = page_limit(limit)
    store = message_store()
    events = store.conversation(room, interval, user_pk=person.pk, before=before, after=after, limit=count + 1)
    events, has_more = _cut(events, count)
    frames = event_frames(events, reader_pk=person.pk, device_id=device_id)
    fitting = _fitting(frames)
    if fitting < len(frames):
        events, frames, has_more = events[:fitting], frames[:fitting], True
    if after is None:
        events.reverse()
        frames.reverse()
    return Page(frames, [event.index or 0 for event in events], has_more)


def page_limit(limit: int | None) -> int:
    """How many events a page has at the most."""
    return min(settings.SYNC_LIMIT if limit is None else limit, settings.SYNC_MAX_LIMIT)


EventT = TypeVar("EventT", Message, Message | PersonalEvent)


def _cut(events: list[EventT], limit: int) -> tuple[list[EventT], bool]:
    """The first ``limit`` events, or fewer when they are large; and whether some were cut off."""
    size = 0
    for position, event in enumerate(events[:limit]):
        size += len(event.payload_json)
        if size > PAGE_BYTES and position > 0:
            return events[:position], True
    return events[:limit], len(events) > limit


def _fitting(frames: list[bytes]) -> int:
    """How many of the frames go into a page: what devices have of their own was not counted with the events."""
    size = 0
    for position, frame in enumerate(frames):
        size += len(frame)
        if size > 2 * PAGE_BYTES - PAGE_SLACK and position > 0:
            return position
    return len(frames)


async_ = reading(sync)
ahistory = reading(history)
