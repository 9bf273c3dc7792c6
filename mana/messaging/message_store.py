"""The store of messages: what ``MANA["MESSAGE_STORE"]`` names, and what all sending and reading goes through.

A replacement extends this class, or keeps its promises, which ``mana.testing.message_store_suite`` checks. Each method
has an async twin with an ``a`` before its name.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db.models import Exists, F, OuterRef, Q, QuerySet

from mana.conf import settings
from mana.messaging.drafts import Draft
from mana.messaging.intervals import Interval
from mana.messaging.models import Hidden, Membership, Message, PersonalEvent, Room, Stream
from mana.messaging.timeline import database
from mana.messaging.twins import twin

AnyEvent = Message | PersonalEvent


class MessageStore:
    """Messages and all other events, on the ORM.

    Events come as rows with ``sequence`` set and their room loaded; what a person deleted for themselves is left out
    of what is read for them.
    """

    # -- Writing -----------------------------------------------------------------------------------------------------

    def save(self, drafts: Sequence[Draft]) -> tuple[list[Any], list[Message]]:
        """Stores drafts in one transaction: for each its ``Placed`` or the ``ManaError`` why not, and the events.

        A draft that can't be stored fails alone. A resend (same sender and ``ack_id``) gives the first one's place.
        Raises ``OperationalError`` or ``InterfaceError`` when the database is away; then nothing may have been stored.
        A draft with ``sealed`` is stored if that admits it, and only together with what that keeps.
        """
        from mana.messaging.sequencer import commit

        results: tuple[list[Any], list[Message]] = commit(drafts)
        return results

    def mark_delivered(self, row: Membership, event: Message, *, read: bool = False) -> bool:
        """Moves a member's position to an event, whether it moved. Never back; what is read is delivered as well."""
        rows = Membership.objects.using(database()).filter(pk=row.pk)
        delivered = {"delivered_index": event.index, "delivered_sequence": event.sequence}
        moved = bool(rows.filter(delivered_index__lt=event.index).update(**delivered))
        if read:
            position = {"read_index": event.index, "read_sequence": event.sequence, "read_count": event.number}
            moved = bool(rows.filter(read_index__lt=event.index).update(**position))
        return moved

    # -- Reading -----------------------------------------------------------------------------------------------------

    def latest_sequence(self) -> int:
        """The sequence of the newest committed event, 0 when there is none."""
        stream = Stream.objects.using(database()).filter(pk=Stream.DEFAULT_PK)
        return next(iter(stream.values_list("sequence", flat=True)), 0)  # .first() would have it sorted

    def sync_after(self, user_pk: Any, cursor: int, limit: int, *, up_to: int) -> list[AnyEvent]:
        """The first ``limit`` events after ``cursor`` that a user may see, in order of sequence.

        ``up_to`` is a sequence that was committed before the call. Without that bound, events that are committed
        between the two queries below would be seen in the rooms of the first only, and a cursor would move past the
        others.

        The rooms that changed are found first; the cost grows with them, not with history or the number of rooms that
        did not change.
        """
        own = PersonalEvent.objects.using(database()).filter(user_id=user_pk, sequence__gt=cursor, sequence__lte=up_to)
        personal = list(own.order_by("sequence")[:limit])
        events: list[AnyEvent] = [*self._in_rooms(user_pk, cursor, limit, up_to), *personal]
        events.sort(key=lambda event: event.sequence or 0)
        return events[:limit]

    def _in_rooms(self, user_pk: Any, cursor: int, limit: int, up_to: int) -> list[Message]:
        changed = {
            room_pk: (joined, last)
            for room_pk, joined, last in Membership.objects.using(database())
            .filter(user_id=user_pk, first_index__isnull=False, room__last_sequence__gt=cursor)
            .values_list("room_id", "joined_sequence", "last_index")
        }
        while changed:
            events = Message.objects.using(database()).filter(
                room_id__in=list(changed), sequence__gt=cursor, sequence__lte=up_to
            )
            if not all(last is None and 0 < joined <= cursor for joined, last in changed.values()):
                # Somebody came, or went, after the cursor: their bounds count. Without them the query costs half.
                member = "room__memberships__"
                events = events.filter(
                    Q(**{f"{member}last_index": None}) | Q(index__lte=F(f"{member}last_index")),
                    **{f"{member}user_id": user_pk},
                    index__gte=F(f"{member}first_index"),
                )
            found = list(events.order_by("sequence")[:limit])
            # A room once, and not with each of its events.
            rooms = Room.objects.using(database()).in_bulk({event.room_id for event in found})
            gone = {event.room_id for event in found} - rooms.keys()
            if not gone:
                for event in found:
                    event.room = rooms[event.room_id]
                return found
            changed = {room_pk: bounds for room_pk, bounds in changed.items() if room_pk not in gone}
        return []

    def sync_since(self, user_pk: Any, moment: datetime, limit: int) -> list[AnyEvent]:
        """The first ``limit`` events that a user may see and that came after ``moment``, in order of sequence."""
        up_to = self.latest_sequence()
        before = (
            Message.objects.using(database())
            .filter(sequence__isnull=False, created_at__lte=moment)
            .order_by("-sequence")
            .values_list("sequence", flat=True)
            .first()
        )
        return self.sync_after(user_pk, before or 0, limit, up_to=up_to)

    def pending_for_user(self, user_pk: Any, limit: int) -> list[Message]:
        """The first ``limit`` messages of others that were not delivered to a user yet, in order of sequence."""
        member = "room__memberships__"
        events = self.visible_to(user_pk, self._events()).filter(
            **{f"{member}user_id": user_pk, f"{member}state": Membership.State.JOINED},
            kind=Message.Kind.MESSAGE,
            deleted_at=None,
            index__gte=F(f"{member}first_index"),
            index__gt=F(f"{member}delivered_index"),
        )
        return list(events.exclude(sender_id=user_pk).order_by("sequence")[:limit])

    def conversation(
        self,
        room: Room,
        interval: Interval,
        *,
        user_pk: Any,
        limit: int,
        before: int | None = None,
        after: int | None = None,
    ) -> list[Message]:
        """Events of a room within an interval: after an index ascending, else before it (or the end) descending."""
        events = self.visible_to(user_pk, self._events()).filter(room=room, index__gte=interval.first)
        if interval.last is not None:
            events = events.filter(index__lte=interval.last)
        if after is not None:
            return list(events.filter(index__gt=after).order_by("index")[:limit])
        if before is not None:
            events = events.filter(index__lt=before)
        return list(events.order_by("-index")[:limit])

    def hidden(self, user_pk: Any, events: Sequence[AnyEvent]) -> set[Any]:
        """The ids of those of the events that a user deleted for themselves."""
        ids = [event.pk for event in events if isinstance(event, Message) and event.kind == Message.Kind.MESSAGE]
        if not ids:
            return set()
        rows = Hidden.objects.using(database()).filter(user_id=user_pk, message_id__in=ids)
        return set(rows.values_list("message_id", flat=True))

    def visible_to(self, user_pk: Any, events: QuerySet[Message]) -> QuerySet[Message]:
        """Events without those that a user deleted for themselves."""
        return events.exclude(Exists(Hidden.objects.filter(user_id=user_pk, message_id=OuterRef("pk"))))

    def events_between(self, first: int, last: int) -> list[AnyEvent]:
        """All events with sequences from ``first`` to ``last``, in order; what the nodes repair themselves from."""
        events: list[AnyEvent] = list(self._events().filter(sequence__gte=first, sequence__lte=last))
        if len(events) <= last - first:
            own = PersonalEvent.objects.using(database()).filter(sequence__gte=first, sequence__lte=last)
            events += own
        return sorted(events, key=lambda event: event.sequence or 0)

    def _events(self) -> QuerySet[Message]:
        return Message.objects.using(database()).filter(sequence__isnull=False).select_related("room")

    asave = twin(save)
    amark_delivered = twin(mark_delivered)
    alatest_sequence = twin(latest_sequence)
    async_after = twin(sync_after)
    async_since = twin(sync_since)
    apending_for_user = twin(pending_for_user)
    aconversation = twin(conversation)
    aevents_between = twin(events_between)


def message_store() -> MessageStore:
    """The project's store."""
    made: MessageStore = settings.MESSAGE_STORE()
    return made
