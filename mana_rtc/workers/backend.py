"""A node's side of the workers: ``SfuBackend`` by commands over the channel layer."""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
from dataclasses import dataclass, field
from typing import Any

import msgspec
from channels.layers import get_channel_layer

from mana.conf import settings
from mana.realtime import tasks
from mana.realtime.bus import connects_processes
from mana.realtime.database import DatabaseThreads
from mana.realtime.node import new_node_id
from mana_rtc.sfu.backend import Joined, Listener, ParticipantInfo, SfuError, Source, TransportLost, Wish
from mana_rtc.workers import stores
from mana_rtc.workers.mailbox import Mailbox
from mana_rtc.workers.messages import Answer, Batch, Command, Sender, Sync, Synced, Verb, decode_for_node
from mana_rtc.workers.streams import Inbox

logger = logging.getLogger("mana.rtc.workers")

#: Seconds after which a command is sent again, and after which it is given up.
RETRY = 0.4
TIMEOUT = 8.0
#: Seconds between two comparisons with a worker, and between looks at the placements.
SYNC_INTERVAL = 0.5
WATCH_INTERVAL = 0.4
#: Seconds that somebody who left is tried to be let out.
LEAVE_TIMEOUT = 2.0


class Moved(Exception):
    """The room is not on that worker any more."""


@dataclass(eq=False)
class Link:
    """A worker that has rooms of this node's people."""

    worker: str
    channel: str
    inbox: Inbox = field(default_factory=lambda: Inbox(secrets.token_hex(8)))
    serial: int = 0


@dataclass(eq=False)
class Held:
    """A room in which people of this node are. ``members``: the sync's serial at which each of them was in."""

    room: str
    placement: int
    link: Link
    members: dict[str, int] = field(default_factory=dict)
    asked: set[asyncio.Future[Answer]] = field(default_factory=set)


