"""A worker: an SFU that nodes command, the lease that says it lives, and the rooms that are placed with it."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import msgspec

from mana.conf import settings
from mana.realtime import tasks
from mana.realtime.database import DatabaseThreads
from mana.realtime.node import new_node_id
from mana_rtc.sfu.backend import SfuError, TransportLost
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.engine import Engine
from mana_rtc.sfu.meter import Meter
from mana_rtc.workers import stores
from mana_rtc.workers.desk import Client, Desk
from mana_rtc.workers.mailbox import Mailbox
from mana_rtc.workers.messages import Answer, Command, decode_for_worker

logger = logging.getLogger("mana.rtc.workers")

#: Commands that are worked on at a time; the nodes send those beyond again.
CONCURRENCY = 512
#: Signs of life per lease.
BEATS = 5
#: Seconds that an empty room stays placed here.
LINGER = 5.0
#: Seconds between searches for rows of workers that died long ago.
BURIAL_INTERVAL = 30.0
#: Seconds that the nodes have to hear that the rooms of a worker that ends have gone.
FAREWELL = 1.0


class Worker:
    """Runs in the current event loop, from ``start`` to ``stop``. ``layer`` is the channel layer."""

    def __init__(self, config: SfuConfig, layer: Any, *, name: str = "") -> None:
        self.id = new_node_id()
        self.name = name
        self.config = config
        self.engine = Engine(config, self._tell)
        self._mailbox = Mailbox(layer, self._take)
        self._desk = Desk(self.id, self._mailbox.post, self._let_out)
        self._database = DatabaseThreads(2, "sfu")
        #: The stays of rooms here: placements that the database confirmed, and when.
        self._placements: dict[str, tuple[int, float]] = {}
        self._released: set[int] = set()
        self._empty_since: dict[int, float] = {}
        self._working: set[asyncio.Task[None]] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self._draining = False
        self._meter = Meter(self.engine)

    async def start(self) -> None:
        """Binds the sockets and tells the cluster. Raises ``OSError`` and the database's errors."""
        await self.engine.start()
        await self._mailbox.start()
        await self._beat()
        self._tasks = [asyncio.get_running_loop().create_task(self._live(), name="mana-sfu-live")]

    async def stop(self) -> None:
        """Gives the rooms to the other workers, tells the participants, and ends."""
        self._draining = True
        await tasks.end(self._tasks)
        try:
            await self._beat()
            await self._database.run(stores.release_all, self.id)
        except Exception as error:
            logger.warning("The rooms could not be given away, the nodes will miss this worker: %s", error)
        for room in self.engine.rooms.values():
            to = list(room.participants)
            self._desk.tell(TransportLost(room=room.id, to=to, peer="seat", reason="moved"))
        await asyncio.sleep(FAREWELL if self.engine.rooms else 0)
        try:
            await self._database.run(stores.retire, self.id)
        except Exception as error:
            logger.warning("The worker could not be taken out: %s", error)
        await self._mailbox.settle()
        await self._mailbox.stop()
        for room_id in list(self.engine.rooms):
            await self._close(room_id)
        await self.engine.stop()
        await asyncio.to_thread(self._database.close)

    # -- The lease ----------------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        clock = asyncio.get_running_loop().time
        bury_at = clock()
        while True:
            await asyncio.sleep(settings.RTC_WORKER_LEASE / BEATS)
            self._desk.forget_silent(settings.RTC_RESUME_TIMEOUT)
            try:
                await self._beat()
                if clock() >= bury_at:
                    bury_at = clock() + BURIAL_INTERVAL
                    await self._database.run(stores.bury)
            except Exception as error:
                logger.warning("The worker's lease was not renewed: %s", error)
                bury_at = clock() + BURIAL_INTERVAL  # others could not renew theirs either

    async def _beat(self) -> None:
        asked_at = time.monotonic()
        placed = await self._database.run(
            stores.beat,
            self.id,
            self._mailbox.channel,
            self._meter.read(),
            name=self.name or f"port {self.engine.mux.port}",
            max_rooms=self.config.max_rooms,
            draining=self._draining,
        )
        # What was confirmed after the question is not in the answer.
        for room, (placement, since) in list(self._placements.items()):
            if since < asked_at and placed.get(room) != placement:
                logger.info("A room has moved to another worker.")
                await self._close(room)
        await self._release_empty(placed)

    async def _release_empty(self, placed: dict[str, int]) -> None:
        now = time.monotonic()
        empty = {placement for room, placement in placed.items() if room not in self.engine.rooms}
        self._empty_since = {one: self._empty_since.get(one, now) for one in empty}
        self._released &= set(placed.values())
        over = [one for one, since in self._empty_since.items() if now - since >= LINGER]
        self._released.update(over)  # all of them first, so that nobody is let in meanwhile
        for placement in over:
            await self._database.run(stores.release, placement)

    async def _close(self, room: str) -> None:
        """Ends a room here without a word: its nodes know, and have told its people."""
        self._placements.pop(room, None)
        found = self.engine.rooms.get(room)
        if found is not None:
            for participant in list(found.participants):
                self._desk.disown(room, participant)
            for participant in list(found.participants):
                await self.engine.leave(room, participant, "moved")

    # -- What comes ---------------------------------------------------------------------------------------------------

    def _take(self, data: bytes) -> None:
        message = decode_for_worker(data)
        if not isinstance(message, Command):
            self._desk.compare(message)
            return
        client = self._desk.client(message.sender)
        if len(self._working) < CONCURRENCY and self._desk.is_new(message.id, client):
            task = asyncio.get_running_loop().create_task(self._work(message, client))
            self._working.add(task)
            task.add_done_callback(self._working.discard)

    async def _work(self, command: Command, client: Client) -> None:
        answer = Answer(worker=self.id, id=command.id)
        try:
            if await self._is_here(command):
                answer.result = await self._carry_out(command, client)
            else:
                answer.moved = True
        except SfuError as error:
            answer.error, answer.full = error.detail, error.full
        except Exception:
            logger.exception("A command of a node failed.")
            answer.error, answer.full = "The media server failed.", True
        self._desk.answer(client, answer)

    async def _is_here(self, command: Command) -> bool:
        """Whether the room's stay that a node knows of is here, and goes on."""
        if self._draining or command.placement in self._released:
            return False
        known = self._placements.get(command.room)
        if known is not None and known[0] >= command.placement:
            return known[0] == command.placement
        if not await self._database.run(stores.is_placed, command.placement, self.id, command.room):
            return False
        known = self._placements.get(command.room)
        if known is not None and known[0] != command.placement:  # it was away in between
            await self._close(command.room)
        self._placements[command.room] = (command.placement, time.monotonic())
        return command.placement not in self._released

    async def _carry_out(self, command: Command, client: Client) -> Any:
        engine, room, participant = self.engine, command.room, command.participant
        if command.verb == "statistics":
            return await engine.statistics(room)
        if command.verb == "join":
            if command.info is None or command.info.id != participant:
                raise SfuError("The participant is missing.")
            joined = await engine.join(room, command.info)
            self._desk.own(room, participant, client)
            return msgspec.to_builtins(joined)
        if command.verb == "resume":
            found = await engine.resume(room, participant)
            self._desk.own(room, participant, client)
            return msgspec.to_builtins(found)
        if not self._desk.owns(room, participant, client):
            if command.verb == "leave":  # they have come back at another node
                return None
            raise SfuError("You are not in this call.")
        return await self._for_participant(command)

    async def _for_participant(self, command: Command) -> Any:
        engine, room, participant = self.engine, command.room, command.participant
        match command.verb:
            case "publish":
                return await engine.publish(room, participant, command.sdp, command.sources)
            case "ready":
                await engine.ready(room, participant)
            case "answer":
                await engine.answer(room, participant, command.sdp, command.number)
            case "subscribe":
                await engine.subscribe(room, participant, command.wishes)
            case "restart":
                await engine.restart(room, participant)
            case "leave":
                self._desk.disown(room, participant)  # their node has told them
                await engine.leave(room, participant, command.reason)
        return None

    def _let_out(self, room: str, participant: str, reason: str) -> None:
        self._desk.disown(room, participant)
        task = asyncio.get_running_loop().create_task(self.engine.leave(room, participant, reason))
        self._working.add(task)
        task.add_done_callback(self._working.discard)

    def _tell(self, event: Any) -> None:
        self._desk.tell(event)
