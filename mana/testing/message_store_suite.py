"""What a replacement of ``MessageStore`` or ``RoomStore`` must keep: classes of plain test functions for pytest.

In a test module of yours, with ``pytest-django``::

    from mana.testing.message_store_suite import MessageStoreSuite, RoomStoreSuite

    class TestMyMessages(MessageStoreSuite):
        store_path = "shop.stores.MyMessageStore"

    class TestMyRooms(RoomStoreSuite):
        store_path = "shop.stores.MyRoomStore"

Each function sets ``MANA`` so that the services use the store as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from asgiref.sync import sync_to_async
from django.conf import settings as django_settings
from django.contrib.auth import get_user_model
from django.db import connections
from django.test import override_settings
from django.utils import timezone

from mana.accounts.stores import Person, person
from mana.messaging import services
from mana.messaging.drafts import Draft, Placed
from mana.messaging.intervals import Interval
from mana.messaging.message_store import MessageStore, message_store
from mana.messaging.models import Membership, Message, Room
from mana.messaging.room_store import RoomStore, room_store
from mana.messaging.sealed import Payloads
from mana.protocol import ErrorCode, ManaError


def _user(name: str) -> Person:
    made = get_user_model()._default_manager.create_user(username=name)
    found = person(made.pk)
    assert found is not None
    return found


@pytest.mark.django_db(transaction=True)
class _Suite:
    setting: ClassVar[str]
    store_path: ClassVar[str]

    @pytest.fixture(autouse=True)
    def _use_store(self) -> Iterator[None]:
        mana = {**getattr(django_settings, "MANA", {}), self.setting: self.store_path}
        with override_settings(MANA=mana):
            self.ann, self.ben = _user("ann"), _user("ben")
            self.room: Room = services.create_room(self.ann, key="tea", name="Tea", members=[self.ben]).room
            yield


class _Kept:
    """A ``mana.messaging.sealed.Sealed`` that notes what it was asked to keep."""

    payloads = Payloads()

    def __init__(self, refusal: ManaError | None = None) -> None:
        self._refusal = refusal
        self.kept: list[Any] = []

    def admit(self, room: Room, using: str) -> None:
        """As it was told."""
        if self._refusal is not None:
            raise self._refusal

    def keep(self, event: Message, using: str) -> None:
        """Notes it."""
        assert connections[using].in_atomic_block
        self.kept.append(event.pk)


class MessageStoreSuite(_Suite):
    """``MANA["MESSAGE_STORE"]``."""

    setting = "MESSAGE_STORE"
    store_path = "mana.messaging.message_store.MessageStore"

    @property
    def store(self) -> MessageStore:
        """The store under test."""
        return message_store()

    def _draft(self, payload_json: str, sender: Person | None = None, **more: Any) -> Draft:
        return Draft(self.room.key, sender or self.ann, payload_json, **more)

    def _row(self, who: Person) -> Membership:
        return Membership.objects.get(room=self.room, user_id=who.pk)

    def test_drafts_are_saved_in_their_order(self) -> None:
        before = self.store.latest_sequence()
        results, events = self.store.save([self._draft(str(number)) for number in range(3)])
        assert [result.sequence for result in results] == [before + 1, before + 2, before + 3]
        assert [event.payload for event in events] == [0, 1, 2]
        assert self.store.latest_sequence() == before + 3

    def test_a_sealed_draft_is_stored_with_what_it_keeps_or_not_at_all(self) -> None:
        def draft(sealed: _Kept) -> Draft:
            return self._draft("null", sealed=sealed, ack_id="one")

        refusing, first, again = _Kept(ManaError(ErrorCode.STALE_DEVICE_LIST)), _Kept(), _Kept()
        (refused, stored), (event,) = self.store.save([draft(refusing), draft(first)])
        assert isinstance(refused, ManaError)
        assert refused.code is ErrorCode.STALE_DEVICE_LIST
        assert (event.payload_json, event.is_encrypted, event.pk) == ("null", True, stored.message_id)
        assert (refusing.kept, first.kept) == ([], [event.pk])
        (resent,), _ = self.store.save([draft(again)])
        assert (resent.message_id, resent.duplicate, again.kept) == (event.pk, True, [])

    def test_a_bad_draft_fails_alone(self) -> None:
        bad = Draft("nowhere", self.ann, "2")
        results, events = self.store.save([self._draft("1"), bad, self._draft("3")])
        assert isinstance(results[1], ManaError)
        assert results[1].code is ErrorCode.NOT_FOUND
        assert [event.payload for event in events] == [1, 3]

    def test_a_resend_is_stored_once(self) -> None:
        (first,), _ = self.store.save([self._draft("1", ack_id="x")])
        (again,), events = self.store.save([self._draft("2", ack_id="x")])
        assert isinstance(again, Placed)
        assert (again.message_id, again.duplicate, events) == (first.message_id, True, [])

    def test_sync_goes_on_after_a_cursor(self) -> None:
        start = self.store.latest_sequence()
        self.store.save([self._draft(str(number)) for number in range(5)])
        latest = self.store.latest_sequence()
        page = self.store.sync_after(self.ben.pk, start, 2, up_to=latest)
        rest = self.store.sync_after(self.ben.pk, page[-1].sequence or 0, 10, up_to=latest)
        assert [event.sequence for event in (*page, *rest)] == list(range(start + 1, latest + 1))
        assert self.store.sync_after(self.ben.pk, latest, 10, up_to=latest) == []
        assert self.store.sync_after(_user("eve").pk, 0, 10, up_to=latest) == []

    def test_sync_does_not_pass_the_sequence_it_is_given(self) -> None:
        _, events = self.store.save([self._draft(str(number)) for number in range(3)])
        bound = events[1].sequence or 0
        assert [event.sequence for event in self.store.sync_after(self.ben.pk, 0, 10, up_to=bound)][-1] == bound

    def test_sync_by_time(self) -> None:
        _, (old, _new) = self.store.save([self._draft("1"), self._draft("2")])
        Message.objects.filter(sequence__lte=old.sequence).update(created_at=timezone.now() - timedelta(hours=2))
        events = self.store.sync_since(self.ben.pk, timezone.now() - timedelta(hours=1), 10)
        assert [event.payload for event in events if isinstance(event, Message)] == [2]

    def test_what_was_not_delivered_is_pending(self) -> None:
        _, events = self.store.save([self._draft("1"), self._draft("2"), self._draft("3", self.ben)])
        assert [event.payload for event in self.store.pending_for_user(self.ben.pk, 10)] == [1, 2]
        assert self.store.mark_delivered(self._row(self.ben), events[0])
        assert not self.store.mark_delivered(self._row(self.ben), events[0])
        assert [event.payload for event in self.store.pending_for_user(self.ben.pk, 10)] == [2]
        assert [event.payload for event in self.store.pending_for_user(self.ann.pk, 10)] == [3]

    def test_positions_never_move_back_and_read_is_delivered(self) -> None:
        _, events = self.store.save([self._draft("1"), self._draft("2")])
        assert self.store.mark_delivered(self._row(self.ben), events[1], read=True)
        assert not self.store.mark_delivered(self._row(self.ben), events[0], read=True)
        row = self._row(self.ben)
        assert (row.read_index, row.delivered_index) == (events[1].index, events[1].index)

    def test_a_conversation_is_read_both_ways_within_its_bounds(self) -> None:
        self.store.save([self._draft(str(number)) for number in range(6)])  # indexes 2 to 7

        def indexes(interval: Interval, **where: int) -> list[int | None]:
            found = self.store.conversation(self.room, interval, user_pk=self.ben.pk, limit=3, **where)
            return [event.index for event in found]

        assert indexes(Interval(1, None)) == [7, 6, 5]
        assert indexes(Interval(1, None), before=5) == [4, 3, 2]
        assert indexes(Interval(1, None), after=4) == [5, 6, 7]
        assert indexes(Interval(3, 4)) == [4, 3]
        assert indexes(Interval(6, None), before=7) == [6]

    def test_what_a_person_hides_is_hidden_from_them_alone(self) -> None:
        _, (event,) = self.store.save([self._draft("1")])
        services.hide(event.pk, self.ben)
        assert self.store.hidden(self.ben.pk, [event]) == {event.pk}
        assert self.store.hidden(self.ann.pk, [event]) == set()
        assert b'"id":"' + str(event.pk).encode() not in b"".join(services.history("tea", self.ben).frames)
        assert len(services.history("tea", self.ann).frames) == 2

    def test_nodes_can_read_everything_again(self) -> None:
        _, (event,) = self.store.save([self._draft("1")])
        services.hide(event.pk, self.ben)
        services.leave("tea", self.ben)
        latest = self.store.latest_sequence()
        found = self.store.events_between(1, latest)
        assert [one.sequence for one in found] == list(range(1, latest + 1))

    def test_the_services_use_it(self) -> None:
        message = services.send("tea", self.ann, {"text": "hello"})
        assert message.sequence == self.store.latest_sequence()
        assert services.sync(self.ben, 0).cursor == message.sequence

    def test_the_async_twins_do_the_same(self) -> None:
        async def twins() -> tuple[int, list[Any]]:
            await self.store.asave([self._draft("1")])
            latest = await self.store.alatest_sequence()
            found = await self.store.async_after(self.ben.pk, latest - 1, 10, up_to=latest)
            await sync_to_async(connections.close_all)()  # of the thread that served this test
            return latest, found

        latest, events = asyncio.run(twins())
        assert [event.sequence for event in events] == [latest]


class RoomStoreSuite(_Suite):
    """``MANA["ROOM_STORE"]``."""

    setting = "ROOM_STORE"
    store_path = "mana.messaging.room_store.RoomStore"

    @property
    def store(self) -> RoomStore:
        """The store under test."""
        return room_store()

    def test_rooms_are_found_by_their_exact_key(self) -> None:
        assert self.store.get("tea") == self.room
        for key in ("Tea", "tea ", "", "te\x00a", "nowhere"):
            assert self.store.get(key) is None

    def test_deleted_rooms_are_not_found(self) -> None:
        services.delete_room("tea", self.ann)
        assert self.store.get("tea") is None

    def test_memberships_of_one_and_of_several(self) -> None:
        eve = _user("eve")
        row = self.store.membership(self.room, self.ann)
        assert row is not None
        assert row.role == Membership.Role.OWNER
        assert self.store.membership(self.room, eve) is None
        assert set(self.store.memberships(self.room, [self.ann, self.ben, eve])) == {self.ann.pk, self.ben.pk}

    def test_members_are_those_who_are_in_it(self) -> None:
        services.leave("tea", self.ben)
        assert [row.user_id for row in self.store.members(self.room)] == [self.ann.pk]

    def test_who_left_reads_up_to_there(self) -> None:
        assert self.store.readable(self.room, self.ben) == Interval(1, None)
        services.leave("tea", self.ben)
        services.send("tea", self.ann, "alone")
        assert self.store.readable(self.room, self.ben) == Interval(1, 2)
        assert self.store.readable(self.room, _user("eve")) is None

    def test_the_rooms_of_a_person(self) -> None:
        services.create_room(self.ann, key="private")
        services.invite("private", self.ann, [self.ben])
        assert {row.room.key for row in self.store.rooms_of(self.ann)} == {"tea", "private"}
        assert [row.room.key for row in self.store.rooms_of(self.ben)] == ["tea"]
        assert [row.room.key for row in self.store.invitations_of(self.ben)] == ["private"]
        assert [key for key, _ in self.store.subscriptions(self.ben.pk)] == ["tea"]
        assert set(self.store.rooms_of_users([self.ben.pk], max_members=10)) == {(self.ben.pk, "tea")}
        assert set(self.store.rooms_of_users([self.ben.pk], max_members=1)) == set()

    def test_public_rooms_are_found_by_name(self) -> None:
        services.create_room(self.ann, key="open", name="Open Kitchen", is_private=False)
        assert [room.key for room in self.store.public()] == ["open"]
        assert [room.key for room in self.store.public("kitchen")] == ["open"]
        assert list(self.store.public("bath")) == []

    def test_the_services_use_it(self) -> None:
        with pytest.raises(ManaError) as refused:
            services.send("nowhere", self.ann, "x")
        assert refused.value.code is ErrorCode.NOT_FOUND
        assert services.join("tea", self.ann).event is None

    def test_the_async_twins_do_the_same(self) -> None:
        async def twins() -> tuple[Room | None, Interval | None]:
            found = await self.store.aget("tea"), await self.store.areadable(self.room, self.ben)
            await sync_to_async(connections.close_all)()  # of the thread that served this test
            return found

        assert asyncio.run(twins()) == (self.room, Interval(1, None))
