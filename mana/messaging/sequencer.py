"""Commits messages: many in one transaction, each exactly once, each alone if it is wrong."""

from __future__ import annotations

import logging
import random
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import reduce
from operator import or_
from typing import Any, TypeVar

from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import Q
from django.utils import timezone

from mana.accounts.stores import Person
from mana.messaging.carried import Carried
from mana.messaging.drafts import Draft, Placed
from mana.messaging.frames import AnyEvent, peer_of
from mana.messaging.models import Membership, Message, PersonalEvent, Room
from mana.messaging.permits import check_may_write, note_message
from mana.messaging.policies import MessagingPolicy, policy
from mana.messaging.publish import publish
from mana.messaging.statements import joined, mark_read
from mana.messaging.timeline import Timeline, database, open_timeline
from mana.protocol import ErrorCode, ManaError
from mana.realtime.counters import counters
from mana.realtime.database import drop_dead_connections

logger = logging.getLogger("mana.sequencer")
T = TypeVar("T")

Result = Placed | ManaError

#: Events that were stored without places and get them in one transaction.
PENDING_BATCH = 500
#: Tries of a transaction that the database aborted in favour of another.
TRIES = 6


def retrying(function: Callable[[bool], T]) -> T:
    """``function(again)``, again when the database aborted it: serialization failure, deadlock, lock time-out, broken
    connection.

    ``function`` must be a whole transaction; ``again`` tells it that an earlier try may have committed after all.
    """
    reconnected = False
    for attempt in range(1, TRIES + 1):
        try:
            return function(attempt > 1)
        except (OperationalError, InterfaceError) as error:
            dropped = drop_dead_connections()
            if attempt == TRIES or (dropped and reconnected):
                raise
            reconnected = reconnected or dropped
            logger.info("A transaction is tried again: %s", error)
            counters.retries += 1
            if not dropped:
                time.sleep(random.uniform(0.2, 1.0) * 0.01 * 2**attempt)
    raise AssertionError("unreachable")


# -- Messages --------------------------------------------------------------------------------------------------------


def commit(drafts: Sequence[Draft]) -> tuple[list[Result], list[Message]]:
    """Stores drafts in one transaction: for each its place or why it was refused, and the stored events in order.

    A draft that the database itself can't take fails alone: the others are then stored one by one. Raises
    ``OperationalError`` or ``InterfaceError`` when the database is away; then nothing may have been stored.
    """
    try:
        try:
            # A resend must not be told that the files it brings are another message's: its own.
            # And not that somebody's devices have changed since it was sent the first time.
            look = any(draft.attachments or draft.sealed is not None for draft in drafts)
            return retrying(lambda again: _commit(drafts, look_for_resends=again or look))
        except IntegrityError:
            # Resends are rare, so nobody looks for them before the database says that there is one.
            return retrying(lambda again: _commit(drafts, look_for_resends=True))
    except (OperationalError, InterfaceError):
        raise
    except Exception:
        if len(drafts) == 1:
            logger.exception("A message could not be stored.")
            return [ManaError(ErrorCode.INTERNAL)], []
        logger.warning("A batch of %d messages failed as a whole; each is tried alone.", len(drafts))
    results: list[Result] = []
    events: list[Message] = []
    for draft in drafts:
        result, stored = commit([draft])
        results += result
        events += stored
    return results, events


