"""Offers, answers and candidates from peer to peer. The server looks at none of them; it says who sends to whom."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from mana.messaging.handlers import person_of
from mana.protocol import ErrorCode, ManaError, encode
from mana.protocol.client import Answer, Candidate, Offer, Signal
from mana.protocol.server import AnswerEvent, CandidateEvent, OfferEvent, SignalEvent
from mana.realtime.announcements import Announcement
from mana.realtime.dispatch import handles
from mana.realtime.session import Session
from mana_rtc.services.entering import Target, relay_target

if TYPE_CHECKING:
    from mana.realtime.hub import Hub

#: Bytes of a candidate, and of what an application adds. Descriptions have the protocol's limit.
CANDIDATE_BYTES = 4096
PAYLOAD_BYTES = 4096
#: Seconds for which it is remembered whom somebody may signal to: a peer sends dozens of candidates in one.
REMEMBERED = 0.5
SIZE = 10_000


class Targets:
    """Whom the users of a hub may signal to, as far as they did just now."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._known: dict[tuple[str, str, str], tuple[float, Target]] = {}

    async def find(self, session: Session, room: str, to: str) -> Target:
        """Whom ``to`` names. Raises ``ManaError``."""
        key, now = (room, session.user_id, to), self._hub.loop.time()
        known = self._known.get(key)
        if known is not None and known[0] > now:
            return known[1]
        self._known.pop(key, None)
        here = self._hub.sessions.get(to)
        target = await self._hub.database.run(
            relay_target, room, person_of(session), to, session_of=here.identity.user_pk if here is not None else None
        )
        if len(self._known) >= SIZE:
            self._known.clear()
        self._known[key] = (now + REMEMBERED, target)
        return target


@handles(Offer)
async def offer(session: Session, frame: Offer) -> None:
    """Relays an offer."""
    await _relay(session, frame, OfferEvent, sdp=frame.sdp)


@handles(Answer)
async def answer(session: Session, frame: Answer) -> None:
    """Relays an answer."""
    await _relay(session, frame, AnswerEvent, sdp=frame.sdp)


@handles(Candidate)
async def candidate(session: Session, frame: Candidate) -> None:
    """Relays an ICE candidate."""
    check_size(frame.candidate, CANDIDATE_BYTES, "candidate")
    await _relay(session, frame, CandidateEvent, candidate=frame.candidate)


async def _relay(session: Session, frame: Signal, event: type[SignalEvent], **fields: Any) -> None:
    if frame.room_id is None or frame.to is None:
        raise ManaError(ErrorCode.INVALID, "The frame needs `room_id` and `to`.")
    check_size(frame.payload, PAYLOAD_BYTES, "payload")
    if frame.room_id not in session.rooms:
        raise ManaError(ErrorCode.NOT_A_MEMBER)
    target = await session.hub.extension(Targets).find(session, frame.room_id, frame.to)
    told = event(**stamp(session), room_id=frame.room_id, to=target.user_id, payload=frame.payload, **fields)
    sessions = [target.session_id] if target.session_id is not None else []
    # In the room as each node knows it: who has left meanwhile gets nothing.
    hint = Announcement(
        0, frame.room_id, encode(told).decode(), origin=session.id, users=[target.user_id], sessions=sessions
    )
    session.hub.announce([hint])


def stamp(session: Session) -> dict[str, Any]:
    """What the server says of who sends."""
    return {
        "from_": session.user_id,
        "username": session.username,
        "session_id": session.id,
        "device_id": session.device_id,
    }


def check_size(value: Any, most: int, name: str) -> None:
    """Raises ``ManaError`` with ``too_large``."""
    if len(msgspec.json.encode(value)) > most:
        raise ManaError(ErrorCode.TOO_LARGE, f"The {name} may have {most} bytes.")
