"""Use cases of calls: begin, answer, decline, hang up, end for all, take somebody out."""

from __future__ import annotations

import json
from typing import Any

from django.db import IntegrityError, transaction

from mana.accounts.live import tell
from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging.models import Room
from mana.messaging.services.people import as_person
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import CallAccepted, CallEnded, CallParticipantEvent, CallRejected, CallStarted
from mana.retries import retried
from mana_rtc import stores
from mana_rtc.models import Call, CallParticipant
from mana_rtc.policies import policy
from mana_rtc.presenting import call_fields, member_of
from mana_rtc.services.transitions import NO_LEG, Change, Leg, changing

State, Reason = CallParticipant.State, Call.Reason
#: Bytes of what an application adds to the frames of a call.
PAYLOAD_BYTES = 4096
#: How often somebody tries to begin a call where each time another one ends that moment.
TRIES = 4


def start(room: Any, user: Any, *, call_id: str | None = None, payload: Any = None, leg: Leg = NO_LEG) -> Call:
    """Rings the members of a room (a ``Room`` or its id), or joins the call that goes on there.

    ``payload`` is any JSON value; ``{"video": true}`` says that it is a video call. Whom ``ONE_CALL_AT_A_TIME`` makes
    busy is not rung. Said twice with the same ``call_id`` it is one call. Raises ``ManaError``: ``conflict`` for who is
    in another call, what the policy says, ``not_found`` or ``not_a_member``.
    """
    person = as_person(user)
    room_key = room.key if isinstance(room, Room) else room
    standing = stores.standing(room_key, person)
    policy().may_reach(person, standing.room)
    text = _checked(payload)
    for _ in range(TRIES):
        live = stores.live_in(room_key)
        if live is None:
            if call_id is not None and (earlier := _said_before(call_id, person, room_key)) is not None:
                return earlier
            policy().may_start(person, standing.room, standing.role)
            begun = _begin(standing.room, person, call_id, text, leg)
            if begun is not None:
                return begun
            continue
        if live.started_by_id == person.pk and live.key == call_id and not leg.session_id:
            return live  # a device that says it again takes its place by this session, as with an answer
        try:
            return answer(live.key, person, payload=payload, leg=leg)
        except ManaError:
            if stores.live_in(room_key) is not None:
                raise
    raise ManaError(ErrorCode.CONFLICT, "Calls begin and end in this room all the time.")


def _said_before(call_id: str, person: Person, room_key: str) -> Call | None:
    """The call of that id, if it is the person's own of before. Raises ``ManaError`` if it is anything else."""
    found = None if "\x00" in call_id else Call.objects.select_related("room").filter(key=call_id).first()
    if "\x00" in call_id or not call_id.isprintable():
        raise ManaError(ErrorCode.INVALID, "A call's id is 1 to 64 printable characters.")
    if found is None:
        return None
    if found.started_by_id == person.pk and found.room.key == room_key:
        return found
    raise ManaError(ErrorCode.CONFLICT, "There is a call with this id.")


@retried
def _begin(room: Room, person: Person, call_id: str | None, payload_json: str, leg: Leg) -> Call | None:
    """A new call; ``None`` if there is one in the room, or one of that id, since a moment."""
    with transaction.atomic():
        call = Call(
            room=room,
            live_in=room.key,
            started_by_id=person.pk,
            payload_json=payload_json,
            is_video=_video(payload_json),
        )
        if call_id is not None:
            call.key = call_id
        try:
            with transaction.atomic():
                call.save(force_insert=True)
        except IntegrityError:
            return None
        change = Change(call)
        change.join(person, leg, camera=call.is_video)
        others = stores.ringable(room, person)
        change.ring(others, busy=stores.busy(others) if settings.ONE_CALL_AT_A_TIME else set())
        change.tell(
            CallStarted, person.pk, origin=leg.session_id, payload=_payload(payload_json), participants=change.members()
        )
        if len(others) == 0 and room.room_type != Room.Type.DIRECT:
            _tell_room(change, person, leg, payload_json)
        for row in change.rows.values():
            if row.state == State.BUSY:
                change.tell(CallRejected, row.user_id, reason=str(Reason.BUSY))
        change.settle(Reason.HANGUP)
        change.store(began=True)
    return call


