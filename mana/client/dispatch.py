"""From the socket to the application: one event after the other, and the cursor behind them."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

logger = logging.getLogger("mana.client")

Event = dict[str, Any]
Handler = Callable[[Event], Awaitable[None] | None]

#: Frames that are not sequenced and come while so much waits in front of a slow handler are dropped. Before a sequenced
#: one is, the client closes its socket, and comes back with a sync.
WAITING = 10_000
#: A sync fetches the next batch when no more than this waits.
ROOM = 1_000


class Dispatcher:
    """``handled`` is told the sequence up to which everything was handled."""

    def __init__(self, handled: Callable[[int], None]) -> None:
        self._handled = handled
        self._handlers: dict[str, list[Handler]] = {}
        self._queue: deque[Event | int] = deque()
        self._wake = asyncio.Event()
        self._fewer = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._task: asyncio.Task[None] | None = None

    def on(self, kind: str, handler: Handler) -> Callable[[], None]:
        """Adds a handler; the result removes it."""
        handlers = self._handlers.setdefault(kind, [])
        handlers.append(handler)
        return lambda: handlers.remove(handler) if handler in handlers else None

    @property
    def is_full(self) -> bool:
        """Whether much more waits than handlers get done."""
        return len(self._queue) >= WAITING

    def put(self, event: Event) -> None:
        """Hands over a frame."""
        if "sequence" in event or len(self._queue) < WAITING:
            self._add(event)

    def reach(self, cursor: int) -> None:
        """Everything up to a sequence has been handed over."""
        self._add(cursor)

    def _add(self, item: Event | int) -> None:
        self._queue.append(item)
        self._idle.clear()
        self._wake.set()

    async def room(self) -> None:
        """Waits until not much is left to be handled."""
        while len(self._queue) > ROOM:
            self._fewer.clear()
            await self._fewer.wait()

    async def idle(self) -> None:
        """Waits until everything handed over was handled."""
        await self._idle.wait()

    def start(self) -> None:
        """Begins to call the handlers."""
        self._task = asyncio.create_task(self._run(), name="mana-client-events")

    async def stop(self) -> None:
        """Calls none any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                item = self._queue.popleft()
                if len(self._queue) <= ROOM:
                    self._fewer.set()
                if isinstance(item, int):
                    self._handled(item)
                    continue
                await self._tell(item)
                if "sequence" in item and "id" in item:
                    self._handled(item["sequence"])
            self._idle.set()

    async def _tell(self, event: Event) -> None:
        for handler in [*self._handlers.get(event["type"], ()), *self._handlers.get("*", ())]:
            try:
                result = handler(event)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                logger.exception("A handler of %s frames failed.", event["type"])


class Events:
    """Frames of some types (none: all), each handled when the next is asked for."""

    def __init__(self, dispatcher: Dispatcher, kinds: Iterable[str]) -> None:
        self._queue: asyncio.Queue[Event] = asyncio.Queue()
        self._left = asyncio.Event()
        self._given = False
        self._stops = [dispatcher.on(kind, self._hand_over) for kind in (tuple(kinds) or ("*",))]

    def __aiter__(self) -> Events:
        return self

    async def __anext__(self) -> Event:
        if self._left.is_set():
            raise StopAsyncIteration
        if self._given:
            self._queue.task_done()
            self._given = False
        event = await self._queue.get()
        self._given = True
        return event

    def close(self) -> None:
        """Ends it: events go on without."""
        self._left.set()
        for stop in self._stops:
            stop()

    async def _hand_over(self, event: Event) -> None:
        if self._left.is_set():
            return
        self._queue.put_nowait(event)
        handled = asyncio.ensure_future(self._queue.join())
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait({handled, left}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handled.cancel()
            left.cancel()
