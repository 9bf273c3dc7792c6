"""Leaving in good order when the process is asked to end: SIGTERM, from whichever server runs it.

daphne cancels its applications and says nothing to the sockets; uvicorn closes them at once. So the hub takes the
signal first, and hands it on to the server when its sockets are closed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import signal
import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any

from mana.conf import settings
from mana.protocol import CloseCode, ErrorCode

if TYPE_CHECKING:
    from mana.realtime.hub import Hub

logger = logging.getLogger("mana.drain")

#: Clients that are asked to come back per second, so that the other nodes are not run over.
RETURNS_PER_SECOND = 100
#: Seconds after ``GRACEFUL_SHUTDOWN_TIMEOUT`` in which the server may end the process; then it is ended. A thread that
#: waits for a database that does not answer would keep it for ever.
LAST_RESORT = 5.0
#: Seconds between looks at whether the sockets are closed.
POLL = 0.02


def drain_on_sigterm(hub: Hub) -> None:
    """Has SIGTERM drain the hub before the server gets it. Only the main thread can do that; elsewhere it does
    nothing."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _Handler(hub, signal.getsignal(signal.SIGTERM)))


class _Handler:
    def __init__(self, hub: Hub, before: Callable[[int, FrameType | None], Any] | int | None) -> None:
        self._hub = hub
        self._before = before

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if self._hub.draining or self._hub.loop.is_closed():
            self._pass_on(number)  # asked twice: at once
        else:
            self._hub.draining = True
            last_resort = threading.Timer(settings.GRACEFUL_SHUTDOWN_TIMEOUT + LAST_RESORT, _end_at_once)
            last_resort.daemon = True
            last_resort.start()
            self._hub.loop.call_soon_threadsafe(self._begin, number)

    def _begin(self, number: int) -> None:
        task = self._hub.loop.create_task(drain(self._hub), name="mana-drain")
        task.add_done_callback(lambda done: self._pass_on(number))

    def _pass_on(self, number: int) -> None:
        if callable(self._before):
            self._before(number, None)
        elif self._before == signal.SIG_DFL:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)


def _end_at_once() -> None:
    logger.error("The process did not end in time; it is ended with threads that still wait for something.")
    os._exit(1)


async def drain(hub: Hub) -> None:
    """Stores what was sent, tells the clients when to come back, closes their sockets and takes the node out.

    Takes at most ``GRACEFUL_SHUTDOWN_TIMEOUT`` seconds. Never raises.
    """
    hub.draining = True
    sessions = len(hub.sessions)
    try:
        async with asyncio.timeout(settings.GRACEFUL_SHUTDOWN_TIMEOUT):
            # A database that does not answer must not keep the clients from being told.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(settings.GRACEFUL_SHUTDOWN_TIMEOUT / 2):
                    await hub.settle()
            await _close_all(hub)
            await hub.stop()
    except TimeoutError:
        logger.warning("%d of %d sessions did not close in time.", len(hub.sessions), sessions)
    except Exception:
        logger.exception("The node could not be drained.")
    else:
        logger.info("Drained: %d sessions closed, everything stored.", sessions)


def going_away(hub: Hub) -> float:
    """Seconds after which a client is to come back: spread, the more the more there are."""
    spread = min(settings.RECONNECT_SPREAD, len(hub.sessions) / RETURNS_PER_SECOND)
    return round(random.uniform(0.1, 0.1 + spread), 2)


async def _close_all(hub: Hub) -> None:
    while hub.sessions:
        for session in list(hub.sessions.values()):
            session.close(CloseCode.GOING_AWAY, ErrorCode.GOING_AWAY, retry_after=going_away(hub))
        await asyncio.sleep(POLL)
