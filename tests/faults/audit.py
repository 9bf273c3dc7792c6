"""What a database must look like whatever happened to the processes that wrote it. Runs in a script."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


def events(*rooms: str) -> list[dict[str, Any]]:
    """All stored events, or those of some rooms, by sequence, those without a place first."""
    from django.db.models import F

    from mana.messaging.models import Message

    found = Message.objects.filter(room__key__in=rooms) if rooms else Message.objects.all()
    return [
        {
            "sequence": row.sequence,
            "index": row.index,
            "room": row.room.key,
            "kind": row.kind,
            "sender": str(row.sender_id),
            "ack_id": row.ack_id,
            "payload": row.payload,
        }
        for row in found.select_related("room").order_by(F("sequence").asc(nulls_first=True))
    ]


def problems() -> list[str]:
    """What is wrong with places and counters: gaps, and counts that disagree with the rows. Empty if all is well."""
    from mana.messaging.models import Membership, Message, Room, Stream

    found: list[str] = []
    rows = list(Message.objects.order_by("sequence").values("sequence", "index", "number", "room_id", "kind"))
    sequences = [row["sequence"] for row in rows]
    if None in sequences:
        found.append(f"{sequences.count(None)} events have no place")
        rows = [row for row in rows if row["sequence"] is not None]
    found += _gaps("sequence", [row["sequence"] for row in rows])
    at = Stream.objects.get().sequence
    if at != len(rows):
        found.append(f"the stream is at {at} after {len(rows)} events")
    by_room: dict[int, list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        by_room[row["room_id"]].append(row)
    for room in Room.objects.all():
        own = by_room[room.pk]
        found += _gaps(f"index of {room.key}", [row["index"] for row in own])
        count = 0
        for row in own:
            count += row["kind"] == Message.Kind.MESSAGE
            if row["number"] != count:
                found.append(f"event {row['index']} of {room.key} has number {row['number']}, not {count}")
                break
        members = Membership.objects.filter(room=room, state=Membership.State.JOINED).count()
        expected = {
            "last_index": len(own),
            "last_sequence": own[-1]["sequence"] if own else 0,
            "message_count": count,
            "member_count": members,
        }
        for name, value in expected.items():
            if getattr(room, name) != value:
                found.append(f"{room.key}.{name} is {getattr(room, name)}, not {value}")
    return found


def _gaps(name: str, numbers: list[int]) -> list[str]:
    for expected, number in enumerate(numbers, 1):
        if number != expected:
            return [f"{name}: {number} stands where {expected} must be"]
    return []
