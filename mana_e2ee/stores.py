"""Queries and writes for keys, device lists and ciphertext, in the database of the messages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connections, transaction
from django.db.models import Count, Exists, Max, Min, OuterRef, Q, QuerySet, Sum

from mana.conf import settings
from mana.messaging.models import Membership
from mana.messaging.statements import lock_stream
from mana.messaging.timeline import database, in_callers_transaction
from mana_e2ee.models import Backup, Device, DeviceList, Envelope, OneTimePreKey, SharedBody

#: Rows of one INSERT.
BATCH = 500


@contextmanager
def in_order() -> Iterator[str]:
    """A transaction that no message commits beside: who sends after it knows what it has changed. Gives the alias.

    Keep it short. Inside a caller's transaction, which may be long, messages do not wait.
    """
    using = database()
    alone = not in_callers_transaction(using)
    with transaction.atomic(using=using):
        if alone:
            lock_stream(using)
        yield using


# -- Devices ---------------------------------------------------------------------------------------------------------


def devices(user_pk: Any) -> QuerySet[Device]:
    """What a user's devices have published."""
    return Device.objects.using(database()).filter(user_id=user_pk).order_by("device_id")


def device(user_pk: Any, device_id: str) -> Device | None:
    """What one device has published."""
    return devices(user_pk).filter(device_id=device_id).first()


def remaining(device_pks: Iterable[int]) -> dict[int, int]:
    """How many one-time prekeys devices have left."""
    free = OneTimePreKey.objects.using(database()).filter(device_id__in=list(device_pks), claimed_at=None)
    counts = dict(free.order_by().values_list("device_id").annotate(count=Count("pk")))
    return {pk: counts.get(pk, 0) for pk in device_pks}


def has_more_than(device_pk: int, count: int) -> bool:
    """Whether a device has more than so many one-time prekeys left."""
    free = OneTimePreKey.objects.using(database()).filter(device_id=device_pk, claimed_at=None)
    return not count or free.order_by("key_id")[count : count + 1].exists()


def take_one_time(device_pk: int, now: datetime) -> bytes | None:
    """One of a device's one-time prekeys, which nobody else gets; ``None`` if there are none left.

    Part of the caller's transaction. Only an update that hit its one row counts, whatever two of these have seen.
    """
    using = database()
    free = OneTimePreKey.objects.using(using).filter(device_id=device_pk, claimed_at=None)
    candidates = free.order_by("key_id")
    if connections[using].features.has_select_for_update_skip_locked:
        candidates = candidates.select_for_update(skip_locked=True)
    while (row := candidates.values_list("pk", "data").first()) is not None:
        if free.filter(pk=row[0]).update(claimed_at=now):
            return bytes(row[1])
    return None


# -- Device lists ----------------------------------------------------------------------------------------------------


def device_lists(user_pk: Any) -> QuerySet[DeviceList]:
    """A user's device lists, the current one first."""
    return DeviceList.objects.using(database()).filter(user_id=user_pk).order_by("-epoch")


def epochs(user_pks: Collection[Any], using: str) -> dict[Any, int]:
    """The epoch of the current list of each user who has one."""
    rows = DeviceList.objects.using(using).filter(user_id__in=list(user_pks)).order_by()
    return dict(rows.values_list("user_id").annotate(epoch=Max("epoch")))


def backups(user_pk: Any) -> QuerySet[Backup]:
    """A user's backup, if there is one."""
    return Backup.objects.using(database()).filter(user_id=user_pk)


# -- Recipients ------------------------------------------------------------------------------------------------------


class Recipient(NamedTuple):
    """A device that is in its user's device list."""

    pk: int
    user_pk: Any
    device_id: str


def recipients_in(room_pk: int, using: str) -> list[Recipient]:
    """The listed devices of everybody in a room."""
    members = Membership.objects.using(using).filter(room_id=room_pk, state=Membership.State.JOINED)
    rows = Device.objects.using(using).filter(is_listed=True, user_id__in=members.values("user_id"))
    return [Recipient(*row) for row in rows.values_list("pk", "user_id", "device_id")]


def recipients_of(user_pks: Collection[Any], using: str) -> list[Recipient]:
    """The listed devices of users."""
    rows = Device.objects.using(using).filter(is_listed=True, user_id__in=list(user_pks))
    return [Recipient(*row) for row in rows.values_list("pk", "user_id", "device_id")]


# -- Ciphertext ------------------------------------------------------------------------------------------------------


