"""What all stores share: methods for synchronous code, and for each an async twin with an ``a`` before its name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async


class Store:
    """The base of the stores that ``MANA["..._STORE"]`` can replace.

    A store is made anew for each use and keeps nothing between calls. Subclasses define plain methods; each public one
    ``find()`` gets a coroutine method ``afind()``, which runs it in a thread, unless the class brings its own.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, method in list(vars(cls).items()):
            if inspect.isfunction(method) and not name.startswith("_") and not inspect.iscoroutinefunction(method):
                twin = vars(cls).get(f"a{name}")
                if twin is None:
                    setattr(cls, f"a{name}", _asynchronous(name, method))

    def __getattr__(self, name: str) -> Any:
        # Never reached for what exists; here for type checkers, which do not see the async twins.
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")


def _asynchronous(name: str, method: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    @wraps(method)
    async def asynchronous(self: Store, *args: Any, **kwargs: Any) -> Any:
        return await in_thread(getattr(self, name), *args, **kwargs)

    asynchronous.__name__ = f"a{name}"
    return asynchronous


async def in_thread(function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """``function(*args, **kwargs)`` in one of the hub's database threads, or where there is none in Django's."""
    from mana.realtime import hub as hubs

    hub = hubs.started()
    if hub is None:
        return await sync_to_async(function)(*args, **kwargs)
    return await hub.database.run_once(function, *args, **kwargs)


def async_twin(function: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """The async twin of a service that is a plain function."""

    @wraps(function)
    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        return await in_thread(function, *args, **kwargs)

    asynchronous.__name__ = f"a{function.__name__}"
    return asynchronous