def _commit(drafts: Sequence[Draft], *, look_for_resends: bool) -> tuple[list[Result], list[Message]]:
    results: list[Result] = []
    readers: dict[int, tuple[int, ...]] = {}
    with open_timeline(database()) as timeline:
        known = _already_stored(drafts, timeline) if look_for_resends else {}
        memberships = _memberships(drafts, timeline)
        quotable = _quotable(drafts, timeline)
        carried = Carried(drafts, timeline.using)
        rules = policy()
        rules.prepare(*_to_be_asked(drafts, memberships))
        now = timezone.now()
        for draft in drafts:
            earlier = known.get(draft.id) or known.get((draft.sender.pk, draft.ack_id))
            if earlier is not None:
                results.append(_placed(earlier, duplicate=earlier.pk != draft.id))
                continue
            membership = memberships.get((draft.room_key, draft.sender.pk))
            if membership is None:
                results.append(_not_a_member(draft, timeline))
                continue
            room = timeline.adopt(membership.room)
            try:
                check_may_send(rules, draft.sender, room, membership.role)
                check_may_write(membership, room, now)
                carried.check(draft, room, membership.role, rules)
                if draft.reply_to is not None and not _may_quote(draft, membership, quotable):
                    raise ManaError(ErrorCode.NOT_FOUND, f"There is no message {str(draft.reply_to)!r} in this room.")
                if draft.sealed is not None:
                    draft.sealed.admit(room, timeline.using)
            except ManaError as error:
                results.append(error)
                continue
            event = timeline.append(event_of(draft, room, now))
            if draft.sealed is not None:
                draft.sealed.keep(event, timeline.using)
            known[draft.id] = event
            if draft.ack_id is not None:
                known[(draft.sender.pk, draft.ack_id)] = event
            readers[membership.pk] = _read_up_to(event)
            if room.slow_mode:
                note_message(membership, now, timeline.using)
            results.append(_placed(event, duplicate=False))
        # Rows that a caller's open transaction has locked are left out: the order of all events does not wait for it,
        # and the next message or receipt moves their position.
        mark_read(readers, using=timeline.using)
    return results, timeline.events


def _to_be_asked(
    drafts: Sequence[Draft], memberships: dict[tuple[str, object], Membership]
) -> tuple[list[Person], list[tuple[Person, str]]]:
    """Who writes, and who writes directly to whom."""
    people: list[Person] = []
    direct: list[tuple[Person, str]] = []
    for draft in drafts:
        membership = memberships.get((draft.room_key, draft.sender.pk))
        if membership is not None:
            people.append(draft.sender)
            other = peer_of(membership.room, draft.sender)
            if other is not None:
                direct.append((draft.sender, other))
    return people, direct


def check_may_send(rules: MessagingPolicy, sender: Person, room: Room, role: str) -> None:
    """Asks the policy whether a member may write in a room. Raises ``ManaError``."""
    rules.may_send(sender, room, role)
    other = peer_of(room, sender)
    if other is not None:
        rules.may_message_directly(sender, other)


def _read_up_to(event: Message) -> tuple[int, ...]:
    assert event.index is not None
    assert event.sequence is not None
    assert event.number is not None
    return event.index, event.sequence, event.number


def event_of(draft: Draft, room: Room, now: datetime | None = None) -> Message:
    """A draft as an event that has no place yet."""
    return Message(
        id=draft.id,
        room=room,
        sender_id=draft.sender.pk,
        device_id=draft.device_id,
        session_id=draft.session_id,
        ack_id=draft.ack_id,
        payload_json=draft.payload_json,
        reply_to_id=draft.reply_to,
        extra_json=draft.extra_json,
        created_at=now or timezone.now(),
    )


def _already_stored(drafts: Sequence[Draft], timeline: Timeline) -> dict[object, Message]:
    """Events that are there by id (an earlier try of this transaction) or by sender and ack_id (a resend)."""
    stored = Message.objects.using(timeline.using).select_related("room").defer("payload_json")
    known: dict[object, Message] = {event.pk: event for event in stored.filter(pk__in=[draft.id for draft in drafts])}
    ack_ids: dict[Any, list[str]] = defaultdict(list)
    for draft in drafts:
        if draft.ack_id is not None:
            ack_ids[draft.sender.pk].append(draft.ack_id)
    if ack_ids:
        # One condition per sender: two IN lists would have the database try every sender with every ack_id.
        pairs = [Q(sender_id=sender_pk, ack_id__in=ids) for sender_pk, ids in ack_ids.items()]
        for event in stored.filter(reduce(or_, pairs)):
            known[(event.sender_id, event.ack_id)] = event
    return known


