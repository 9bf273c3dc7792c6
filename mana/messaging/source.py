"""What the hub reads from the messaging app."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from mana.accounts.stores import people, touch_device
from mana.conf import settings
from mana.messaging import stores
from mana.messaging.frames import announcements_of
from mana.messaging.publish import emit_signals
from mana.messaging.sequencer import sequence_pending
from mana.realtime.announcements import Announcement
from mana.realtime.source import PresenceOf, Subscription


class MessagingSource:
    """The ``mana.realtime.source.EventSource`` of the messaging app."""

    def latest_sequence(self) -> int:
        """The sequence of the newest committed event."""
        return stores.latest_sequence()

    def events_between(self, first: int, last: int) -> list[Announcement]:
        """All committed events with ``first <= sequence <= last``, in order."""
        return announcements_of(stores.events_between(first, last))

    def subscriptions(self, user_pk: Any, device_id: str | None) -> list[Subscription]:
        """The rooms that a user is in, who has just connected with the device that they named ``device_id``."""
        if device_id is not None:
            touch_device(user_pk, device_id)
        return [Subscription(key, since) for key, since in stores.subscriptions(user_pk)]

    def presences(self, user_pks: Iterable[Any]) -> list[PresenceOf]:
        """For each user that still exists the rooms that are told when they come and go."""
        pks = list(user_pks)
        rooms: dict[Any, list[str]] = defaultdict(list)
        for pk, key in stores.rooms_of_users(pks, max_members=settings.PRESENCE_MAX_ROOM):
            rooms[pk].append(key)
        return [PresenceOf(one.user_id, one.username, rooms[pk], pk) for pk, one in people(pks).items()]

    def recover(self) -> list[Announcement]:
        """Gives places to events that a crashed process left without."""
        events = sequence_pending()
        emit_signals(events)
        return announcements_of(events)
