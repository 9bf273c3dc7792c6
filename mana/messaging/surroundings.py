"""What it takes beside the rows themselves to show events: who sent them, what they change, what has become of them.

A message is shown as it is now, but never more of it than its reader may see: who left reads what it said until then,
and who came later learns nothing of messages from before. Each query here is made only if an event needs it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.db import router
from django.db.models import Count
from msgspec import UNSET, Raw, UnsetType

from mana.accounts.stores import Person, people
from mana.messaging import sealed
from mana.messaging.extras import extra_of
from mana.messaging.models import Membership, Message, PersonalEvent, Reaction, Revision
from mana.protocol import server

#: People whom a message names per emoji; the others are counted.
REACTING_SHOWN = 10

Kind = Message.Kind


class Surroundings:
    """What the frames of some events need. ``reader_pk`` is ``None`` for frames that everybody in the room gets.

    ``device_id`` is the reader's device, where it is known: only then do they see what was encrypted for it.
    """

    def __init__(
        self, events: Sequence[Message | PersonalEvent], reader_pk: Any = None, device_id: str | None = None
    ) -> None:
        self._reader_pk = reader_pk
        messages = [event for event in events if isinstance(event, Message)]
        self._using = router.db_for_write(Message)  # what was committed just now may not be in a replica yet
        self._targets = self._changed_messages(messages)
        self._rows = self._memberships(messages)
        self._earlier = self._as_it_was(messages)
        self._reacting, reacting_people = self._reactions(messages)
        self._counts = self._reaction_counts(messages)
        encrypted = [event.pk for event in events if is_encrypted(event)]
        reader = sealed.Reader(reader_pk, device_id) if device_id and reader_pk is not None else None
        self._own = sealed.of_reader(encrypted, reader, self._using)
        self._of_all = sealed.of_all(encrypted, self._using) if reader_pk is None else {}
        pks = {event.sender_id if isinstance(event, Message) else event.user_id for event in events}
        self.senders: Mapping[Any, Person] = people(pks | reacting_people)

    # -- Reading -----------------------------------------------------------------------------------------------------

    def _changed_messages(self, messages: Sequence[Message]) -> dict[Any, Message]:
        wanted = {event.target for event in messages if event.kind == Kind.EDIT and event.target is not None}
        return Message.objects.using(self._using).in_bulk(list(wanted)) if wanted else {}

    def _memberships(self, messages: Sequence[Message]) -> dict[int, Membership]:
        """The reader's rows in the rooms where it matters how far they may read."""
        if self._reader_pk is None:
            return {}
        rooms = {m.room_id for m in messages if m.kind == Kind.EDIT or m.edited_at is not None or m.reaction_count}
        if not rooms:
            return {}
        rows = Membership.objects.using(self._using).filter(user_id=self._reader_pk, room_id__in=rooms)
        return {row.room_id: row for row in rows}

    def _as_it_was(self, messages: Sequence[Message]) -> dict[UUID, str]:
        """For readers who left: what messages said until then, where they were edited afterwards."""
        closed = {room_id: row.last_index for room_id, row in self._rows.items() if row.last_index is not None}
        if not closed:
            return {}
        edited = {message.pk: closed[message.room_id] for message in messages if message.room_id in closed}
        edited |= {pk: closed[target.room_id] for pk, target in self._targets.items() if target.room_id in closed}
        earlier: dict[UUID, str] = {}
        rows = Revision.objects.using(self._using).filter(message_id__in=edited).order_by("-index")
        for message_pk, index, payload_json in rows.values_list("message_id", "index", "payload_json"):
            if index > edited[message_pk]:
                earlier[message_pk] = payload_json  # the first edit that they can't see comes last
        return earlier

    def _reactions(self, messages: Sequence[Message]) -> tuple[dict[UUID, dict[str, list[Any]]], set[Any]]:
        wanted = [message.pk for message in messages if message.reaction_count > 0]
        found: dict[UUID, dict[str, list[Any]]] = defaultdict(lambda: defaultdict(list))
        if not wanted or self._reader_pk is None:
            return {}, set()
        rooms = {message.pk: message.room_id for message in messages}
        rows = Reaction.objects.using(self._using).filter(message_id__in=wanted).order_by("pk")
        shown: set[Any] = set()
        for pk, user_pk, emoji, index in rows.values_list("message_id", "user_id", "emoji", "index"):
            row = self._rows.get(rooms[pk])
            if row is not None and row.last_index is not None and index > row.last_index:
                continue
            if len(found[pk][emoji]) < REACTING_SHOWN:
                shown.add(user_pk)
            found[pk][emoji].append(user_pk)
        return found, shown

    def _reaction_counts(self, messages: Sequence[Message]) -> dict[tuple[Any, str], int]:
        wanted = {event.target for event in messages if event.kind == Kind.REACTION and event.target is not None}
        if not wanted:
            return {}
        rows = Reaction.objects.using(self._using).filter(message_id__in=wanted).values("message_id", "emoji")
        counts = rows.annotate(count=Count("pk")).values_list("message_id", "emoji", "count")
        return {(pk, emoji): count for pk, emoji, count in counts}

    # -- Showing -----------------------------------------------------------------------------------------------------

    def payload_json(self, message: Message) -> str:
        """What the reader sees of a message."""
        if message.pk in self._of_all:
            return self._of_all[message.pk].common
        own = self._own.get(message.pk)
        return own if own is not None else self._earlier.get(message.pk, message.payload_json)

    def sealed_payload(self, event: PersonalEvent) -> str | None:
        """What the reader's device alone sees of an event."""
        return self._own.get(event.pk)

    def payloads_of_all(self, event: Message | PersonalEvent) -> dict[str, str]:
        """What each device sees of an event, where that differs."""
        found = self._of_all.get(event.pk)
        return dict(found.own) if found is not None else {}

    def edited(self, event: Message) -> tuple[Raw | UnsetType, list[str] | None]:
        """The payload and mentions that an edit shows, the former unset for who may not read the message."""
        target = self._targets.get(event.target)
        if target is None or target.deleted_at is not None:
            return Raw(b"null"), None
        if not self._may_see(target):
            return UNSET, None
        mentions = extra_of(target.extra_json).mentions if target.extra_json else []
        return Raw(self.payload_json(target).encode()), mentions or None

    def _may_see(self, target: Message) -> bool:
        if self._reader_pk is not None:
            row = self._rows.get(target.room_id)
            return row is not None and target.index is not None and row.can_read(target.index)
        # One frame goes to all: it must suit the one who came last.
        later = Membership.objects.using(self._using).filter(
            room_id=target.room_id, state=Membership.State.JOINED, first_index__gt=target.index
        )
        return not later.exists()

    def reactions(self, message: Message) -> list[server.ReactionCount] | None:
        """The emoji on a message, in the order of their first."""
        found = self._reacting.get(message.pk)
        if not found:
            return None
        return [
            server.ReactionCount(
                emoji=emoji,
                count=len(user_pks),
                user_ids=[self.senders[pk].user_id for pk in user_pks[:REACTING_SHOWN] if pk in self.senders],
                me=self._reader_pk in user_pks,
            )
            for emoji, user_pks in found.items()
        ]

    def count(self, event: Message, emoji: str) -> int:
        """How many of an emoji the message of a reaction has."""
        return self._counts.get((event.target, emoji), 0)


def around(
    events: Sequence[Message | PersonalEvent], *, reader_pk: Any = None, device_id: str | None = None
) -> Surroundings:
    """What the frames of these events need for a reader, or for everybody."""
    return Surroundings(events, reader_pk, device_id)


def is_encrypted(event: Message | PersonalEvent) -> bool:
    """Whether the payload of an event is each device's own."""
    return event.is_encrypted if isinstance(event, Message) else event.kind == sealed.PERSONAL
