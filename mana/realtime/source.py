"""Where the hub reads stored events and memberships from. The messaging app registers its own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, Protocol

from mana.realtime.announcements import Announcement


class Subscription(NamedTuple):
    """A room whose events a user's sessions receive, from the event ``since`` on."""

    room: str
    since: int


class PresenceOf(NamedTuple):
    """A user as others see them come and go, and the rooms where they do."""

    user_id: str
    username: str
    rooms: list[str]
    user_pk: Any = None


class EventSource(Protocol):
    """Synchronous reads, called in a database thread."""

    def latest_sequence(self) -> int:
        """The sequence of the newest committed event, 0 when there is none."""

    def events_between(self, first: int, last: int) -> list[Announcement]:
        """All committed events with ``first <= sequence <= last``, in order."""

    def subscriptions(self, user_pk: object, device_id: str | None) -> list[Subscription]:
        """The rooms that a user is in, who has just connected with the device that they named ``device_id``."""

    def presences(self, user_pks: Iterable[object]) -> list[PresenceOf]:
        """For each user that still exists the rooms that are told when they come and go."""

    def recover(self) -> list[Announcement]:
        """Finishes what a crashed process left unsequenced, and gives it to be announced."""


_source: EventSource | None = None


def register(source: EventSource) -> None:
    """Makes ``source`` the one that hubs read from."""
    global _source
    _source = source


def get() -> EventSource:
    """The registered source. Raises ``RuntimeError`` when no app registered one."""
    if _source is None:
        raise RuntimeError('No event source: add "mana.messaging" to INSTALLED_APPS.')
    return _source
