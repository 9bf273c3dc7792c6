"""An SFU in the running event loop: the mux, the rooms and the clock that drives them."""

from __future__ import annotations

import asyncio
import logging
from time import monotonic
from typing import Any

from mana_rtc.media.sdp import SdpError
from mana_rtc.sfu.backend import Joined, Listener, ParticipantInfo, SfuError, Source, Wish
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.participant import Participant
from mana_rtc.sfu.room import Room
from mana_rtc.transport.mux import Mux

logger = logging.getLogger("mana.rtc")

#: Seconds between two ticks: how late a NACK or a probe may be.
TICK = 0.015


class Engine:
    """Implements ``mana_rtc.sfu.backend.SfuBackend`` in this loop. ``listener`` is called with its events."""

    def __init__(self, config: SfuConfig, listener: Listener) -> None:
        self.config = config
        self.loop = asyncio.get_running_loop()
        self.mux = Mux(config.transport, self.loop)
        self.rooms: dict[str, Room] = {}
        self._listener = listener
        self._timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Binds the sockets. Raises ``OSError``."""
        await self.mux.start()
        self._timer = self.loop.call_later(TICK, self._tick)

    async def stop(self) -> None:
        """Says goodbye to everybody and closes the sockets."""
        if self._timer is not None:
            self._timer.cancel()
        for room in list(self.rooms.values()):
            room.close()
        self.rooms.clear()
        self.mux.close()

    def _tick(self) -> None:
        now = monotonic()
        self._timer = self.loop.call_later(TICK, self._tick)
        for room in list(self.rooms.values()):
            try:
                room.tick(now)
            except Exception:
                logger.exception("A room's tick failed; the others go on.")

    # -- Commands ----------------------------------------------------------------------------------------------------

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        """Lets somebody into a room."""
        found = self.rooms.get(room)
        if found is None:
            if len(self.rooms) >= self.config.max_rooms:
                raise SfuError("There is no room for another call.", full=True)
            found = self.rooms[room] = Room(
                room,
                self.mux,
                self.config,
                listener=self._listener,
                clock=monotonic,  # uvloop's own clock stands still for as long as a turn of the loop takes
                call_soon=self.loop.call_soon,
                interval=TICK,
            )
        if len(found.participants) >= self.config.max_participants and participant.id not in found.participants:
            raise SfuError("The call is full.", full=True)
        found.join(participant)
        return found.seen_by(participant.id)

    async def resume(self, room: str, participant: str) -> Joined:
        """What there is."""
        self._participant(room, participant)
        return self.rooms[room].seen_by(participant)

    async def publish(self, room: str, participant: str, sdp: str, sources: dict[str, Source]) -> str:
        """Answers an offer."""
        try:
            return self._participant(room, participant).publish(sdp, sources)
        except SdpError as error:
            raise SfuError(str(error)) from error

    async def ready(self, room: str, participant: str) -> None:
        """Offers what there is."""
        self._participant(room, participant).ready()

    async def answer(self, room: str, participant: str, sdp: str, number: int) -> None:
        """Takes the answer to an offer."""
        subscriber = self._participant(room, participant).subscriber
        if subscriber is None:
            raise SfuError("There is no offer to answer.")
        try:
            subscriber.answer(sdp, number)
        except SdpError as error:
            raise SfuError(str(error)) from error

    async def subscribe(self, room: str, participant: str, wishes: dict[str, Wish]) -> None:
        """Takes wishes."""
        self._participant(room, participant).wish(wishes)

    async def restart(self, room: str, participant: str) -> None:
        """Offers new ICE credentials, or everything anew to somebody whose transport was lost."""
        found = self._participant(room, participant)
        if found.subscriber is not None:
            found.subscriber.restart()
        else:
            found.ready()

    async def leave(self, room: str, participant: str, reason: str = "left") -> None:
        """Lets somebody out; the room is gone with the last."""
        found = self.rooms.get(room)
        if found is not None:
            found.leave(participant, reason)
            if not found.participants:
                del self.rooms[room]

    async def statistics(self, room: str) -> dict[str, Any]:
        """Numbers of a room; empty if there is none."""
        found = self.rooms.get(room)
        return found.statistics() if found is not None else {}

    def _participant(self, room: str, participant: str) -> Participant:
        found = self.rooms.get(room)
        one = found.participants.get(participant) if found is not None else None
        if one is None:
            raise SfuError("You are not in this call.")
        return one
