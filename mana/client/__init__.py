"""The asyncio client of django-mana: durable sends, events exactly once and in order, over lost connections.

Knows the protocol and nothing of Django: ``pip install 'django-mana[client]'`` brings what it needs.
"""

from mana.client.auth import Account, Credentials, StaticToken
from mana.client.client import ManaClient
from mana.client.dispatch import Event, Events
from mana.client.errors import ClientError, Disconnected, Refused, Unauthenticated
from mana.client.rest import Rest
from mana.client.state import FileState, MemoryState, State

__all__ = [
    "Account",
    "ClientError",
    "Credentials",
    "Disconnected",
    "Event",
    "Events",
    "FileState",
    "ManaClient",
    "MemoryState",
    "Refused",
    "Rest",
    "State",
    "StaticToken",
    "Unauthenticated",
]
