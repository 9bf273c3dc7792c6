"""Who of this process's sessions sits in which call: from WebSocket sessions to participants of the SFU and back.

A seat outlives its session for a while, so that somebody whose WebSocket broke comes back to the same media. Only
members of a room have seats in its call: who is removed from the room is out of the call as soon as the hub knows.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from django.utils.module_loading import import_string

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError, ServerFrame
from mana_rtc.frames import frame_of
from mana_rtc.sfu.backend import Event, Joined, ParticipantInfo, ParticipantLeft, SfuBackend, SfuError

if TYPE_CHECKING:
    from mana.realtime.hub import Hub
    from mana.realtime.session import Session

logger = logging.getLogger("mana.rtc")

#: Seconds between looks at who is still there and still a member.
WATCH_INTERVAL = 0.25


@dataclass(eq=False)
class Seat:
    """One participant. ``token`` proves to whom it belongs when they come back."""

    room: str
    info: ParticipantInfo
    session: Session | None
    token: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    empty_since: float = 0.0

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
        if self._watching is None or self._watching.done():
            self._watching = self._hub.loop.create_task(self._watch(), name="mana-rtc-seats")
        return seat, joined

    async def resume(self, session: Session, room: str, token: str) -> tuple[Seat, Joined]:
        """The seat that somebody had, for their new session. Raises ``ManaError`` if it is gone."""
        for seat in self._seats.values():
            if (
                seat.room == room
                and seat.info.user_id == session.user_id
                and secrets.compare_digest(seat.token.encode(), token.encode())
            ):
                if seat.session is not None:
                    self._by_session.pop((room, seat.session.id), None)
                seat.session = session
                self._by_session[room, session.id] = seat
                return seat, await self.backend.resume(room, seat.participant)
        raise ManaError(ErrorCode.NOT_FOUND, "There is no seat in the call to come back to: join anew.")

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
        """Called in the media thread."""
        if not self._hub.loop.is_closed():
            self._hub.loop.call_soon_threadsafe(self._deliver, event)

    def _deliver(self, event: Event) -> None:
        frame: ServerFrame | None = None
        for participant in event.to:
            seat = self._seats.get((event.room, participant))
            if seat is not None and seat.session is not None:
                frame = frame or frame_of(event)
                seat.session.send(frame)

    async def stop(self) -> None:
        """Ends the media server."""
        if self._watching is not None:
            self._watching.cancel()
        stop: Any = getattr(self._backend, "stop", None)
        if stop is not None:
            await asyncio.to_thread(stop)
