"""Rooms and members as a person sees them: unread counts, last messages, who is online. A fixed number of queries."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Count, F, OuterRef, Q, Subquery
from msgspec import Raw, to_builtins

from mana.accounts.stores import Person, people, resolve
from mana.messaging.frames import avatar_version, event_frames
from mana.messaging.message_store import message_store
from mana.messaging.models import Membership, Mention, Message, Room
from mana.messaging.services.preferences import preferences_of
from mana.messaging.timeline import database
from mana.realtime import stores as presence
from mana.realtime.policies import presence_policy
from mana.realtime.wire import timestamp

#: How many members a room lists by itself; the rest is in ``rooms/{id}/members``.
MEMBERS_SHOWN = 100


def rooms_for(person: Person, memberships: Sequence[Membership]) -> list[dict[str, Any]]:
    """The rooms of a person's memberships (with ``room`` loaded), for REST."""
    rooms = [row.room for row in memberships]
    members = _members_shown(rooms)
    last = _last_messages(person, memberships)
    peers = _peers(person, rooms)
    mentions = _unread_mentions(person, memberships)
    return [
        {
            "id": row.room.key,
            "name": _name(row.room, peers.get(row.room_id)),
            "topic": row.room.topic,
            "room_type": row.room.room_type,
            "is_private": row.room.is_private,
            "shares_history": row.room.shares_history,
            "created_at": timestamp(row.room.created_at),
            "member_count": row.room.member_count,
            "members": members[row.room_id],
            "role": row.role,
            "last_index": row.room.last_index,
            "last_sequence": row.room.last_sequence,
            "unread": max(0, row.room.message_count - row.read_count),
            "unread_mentions": mentions.get(row.room_id, 0),
            "read_index": row.read_index,
            "avatar": avatar_version(row.room),
            "is_frozen": row.room.is_frozen,
            "slow_mode": row.room.slow_mode,
            "retention_days": row.room.retention_days,
            "retention_count": row.room.retention_count,
            "muted_until": _text(row.muted_until),
            "preferences": to_builtins(preferences_of(row)),
            "last_message": last.get(row.room_id),
            "peer": peers.get(row.room_id),
        }
        for row in memberships
    ]


def room_for(person: Person, room: Room) -> dict[str, Any]:
    """One room that a person is in, for REST."""
    row = Membership.objects.using(database()).select_related("room").get(room=room, user_id=person.pk)
    return rooms_for(person, [row])[0]


def members_for(viewer: Person, rows: Sequence[Membership]) -> list[dict[str, Any]]:
    """Members with their positions and presence, for REST."""
    pks = [row.user_id for row in rows]
    persons = people(pks)
    shown = presence_policy().visible(viewer.pk, pks)
    online = presence.online_users(shown)
    seen = presence.last_seen(shown)
    return [
        {
            **_named(persons[row.user_id]),
            "role": row.role,
            "online": row.user_id in online,
            "last_seen": _text(seen.get(row.user_id)),
            # What is read was delivered; writing moves the read position only.
            "delivered_index": max(row.delivered_index, row.read_index),
            "delivered_sequence": max(row.delivered_sequence, row.read_sequence),
            "read_index": row.read_index,
            "read_sequence": row.read_sequence,
            "muted_until": _text(row.muted_until),
        }
        for row in rows
        if row.user_id in persons
    ]


def _members_shown(rooms: Sequence[Room]) -> dict[int, list[str]]:
    """User ids per room. Rooms that are too large are read one by one, so that no query brings thousands of rows."""
    small = [room.pk for room in rooms if room.member_count <= MEMBERS_SHOWN]
    joined = Membership.objects.using(database()).filter(state=Membership.State.JOINED).order_by("pk")
    pairs = list(joined.filter(room_id__in=small).values_list("room_id", "user_id"))
    for room in rooms:
        if room.member_count > MEMBERS_SHOWN:
            pairs += joined.filter(room=room).values_list("room_id", "user_id")[:MEMBERS_SHOWN]
    persons = people({user_pk for _, user_pk in pairs})
    shown: dict[int, list[str]] = defaultdict(list)
    for room_pk, user_pk in pairs:
        if user_pk in persons:
            shown[room_pk].append(persons[user_pk].user_id)
    return shown


def _last_messages(person: Person, memberships: Sequence[Membership]) -> dict[int, Raw]:
    messages = Message.objects.using(database()).filter(kind=Message.Kind.MESSAGE, index__isnull=False)
    # Walks each room's index from its end: one row, whatever the room's history.
    shown = message_store().visible_to(person.pk, messages.filter(room_id=OuterRef("pk")))
    newest = shown.order_by("-index").values("pk")[:1]
    rooms = Room.objects.using(database()).filter(pk__in=[row.room_id for row in memberships])
    ids = [pk for pk in rooms.values_list(Subquery(newest), flat=True) if pk is not None]
    readable = {row.room_id: row.first_index or 0 for row in memberships}
    events = [
        event
        for event in messages.filter(pk__in=ids).select_related("room")
        if (event.index or 0) >= readable[event.room_id]
    ]
    return {
        event.room_id: Raw(frame)
        for event, frame in zip(events, event_frames(events, reader_pk=person.pk), strict=True)
    }


def _unread_mentions(person: Person, memberships: Sequence[Membership]) -> dict[int, int]:
    """How many messages after a member's read position mention them, by room."""
    member = "room__memberships__"
    mentions = Mention.objects.using(database()).filter(
        Q(user_id=person.pk) | Q(user_id=None),
        **{f"{member}user_id": person.pk},
        room_id__in=[row.room_id for row in memberships],
        index__gt=F(f"{member}read_index"),
        index__gte=F(f"{member}first_index"),
    )
    counts = mentions.exclude(message__sender_id=person.pk).values("room_id").annotate(count=Count("pk"))
    return dict(counts.values_list("room_id", "count"))


def _peers(person: Person, rooms: Sequence[Room]) -> dict[int, dict[str, Any]]:
    ids = {
        room.pk: next((one for one in room.direct_user_ids() if one != person.user_id), person.user_id)
        for room in rooms
        if room.direct_key
    }
    persons = resolve(ids.values(), active_only=False)
    pks = [one.pk for one in persons.values()]
    pks = list(presence_policy().visible(person.pk, pks))
    online, seen = presence.online_users(pks), presence.last_seen(pks)
    return {
        room_pk: {
            **_named(persons[user_id]),
            "online": persons[user_id].pk in online,
            "last_seen": _text(seen.get(persons[user_id].pk)),
        }
        for room_pk, user_id in ids.items()
        if user_id in persons
    }


def _named(person: Person) -> dict[str, str | None]:
    return {
        "user_id": person.user_id,
        "username": person.username,
        "display_name": person.display_name,
        "avatar_url": person.avatar_url,
    }


def _name(room: Room, peer: dict[str, Any] | None) -> str:
    if peer is not None:
        return str(peer["display_name"] or peer["username"])
    return "Deleted account" if room.direct_key else room.name


def _text(moment: datetime | None) -> str | None:
    return timestamp(moment) if moment is not None else None
