"""Notifications: what a user is told of, stored, live on all of their devices, pushed where none is connected.

``from mana import notifications`` gives the use cases of ``mana.notifications.services``:
``notifications.send(user, "Hello")``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from mana.facade import service

    return service(__name__, name)
