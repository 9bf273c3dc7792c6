"""A project's policy: who records calls is called so."""

from __future__ import annotations

from mana.accounts.stores import Person
from mana.messaging.models import Room
from mana_rtc.policies import CallPolicy


class RecordersRecord(CallPolicy):
    """Who has "recorder" in their name."""

    def may_record(self, person: Person, room: Room, role: str) -> None:
        """See ``CallPolicy``."""
        if "recorder" not in person.username:
            super().may_record(person, room, role)
