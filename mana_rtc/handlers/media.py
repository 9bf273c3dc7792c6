"""WebSocket frames to the media server: joining a call, publishing, receiving, and coming back after a change of
network.

``ready`` joins a room's call (``payload`` false leaves it; ``{"resume": token}`` comes back to it) and is answered with
``ready``: who and what is there. Then the client offers what it publishes (``sfu_offer``, answered with ``sfu_answer``)
and answers what the server offers (``sfu_offer`` from the server, ``sfu_answer``). Only members of a room get that far.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mana.messaging.handlers import check_reaches
from mana.protocol import ErrorCode, ManaError
from mana.protocol.client import (
    IceRestart,
    NetworkChange,
    Ready,
    SfuAnswer,
    SfuCandidate,
    SfuOffer,
    Signal,
    Subscribe,
)
from mana.protocol.server import ReadyEvent, SfuAnswerEvent
from mana.realtime.dispatch import handles
from mana.realtime.session import Session
from mana_rtc.frames import plain
from mana_rtc.handlers.relay import CANDIDATE_BYTES, check_size
from mana_rtc.keeper import CallKeeper
from mana_rtc.seats import Seat, Seats
from mana_rtc.services.entering import may_have_media
from mana_rtc.sfu.backend import Joined, SfuError, Source, Wish

ShortText = Annotated[str, Meta(max_length=128)]


class ReadyPayload(Struct):
    """``ready``: the token of a seat to come back to."""

    resume: ShortText | None = None


class OfferPayload(Struct):
    """``sfu_offer``: what the media sections are, by mid."""

    sources: Annotated[dict[Annotated[str, Meta(max_length=16)], Source], Meta(max_length=64)] = {}


class AnswerPayload(Struct):
    """``sfu_answer``: the number of the offer that is answered."""

    number: Annotated[int, Meta(ge=0)]


class SubscribePayload(Struct):
    """``subscribe``: wishes by track."""

    tracks: Annotated[dict[ShortText, Wish], Meta(max_length=256)]


def read(payload: Any, shape: type[Any]) -> Any:
    """The payload as a struct. Raises ``ManaError``."""
    try:
        return msgspec.convert({} if payload is None else payload, shape)
    except msgspec.ValidationError as error:
        raise ManaError(ErrorCode.INVALID, f"payload: {error}") from None


def room_of(session: Session, frame: Signal) -> str:
    """The room that a frame is about. Raises ``ManaError`` unless the session's user is a member of it."""
    if frame.room_id is None:
        raise ManaError(ErrorCode.INVALID, "The frame needs `room_id`.")
    if frame.room_id not in session.rooms:
        raise ManaError(ErrorCode.NOT_A_MEMBER)
    return frame.room_id


@asynccontextmanager
async def refusals() -> AsyncIterator[None]:
    """Turns the media server's refusals into the protocol's."""
    try:
        yield
    except SfuError as error:
        raise ManaError(ErrorCode.UNAVAILABLE if error.full else ErrorCode.INVALID, error.detail) from None


def seat_of(session: Session, frame: Signal) -> tuple[Seats, Seat]:
    """The session's seat in the call of the frame's room."""
    room = room_of(session, frame)
    seats = session.hub.extension(Seats)
    return seats, seats.of(session, room)


@handles(Ready)
async def ready(session: Session, frame: Ready) -> None:
    """Joins a call, comes back to it, or leaves it."""
    if frame.payload is False:
        seats = session.hub.extension(Seats)
        if frame.room_id is not None:  # also for one who is no member any more
            await seats.give_up(seats.of(session, frame.room_id), "left")
        return
    room = room_of(session, frame)
    await check_reaches(session, room, calling=True)
    payload: ReadyPayload = read(frame.payload, ReadyPayload)
    await session.hub.database.run(may_have_media, room, session.identity.user_pk)
    session.hub.extension(CallKeeper).watch(room)
    seats = session.hub.extension(Seats)
    async with refusals():
        if payload.resume is not None:
            seat, found = await seats.resume(session, room, payload.resume)
            session.hub.extension(CallKeeper).watch(room)  # that took a while
            session.send(_ready_event(seat, found, resumed=True))
            seats.opened(seat)
            await seats.backend.restart(room, seat.participant)
            return
        seat, found = await seats.take(session, room)
        session.hub.extension(CallKeeper).watch(room)
        session.send(_ready_event(seat, found, resumed=False))
        seats.opened(seat)
        await seats.backend.ready(room, seat.participant)


def _ready_event(seat: Seat, found: Joined, *, resumed: bool) -> ReadyEvent:
    return ReadyEvent(
        room_id=seat.room,
        payload={"participant": seat.participant, "resume": seat.token, "resumed": resumed, **plain(found)},
    )


@handles(SfuOffer)
async def offer(session: Session, frame: SfuOffer) -> None:
    """Publishes: the answer comes as ``sfu_answer``."""
    seats, seat = seat_of(session, frame)
    payload: OfferPayload = read(frame.payload, OfferPayload)
    async with refusals():
        sdp = await seats.backend.publish(seat.room, seat.participant, frame.sdp, payload.sources)
    session.send(SfuAnswerEvent(room_id=seat.room, sdp=sdp))


@handles(SfuAnswer)
async def answer(session: Session, frame: SfuAnswer) -> None:
    """Answers the server's offer of the same number."""
    seats, seat = seat_of(session, frame)
    payload: AnswerPayload = read(frame.payload, AnswerPayload)
    async with refusals():
        await seats.backend.answer(seat.room, seat.participant, frame.sdp, payload.number)


@handles(SfuCandidate)
async def candidate(session: Session, frame: SfuCandidate) -> None:
    """Takes note of nothing where the media server is an ICE-lite agent, which learns its peer's addresses from their
    checks (RFC 8445 section 7.3). Another engine may want candidates of what is published.
    """
    seats, seat = seat_of(session, frame)
    trickle = getattr(seats.backend, "trickle", None)
    if trickle is not None:
        check_size(frame.candidate, CANDIDATE_BYTES, "candidate")
        async with refusals():
            await trickle(seat.room, seat.participant, frame.candidate)


@handles(Subscribe)
async def subscribe(session: Session, frame: Subscribe) -> None:
    """Chooses tracks and layers."""
    seats, seat = seat_of(session, frame)
    payload: SubscribePayload = read(frame.payload, SubscribePayload)
    async with refusals():
        await seats.backend.subscribe(seat.room, seat.participant, payload.tracks)


@handles(IceRestart)
async def ice_restart(session: Session, frame: IceRestart) -> None:
    """Offers new ICE credentials for what is received; for what is published the client offers them itself."""
    seats, seat = seat_of(session, frame)
    async with refusals():
        await seats.backend.restart(seat.room, seat.participant)


@handles(NetworkChange)
async def network_change(session: Session, frame: NetworkChange) -> None:
    """The same as ``ice_restart``."""
    seats, seat = seat_of(session, frame)
    async with refusals():
        await seats.backend.restart(seat.room, seat.participant)
