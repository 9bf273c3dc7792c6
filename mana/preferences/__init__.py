"""Preferences: typed settings of each user, with defaults that apps register, live on all of their devices.

``from mana import preferences`` gives the use cases of ``mana.preferences.services``: ``preferences.get(user, key)``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from mana.facade import service

    return service(__name__, name)
