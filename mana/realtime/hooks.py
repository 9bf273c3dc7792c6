"""Runs the receivers of ``mana.signals`` for the event loop, in order, off the way of a message."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextvars import Context
from typing import Any

from asgiref.sync import sync_to_async
from django.db import InterfaceError, OperationalError
from django.dispatch import Signal

from mana.realtime.database import drop_dead_connections

logger = logging.getLogger("mana.hooks")

#: Calls that may wait before ``settled`` makes the writer wait too.
BACKLOG = 1000


class Hooks:
    """A queue of signals and one task that sends them."""

    def __init__(self) -> None:
        self._queue: deque[tuple[Signal, Any, dict[str, Any]]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._below_backlog = asyncio.Event()
        self._below_backlog.set()

    def post(self, signal: Signal, sender: Any, **kwargs: Any) -> None:
        """Has the signal's receivers called soon, after those of earlier posts. Costs nothing without receivers."""
        if not signal.has_listeners(sender):
            return
        self._queue.append((signal, sender, kwargs))
        if len(self._queue) >= BACKLOG:
            self._below_backlog.clear()
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name="mana-hooks", context=Context())

    async def settled(self) -> None:
        """Waits while receivers are too far behind."""
        await self._below_backlog.wait()

    async def stop(self) -> None:
        """Lets what waits finish."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=10)
            self._task.cancel()

    async def _run(self) -> None:
        while self._queue:
            signal, sender, kwargs = self._queue.popleft()
            try:
                answers = await signal.asend_robust(sender, **kwargs)
                if any(isinstance(answer, OperationalError | InterfaceError) for _, answer in answers):
                    # Nobody else closes a dead connection of the thread that receivers share.
                    await sync_to_async(drop_dead_connections)()
            except Exception:
                logger.exception("Receivers of a signal could not be called.")
            if len(self._queue) < BACKLOG:
                self._below_backlog.set()