class WorkersSfu:
    """Implements ``SfuBackend`` in the event loop of a node. ``listener`` is called in that loop. ``layer`` stands in
    for ``MANA["CHANNEL_LAYER"]``.
    """

    def __init__(self, listener: Listener, layer: Any = None) -> None:
        self._listener = listener
        self._layer = layer
        self._node = new_node_id()
        self._database = DatabaseThreads(1, "rtc")
        self._links: dict[str, Link] = {}
        self._rooms: dict[str, Held] = {}
        self._pending: dict[str, asyncio.Future[Answer]] = {}
        self._numbers = itertools.count(1)
        self._mailbox: Mailbox | None = None
        self._starting = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._leaving: set[asyncio.Task[None]] = set()

    # -- Life ---------------------------------------------------------------------------------------------------------

    async def _start(self) -> Mailbox:
        async with self._starting:
            if self._mailbox is None:
                layer = self._layer or get_channel_layer(settings.CHANNEL_LAYER)
                if self._layer is None and not connects_processes(layer):
                    raise SfuError("Media workers need a channel layer that connects processes.", full=True)
                mailbox = Mailbox(layer, self._take)
                await mailbox.start()
                self._mailbox = mailbox
                loop = asyncio.get_running_loop()
                self._tasks = [
                    loop.create_task(self._sync_all(), name="mana-sfu-sync"),
                    loop.create_task(self._watch(), name="mana-sfu-watch"),
                ]
            return self._mailbox

    async def aclose(self) -> None:
        """Ends it. Its people stay with the workers for ``RTC_RESUME_TIMEOUT``, so that they come back elsewhere."""
        if self._leaving:
            await asyncio.wait(self._leaving, timeout=RETRY)
        await tasks.end([*self._tasks, *self._leaving])
        if self._mailbox is not None:
            await self._mailbox.stop()
        await asyncio.to_thread(self._database.close)

    # -- Commands -----------------------------------------------------------------------------------------------------

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        """See ``SfuBackend``."""
        result = await self._enter(room, participant.id, "join", info=participant)
        return msgspec.convert(result, Joined)

    async def resume(self, room: str, participant: str) -> Joined:
        """See ``SfuBackend``. Also for somebody who was at another node until now."""
        return msgspec.convert(await self._enter(room, participant, "resume"), Joined)

    async def publish(self, room: str, participant: str, sdp: str, sources: dict[str, Source]) -> str:
        """See ``SfuBackend``."""
        return str(await self._ask_in(room, participant, "publish", sdp=sdp, sources=sources))

    async def ready(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._ask_in(room, participant, "ready")

    async def answer(self, room: str, participant: str, sdp: str, number: int) -> None:
        """See ``SfuBackend``."""
        await self._ask_in(room, participant, "answer", sdp=sdp, number=number)

    async def subscribe(self, room: str, participant: str, wishes: dict[str, Wish]) -> None:
        """See ``SfuBackend``."""
        await self._ask_in(room, participant, "subscribe", wishes=wishes)

    async def restart(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._ask_in(room, participant, "restart")

    async def leave(self, room: str, participant: str, reason: str = "left") -> None:
        """See ``SfuBackend``. Waits for nothing: if no answer comes, a comparison with the worker lets them out."""
        held = self._rooms.get(room)
        if held is None or participant not in held.members:
            return
        del held.members[participant]
        task = asyncio.get_running_loop().create_task(self._let_out(held, participant, reason))
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def _let_out(self, held: Held, participant: str, reason: str) -> None:
        try:
            await self._ask(held, "leave", participant, patience=LEAVE_TIMEOUT, reason=reason)
        except (Moved, SfuError) as error:
            logger.info("A participant was not let out at once: %r", error)
        finally:
            if not held.members and self._rooms.get(held.room) is held:
                del self._rooms[held.room]

    async def statistics(self, room: str) -> dict[str, Any]:
        """See ``SfuBackend``. Empty for a room in which nobody of this node is."""
        held = self._rooms.get(room)
        try:
            return dict(await self._ask(held, "statistics")) if held is not None else {}
        except Moved:
            return {}

    async def _enter(self, room: str, participant: str, verb: Verb, **fields: Any) -> Any:
        await self._start()
        deadline = asyncio.get_running_loop().time() + TIMEOUT
        while True:
            held = self._rooms.get(room) or await self._hold(room, make=verb == "join")
            # Before the command: a comparison from here on must not let them out.
            before = held.members.setdefault(participant, -1)
            try:
                result = await self._ask(held, verb, participant, **fields)
            except Moved:
                self._lose(held)
                if verb != "join" or asyncio.get_running_loop().time() >= deadline:
                    raise SfuError("The call has moved to another media server; join it again.", full=True) from None
                continue
            except BaseException:
                if before == -1:
                    held.members.pop(participant, None)
                    if not held.members and self._rooms.get(room) is held:
                        del self._rooms[room]
                raise
            if participant in held.members:
                held.members[participant] = held.link.serial
            return result

    async def _ask_in(self, room: str, participant: str, verb: Verb, **fields: Any) -> Any:
        held = self._rooms.get(room)
        if held is None or participant not in held.members:
            raise SfuError("You are not in this call.")
        try:
            return await self._ask(held, verb, participant, **fields)
        except Moved:
            self._lose(held)
            raise SfuError("The call has moved to another media server; join it again.", full=True) from None

    async def _hold(self, room: str, *, make: bool) -> Held:
        placed = await self._database.run(stores.place if make else stores.find, room)
        if placed is None:
            raise SfuError("You are not in this call.")
        held = self._rooms.get(room)
        if held is not None and held.placement == placed.pk:  # somebody else asked meanwhile
            return held
        if held is not None:
            self._lose(held)
        link = self._links.get(placed.worker)
        if link is None:
            link = self._links[placed.worker] = Link(placed.worker, placed.channel)
        link.channel = placed.channel
        held = self._rooms[room] = Held(room, placed.pk, link)
        return held

    async def _ask(
        self, held: Held, verb: Verb, participant: str = "", patience: float = TIMEOUT, **fields: Any
    ) -> Any:
        mailbox = await self._start()
        number = f"{self._node}-{next(self._numbers)}"
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._pending[number] = answered
        held.asked.add(answered)
        try:
            async with asyncio.timeout(patience):
                while not answered.done():
                    command = Command(
                        id=number,
                        sender=self._sender(held.link),
                        verb=verb,
                        room=held.room,
                        placement=held.placement,
                        participant=participant,
                        **fields,
                    )
                    mailbox.post(held.link.channel, command)
                    await asyncio.wait([answered], timeout=RETRY)
        except TimeoutError:
            raise SfuError("The media server does not answer.", full=True) from None
        finally:
            self._pending.pop(number, None)
            held.asked.discard(answered)
        answer = answered.result()
        if answer.moved:
            raise Moved
        if answer.error is not None:
            raise SfuError(answer.error, full=answer.full)
        return answer.result

    def _sender(self, link: Link) -> Sender:
        assert self._mailbox is not None
        return Sender(node=self._node, channel=self._mailbox.channel, stream=link.inbox.stream)

    # -- What comes ---------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        message = decode_for_node(data)
        if isinstance(message, Answer):
            waiting = self._pending.get(message.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(message)
            return
        link = self._links.get(message.worker)
        if link is None or message.stream != link.inbox.stream:
            return
        if isinstance(message, Batch):
            self._take_batch(link, message)
        else:
            self._take_synced(link, message)

    def _take_batch(self, link: Link, batch: Batch) -> None:
        had_gap = link.inbox.has_gap
        for event in link.inbox.take(batch):
            held = self._rooms.get(event.room)
            if held is None or held.link is not link:
                continue  # of a stay that is over
            self._listener(event)
            if isinstance(event, TransportLost) and event.peer == "seat":
                for participant in event.to:
                    held.members.pop(participant, None)
                if not held.members:
                    del self._rooms[event.room]
        if link.inbox.has_gap and not had_gap:
            self._sync(link)

    def _take_synced(self, link: Link, answer: Synced) -> None:
        if answer.newest > link.inbox.seen and answer.oldest > link.inbox.seen + 1:
            logger.warning("Events of a media worker are lost for good; its participants join anew.")
            for held in [held for held in self._rooms.values() if held.link is link]:
                self._lose(held)
            del self._links[link.worker]
            return
        for room, participant in answer.missing:
            there = self._rooms.get(room)
            if there is not None and there.link is link and 0 <= there.members.get(participant, -1) < answer.serial:
                self._lose(there, participant)

    # -- Looking after ------------------------------------------------------------------------------------------------

    def _lose(self, held: Held, participant: str | None = None) -> None:
        """Tells people of this node, or one, that the media server knows them no more."""
        # Who waits for the answer to their joining hears of it by that.
        lost = [one for one, since in held.members.items() if since >= 0 and participant in (None, one)]
        for one in lost:
            del held.members[one]
        if participant is None or not held.members:
            if self._rooms.get(held.room) is held:
                del self._rooms[held.room]
            for answered in list(held.asked):
                if not answered.done():
                    answered.set_result(Answer(worker=held.link.worker, id="", moved=True))
        if lost:
            logger.info("%d people lost the media server.", len(lost))
            self._listener(TransportLost(room=held.room, to=lost, peer="seat", reason="moved"))

    def _sync(self, link: Link) -> None:
        assert self._mailbox is not None
        rooms = {held.room: list(held.members) for held in self._rooms.values() if held.link is link}
        link.serial += 1
        sync = Sync(sender=self._sender(link), serial=link.serial, seen=link.inbox.seen, rooms=rooms)
        self._mailbox.post(link.channel, sync)
        if not rooms:
            del self._links[link.worker]  # it has heard that nobody is there any more

    async def _sync_all(self) -> None:
        while True:
            await asyncio.sleep(SYNC_INTERVAL)
            for link in list(self._links.values()):
                self._sync(link)

    async def _watch(self) -> None:
        """Looks whether the rooms are still where they were, on workers that live."""
        trusted_from = 0.0
        clock = asyncio.get_running_loop().time
        while True:
            await asyncio.sleep(WATCH_INTERVAL)
            if not self._rooms:
                continue
            held = {one.placement: one for one in self._rooms.values()}
            try:
                alive = await self._database.run(stores.in_force, list(held))
            except Exception as error:
                # Workers could not renew either; they get the time of a lease to do so.
                trusted_from = clock() + settings.RTC_WORKER_LEASE
                logger.warning("The placements of rooms could not be read: %s", error)
                continue
            if clock() < trusted_from:
                continue
            for placement, one in held.items():
                if placement not in alive and self._rooms.get(one.room) is one:
                    self._lose(one)
