"""The stores keep what they promise, and can be replaced."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import pytest

from mana.messaging.drafts import Draft
from mana.messaging.message_store import MessageStore
from mana.messaging.models import Message, Room
from mana.messaging.room_store import RoomStore
from mana.testing.message_store_suite import MessageStoreSuite, RoomStoreSuite

pytestmark = pytest.mark.database


class CountingMessages(MessageStore):
    """A replacement that counts what it saves."""

    saved: ClassVar[int] = 0

    def save(self, drafts: Sequence[Draft]) -> tuple[list[Any], list[Message]]:
        """Counts and saves."""
        results, events = super().save(drafts)
        type(self).saved += len(events)
        return results, events


class CachingRooms(RoomStore):
    """A replacement that counts how often it is asked."""

    asked: ClassVar[int] = 0

    def get(self, key: str, *, using: str | None = None) -> Room | None:
        """Counts and looks."""
        type(self).asked += 1
        return super().get(key, using=using)


class TestMessageStore(MessageStoreSuite):
    """Our own."""


class TestRoomStore(RoomStoreSuite):
    """Our own."""


class TestReplacedMessageStore(MessageStoreSuite):
    """Another one."""

    store_path = f"{__name__}.CountingMessages"

    def test_it_is_really_used(self) -> None:
        from mana.messaging import services

        before = CountingMessages.saved
        services.send("tea", self.ann, "x")
        assert CountingMessages.saved == before + 1


class TestReplacedRoomStore(RoomStoreSuite):
    """Another one."""

    store_path = f"{__name__}.CachingRooms"

    def test_it_is_really_used(self) -> None:
        from mana.messaging import services

        before = CachingRooms.asked
        services.history("tea", self.ann)
        assert CachingRooms.asked > before
