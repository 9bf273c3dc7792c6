"""Who of this process's sessions sits in which call: from WebSocket sessions to participants of the SFU and back.

A seat outlives its session for a while, so that somebody whose WebSocket broke comes back to the same media. Only
members of a room have seats in its call: who is removed from the room is out of the call as soon as the hub knows.

A seat's token is signed, not stored: where a media server serves several nodes, each of them can tell that it is
genuine, and takes over the participant of somebody whose node is gone.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.crypto import salted_hmac
from django.utils.module_loading import import_string

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError, ServerFrame
from mana_rtc.frames import frame_of
from mana_rtc.sfu.backend import Event, Joined, ParticipantInfo, ParticipantLeft, SfuBackend, SfuError, TransportLost

if TYPE_CHECKING:
    from mana.realtime.hub import Hub
    from mana.realtime.session import Session

logger = logging.getLogger("mana.rtc")

#: Seconds between looks at who is still there and still a member.
WATCH_INTERVAL = 0.25


#: Events that may wait for somebody who has not been told yet that they are in.
MAX_EARLY = 256


def token_for(room: str, user_id: str, participant: str) -> str:
    """What proves that a participant is a user's: the id, and a keyed hash of all three."""
    digest = salted_hmac("mana_rtc.seats", "\n".join((participant, user_id, room)), algorithm="sha256")
    return f"{participant}.{digest.hexdigest()}"


@dataclass(eq=False)
class Seat:
    """One participant. ``early`` are the events that wait until the answer to the joining was sent, ``None`` then."""

    room: str
    info: ParticipantInfo
    session: Session | None
    empty_since: float = 0.0
    early: list[Event] | None = field(default_factory=list)

    @property
    def token(self) -> str:
        """What proves to whom it belongs when they come back."""
        return token_for(self.room, self.info.user_id, self.info.id)

    @property
    def participant(self) -> str:
        """The participant's id."""
        return self.info.id


