"""Reaching people who have no socket open: ``MANA["PUSH_BACKENDS"]``, called on a thread after the commit.

Notifications are pushed, and messages of rooms to those members who want to be told of all; a message is not stored a
second time as a notification.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Any, Protocol

from django.db import connections, transaction

from mana.conf import settings
from mana.notifications.models import Notification
from mana.realtime.stores import online_users

logger = logging.getLogger("mana.push")

#: Batches that may wait for a thread; past it push, which promises nothing, is left out.
BACKLOG = 1000

_threads = ThreadPoolExecutor(2, thread_name_prefix="mana-push")
_waiting = BoundedSemaphore(BACKLOG)


class PushBackend(Protocol):
    """What reaches the devices of people who are not connected. One is made for each batch of notifications."""

    def reaches(self, user_pks: Collection[Any]) -> set[Any]:
        """Those of the users whom it has a way to reach, with few queries."""

    def push(self, notification: Notification) -> None:
        """Pushes a notification, which may not be stored, to its user's devices. What it raises is logged."""


def after_commit(rows: list[Notification]) -> None:
    """Has notifications pushed after the commit to those of their users who are not connected. Never blocks."""
    if rows and settings.PUSH_BACKENDS:
        transaction.on_commit(lambda: in_background(push, rows))


def in_background(function: Callable[..., Any], *args: Any) -> None:
    """Runs a function on one of the threads, which closes its connections; not at all where too many wait."""
    if not _waiting.acquire(blocking=False):
        logger.warning("Too many pushes wait; one was left out.")
        return
    _threads.submit(_run, function, args)


def push(rows: list[Notification]) -> int:
    """Pushes notifications to those of their users who are not connected, here and now; how many were reached."""
    online = online_users([row.user_id for row in rows])
    away = [row for row in rows if row.user_id not in online]
    reached = set()
    for backend_class in settings.PUSH_BACKENDS if away else ():
        backend: PushBackend = backend_class()
        able = backend.reaches([row.user_id for row in away])
        for row in away:
            if row.user_id in able:
                _push(backend, row)
        reached |= able
    return len(reached)


def reachable(user_pks: Collection[Any]) -> set[Any]:
    """Those of the users who are not connected and whom a backend can reach."""
    away = set(user_pks) - online_users(user_pks)
    return set().union(*(backend_class().reaches(away) for backend_class in settings.PUSH_BACKENDS)) if away else set()


def _push(backend: PushBackend, row: Notification) -> None:
    try:
        backend.push(row)
    except Exception:
        logger.exception("A notification could not be pushed by %s.", type(backend).__name__)


def _run(function: Callable[..., Any], args: tuple[Any, ...]) -> None:
    try:
        function(*args)
    except Exception:
        logger.exception("A push failed.")
    finally:
        connections.close_all()
        _waiting.release()
