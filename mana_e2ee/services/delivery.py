"""Ciphertext on its way: control messages, what waits for a device, and its acks."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import msgspec
from django.db.models import Q
from django.utils import timezone

from mana.accounts.stores import Person, resolve
from mana.messaging import sealed
from mana.messaging import stores as messages
from mana.messaging.drafts import parse_message_id
from mana.messaging.frames import AnyEvent, event_frames
from mana.messaging.models import Membership, Message, PersonalEvent, Room
from mana.messaging.permits import check_not_muted
from mana.messaging.policies import policy
from mana.messaging.sequencer import check_may_send
from mana.messaging.services.asynchronous import reading, writing
from mana.messaging.services.people import as_person
from mana.messaging.timeline import Outbox, Timeline, change, database
from mana.protocol import ErrorCode, ManaError
from mana.retries import retried
from mana.stores import async_twin
from mana_e2ee import stores
from mana_e2ee.core import Address
from mana_e2ee.counters import counters
from mana_e2ee.fanout import (
    Named,
    Parcels,
    epochs_by_user_id,
    named_devices,
    sending_device,
    stale_device_list,
)
from mana_e2ee.models import Device, Envelope
from mana_e2ee.stores import Recipient

#: Envelopes that one page gives at the most, and bytes of ciphertext after which it ends early.
PAGE = 200
PAGE_BYTES = 512 * 1024


class ControlEvent(msgspec.Struct):
    """What the row of an ``encrypted`` event holds."""

    from_: str = msgspec.field(name="from")
    username: str
    device_id: str
    room_id: str | None = None
    payload: None = None


@dataclass(frozen=True, slots=True)
class Pending:
    """Frames (``message`` or ``encrypted``) with what waits for a device, in order of sequence."""

    frames: list[bytes]
    has_more: bool


def control(
    user: Any,
    parcels: Parcels,
    epochs: Mapping[str, int],
    *,
    room_key: str | None = None,
    to: str | None = None,
) -> list[int]:
    """Sends something to devices that is no message of a room: any of those of the people in a room, or of one
    person, and the user's own in any case; the primary keys of the devices.

    Who may write to them may do it. Raises ``ManaError``, as sending a message does, and ``stale_device_list`` for
    devices that are not (or no longer) there.
    """
    person = as_person(user)
    with change() as timeline:
        devices = _audience(timeline, person, room_key, to)
        own = Device.objects.using(timeline.using).filter(user_id=person.pk)
        # A new device and an old one talk before the device list names them both.
        mine = [Recipient(*row) for row in own.values_list("pk", "user_id", "device_id")]
        pks = named_devices([*devices, *mine])
        pks.pop((person.user_id, parcels.sender.device), None)
        bodies = parcels.by_device(pks)
        others = any(user_id != person.user_id for user_id, _ in bodies)
        if others:
            parcels.check_sender(sending_device(person, parcels.sender.device, timeline.using))
        current = epochs_by_user_id({device.user_pk for device in devices}, timeline.using)
        stale = {user_id: current.get(user_id) for user_id in epochs if epochs[user_id] != current.get(user_id)}
        if stale or bodies.keys() - pks.keys():
            raise stale_device_list((), bodies.keys() - pks.keys(), stale)
        _store(timeline, person, parcels.sender, room_key, bodies, pks)
    return [pks[named] for named in bodies]


def _audience(timeline: Timeline | Outbox, person: Person, room_key: str | None, to: str | None) -> list[Recipient]:
    """The devices that something may be for. Raises ``ManaError`` for who may not write to them."""
    if room_key is None:
        if to is None:
            raise ManaError(ErrorCode.INVALID, "The frame needs `room_id` or `to`.")
        other = resolve([to]).get(to)
        if other is None:
            raise ManaError(ErrorCode.NOT_FOUND, f"There is no user {to[:64]!r}.")
        rules = policy()
        rules.prepare([person], [(person, to)])
        if other.pk != person.pk:
            rules.may_create_room(person, Room.Type.DIRECT)  # which is what writing to somebody takes
        rules.may_message_directly(person, to)
        return stores.recipients_of([other.pk], timeline.using)
    room = messages.room_by_key(room_key, using=timeline.using)
    membership = messages.membership(room, person, using=timeline.using) if room is not None else None
    if room is None or membership is None or membership.state != Membership.State.JOINED:
        raise messages.not_in_room(room, room_key)
    check_may_send(policy(), person, room, membership.role)
    check_not_muted(membership, timezone.now())
    return stores.recipients_in(room.pk, timeline.using)


def _store(
    timeline: Timeline | Outbox,
    person: Person,
    sender: Address,
    room_key: str | None,
    bodies: Mapping[Named, bytes],
    pks: Mapping[Named, int],
) -> None:
    event = ControlEvent(from_=person.user_id, username=person.username, device_id=sender.device, room_id=room_key)
    users = resolve({user_id for user_id, _ in bodies}, active_only=False)
    for user_id, recipient in users.items():
        row = timeline.append_personal(recipient, sealed.PERSONAL, event)
        of_user = {pks[named]: body for named, body in bodies.items() if named[0] == user_id}
        stores.keep(row.pk, person.pk, of_user, row.created_at, timeline.using)
    counters.envelopes += len(bodies)


@retried
def ack(user: Any, device_id: str, message_ids: Sequence[str]) -> int:
    """A device has decrypted and kept what came with these ids: the server forgets it; how much it had of it."""
    ids = [parse_message_id(one) for one in message_ids]
    device = stores.device(user.pk, device_id)
    if device is None:
        raise ManaError(ErrorCode.NOT_FOUND, "This device has published no keys.")
    count = stores.forget(stores.queue(device.pk).filter(event_id__in=ids))
    counters.acked += count
    return count


def pending(user: Any, device_id: str, *, limit: int | None = None) -> Pending:
    """What a device has not acked, the oldest first. Ask again once it is acked, while there is more."""
    person = as_person(user)
    device = stores.device(person.pk, device_id)
    if device is None:
        raise ManaError(ErrorCode.NOT_FOUND, "This device has published no keys.")
    most = min(limit or PAGE, PAGE)
    rows = list(stores.queue(device.pk).values_list("event_id", "size")[: most + 1])
    chosen: list[UUID] = []
    size = 0
    for event_id, bytes_ in rows[:most]:
        size += bytes_
        if size > PAGE_BYTES and chosen:
            break
        chosen.append(event_id)
    frames = event_frames(_events(chosen), reader_pk=person.pk, device_id=device_id)
    return Pending(frames, len(rows) > len(chosen))


def _events(ids: Collection[UUID]) -> list[AnyEvent]:
    using = database()
    placed = Q(sequence__isnull=False)
    rows = Message.objects.using(using).filter(placed, pk__in=ids).select_related("room")
    own = PersonalEvent.objects.using(using).filter(placed, pk__in=ids)
    return sorted([*rows, *own], key=lambda event: event.sequence or 0)


@dataclass(frozen=True, slots=True)
class Recipients:
    """The devices of one person in a room, and the epoch of their list."""

    user_id: str
    epoch: int | None
    device_ids: list[str]


def recipients(room_key: str, user: Any) -> list[Recipients]:
    """Whom a message in a room must be encrypted for, by the ids on the wire. Members without devices are missing.

    Raises ``ManaError`` for who is not in the room.
    """
    person = as_person(user)
    using = database()
    room = messages.room_by_key(room_key)
    membership = messages.membership(room, person, using=using) if room is not None else None
    if room is None or membership is None or membership.state != Membership.State.JOINED:
        raise messages.not_in_room(room, room_key)
    devices = stores.recipients_in(room.pk, using)
    epochs = epochs_by_user_id({device.user_pk for device in devices}, using)
    found: dict[str, list[str]] = {}
    for user_id, device_id in sorted(named_devices(devices)):
        found.setdefault(user_id, []).append(device_id)
    return [Recipients(user_id, epochs.get(user_id), ids) for user_id, ids in found.items()]


def trim(device_pks: Collection[int]) -> None:
    """Keeps the queues of devices within their quota. Called after the commit, off the way of the message."""
    counters.dropped += stores.trim(device_pks)


def discard_expired(dry_run: bool) -> int:
    """Removes ciphertext that has waited for too long; how much."""
    rows = stores.expired(timezone.now())
    if dry_run:
        return rows.count()
    done = 0
    while pks := list(rows.order_by("pk").values_list("pk", flat=True)[: stores.BATCH]):
        done += stores.forget(Envelope.objects.using(database()).filter(pk__in=pks))
    return done


acontrol = writing(control)
aack = async_twin(ack)
apending = reading(pending)
