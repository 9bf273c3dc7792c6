"""Calls and participants as frames and REST show them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import to_builtins

from mana.accounts.stores import Person, people
from mana.protocol.server import CallMember
from mana.realtime.wire import timestamp
from mana_rtc.models import Call, CallParticipant

State = CallParticipant.State


def call_fields(call: Call) -> dict[str, Any]:
    """What all frames of a call say of it."""
    moment = call.ended_at or call.answered_at or call.created_at
    return {"call_id": call.key, "room_id": call.room.key, "timestamp": timestamp(moment)}


def member_of(row: CallParticipant, person: Person) -> CallMember:
    """A participant as those in the call see them."""
    inside = row.state == State.JOINED
    return CallMember(
        user_id=person.user_id,
        username=person.username,
        state=str(row.state),  # type: ignore[arg-type]
        session_id=(row.session_id or None) if inside else None,
        device_id=(row.device_id or None) if inside else None,
        muted=row.is_muted and inside,
        camera=row.has_camera and inside,
        screen=row.shares_screen and inside,
        pinned=(row.pinned or None) if inside else None,
        recording=row.is_recording and inside,
    )


def calls_as_json(calls: Sequence[Call], viewer_pk: Any) -> list[dict[str, Any]]:
    """Calls as REST gives them to one of their people, with two queries for all."""
    rows = CallParticipant.objects.filter(call_id__in=[call.pk for call in calls]).order_by("pk")
    of_call: dict[int, list[CallParticipant]] = {call.pk: [] for call in calls}
    for row in rows:
        of_call[row.call_id].append(row)
    known = people([*(row.user_id for row in rows), *(call.started_by_id for call in calls)])
    return [_call_as_json(call, of_call[call.pk], known, viewer_pk) for call in calls]


def _call_as_json(call: Call, rows: list[CallParticipant], known: dict[Any, Person], viewer_pk: Any) -> dict[str, Any]:
    own = next((row for row in rows if row.user_id == viewer_pk), None)
    caller = known.get(call.started_by_id)
    return {
        "id": call.key,
        "room_id": call.room.key,
        "state": str(call.state),
        "reason": str(call.reason) or None,
        "video": call.is_video,
        "from": caller.user_id if caller is not None else None,
        "outgoing": call.started_by_id == viewer_pk,
        "own_state": str(own.state) if own is not None else None,
        "started_at": timestamp(call.created_at),
        "answered_at": timestamp(call.answered_at) if call.answered_at else None,
        "ended_at": timestamp(call.ended_at) if call.ended_at else None,
        "seconds": call.seconds,
        "participants": [
            {
                "session_id": None,
                "device_id": None,
                "muted": False,
                "camera": False,
                "screen": False,
                "pinned": None,
                "recording": False,
                **to_builtins(member_of(row, known[row.user_id])),
            }
            for row in rows
            if row.user_id in known
        ],
    }
