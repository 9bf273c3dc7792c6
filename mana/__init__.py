"""django-mana: real-time communication for Django, built on Channels.

The public Python API, one lazy import each, so that importing ``mana`` never touches Django's app registry::

    from mana import messages, rooms

    messages.send(room, user, {"text": "hello"})
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

#: public name -> module that implements it
_ACCESSORS = {
    "accounts": "mana.accounts",
    "moderation": "mana.moderation",
    "contacts": "mana.contacts",
    "notifications": "mana.notifications",
    "preferences": "mana.preferences",
    "messages": "mana.messaging.public.messages",
    "rooms": "mana.messaging.public.rooms",
    "receipts": "mana.messaging.services.receipts",
    "sync": "mana.messaging.services.sync",
    "calls": "mana_rtc.services",
}


def __getattr__(name: str) -> Any:
    if name in _ACCESSORS:
        return import_module(_ACCESSORS[name])
    raise AttributeError(f"module 'mana' has no attribute {name!r}")
