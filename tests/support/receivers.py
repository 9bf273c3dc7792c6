"""Receivers of signals for as long as a test needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.dispatch import Signal


@contextmanager
def connected(signal: Signal, receiver: Callable[..., Any]) -> Iterator[None]:
    """Has a signal call a receiver."""
    signal.connect(receiver)
    try:
        yield
    finally:
        signal.disconnect(receiver)


def refuse(sender: Any, **_: Any) -> None:
    """A receiver that lets nothing happen."""
    raise RuntimeError("there are open orders")
