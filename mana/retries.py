"""Trying a transaction again that the database aborted in favour of another: deadlock, serialization, lock time-out."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from django.db import OperationalError, transaction

P = ParamSpec("P")
T = TypeVar("T")

TRIES = 8


def retried(function: Callable[P, T]) -> Callable[P, T]:
    """``function``, which must be a whole transaction. Inside a caller's transaction it is tried once: that is over."""

    @wraps(function)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, TRIES + 1):
            try:
                return function(*args, **kwargs)
            except OperationalError:
                if attempt == TRIES or _in_transaction():
                    raise
                time.sleep(random.uniform(0.2, 1.0) * 0.01 * 2**attempt)
        raise AssertionError("unreachable")

    return again


def _in_transaction() -> bool:
    return any(not getattr(block, "_from_testcase", False) for block in transaction.get_connection().atomic_blocks)
