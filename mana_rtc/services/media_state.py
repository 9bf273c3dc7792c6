"""What people in a call do with their microphone, camera and screen, and whom they pin: kept for who joins later."""

from __future__ import annotations

from typing import Any

from mana.accounts.stores import Person
from mana.messaging.services.people import as_person, people_named
from mana.protocol import ErrorCode, ManaError
from mana.retries import retried
from mana_rtc import stores
from mana_rtc.models import CallParticipant
from mana_rtc.policies import policy
from mana_rtc.services.transitions import Change, changing

State = CallParticipant.State


@retried
def set_state(room_key: str, user: Any, **values: Any) -> list[str]:
    """Changes ``is_muted``, ``has_camera``, ``shares_screen`` or ``pinned`` of somebody in the room's call.

    Gives the wire ids of those who are to be told: everybody in it. Raises ``ManaError`` with ``conflict`` for who is
    in no call there.
    """
    person = as_person(user)
    call = _live(room_key, person)
    with changing(call.pk) as change:
        row = change.rows.get(person.pk)
        if row is None or row.state != State.JOINED:
            raise ManaError(ErrorCode.CONFLICT, "You are not in the call of this room.")
        for name, value in values.items():
            setattr(row, name, value)
        change.touch(row)
        return _audience(change)


@retried
def mute_other(room_key: str, actor: Any, other_id: str) -> list[str]:
    """Mutes somebody in the room's call, who may unmute themselves. For those who moderate the room.

    Gives the wire ids of those who are to be told.
    """
    person, other = as_person(actor), people_named([other_id])[0]
    call = _live(room_key, person)
    role = stores.standing(room_key, person).role
    other_role = stores.role_of(call.room, other.pk)
    if other_role is None:
        raise ManaError(ErrorCode.NOT_FOUND, "This person is not in the room.")
    policy().may_moderate(person, call.room, role, other_role)
    with changing(call.pk) as change:
        row = change.rows.get(other.pk)
        if row is None or row.state != State.JOINED:
            raise ManaError(ErrorCode.NOT_FOUND, "This person is not in the call.")
        row.is_muted = True
        change.touch(row)
        return _audience(change)


def _live(room_key: str, person: Person) -> Any:
    stores.standing(room_key, person)
    call = stores.live_in(room_key)
    if call is None:
        raise ManaError(ErrorCode.CONFLICT, "There is no call in this room.")
    return call


def _audience(change: Change) -> list[str]:
    return [change.person(row.user_id).user_id for row in change.joined()]
