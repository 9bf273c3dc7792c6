"""Async twins of the methods of stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from asgiref.sync import sync_to_async

P = ParamSpec("P")
T = TypeVar("T")


def twin(method: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """An async method that does what ``method`` does, in a thread. It calls the method by name, so an override counts.

    In a process that serves sockets the thread is one of the hub's, with a connection of its own.
    """

    @wraps(method)
    async def asynchronous(*args: P.args, **kwargs: P.kwargs) -> T:
        from mana.realtime import hub as hubs

        store, *rest = args
        bound: Callable[..., T] = getattr(store, method.__name__)
        hub = hubs.started()
        if hub is None:
            return await sync_to_async(bound)(*rest, **kwargs)
        return await hub.database.run(bound, *rest, **kwargs)

    asynchronous.__name__ = f"a{method.__name__}"
    return asynchronous
