"""The group-commit writer: one per hub. It takes whatever waits and commits it as one transaction; acks follow.

While a transaction runs, the next batch gathers. Under load batches grow, and throughput with them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, TypeVar

from django.db import InterfaceError, OperationalError
from django.dispatch import Signal

from mana import signals
from mana.conf import settings
from mana.messaging.drafts import Draft, Placed
from mana.messaging.frames import message_frame, peer_of
from mana.messaging.message_store import message_store
from mana.messaging.models import Message
from mana.messaging.publish import emitting_through
from mana.messaging.sequencer import Result, retrying
from mana.protocol import ErrorCode, ManaError
from mana.realtime import tracing
from mana.realtime.announcements import Announcement
from mana.realtime.counters import counters
from mana.realtime.database import DatabaseThreads
from mana.realtime.hub import Hub

logger = logging.getLogger("mana.writer")
T = TypeVar("T")

#: Seconds after which a client is told to try again while the database is away.
RETRY_AFTER = 1.0


@dataclass(slots=True)
class _Message:
    draft: Draft
    done: Callable[[Result], None]
    trace: Any = None
    since: float = field(default_factory=perf_counter)


@dataclass(slots=True)
class _Change:
    function: Callable[[], Any]
    future: asyncio.Future[Any]


class Writer:
    """Commits messages in batches, and other changes of timelines one by one, in the order of their calls."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._thread = DatabaseThreads(1, "writer")
        self._queue: deque[_Message | _Change] = deque()
        self._task: asyncio.Task[None] | None = None
        self.batches = 0
        self.messages = 0
        #: When it took up what it is at (``time.perf_counter()``), ``None`` while it has nothing to do.
        self.busy_since: float | None = None

    def submit(self, draft: Draft, done: Callable[[Result], None]) -> None:
        """Has a draft stored; ``done`` is called in the event loop with its place or the reason why not.

        Raises ``ManaError`` with ``unavailable`` when too much waits already, or the database does not answer.
        """
        self._push(_Message(draft, done, tracing.tracer.taken_over() if tracing.tracer is not None else None))

    async def send(self, draft: Draft) -> Placed:
        """Stores a draft. Raises ``ManaError``."""
        future: asyncio.Future[Result] = self._hub.loop.create_future()
        self.submit(draft, lambda result: None if future.done() else future.set_result(result))
        result = await future
        if isinstance(result, ManaError):
            raise result
        return result

    async def run(self, function: Callable[[], T]) -> T:
        """Runs a service that changes a timeline, after everything that was submitted before it."""
        future: asyncio.Future[T] = self._hub.loop.create_future()
        self._push(_Change(function, future))
        return await future

    async def settle(self) -> None:
        """Waits until nothing waits for its commit."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def stop(self) -> None:
        """Commits what waits, then ends the thread."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=30)
        await asyncio.to_thread(self._thread.close)

    @property
    def waiting(self) -> int:
        """How much waits for a transaction."""
        return len(self._queue)

    def _is_stuck(self) -> bool:
        return self.busy_since is not None and perf_counter() - self.busy_since > settings.WRITER_STUCK_AFTER

    def _push(self, job: _Message | _Change) -> None:
        if len(self._queue) >= settings.WRITER_QUEUE_SIZE or self._is_stuck():
            raise ManaError(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER)
        self._queue.append(job)
        if self._task is None or self._task.done():
            # A context of its own: what it does is not part of the frame that happened to wake it.
            self._task = self._hub.loop.create_task(self._work(), name="mana-writer", context=Context())

    async def _work(self) -> None:
        try:
            await self._empty_queue()
        finally:
            self.busy_since = None

    async def _empty_queue(self) -> None:
        while self._queue:
            self.busy_since = perf_counter()
            await self._hub.hooks.settled()
            job = self._queue.popleft()
            if isinstance(job, _Change):
                await self._make_change(job)
                continue
            batch = [job]
            while (
                self._queue
                and len(batch) < settings.WRITER_BATCH_SIZE
                and isinstance(following := self._queue[0], _Message)
            ):
                self._queue.popleft()
                batch.append(following)
            await self._commit(batch)

    async def _commit(self, batch: list[_Message]) -> None:
        trace = tracing.tracer.committing([job.trace for job in batch]) if tracing.tracer is not None else None
        try:
            # `save` knows how to repeat itself; the threads' own repetition would not tell it that it does.
            results, events = await self._thread.run_once(message_store().save, [job.draft for job in batch])
        except (OperationalError, InterfaceError) as error:
            logger.warning("%d messages could not be stored: %s", len(batch), error)
            results = [ManaError(ErrorCode.UNAVAILABLE, retry_after=RETRY_AFTER)] * len(batch)
            events = []
        except Exception:
            logger.exception("%d messages could not be stored.", len(batch))
            results = [ManaError(ErrorCode.INTERNAL)] * len(batch)
            events = []
        self.batches += 1
        self.messages += len(events)
        for job, result in zip(batch, results, strict=True):
            job.done(result)
        now = perf_counter()
        counters.committed([now - job.since for job in batch], len(events))
        self._emit(signals.message_stored, events)
        by_id = {job.draft.id: job.draft for job in batch}
        announcements = [_announcement(event, by_id[event.pk]) for event in events]
        if trace is not None:
            trace.done(results, announcements)
        self._hub.announce(announcements)
        self._emit(signals.message_sent, events)

    def _emit(self, signal: Signal, events: list[Message]) -> None:
        if signal.has_listeners(Message):
            for event in events:
                self._hub.hooks.post(signal, Message, message=event)

    async def _make_change(self, job: _Change) -> None:
        try:
            result = await self._thread.run_once(self._change, job.function)
        except BaseException as error:
            if not job.future.done():
                job.future.set_exception(error)
            if not isinstance(error, Exception):
                raise
        else:
            if not job.future.done():
                job.future.set_result(result)

    def _change(self, function: Callable[[], T]) -> T:
        def emit(signal: Signal, sender: Any, kwargs: dict[str, Any]) -> None:
            self._hub.loop.call_soon_threadsafe(lambda: self._hub.hooks.post(signal, sender, **kwargs))

        with emitting_through(emit):
            return retrying(lambda again: function())


def _announcement(event: Message, draft: Draft) -> Announcement:
    """The announcement of an event whose sender is known: no query."""
    assert event.sequence is not None
    assert event.index is not None
    sealed = draft.sealed.payloads if draft.sealed is not None else None
    frame = message_frame(
        message_id=event.pk,
        sequence=event.sequence,
        index=event.index,
        room_key=event.room.key,
        sender=draft.sender,
        device_id=draft.device_id,
        to=peer_of(event.room, draft.sender),
        payload_json=event.payload_json if sealed is None else sealed.common,
        reply_to=event.reply_to_id,
        created_at=event.created_at,
        extra_json=event.extra_json,
    )
    return Announcement(
        event.sequence,
        event.room.key,
        frame.decode(),
        origin=draft.session_id,
        sender=draft.sender.user_id if event.ack_id else "",
        ack_id=event.ack_id or "",
        payloads=dict(sealed.own) if sealed is not None else {},
    )
