"""The frames of a call's life."""

from __future__ import annotations

from typing import Any

from mana.accounts.stores import people
from mana.messaging.handlers import direct_room_with, person_of
from mana.messaging.services.people import people_named
from mana.protocol import AckMessage, ErrorCode, ManaError
from mana.protocol.client import CallAccept, CallEnd, CallReject, CallStart
from mana.protocol.server import CallAccepted
from mana.realtime.dispatch import handles
from mana.realtime.session import Session
from mana.throttles import Throttle
from mana_rtc import stores
from mana_rtc.keeper import CallKeeper
from mana_rtc.models import PRESENT, Call
from mana_rtc.presenting import call_fields, member_of
from mana_rtc.services import Leg, aanswer, aend, ahang_up, areject, aremove, astart

starts = Throttle("CALL_RATE")


@handles(CallStart)
async def start(session: Session, frame: CallStart) -> AckMessage | None:
    """Begins a call, or joins the one that goes on in the room."""
    run = session.hub.database.run
    await run(starts.take, session.user_id)
    room = frame.room_id
    if room is None:
        if frame.to is None:
            raise ManaError(ErrorCode.INVALID, "The frame needs `room_id` or `to`.")
        if frame.to == session.user_id:
            raise ManaError(ErrorCode.INVALID, "That is you.")
        room = await direct_room_with(session, frame.to)
    call = await astart(room, person_of(session), call_id=frame.call_id, payload=frame.payload, leg=_leg(session))
    await _entered(session, call)
    if frame.ack_id is None:
        return None
    return AckMessage(ack_id=frame.ack_id, call_id=call.key, room_id=room)


@handles(CallAccept)
async def accept(session: Session, frame: CallAccept) -> AckMessage | None:
    """Answers a call; the session gets a ``call_accept`` with everybody who is in it, and what they do."""
    call = await aanswer(frame.call_id, person_of(session), payload=frame.payload, leg=_leg(session))
    await _entered(session, call)
    if frame.ack_id is None:
        return None
    return AckMessage(ack_id=frame.ack_id, call_id=call.key, room_id=call.room.key)


@handles(CallReject)
async def reject(session: Session, frame: CallReject) -> None:
    """Declines a call."""
    await areject(frame.call_id, person_of(session), busy=_option(frame.payload, "reason") == "busy")


@handles(CallEnd)
async def end(session: Session, frame: CallEnd) -> None:
    """Hangs up, ends the call for all, or takes somebody out of it."""
    person, run = person_of(session), session.hub.database.run
    call_id = frame.call_id
    if call_id is None:
        if frame.room_id is None:
            raise ManaError(ErrorCode.INVALID, "The frame needs `call_id` or `room_id`.")
        await run(stores.standing, frame.room_id, person)
        live = await run(stores.live_in, frame.room_id)
        if live is None:
            raise stores.no_call()
        call_id = live.key
    if frame.to is not None:
        await aremove(call_id, person, (await run(people_named, [frame.to]))[0])
    elif _option(frame.payload, "everybody") is True:
        await aend(call_id, person)
    else:
        await ahang_up(call_id, person, failed=_option(frame.payload, "reason") == "failed")


async def _entered(session: Session, call: Call) -> None:
    """The session is in a call: it renews its place, and learns who else is there."""
    if call.state == Call.State.ENDED:
        return
    session.hub.extension(CallKeeper).attach(session, call.room.key)
    if call.state == Call.State.ACCEPTED:
        session.send(await session.hub.database.run(_as_found, call, session.identity.user_pk))


def _as_found(call: Call, user_pk: Any) -> CallAccepted:
    rows = [row for row in call.participants.order_by("pk") if row.state in PRESENT]
    known = people([user_pk, *(row.user_id for row in rows)])
    own = known.get(user_pk)
    return CallAccepted(
        **call_fields(call),
        from_=own.user_id if own is not None else None,
        username=own.username if own is not None else None,
        payload=call.payload,
        participants=[member_of(row, known[row.user_id]) for row in rows if row.user_id in known],
    )


def _leg(session: Session) -> Leg:
    return Leg(session.id, session.device_id)


def _option(payload: Any, name: str) -> Any:
    return payload.get(name) if isinstance(payload, dict) else None
