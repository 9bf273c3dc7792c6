"""Who gets media from the SFU, to whom somebody may signal directly, and who gets the keys of encrypted media."""

from __future__ import annotations

from typing import Any, NamedTuple

from mana.accounts.stores import Person, people, person, resolve
from mana.messaging.models import Room
from mana.protocol import ErrorCode, ManaError
from mana.realtime.models import Session as SessionRow
from mana_rtc import stores
from mana_rtc.models import CallParticipant
from mana_rtc.policies import policy


def may_have_media(room_key: str, user_pk: Any) -> None:
    """Raises ``ManaError`` for who has not answered the room's call; between two people there must be one."""
    call = stores.live_in(room_key)
    if call is not None:
        rows = CallParticipant.objects.filter(call=call, user_id=user_pk, state=CallParticipant.State.JOINED)
        if not rows.exists():
            raise ManaError(ErrorCode.CONFLICT, "Answer the call of this room first: send `call_accept`.")
    elif Room.objects.filter(key=room_key, room_type=Room.Type.DIRECT).exists():
        raise ManaError(ErrorCode.CONFLICT, "There is no call in this room: send `call_start`.")


class Target(NamedTuple):
    """Whom a relayed frame goes to: all of a user's sessions, or one."""

    user_id: str
    session_id: str | None


def relay_target(room_key: str, sender: Person, to: str, *, session_of: Any = None) -> Target:
    """Whom ``to``, a user or a session, names in a room. Raises ``ManaError`` for who is not in it or out of reach.

    ``session_of`` is the user of the session ``to``, where the node knows it.
    """
    room = stores.standing(room_key, sender).room
    if "\x00" in to:
        raise _nobody()
    other, session_id = resolve([to]).get(to), None
    if other is None:
        user_pk = session_of if session_of is not None else _user_of(to)
        other, session_id = (person(user_pk), to) if user_pk is not None else (None, None)
    if other is None or stores.role_of(room, other.pk) is None:
        raise _nobody()
    policy().may_reach(sender, room)
    return Target(other.user_id, session_id)


def key_targets(room_key: str, call_id: str, sender: Person, session_id: str) -> dict[str, str]:
    """The others in a call, and the sessions that they are in it with: user ids on the wire to ids of sessions.

    Raises ``ManaError``: ``not_found`` or ``not_a_member`` for the room, ``conflict`` unless ``session_id`` is in the
    call.
    """
    stores.standing(room_key, sender)
    call = stores.live_in(room_key)
    rows = list(stores.joined_in(call)) if call is not None and call.key == call_id else []
    if not any(row.user_id == sender.pk and row.session_id == session_id for row in rows):
        raise ManaError(ErrorCode.CONFLICT, "You are not in this call.")
    known = people([row.user_id for row in rows])
    others = [row for row in rows if row.user_id in known and row.user_id != sender.pk and row.session_id]
    return {known[row.user_id].user_id: row.session_id for row in others}


def _user_of(session_id: str) -> Any:
    """The user of a session, also of one that is in a call and so new that its node has not stored it yet."""
    found = SessionRow.objects.filter(pk=session_id).values_list("user_id", flat=True).first()
    if found is not None:
        return found
    rows = CallParticipant.objects.filter(session_id=session_id, state=CallParticipant.State.JOINED)
    return rows.values_list("user_id", flat=True).first()


def _nobody() -> ManaError:
    return ManaError(ErrorCode.NOT_FOUND, "`to` names nobody in this room.")
