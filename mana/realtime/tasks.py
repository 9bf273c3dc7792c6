"""Ending tasks for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

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
