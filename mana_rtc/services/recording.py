"""Recording a call: who may, and that everybody in it knows."""

from __future__ import annotations

from typing import Any

from mana.messaging.services.people import as_person
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import CallParticipantEvent
from mana.retries import retried
from mana_rtc import stores
from mana_rtc.models import Call, CallParticipant
from mana_rtc.policies import policy
from mana_rtc.presenting import member_of
from mana_rtc.services.transitions import changing


def recordable(room_key: str, user: Any) -> Call:
    """The room's call, which the user may record. Raises ``ManaError``: ``forbidden`` by the policy, ``conflict`` where
    nobody has answered a call, or it is end-to-end encrypted; ``not_found`` or ``not_a_member``.
    """
    person = as_person(user)
    standing = stores.standing(room_key, person)
    policy().may_record(person, standing.room, standing.role)
    call = stores.live_in(room_key)
    if call is None or call.state != Call.State.ACCEPTED:
        raise ManaError(ErrorCode.CONFLICT, "In this room is no call that somebody has answered.")
    if isinstance(call.payload, dict) and call.payload.get("encrypted"):
        raise ManaError(ErrorCode.CONFLICT, "This call is end-to-end encrypted: only its people can see and hear it.")
    return call


@retried
def begin_recording(call_id: str, user: Any) -> None:
    """Notes that somebody in a call records it from now on, until they leave it, and tells everybody there, and whoever
    joins later. Raises ``ManaError`` as ``recordable`` does, and ``conflict`` for who is not in the call.
    """
    person, room_key = as_person(user), stores.by_key(call_id).room.key
    call = recordable(room_key, person)
    with changing(call.pk, by=person.pk) as change:
        row = change.rows.get(person.pk)
        if call.key != call_id or row is None or row.state != CallParticipant.State.JOINED:
            raise ManaError(ErrorCode.CONFLICT, "You are not in this call.")
        if row.is_recording:
            return
        row.is_recording = True
        change.touch(row)
        shown = member_of(row, change.person(person.pk))
        change.tell(CallParticipantEvent, person.pk, participant=shown, reason="recording")
