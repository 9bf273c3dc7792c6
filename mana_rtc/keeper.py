"""What a node does for calls all the time: renews its people's leases, sweeps, rings at devices that come late.

A call's state is in the database; frames only hint. So a node that dies takes nobody's call with it: who comes back in
time goes on, and who does not is swept out by another node.
"""

from __future__ import annotations

import asyncio
import logging
import math
from datetime import datetime
from typing import TYPE_CHECKING, Any

from django.utils import timezone

from mana.accounts.stores import people
from mana.protocol.server import CallStarted
from mana_rtc import stores
from mana_rtc.models import PRESENT, Call
from mana_rtc.presenting import call_fields, member_of
from mana_rtc.seats import Seats
from mana_rtc.services.sweeping import sweep

if TYPE_CHECKING:
    from mana.realtime.hub import Hub
    from mana.realtime.session import Session

logger = logging.getLogger("mana.rtc")

#: Seconds between looks at the calls of the cluster, and between renewals of leases.
INTERVAL = 0.5
RENEWAL = 2.0
#: Seconds after which it tries again what the database refused.
PAUSE = 2.0
#: Seconds in which all nodes have renewed what they can, once the database is back.
GRACE = RENEWAL + PAUSE + 2 * INTERVAL


class CallKeeper:
    """A hub's (``hub.extension(CallKeeper)``, there from its start)."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._legs: set[str] = set()
        #: The rooms that are watched, and since when.
        self._rooms: dict[str, float] = {}
        #: Of the rooms that are watched, those in which there was a call.
        self._had_calls: set[str] = set()
        self._newcomers: list[tuple[Session, datetime]] = []
        self._renew_at = 0.0
        self._looked_at = -math.inf
        self._trusted_from = 0.0
        hub.on_open.append(self._opened)
        self._task = hub.loop.create_task(self._run(), name="mana-calls")

    def attach(self, session: Session, room: str) -> None:
        """A session is in a room's call from now on."""
        self._legs.add(session.id)
        self._had_calls.add(room)  # whether a look sees it or not
        self.watch(room)

    def watch(self, room: str) -> None:
        """People of this node may have media in a room: it ends when its call does."""
        self._rooms[room] = self._hub.loop.time()

    async def stop(self) -> None:
        """Ends it. The leases of this node's people run out."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _opened(self, session: Session) -> None:
        self._newcomers.append((session, timezone.now()))

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            try:
                await self._look()
            except Exception as error:
                logger.warning("Calls could not be looked after, another try in %.0f s: %s", PAUSE, error)
                await asyncio.sleep(PAUSE)

    async def _look(self) -> None:
        run = self._hub.database.run
        self._legs &= self._hub.sessions.keys()
        if self._legs and self._hub.loop.time() >= self._renew_at:
            await run(stores.renew, list(self._legs))
            self._renew_at = self._hub.loop.time() + RENEWAL
        now = self._hub.loop.time()
        if now - self._looked_at > PAUSE + 2 * INTERVAL:
            # The database was away, or this node is new: others may not have been able to renew either.
            self._trusted_from = now + GRACE
        anything = await run(sweep, vanished=now >= self._trusted_from)
        newcomers, self._newcomers = self._newcomers, []
        if anything and newcomers:
            await self._ring_at(newcomers)
        if self._rooms:
            await self._end_media()
        self._looked_at = self._hub.loop.time()

    async def _ring_at(self, newcomers: list[tuple[Session, datetime]]) -> None:
        """Devices that connect while a call rings, ring too."""
        users = {session.identity.user_pk for session, _ in newcomers}
        for user_pk, call, frame in await self._hub.database.run(ringing, users):
            for session, opened_at in newcomers:
                if session.identity.user_pk == user_pk and opened_at >= call.created_at:
                    session.send(frame)

    async def _end_media(self) -> None:
        seats = self._hub.extension_if_made(Seats)
        asked_at = self._hub.loop.time()
        found = await self._hub.database.run(joined_by_room, list(self._rooms))
        # What somebody has come to meanwhile is not in the answer.
        rooms = {room for room, since in self._rooms.items() if since < asked_at}
        calls = {room: found[room] for room in rooms if room in found}
        # What never was a call, media alone in a group's room, goes on.
        over = rooms & self._had_calls - calls.keys()
        if seats is not None:
            await seats.keep_only({**calls, **{room: set() for room in over}})
        self._had_calls |= calls.keys()
        for room in rooms - calls.keys():
            if (room in over or seats is None or not seats.any_in(room)) and self._rooms[room] < asked_at:
                del self._rooms[room]
                self._had_calls.discard(room)


def ringing(user_pks: set[Any]) -> list[tuple[Any, Call, CallStarted]]:
    """The calls that ring at some users, and the frame that says so."""
    found = []
    for user_pk, call in stores.live_for(user_pks):
        rows = [row for row in call.participants.order_by("pk") if row.state in PRESENT]
        known = people([call.started_by_id, *(row.user_id for row in rows)])
        caller = known.get(call.started_by_id)
        frame = CallStarted(
            **call_fields(call),
            from_=caller.user_id if caller is not None else None,
            username=caller.username if caller is not None else None,
            payload=call.payload,
            participants=[member_of(row, known[row.user_id]) for row in rows if row.user_id in known],
        )
        found.append((user_pk, call, frame))
    return found


def joined_by_room(room_keys: list[str]) -> dict[str, set[str]]:
    """The wire ids of those who are in the calls of rooms; rooms without a call are missing."""
    inside = stores.in_calls_of(room_keys)
    known = people({pk for pks in inside.values() for pk in pks})
    return {room: {known[pk].user_id for pk in pks if pk in known} for room, pks in inside.items()}