class Seats:
    """The seats of a hub (``hub.extension(Seats)``), and the media server behind them, made when it is first needed."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._backend: SfuBackend | None = None
        self._seats: dict[tuple[str, str], Seat] = {}
        self._by_session: dict[tuple[str, str], Seat] = {}
        self._watching: asyncio.Task[None] | None = None

    def __len__(self) -> int:
        return len(self._seats)

    @property
    def backend_if_made(self) -> SfuBackend | None:
        """The media server, if it was needed."""
        return self._backend

    @property
    def backend(self) -> SfuBackend:
        """The media server."""
        if self._backend is None:
            make: Callable[[Callable[[Event], None]], SfuBackend] = import_string(settings.RTC_BACKEND)
            self._backend = make(self._from_backend)
        return self._backend

    # -- Sitting down and getting up ---------------------------------------------------------------------------------

    async def take(self, session: Session, room: str) -> tuple[Seat, Joined]:
        """A new seat for a session, in place of an earlier one in the same call."""
        before = self._by_session.get((room, session.id))
        if before is not None:
            await self.give_up(before, "left")
        info = ParticipantInfo(id=secrets.token_urlsafe(9), user_id=session.user_id, username=session.username)
        seat = Seat(room, info, session)
        self._seats[room, info.id] = seat
        self._by_session[room, session.id] = seat
        try:
            joined = await self.backend.join(room, info)
        except BaseException:
            self._forget(seat)
            raise
        self._keep_watch()
        return seat, joined

    async def resume(self, session: Session, room: str, token: str) -> tuple[Seat, Joined]:
        """The seat that somebody had, here or at another node, for their new session. Raises ``ManaError`` if it is
        gone."""
        participant = token.partition(".")[0]
        genuine = token_for(room, session.user_id, participant)
        if not secrets.compare_digest(genuine.encode(), token.encode()):
            raise _gone()
        seat = self._seats.get((room, participant))
        if seat is not None and seat.early is None:
            # What happens from here on may not be in the answer, and the old session would not hear of it.
            seat.early = []
        try:
            joined = await self.backend.resume(room, participant)
        except BaseException as error:
            if seat is not None:
                self.opened(seat)
            if isinstance(error, SfuError):
                raise _gone() from error
            raise
        seat = self._seats.get((room, participant))
        if seat is None:  # it was another node's
            info = ParticipantInfo(id=participant, user_id=session.user_id, username=session.username)
            seat = self._seats[room, participant] = Seat(room, info, session)
        elif seat.session is not None:
            self._by_session.pop((room, seat.session.id), None)
        other = self._by_session.get((room, session.id))
        if other is not None and other is not seat:
            await self.give_up(other, "left")
        seat.session = session
        seat.early = seat.early or []
        self._by_session[room, session.id] = seat
        self._keep_watch()
        return seat, joined

    def opened(self, seat: Seat) -> None:
        """The answer to the joining was sent: what happened since may follow."""
        early, seat.early = seat.early or [], None
        for event in early:
            if seat.session is not None:
                seat.session.send(frame_of(event))

    def of(self, session: Session, room: str) -> Seat:
        """A session's seat in a call. Raises ``ManaError`` if it has none."""
        seat = self._by_session.get((room, session.id))
        if seat is None:
            raise ManaError(ErrorCode.CONFLICT, "Join the call first: send `ready`.")
        return seat

    async def give_up(self, seat: Seat, reason: str) -> None:
        """Leaves a call."""
        self._forget(seat)
        try:
            await self.backend.leave(seat.room, seat.participant, reason)
        except SfuError as error:
            logger.warning("A participant could not be let out: %s", error)

    def any_in(self, room: str) -> bool:
        """Whether somebody has a seat in a room."""
        return any(seat.room == room for seat in self._seats.values())

    async def keep_only(self, rooms: dict[str, set[str]]) -> None:
        """Gives up the seats in these rooms of all but the users (wire ids) that are named for each."""
        for seat in list(self._seats.values()):
            if seat.room in rooms and seat.info.user_id not in rooms[seat.room]:
                self._tell_gone(seat, "ended")
                await self.give_up(seat, "ended")

    def _forget(self, seat: Seat) -> None:
        self._seats.pop((seat.room, seat.participant), None)
        if seat.session is not None:
            self._by_session.pop((seat.room, seat.session.id), None)

    # -- Watching ----------------------------------------------------------------------------------------------------

    def _keep_watch(self) -> None:
        if self._watching is None or self._watching.done():
            self._watching = self._hub.loop.create_task(self._watch(), name="mana-rtc-seats")

    async def _watch(self) -> None:
        while self._seats:
            await asyncio.sleep(WATCH_INTERVAL)
            now = self._hub.loop.time()
            for seat in list(self._seats.values()):
                reason = self._ending(seat, now)
                if reason is not None:
                    self._tell_gone(seat, reason)
                    await self.give_up(seat, reason)

    def _ending(self, seat: Seat, now: float) -> str | None:
        """Why a seat must be given up, if it must."""
        session = seat.session
        if session is None:
            return "disconnected" if now - seat.empty_since >= settings.RTC_RESUME_TIMEOUT else None
        if session.id not in self._hub.sessions:
            self._by_session.pop((seat.room, session.id), None)
            seat.session = None
            seat.empty_since = now
            return None
        return None if seat.room in session.rooms else "removed"

    def _tell_gone(self, seat: Seat, reason: str) -> None:
        if seat.session is not None:
            event = ParticipantLeft(room=seat.room, to=[], participant=seat.info, reason=reason)
            seat.session.send(frame_of(event))

    # -- Events ------------------------------------------------------------------------------------------------------

    def _from_backend(self, event: Event) -> None:
        """Called in whatever thread the media server has."""
        if not self._hub.loop.is_closed():
            self._hub.loop.call_soon_threadsafe(self._deliver, event)

    def _deliver(self, event: Event) -> None:
        frame: ServerFrame | None = None
        for participant in event.to:
            seat = self._seats.get((event.room, participant))
            if seat is None:
                continue
            if isinstance(event, TransportLost) and event.peer == "seat":
                self._forget(seat)
            elif seat.early is not None:
                if len(seat.early) < MAX_EARLY:
                    seat.early.append(event)
                continue
            if seat.session is not None:
                frame = frame or frame_of(event)
                seat.session.send(frame)

    async def stop(self) -> None:
        """Ends the media server, or this node's part of it."""
        if self._watching is not None:
            self._watching.cancel()
        close: Any = getattr(self._backend, "aclose", None)
        if close is not None:
            await close()
            return
        stop: Any = getattr(self._backend, "stop", None)
        if stop is not None:
            await asyncio.to_thread(stop)


def _gone() -> ManaError:
    return ManaError(ErrorCode.NOT_FOUND, "There is no seat in the call to come back to: join anew.")
