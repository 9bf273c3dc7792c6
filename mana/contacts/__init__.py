"""Contacts, requests to become contacts, and blocks.

``from mana import contacts`` gives the use cases of ``mana.contacts.services``: ``contacts.block(user, other)``.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    from mana.facade import service

    return service(__name__, name)
