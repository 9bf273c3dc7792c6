"""Payloads that are kept outside of this app, one for each device: what end-to-end encryption needs of messaging.

The row of such a message says ``encrypted`` and has a null payload. One app may register itself as the keeper.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol
from uuid import UUID

if TYPE_CHECKING:
    from mana.messaging.models import Message, Room

#: What a message says whose payload is each device's own.
NO_PAYLOAD = "null"
#: The kind of the personal events whose payload is.
PERSONAL = "encrypted"


class Reader(NamedTuple):
    """The device that something is read for."""

    user_pk: Any
    device_id: str


class Payloads(NamedTuple):
    """What devices see of one event, as JSON: ``common`` for all, or each its own by ``device_key`` (of
    ``mana.realtime.announcements``)."""

    common: str = NO_PAYLOAD
    own: Mapping[str, str] = {}


class Sealed(Protocol):
    """The payloads of one message. Synchronous; both are called while the order of events is locked: be quick."""

    @property
    def payloads(self) -> Payloads:
        """What the devices get."""

    def admit(self, room: Room, using: str) -> None:
        """Raises ``ManaError`` unless the payloads are what the room's devices need right now."""

    def keep(self, event: Message, using: str) -> None:
        """Stores them, in the transaction that stores the message."""


class Keeper(Protocol):
    """Where payloads are read from, by the ids of their events."""

    def of_all(self, event_ids: Collection[UUID], using: str) -> Mapping[UUID, Payloads]:
        """What is kept for whatever devices."""

    def of_reader(self, event_ids: Collection[UUID], reader: Reader, using: str) -> Mapping[UUID, str]:
        """What is kept for one device, as JSON."""

    def discard(self, event_ids: Collection[UUID], using: str) -> None:
        """Forgets it all."""


_keeper: Keeper | None = None


def register(keeper: Keeper) -> None:
    """Makes ``keeper`` the one that is asked."""
    global _keeper
    _keeper = keeper


def of_all(event_ids: Collection[UUID], using: str) -> Mapping[UUID, Payloads]:
    """What is kept for whatever devices, by event."""
    return _keeper.of_all(event_ids, using) if _keeper is not None and event_ids else {}


def of_reader(event_ids: Collection[UUID], reader: Reader | None, using: str) -> Mapping[UUID, str]:
    """What is kept for a device, by event."""
    return _keeper.of_reader(event_ids, reader, using) if _keeper is not None and reader and event_ids else {}


def discard(event_ids: Collection[UUID], using: str) -> None:
    """The events are gone, or say nothing any more."""
    if _keeper is not None and event_ids:
        _keeper.discard(event_ids, using)
