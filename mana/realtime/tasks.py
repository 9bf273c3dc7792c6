"""Coroutines that mostly need no task of their own, and tasks that are to end for good."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Generator, Iterable
from typing import Any

#: Seconds after which a task that did not end is cancelled once more.
AGAIN = 1.0


async def end(tasks: Iterable[asyncio.Task[None] | None]) -> None:
    """Cancels tasks and waits until they have ended, each as often as it takes.

    One cancellation can be lost: until Python 3.12 ``asyncio.wait_for`` swallows one that comes in the turn of the loop
    in which what it waits for is done, and channel layers and their clients use it.
    """
    pending = {task for task in tasks if task is not None}
    while pending:
        for task in pending:
            task.cancel()
        done, pending = await asyncio.wait(pending, timeout=AGAIN)
        for task in done:
            if not task.cancelled():
                task.exception()  # or it would be logged as never looked at


def start(awaitable: Awaitable[None]) -> Awaitable[None] | None:
    """Runs a coroutine until it first waits. ``None`` if it finished, else what must be awaited to finish it.

    Sending never waits, mostly, while the transport takes the bytes; a task for it would cost more than the sending.
    It is begun outside any task, or in one that is not its own, and finished in another: when it first waits it must
    not be inside ``asyncio.timeout``, from Python 3.12 on ``asyncio.wait_for``, or the like, which hold on to their
    task.
    """
    step = getattr(awaitable, "send", None)
    if step is None:
        return awaitable
    try:
        waiting_for = step(None)
    except StopIteration:
        return None
    return _Suspended(awaitable, waiting_for)


class _Suspended:
    """A coroutine that was started by ``start`` and waits for ``waiting_for``, made awaitable again."""

    def __init__(self, coroutine: Any, waiting_for: Any) -> None:
        self._coroutine = coroutine
        self._waiting_for = waiting_for

    def __await__(self) -> Generator[Any, Any, None]:
        waiting_for = self._waiting_for
        while True:
            try:
                value = yield waiting_for
            except BaseException as error:
                step, argument = self._coroutine.throw, error
            else:
                step, argument = self._coroutine.send, value
            try:
                waiting_for = step(argument)
            except StopIteration:
                return
