"""A bounded pool of threads for database work of the sockets.

Django's own ``sync_to_async`` runs all thread-sensitive calls of a process in one thread, and Channels closes old
connections before each dispatch. Here a few threads keep one connection each for as long as it works, and nothing hops
to a thread when there is no database work.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.db import InterfaceError, OperationalError, connections

from mana.conf import settings

P = ParamSpec("P")
T = TypeVar("T")

logger = logging.getLogger("mana.database")

#: Seconds for which ``patient`` functions are called again, and between two calls.
PATIENCE = 15.0
PAUSE = 0.2


class DatabaseThreads:
    """``size`` threads, each with its own connections."""

    def __init__(self, size: int, name: str) -> None:
        self._size = size
        self._executor = ThreadPoolExecutor(size, thread_name_prefix=f"mana-{name}")
        #: When each thread that is at work began, by its id.
        self._begun: dict[int, float] = {}

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(*args, **kwargs)`` in one of the threads.

        A call that fails because its connection broke while it idled is made once more on a new connection, so
        ``function`` must be safe to repeat. Raises ``OperationalError`` while all threads wait for a database that
        does not answer: what nobody serves must not queue.
        """
        if self.is_stuck:
            raise OperationalError(f"The database has not answered for {settings.DATABASE_TIMEOUT:g} s.")
        return await asyncio.get_running_loop().run_in_executor(
            self._executor, lambda: self._timed(call_again_if_disconnected, function, *args, **kwargs)
        )

    async def run_once(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """``function(*args, **kwargs)`` in one of the threads, for one that handles broken connections itself."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, lambda: function(*args, **kwargs))

    @property
    def is_stuck(self) -> bool:
        """Whether every thread has been at one call for longer than ``DATABASE_TIMEOUT``."""
        latest = time.monotonic() - settings.DATABASE_TIMEOUT
        begun = list(self._begun.values())
        return len(begun) >= self._size and max(begun) < latest

    def _timed(self, call: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        thread = threading.get_ident()
        self._begun[thread] = time.monotonic()
        try:
            return call(*args, **kwargs)
        finally:
            del self._begun[thread]

    def close(self) -> None:
        """Ends the threads and closes their connections. Waits for running calls."""
        # Each thread must close its own connections, so one task per thread, which meet before they finish.
        started = len(self._executor._threads)
        if started:
            barrier = threading.Barrier(started)
            for _ in range(started):
                self._executor.submit(_close_connections, barrier)
        self._executor.shutdown(wait=True)


def call_again_if_disconnected(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """``function(*args, **kwargs)``; once more if a database connection turns out to be dead."""
    try:
        return function(*args, **kwargs)
    except (OperationalError, InterfaceError):
        if not drop_dead_connections():
            raise
    return function(*args, **kwargs)


def patient(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, called again and again while the database is away, for at most ``PATIENCE`` seconds.

    For what follows a commit and nobody would ask for again. It blocks its thread, and it must be safe to repeat.
    Inside a transaction it is called once: that is over.
    """

    @wraps(function)
    def patiently(*args: P.args, **kwargs: P.kwargs) -> T:
        ends = time.monotonic() + PATIENCE
        while True:
            try:
                return function(*args, **kwargs)
            except (OperationalError, InterfaceError) as error:
                waits = not drop_dead_connections()
                if time.monotonic() > ends or any(one.in_atomic_block for one in connections.all()):
                    raise
                logger.info("%s is called again: %s", function.__qualname__, error)
                if waits:
                    time.sleep(PAUSE)

    return patiently


def drop_dead_connections() -> bool:
    """Closes this thread's connections that no longer work; whether there was one."""
    dropped = False
    for connection in connections.all(initialized_only=True):
        if connection.connection is not None and not connection.in_atomic_block and not _is_usable(connection):
            connection.close()
            dropped = True
    return dropped


def _is_usable(connection: Any) -> bool:
    try:
        return bool(connection.is_usable())
    except Exception:
        return False


def _close_connections(barrier: threading.Barrier) -> None:
    connections.close_all()
    barrier.wait(timeout=30)