def keep(
    event_id: UUID,
    sender_pk: Any,
    bodies: Mapping[int, bytes],
    now: datetime,
    using: str,
    *,
    shared: bytes | None = None,
) -> None:
    """Stores the ciphertext of an event by primary key of the device; with ``shared`` that is what they all get."""
    if shared is not None and bodies:
        SharedBody.objects.using(using).create(event_id=event_id, body=shared, created_at=now)
    Envelope.objects.using(using).bulk_create(
        [
            Envelope(
                event_id=event_id,
                device_id=pk,
                sender_id=sender_pk,
                body=body,
                size=len(body if shared is None else shared),
                created_at=now,
            )
            for pk, body in bodies.items()
        ],
        batch_size=BATCH,
    )


def envelopes(event_ids: Collection[UUID], using: str) -> QuerySet[Envelope]:
    """What waits of some events, for whatever devices."""
    return Envelope.objects.using(using).filter(event_id__in=list(event_ids))


def shared_bodies(event_ids: Collection[UUID], using: str) -> dict[UUID, bytes]:
    """The common ciphertext of those of the events that have one."""
    rows = SharedBody.objects.using(using).filter(event_id__in=list(event_ids))
    return {event_id: bytes(body) for event_id, body in rows.values_list("event_id", "body")}


def queue(device_pk: int) -> QuerySet[Envelope]:
    """What waits for a device, in the order of the events: envelopes are stored while it is locked."""
    return Envelope.objects.using(database()).filter(device_id=device_pk).order_by("pk")


def forget(rows: QuerySet[Envelope]) -> int:
    """Removes envelopes, and the common ciphertext for which nobody waits any more; how many envelopes."""
    using = database()
    with transaction.atomic(using=using):
        event_ids = list(rows.order_by().values_list("event_id", flat=True))
        count = rows.order_by()._raw_delete(using)  # no receivers, no cascades
        if event_ids:
            unneeded(SharedBody.objects.using(using).filter(event_id__in=event_ids)).delete()
    return int(count)


def unneeded(bodies: QuerySet[SharedBody]) -> QuerySet[SharedBody]:
    """Those of the common ciphertexts for which no device waits."""
    return bodies.exclude(Exists(Envelope.objects.using(database()).filter(event_id=OuterRef("pk"))))


def trim(device_pks: Collection[int]) -> int:
    """Removes what is beyond the quota of devices: the oldest of whoever fills their queues; how much that was.

    Taking from the one who has most in it keeps anybody from pushing out what others have written.
    """
    using = database()
    most, size = settings.E2EE_QUEUE_MESSAGES, settings.E2EE_QUEUE_BYTES
    rows = Envelope.objects.using(using).filter(device_id__in=list(device_pks)).order_by()
    full = rows.values_list("device_id").annotate(count=Count("pk"), used=Sum("size"))
    gone = 0
    for device_pk, count, used in full.filter(Q(count__gt=most) | Q(used__gt=size)):
        gone += _trim(device_pk, count - most, used - size)
    return gone


def _trim(device_pk: int, rows_over: int, bytes_over: int) -> int:
    """Removes so many envelopes, and bytes of them, from one queue; how many that were."""
    gone = 0
    while rows_over > 0 or bytes_over > 0:
        of_device = queue(device_pk)
        by_sender = of_device.order_by().values_list("sender_id").annotate(used=Sum("size")).order_by("-used")
        fullest = by_sender.first()
        if fullest is None:
            break
        # A few at a time: by then somebody else may have most in it.
        of_sender = of_device.filter(sender_id=fullest[0]).values_list("pk", "size")[: max(rows_over, 10)]
        surplus: list[int] = []
        for pk, size in of_sender:
            if rows_over <= 0 and bytes_over <= 0:
                break
            surplus.append(pk)
            rows_over -= 1
            bytes_over -= size
        gone += forget(of_device.filter(pk__in=surplus))
    return gone


def waiting(device_pks: Collection[int]) -> dict[int, tuple[int, int, datetime | None]]:
    """(how many, bytes, since when) of what waits for devices."""
    rows = Envelope.objects.using(database()).filter(device_id__in=list(device_pks)).order_by()
    found = rows.values_list("device_id").annotate(count=Count("pk"), used=Sum("size"), since=Min("created_at"))
    return {pk: (count, used, since) for pk, count, used, since in found}


def expired(now: datetime) -> QuerySet[Envelope]:
    """What has waited for too long."""
    before = now - timedelta(days=settings.E2EE_ENVELOPE_DAYS)
    return Envelope.objects.using(database()).filter(created_at__lt=before)


def one_time_rows(device_pk: int, key_ids: Sequence[int]) -> dict[int, bytes]:
    """Those of a device's one-time prekeys that are known, handed out or not, by id."""
    rows = OneTimePreKey.objects.using(database()).filter(device_id=device_pk, key_id__in=list(key_ids))
    return {key_id: bytes(data) for key_id, data in rows.values_list("key_id", "data")}