def _tell_room(change: Change, person: Person, leg: Leg, payload_json: str) -> None:
    """A large room is not rung; its members see the call, those across a block do not."""
    from mana.accounts.stores import people
    from mana.contacts.stores import store as contacts
    from mana.protocol import encode
    from mana.realtime.announce import announce
    from mana.realtime.announcements import Announcement

    hidden = [one.user_id for one in people(contacts().blocked_with(person.pk)).values()]
    frame = CallStarted(
        **call_fields(change.call),
        from_=person.user_id,
        username=person.username,
        payload=_payload(payload_json),
        participants=change.members(),
    )
    # The caller's own devices were told as its participants.
    text, room_key = encode(frame).decode(), change.call.room.key
    hint = Announcement(0, room_key, text, origin=leg.session_id, hidden_from=[*hidden, person.user_id])
    transaction.on_commit(lambda: announce([hint]))


@retried
def answer(call_id: str, user: Any, *, payload: Any = None, leg: Leg = NO_LEG) -> Call:
    """Answers a call or joins it; of several devices that answer at once, one does.

    The same device comes back to it with a new connection. Raises ``ManaError``: ``conflict`` if it is over, answered
    on another device, or the user is in another call; ``forbidden`` for who was taken out of it.
    """
    person, call = as_person(user), stores.by_key(call_id)
    standing = _standing(call, person)
    policy().may_reach(person, call.room)
    policy().may_join(person, call.room, standing.role)
    text = _checked(payload)
    with changing(call.pk, by=person.pk) as change:
        row = change.rows.get(person.pk)
        if change.is_over:
            raise ManaError(ErrorCode.CONFLICT, "This call is over.")
        if row is not None and row.state == State.JOINED:
            _come_back(change, row, leg)
            return change.call
        if row is not None and row.state == State.REMOVED:
            raise ManaError(ErrorCode.FORBIDDEN, "You were taken out of this call.")
        if len(change.joined()) >= settings.RTC_MAX_PARTICIPANTS:
            raise ManaError(ErrorCode.UNAVAILABLE, "There are as many people in this call as it takes.")
        camera = _video(text) if payload is not None else False
        change.join(person, leg, camera=camera)
        change.tell(
            CallAccepted, person.pk, origin=leg.session_id, payload=_payload(text), participants=change.members()
        )
    return change.call


def _come_back(change: Change, row: CallParticipant, leg: Leg) -> None:
    if row.session_id == leg.session_id:
        return
    if row.device_id != leg.device_id and not stores.is_cold(row):
        raise ManaError(ErrorCode.CONFLICT, "This call was answered on another device.")
    change.move(row, leg)
    shown = member_of(row, change.person(row.user_id))
    change.tell(CallParticipantEvent, row.user_id, origin=leg.session_id, participant=shown, reason="moved")


@retried
def reject(call_id: str, user: Any, *, busy: bool = False) -> Call:
    """Declines a call on all of a user's devices. Raises ``ManaError`` with ``conflict`` if it does not ring."""
    person, call = as_person(user), stores.by_key(call_id)
    state = State.BUSY if busy else State.REJECTED
    with changing(call.pk, reason=str(state), by=person.pk) as change:
        row = _own(change, person)
        if row.state != State.RINGING:
            raise ManaError(ErrorCode.CONFLICT, "This call does not ring any more.")
        change.depart(row, state)
        change.tell(CallRejected, person.pk, reason=str(state))
        return change.call