def _memberships(drafts: Sequence[Draft], timeline: Timeline) -> dict[tuple[str, object], Membership]:
    """The memberships by which the drafts' senders may write, with their rooms, as they are under the lock.

    Which row belongs to whom never changes, so it is remembered; the row itself is read each time.
    """
    wanted = {(draft.room_key, draft.sender.pk) for draft in drafts}
    found = _joined({_rows[pair] for pair in wanted if pair in _rows}, timeline)
    missing = wanted - found.keys()
    if missing:
        keys, user_pks = {key for key, _ in missing}, {user_pk for _, user_pk in missing}
        rows = Membership.objects.using(timeline.using).filter(room__key__in=keys, user_id__in=user_pks)
        pks = {(key, user_pk): pk for pk, key, user_pk in rows.values_list("pk", "room__key", "user_id")}
        found |= _joined({pks[pair] for pair in missing if pair in pks}, timeline)
        if len(_rows) > ROWS_REMEMBERED:
            _rows.clear()
        _rows.update({pair: found[pair].pk for pair in missing if pair in found})
    return found


def _joined(pks: set[int], timeline: Timeline) -> dict[tuple[str, object], Membership]:
    return {(row.room.key, row.user_id): row for row in joined(pks, using=timeline.using)}


#: Memberships whose primary keys are remembered by a process: some 20 MB.
ROWS_REMEMBERED = 100_000
_rows: dict[tuple[str, object], int] = {}


def _quotable(drafts: Sequence[Draft], timeline: Timeline) -> dict[object, tuple[int, int]]:
    wanted = {draft.reply_to for draft in drafts if draft.reply_to is not None}
    if not wanted:
        return {}
    rows = Message.objects.using(timeline.using).filter(
        pk__in=wanted, kind=Message.Kind.MESSAGE, index__isnull=False, deleted_at=None
    )
    return {pk: (room_id, index or 0) for pk, room_id, index in rows.values_list("pk", "room_id", "index")}


def _may_quote(draft: Draft, membership: Membership, quotable: dict[object, tuple[int, int]]) -> bool:
    room_id, index = quotable.get(draft.reply_to, (None, 0))
    return room_id == membership.room_id and index >= (membership.first_index or 0)


def _not_a_member(draft: Draft, timeline: Timeline) -> ManaError:
    room = Room.objects.using(timeline.using).filter(key=draft.room_key).only("is_private").first()
    if room is None or room.is_private:
        return ManaError(ErrorCode.NOT_FOUND, f"There is no room {draft.room_key!r}.")
    return ManaError(ErrorCode.NOT_A_MEMBER)


def _placed(event: Message, *, duplicate: bool) -> Result:
    if event.sequence is None or event.index is None:
        return ManaError(ErrorCode.UNAVAILABLE, "This message is being stored right now.", retry_after=1.0)
    return Placed(event.pk, event.room.key, event.sequence, event.index, event.created_at, duplicate)


# -- Events that were stored in a caller's transaction ---------------------------------------------------------------


def sequence_after_commit(events: Sequence[AnyEvent]) -> None:
    """Gives places to events whose transaction has just committed, and tells of them.

    Never raises: the caller's transaction is committed, and every node looks for events without places anyway.
    """
    try:
        publish(sequence_pending())
        places = Message.objects.using(database()).in_bulk([event.pk for event in events])
        for event in events:
            if isinstance(event, Message) and (stored := places.get(event.pk)) is not None:
                event.sequence, event.index, event.number = stored.sequence, stored.index, stored.number
    except Exception:
        logger.exception("%d events have no places yet; a node will give them theirs.", len(events))


def sequence_pending() -> list[AnyEvent]:
    """Gives places to events that have none, in the order in which they were made; the events, to be announced."""
    using = database()
    if not _pending(using).exists() and not PersonalEvent.objects.using(using).filter(sequence__isnull=True).exists():
        return []
    done: list[AnyEvent] = []
    while True:
        batch = retrying(lambda again: _sequence_batch(using))
        done += batch
        if len(batch) < PENDING_BATCH:
            return done


def _pending(using: str):  # type: ignore[no-untyped-def]  # django-stubs: a queryset
    return Message.objects.using(using).filter(sequence__isnull=True)


def _sequence_batch(using: str) -> list[AnyEvent]:
    with transaction.atomic(using=using):
        timeline = Timeline(using)
        timeline.place_pending(PENDING_BATCH)
        timeline.finish()
    return timeline.placed
