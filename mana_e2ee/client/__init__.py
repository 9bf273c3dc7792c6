"""The Python client with end-to-end encryption: docs/e2ee-clients.md, over ``mana.client``.

Knows nothing of Django: ``pip install 'django-mana[client,e2ee]'``.
"""

from mana_e2ee.client.client import E2EEClient
from mana_e2ee.client.context import Notice
from mana_e2ee.client.errors import (
    AccountChanged,
    EncryptionError,
    InvalidContent,
    LinkRefused,
    ListRefused,
    NoDevices,
    NotLinked,
    UnknownMember,
)
from mana_e2ee.client.journal import Message
from mana_e2ee.client.linking import LinkCode
from mana_e2ee.client.timeline import Shown

__all__ = [
    "AccountChanged",
    "E2EEClient",
    "EncryptionError",
    "InvalidContent",
    "LinkCode",
    "LinkRefused",
    "ListRefused",
    "Message",
    "NoDevices",
    "NotLinked",
    "Notice",
    "Shown",
    "UnknownMember",
]