@retried
def hang_up(call_id: str, user: Any, *, failed: bool = False) -> Call:
    """Leaves a call: between two it is over then, and so it is when its caller hangs up before anybody answered.

    Who is being rung declines it by that. ``failed`` says that no media came through. Hanging up twice is no error.
    """
    person, call = as_person(user), stores.by_key(call_id)
    reason = Reason.FAILED if failed else Reason.HANGUP
    with changing(call.pk, reason=reason, by=person.pk) as change:
        row = _own(change, person)
        if row.state == State.RINGING:
            change.depart(row, State.REJECTED)
            change.tell(CallRejected, person.pk, reason=str(State.REJECTED))
            change.settle(State.REJECTED)
        elif row.state == State.JOINED:
            _leave(change, row, State.LEFT, str(reason))
        return change.call


@retried
def end(call_id: str, user: Any) -> Call:
    """Ends a call for all. Raises ``ManaError`` with ``forbidden`` for whom the policy does not let."""
    person, call = as_person(user), stores.by_key(call_id)
    standing = _standing(call, person)
    policy().may_end(person, call.room, standing.role, started=call.started_by_id == person.pk)
    with changing(call.pk, by=person.pk) as change:
        change.end(Reason.HANGUP)
        return change.call


@retried
def end_as_staff(call_id: str) -> Call:
    """Ends a call for all, without asking anybody: for the admin and for code."""
    with changing(stores.by_key(call_id).pk) as change:
        change.end(Reason.HANGUP)
        return change.call


@retried
def remove(call_id: str, actor: Any, other: Any) -> Call:
    """Takes somebody out of a call, who can't come back to it. For those who moderate the room."""
    person, target, call = as_person(actor), as_person(other), stores.by_key(call_id)
    standing = _standing(call, person)
    other_role = stores.role_of(call.room, target.pk)
    if other_role is None:
        raise ManaError(ErrorCode.NOT_FOUND, "This person is not in the room.")
    policy().may_moderate(person, call.room, standing.role, other_role)
    with changing(call.pk, by=person.pk) as change:
        row = change.rows.get(target.pk)
        if row is None or row.state not in (State.RINGING, State.JOINED):
            raise ManaError(ErrorCode.NOT_FOUND, "This person is not in the call.")
        put_out(change, row, by=person.pk)
        return change.call


def put_out(change: Change, row: CallParticipant, *, by: Any = None) -> None:
    """Takes somebody out of a call, and tells them why."""
    who = change.person(row.user_id)
    _leave(change, row, State.REMOVED, "removed")
    if not change.is_direct:
        tell([who.user_id], CallEnded(**call_fields(change.call), **change.stamp(by), reason="removed"))
        change.forget(row.user_id)


def _leave(change: Change, row: CallParticipant, state: str, reason: str) -> None:
    change.depart(row, state)
    shown = member_of(row, change.person(row.user_id))
    if not change.is_direct and len(change.joined()) > 0:
        change.tell(CallParticipantEvent, row.user_id, participant=shown, reason=reason)


def depart(change: Change, row: CallParticipant, state: str, reason: str) -> None:
    """Somebody is gone, or was rung for long enough; the others see it if the call goes on."""
    _leave(change, row, state, reason)


# -- Helpers ---------------------------------------------------------------------------------------------------------


def _standing(call: Call, person: Person) -> stores.Standing:
    """A member's standing in a call's room; to others the call does not exist."""
    try:
        return stores.standing(call.room.key, person)
    except ManaError:
        raise stores.no_call() from None


def _own(change: Change, person: Person) -> CallParticipant:
    row = change.rows.get(person.pk)
    if row is None:
        raise stores.no_call()
    return row


def _checked(payload: Any) -> str:
    try:
        text = json.dumps(payload, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ManaError(ErrorCode.INVALID, f"The payload can't be written as JSON: {error}.") from None
    if len(text) > PAYLOAD_BYTES:
        raise ManaError(ErrorCode.TOO_LARGE, f"The payload of a call may have {PAYLOAD_BYTES} bytes.")
    return text


def _payload(payload_json: str) -> Any:
    return json.loads(payload_json)


def _video(payload_json: str) -> bool:
    payload = json.loads(payload_json)
    return isinstance(payload, dict) and bool(payload.get("video"))
