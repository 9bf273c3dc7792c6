"""The hub of a process: its sessions, the rooms they are in, and the one order in which events reach them.

Events carry gap-free sequences, so the hub needs no more than a counter to know what comes next. What comes early waits
for ``GAP_TIMEOUT``; what does not come by then is read from the database. The channel layer only makes it fast.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterable
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, cast

from mana.conf import settings
from mana.protocol import CloseCode, ErrorCode
from mana.realtime import source, tasks, tracing
from mana.realtime.admission import Admission
from mana.realtime.announcements import Announcement
from mana.realtime.bus import Bus, NoBus, make_bus
from mana.realtime.counters import counters
from mana.realtime.database import DatabaseThreads
from mana.realtime.drain import drain_on_sigterm
from mana.realtime.hooks import Hooks
from mana.realtime.limits import TokenBucket
from mana.realtime.node import new_node_id
from mana.realtime.pace import Pace
from mana.realtime.presence import Presence
from mana.realtime.revoker import Revoker
from mana.realtime.tick import Tick

if TYPE_CHECKING:
    from mana.realtime.session import Session

logger = logging.getLogger("mana.hub")
ExtensionT = TypeVar("ExtensionT")

#: Events that one repair reads at a time.
REPAIR_PAGE = 500
#: Events that may wait for an earlier one. Those beyond are dropped; the repair that follows reads them.
HELD = 20_000


class Room:
    """The sessions of this process in a room, and what this tick brings to them."""

    __slots__ = ("key", "latecomers", "sessions", "tick")

    def __init__(self, key: str) -> None:
        self.key = key
        self.sessions: dict[Session, None] = {}
        #: Sessions whose membership begins with an event that has not come by yet: (sequence, session).
        self.latecomers: list[tuple[int, Session]] = []
        self.tick: list[Announcement] = []


class Hub:
    """All sessions of one event loop. Use it from that loop only; ``announce.announce`` is for everybody else."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.node_id = settings.NODE_ID or new_node_id()
        self.database = DatabaseThreads(settings.DATABASE_THREADS, "db")
        self.bus: Bus = make_bus(self)
        self.hooks = Hooks()
        self.presence = Presence(self)
        self.revoker = Revoker(self)
        self.sessions: dict[str, Session] = {}
        self.users: dict[str, set[Session]] = {}
        self.rooms: dict[str, Room] = {}
        #: The process is about to end: no new sockets, and nothing more is taken from those that are open.
        self.draining = False
        self.admission = Admission(self.loop.time)
        #: Each is called with every session that is let in.
        self.on_open: list[Callable[[Session], None]] = []
        self.repairs = 0
        self.slow_closes = 0
        self._buckets: dict[str, TokenBucket] = {}
        self._next = 0  # 0 until the hub has started
        self._held: dict[int, Announcement] = {}
        self._gap_timer: asyncio.TimerHandle | None = None
        self._dirty_rooms: list[Room] = []
        self._dirty_sessions: list[Session] = []
        self._outgoing: list[Announcement] = []  # what this tick has for the other nodes
        self._pace = Pace(self.loop, self.flush, rests=not isinstance(self.bus, NoBus))
        self._starting: asyncio.Task[None] | None = None
        self._repairing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._background: set[asyncio.Task[None]] = set()
        self._extensions: dict[Any, Any] = {}

    @property
    def latest_sequence(self) -> int:
        """The newest sequence that the sessions of this hub have been given."""
        return self._next - 1

    # -- Life --------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Connects the bus and finds out where the order of events stands. Repeated calls wait for the first."""
        starting = self._starting
        if starting is None or (starting.done() and (starting.cancelled() or starting.exception() is not None)):
            starting = self._starting = self.loop.create_task(self._start())
        await asyncio.shield(starting)

    async def _start(self) -> None:
        await self.bus.start()
        self._go_to(await self.database.run(source.get().latest_sequence) + 1)
        self._tasks = [
            self.loop.create_task(self._watch(), name="mana-watch"),
            self.loop.create_task(self.presence.run(), name="mana-presence"),
            self.loop.create_task(self.revoker.run(), name="mana-revoker"),
        ]
        for kind in _companions:
            self.extension(kind)
        drain_on_sigterm(self)

    async def settle(self) -> None:
        """Waits until everything that sessions have sent is stored and answered."""
        for extension in self._extensions.values():
            if hasattr(extension, "settle"):
                await extension.settle()

    async def stop(self) -> None:
        """Ends the hub's tasks, threads and connections."""
        await tasks.end((*self._tasks, self._repairing))
        if self._gap_timer is not None:
            self._gap_timer.cancel()
        for extension in self._extensions.values():
            if hasattr(extension, "stop"):
                await extension.stop()
        await self.presence.stop()
        await self.hooks.stop()
        self.flush()
        self._tell()
        await self.bus.stop()
        await asyncio.to_thread(self.database.close)
        if not self.draining:  # then it stays, to turn new sockets away
            _hubs.pop(self.loop, None)

    def extension(self, kind: Callable[[Hub], ExtensionT]) -> ExtensionT:
        """The one object of ``kind`` that belongs to this hub, made on first use with the hub as its argument.

        If it has coroutines ``settle`` and ``stop``, they are awaited when the hub drains and when it stops.
        """
        made = self._extensions.get(kind)
        if made is None:
            made = self._extensions[kind] = kind(self)
        return cast("ExtensionT", made)

    def extension_if_made(self, kind: Callable[[Hub], ExtensionT]) -> ExtensionT | None:
        """The object of ``kind`` that belongs to this hub, ``None`` if nobody has asked for it."""
        return cast("ExtensionT | None", self._extensions.get(kind))

    # -- Sessions and rooms ------------------------------------------------------------------------------------------

    def bucket_of(self, user_id: str) -> TokenBucket:
        """What all sessions of a user here take from with each frame; while there are any, it stays."""
        bucket = self._buckets.get(user_id)
        if bucket is None:
            rate, burst = settings.USER_RATE_LIMIT_PER_SECOND, settings.USER_RATE_LIMIT_BURST
            bucket = self._buckets[user_id] = TokenBucket(rate, burst, self.loop.time())
        return bucket

    async def add(self, session: Session) -> None:
        """Lets a session receive the events of its user's rooms, and only then returns."""
        self.sessions[session.id] = session
        self.users.setdefault(session.user_id, set()).add(session)
        # The memberships are read while events go on; joins and leaves that come by meanwhile are kept aside.
        subscriptions = await self.database.run(
            source.get().subscriptions, session.identity.user_pk, session.named_device
        )
        changed = session.latecomings or {}
        self.flush()
        for subscription in subscriptions:
            if subscription.room not in changed:
                self._subscribe(session, subscription.room, since=subscription.since)
        for room, is_in in changed.items():
            if is_in:
                self._subscribe(session, room, since=0)
        session.latecomings = None
        self.schedule_flush(session)
        self.presence.came(session)
        self.revoker.opened(session)
        for tell in self.on_open:
            tell(session)

    def remove(self, session: Session) -> None:
        """Forgets a session."""
        if self.sessions.pop(session.id, None) is None:
            return
        of_user = self.users.get(session.user_id, set())
        of_user.discard(session)
        if not of_user:
            self.users.pop(session.user_id, None)
            self._buckets.pop(session.user_id, None)
        for key in list(session.rooms):
            self._unsubscribe(session, key)
        if session.latecomings is None:  # it was let in
            self.presence.went(session)

    def _subscribe(self, session: Session, key: str, *, since: int) -> None:
        room = self.rooms.get(key)
        if room is None:
            room = self.rooms[key] = Room(key)
        session.rooms.add(key)
        if since >= self._next:
            room.latecomers.append((since, session))
        else:
            room.sessions[session] = None

    def _unsubscribe(self, session: Session, key: str) -> None:
        session.rooms.discard(key)
        room = self.rooms.get(key)
        if room is None:
            return
        room.sessions.pop(session, None)
        room.latecomers = [(since, other) for since, other in room.latecomers if other is not session]
        if not room.sessions and not room.latecomers:
            del self.rooms[key]

    # -- Events ------------------------------------------------------------------------------------------------------

    def announce(self, announcements: list[Announcement]) -> None:
        """Delivers here and tells the other nodes. Call it after the commit."""
        if tracing.tracer is not None:
            tracing.tracer.stamp(announcements)
        self.receive(announcements)
        self._outgoing += announcements
        self._pace.ask()

    def receive(self, announcements: Iterable[Announcement]) -> None:
        """Takes announcements from wherever they come, in any order, any number of times."""
        for announcement in announcements:
            sequence = announcement.sequence
            if not sequence:
                self._deliver(announcement)
            elif sequence == self._next:
                self._apply(announcement)
                self._next += 1
                if self._held:
                    self._drain_held()
            elif sequence > self._next and len(self._held) < HELD:
                self._held[sequence] = announcement
        if self._held and self._next:
            self._expect_gap()

    def receive_from_others(self, announcements: list[Announcement]) -> None:
        """``receive`` for what another node tells: it has waited there already."""
        self.receive(announcements)
        self._pace.hurry()

    def _drain_held(self) -> None:
        while (announcement := self._held.pop(self._next, None)) is not None:
            self._apply(announcement)
            self._next += 1

    def _go_to(self, sequence: int) -> None:
        """Has ``sequence`` be the next one, whatever was before it."""
        self._next = sequence
        self._held = {held: announcement for held, announcement in self._held.items() if held >= sequence}
        self._drain_held()

    def _apply(self, announcement: Announcement) -> None:
        """Delivers an event whose turn it is, and lets people into the room and out of it at exactly this point."""
        if announcement.joined:
            self.flush()
            for user in announcement.joined:
                for session in self.users.get(user, ()):
                    if session.latecomings is not None:
                        session.latecomings[announcement.room] = True
                    self._subscribe(session, announcement.room, since=0)
        room = self.rooms.get(announcement.room)
        if room is not None and room.latecomers:
            self._let_latecomers_in(room, announcement.sequence)
        self._deliver(announcement)
        if announcement.left:
            self.flush()
            for user in announcement.left:
                for session in self.users.get(user, ()):
                    if session.latecomings is not None:
                        session.latecomings[announcement.room] = False
                    self._unsubscribe(session, announcement.room)

    def _let_latecomers_in(self, room: Room, sequence: int) -> None:
        self.flush()
        for since, session in room.latecomers:
            if since <= sequence:
                room.sessions[session] = None
        room.latecomers = [(since, session) for since, session in room.latecomers if since > sequence]

    def _deliver(self, announcement: Announcement) -> None:
        if announcement.revoked is not None:
            self.revoker.take(announcement)
            return
        if not announcement.room:
            self._deliver_to_users(announcement)
            return
        room = self.rooms.get(announcement.room)
        if room is None:
            return
        if announcement.trace and tracing.tracer is not None:
            tracing.tracer.delivering(announcement, len(room.sessions))
        if announcement.users or announcement.hidden_from:
            self._deliver_to_some(room, announcement)
            return
        if not announcement.sequence:
            # Who is in the room already, though the hub has yet to come to their joining, sees others type and read.
            tick = Tick([announcement])
            for _, session in room.latecomers:
                if session.id != announcement.origin:
                    session.enqueue(tick, tick.size)
        if len(room.sessions) == 1 and next(iter(room.sessions)).id == announcement.origin:
            return  # nobody else is here, as where the two of a direct room are at two nodes
        if not room.tick:
            self._dirty_rooms.append(room)
            self._pace.ask()
        room.tick.append(announcement)

    def _deliver_to_users(self, announcement: Announcement) -> None:
        tick = Tick([announcement])
        receivers = 0
        for user in announcement.users:
            for session in self.users.get(user, ()):
                if session.id != announcement.origin and session.rooms.isdisjoint(announcement.but_rooms):
                    session.enqueue(tick, tick.size)
                    receivers += 1
        counters.fanned_out((announcement,), receivers)

    def _deliver_to_some(self, room: Room, announcement: Announcement) -> None:
        """What only some of the people in a room may see. It has no sequence, so it needs no place among the others."""
        tick = Tick([announcement])
        receivers = 0
        for session in (*room.sessions, *(late for _, late in room.latecomers)):
            user = session.user_id
            if announcement.sessions and session.id not in announcement.sessions:
                continue
            if session.id == announcement.origin:
                continue
            if (not announcement.users or user in announcement.users) and user not in announcement.hidden_from:
                session.enqueue(tick, tick.size)
                receivers += 1
        counters.fanned_out((announcement,), receivers)

    # -- Leaving in one batch per tick -------------------------------------------------------------------------------

    def schedule_flush(self, session: Session) -> None:
        """Has ``session.flush`` called when this tick is over."""
        self._dirty_sessions.append(session)
        self._pace.ask()

    def flush(self) -> None:
        """Sends what this tick brought to every session that it concerns, and to the other nodes."""
        self._pace.hold()  # what is enqueued from here on leaves in this very flush
        begun = perf_counter()
        tells = bool(self._outgoing) and not self._pace.is_resting
        try:
            try:
                self._write_what_is_dirty()
            finally:
                if tells:
                    # Last: on a processor that nodes share, the other one would begin before this one is done.
                    self._tell()
        finally:
            took = perf_counter() - begun
            self._pace.done(took, told=tells)
            if self._outgoing:
                self._pace.ask()
        counters.flushes += 1
        counters.flush_seconds += took
        if tracing.tracer is not None:
            tracing.tracer.delivered()

    def _write_what_is_dirty(self) -> None:
        while self._dirty_rooms or self._dirty_sessions:
            rooms, self._dirty_rooms = self._dirty_rooms, []
            for room in rooms:
                counters.fanned_out(room.tick, len(room.sessions), self.sessions)
                tick, room.tick = Tick(room.tick), []
                size = tick.size
                for session in room.sessions:
                    session.enqueue(tick, size)
            sessions, self._dirty_sessions = self._dirty_sessions, []
            for session in sessions:
                try:
                    session.flush()
                except Exception:
                    logger.exception("A session could not be written to; the others go on.")
                    session.close(CloseCode.GOING_AWAY)

    def _tell(self) -> None:
        outgoing, self._outgoing = self._outgoing, []
        self.bus.publish(outgoing)

    # -- Repair ------------------------------------------------------------------------------------------------------

    def _expect_gap(self) -> None:
        if self._gap_timer is None and (self._repairing is None or self._repairing.done()):
            self._gap_timer = self.loop.call_later(settings.GAP_TIMEOUT, self._gap_remains, self._next)

    def _gap_remains(self, expected: int) -> None:
        self._gap_timer = None
        if not self._held:
            return
        if self._next > expected:
            self._expect_gap()  # the order went on meanwhile; what is missing now is younger
            return
        counters.gaps += 1
        self.repair()

    def repair(self) -> None:
        """Reads what has not come by from the database, in the background."""
        if self._repairing is None or self._repairing.done():
            self._repairing = self.loop.create_task(self._repair(), name="mana-repair")

    async def _repair(self) -> None:
        try:
            latest = await self.database.run(source.get().latest_sequence)
            while self._next <= latest:
                first, last = self._next, min(latest, self._next + REPAIR_PAGE - 1)
                missing = await self.database.run(source.get().events_between, first, last)
                if self._next == first and (not missing or missing[0].sequence != first):
                    logger.error("Event %d is not in the database; it is skipped.", first)
                    self._go_to(missing[0].sequence if missing else last + 1)
                unannounced = sum(1 for announcement in missing if announcement.sequence >= self._next)
                self.repairs += unannounced
                if unannounced:
                    self.bus.doubt()
                self.receive(missing)
        except Exception as error:
            logger.warning("Missing events could not be read, another try follows: %s", error)
            await asyncio.sleep(settings.GAP_TIMEOUT)
        finally:
            self._repairing = None
            if self._held:
                self._expect_gap()

    def _shed(self) -> None:
        """Closes those who wait for the most, until what waits in this process is within its budget."""
        waiting = {session: session.waiting_bytes for session in self.sessions.values()}
        total = sum(waiting.values())
        if total <= settings.PROCESS_BUFFER_BYTES:
            return
        total -= sum(size for session, size in waiting.items() if session.closing)
        for session, size in sorted(waiting.items(), key=lambda pair: pair[1], reverse=True):
            if total <= settings.PROCESS_BUFFER_BYTES:
                return
            if session.closing:
                continue
            self.count_slow()
            session.close(CloseCode.TOO_SLOW, ErrorCode.TOO_SLOW)
            total -= size

    async def _watch(self) -> None:
        """Looks for events that were committed but never announced, and for what a crash left unfinished."""
        while True:
            await asyncio.sleep(settings.REPAIR_INTERVAL)
            self._shed()
            try:
                recovered = await self.database.run(source.get().recover)
                if recovered:
                    self.announce(recovered)
                expected = self._next
                if await self.database.run(source.get().latest_sequence) >= expected:
                    await asyncio.sleep(settings.GAP_TIMEOUT)
                    if self._next == expected:
                        self.repair()
            except Exception as error:
                logger.warning("The database could not be looked at: %s", error)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs a coroutine to its end without anybody waiting for it."""
        task = self.loop.create_task(work)
        self._background.add(task)  # the event loop itself keeps only a weak reference
        task.add_done_callback(self._background.discard)

    def count_slow(self) -> None:
        """A session is closed because it reads too slowly."""
        self.slow_closes += 1


_hubs: dict[asyncio.AbstractEventLoop, Hub] = {}
_companions: list[Callable[[Hub], Any]] = []


def accompany(kind: Callable[[Hub], Any]) -> None:
    """Has every hub make its extension of ``kind`` when it starts, not only when somebody asks for it."""
    if kind not in _companions:
        _companions.append(kind)


def current() -> Hub:
    """The hub of the running event loop, made on first use."""
    loop = asyncio.get_running_loop()
    hub = _hubs.get(loop)
    if hub is None:
        for closed in [other for other in _hubs if other.is_closed()]:
            del _hubs[closed]
        hub = _hubs[loop] = Hub()
    return hub


def started() -> Hub | None:
    """The hub of the running event loop, if it serves sessions."""
    hub = _hubs.get(asyncio.get_running_loop())
    return hub if hub is not None and hub.latest_sequence >= 0 else None


def running() -> list[Hub]:
    """The hubs of this process."""
    return [hub for loop, hub in list(_hubs.items()) if not loop.is_closed()]
