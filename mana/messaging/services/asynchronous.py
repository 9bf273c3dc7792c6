"""The async twins of the services.

In a process that serves sockets, changes go through its writer, in one line with the messages, and reads through its
database threads; elsewhere both are what ``sync_to_async`` makes of them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial, wraps
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

from mana.messaging.writer import Writer
from mana.realtime import hub as hubs

P = ParamSpec("P")
T = TypeVar("T")


def writing(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """An async function that makes the change ``function`` makes."""

    @wraps(function)
    async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> T:
        hub = hubs.started()
        if hub is None:
            return await sync_to_async(function)(*args, **kwargs)
        return await hub.extension(Writer).run(partial(function, *args, **kwargs))

    asynchronous.__name__ = f"a{function.__name__}"
    return asynchronous


def reading(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """An async function that reads what ``function`` reads."""

    @wraps(function)
    async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> T:
        hub = hubs.started()
        if hub is None:
            return await sync_to_async(function)(*args, **kwargs)
        return await hub.database.run(function, *args, **kwargs)

    asynchronous.__name__ = f"a{function.__name__}"
    return asynchronous
