"""Processes of a project that are no server: task workers, management commands, scripts."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.synchronize import Barrier, Event
from typing import Any, TypeVar

T = TypeVar("T")

_spawn = multiprocessing.get_context("spawn")
_gate: Barrier | None = None
_over: Event | None = None


class Scripts:
    """Processes with Django set up on a database. They run functions of test modules, which import models inside."""

    def __init__(self, database_url: str, processes: int, environment: dict[str, str]) -> None:
        self._over = _spawn.Event()
        self._pool = ProcessPoolExecutor(
            processes,
            mp_context=_spawn,
            initializer=_set_up,
            initargs=(database_url, environment, _spawn.Barrier(processes), self._over),
        )

    def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """``function(*arguments)`` in one of the processes."""
        return self.start(function, *arguments).result(timeout=180)

    def start(self, function: Callable[..., T], *arguments: Any) -> Future[T]:
        """Has ``function(*arguments)`` run in one of the processes."""
        return self._pool.submit(function, *arguments)

    def begin(self) -> None:
        """Makes ``is_over()`` false in all processes."""
        self._over.clear()

    def end(self) -> None:
        """Makes ``is_over()`` true in all processes."""
        self._over.set()

    def close(self) -> None:
        """Ends the processes."""
        self.end()
        self._pool.shutdown(cancel_futures=True)


@contextmanager
def scripts(database_url: str, processes: int = 1, **environment: str) -> Iterator[Scripts]:
    """Processes for the length of a block."""
    running = Scripts(database_url, processes, environment)
    try:
        yield running
    finally:
        running.close()


def all_at_once() -> None:
    """In a script: waits until every process of the pool is here."""
    assert _gate is not None
    _gate.wait(timeout=60)


def is_over(*, wait: float = 0) -> bool:
    """In a script: whether the test said ``end()``, or does within ``wait`` seconds."""
    assert _over is not None
    return _over.wait(wait)


def _set_up(database_url: str, environment: dict[str, str], gate: Barrier, over: Event) -> None:
    global _gate, _over
    _gate, _over = gate, over
    os.environ.update(environment, DATABASE_URL=database_url, DJANGO_SETTINGS_MODULE="tests.settings")
    import django

    django.setup()
