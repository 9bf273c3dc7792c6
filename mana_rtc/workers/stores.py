"""Workers and placements in the database. Times are by its clock. Synchronous; callers bring the thread."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Now

from mana.conf import settings
from mana.realtime.stores import ago
from mana.retries import retried
from mana_rtc.models import MediaWorker, Placement
from mana_rtc.sfu.backend import SfuError
from mana_rtc.sfu.meter import Load

#: Share of a processor from which a worker gets a new room only if all others are as busy.
BUSY = 0.85
#: Seconds after which a dead worker's row is removed.
FORGOTTEN = 60.0
TRIES = 5


class Placed(NamedTuple):
    """Where a room is."""

    pk: int
    worker: str
    channel: str


def living() -> QuerySet[MediaWorker]:
    """The workers whose lease holds."""
    return MediaWorker.objects.filter(seen_at__gte=ago(settings.RTC_WORKER_LEASE))


# -- A worker's own ---------------------------------------------------------------------------------------------------


def beat(worker: str, channel: str, load: Load, *, name: str, max_rooms: int, draining: bool = False) -> dict[str, int]:
    """Renews a worker's lease; the rooms that are placed with it, and their placements."""
    values = {"channel": channel, "max_rooms": max_rooms, "is_draining": draining, "name": name, **load._asdict()}
    if not MediaWorker.objects.filter(pk=worker).update(seen_at=Now(), **values):
        MediaWorker.objects.create(pk=worker, seen_at=Now(), **values)
    return dict(Placement.objects.filter(worker_id=worker).values_list("room_key", "pk"))


def bury() -> int:
    """Removes the rows of workers that are long dead, and what was placed with them."""
    return MediaWorker.objects.filter(seen_at__lt=ago(FORGOTTEN)).delete()[0]


def retire(worker: str) -> None:
    """Takes a worker out, and its rooms with it."""
    MediaWorker.objects.filter(pk=worker).delete()


def release_all(worker: str) -> None:
    """Gives all rooms of a worker away."""
    Placement.objects.filter(worker_id=worker).delete()


def is_placed(pk: int, worker: str, room: str) -> bool:
    """Whether a room is placed with a worker, by this placement."""
    return Placement.objects.filter(pk=pk, worker_id=worker, room_key=room).exists()


# -- A node's ---------------------------------------------------------------------------------------------------------


def find(room: str) -> Placed | None:
    """Where a room is, if its worker lives and means to stay."""
    row = Placement.objects.select_related("worker").filter(room_key=room, worker__in=living()).first()
    if row is None or row.worker.is_draining:
        return None
    return Placed(row.pk, row.worker_id, row.worker.channel)


@retried
def place(room: str) -> Placed:
    """Where a room is: a worker is chosen for one that has none, or a dead one. Of several nodes that do this at once
    one chooses. Raises ``SfuError``."""
    for _ in range(TRIES):
        found = find(room)
        if found is not None:
            return found
        stale = Placement.objects.filter(room_key=room).values_list("pk", flat=True).first()
        if stale is not None and find(room) is None:
            release(stale)
        worker = _choose()
        try:
            with transaction.atomic():
                row = Placement.objects.create(room_key=room, worker=worker)
        except IntegrityError:  # another node was quicker, or the worker has gone
            continue
        return Placed(row.pk, worker.pk, worker.channel)
    raise SfuError("No media worker could be found for the call; try again.", full=True)


def _choose() -> MediaWorker:
    workers = list(living().filter(is_draining=False).annotate(placed=Count("placements")))
    if not workers:
        raise SfuError("No media worker runs.", full=True)
    able = [one for one in workers if one.placed < one.max_rooms]
    if not able:
        raise SfuError("All media workers are full.", full=True)
    # Participants are known a moment late; rooms that were placed meanwhile count for some.
    return min(able, key=lambda one: (one.busy >= BUSY, one.participants + 2 * one.placed, one.pk))


def release(pk: int) -> None:
    """Ends a placement."""
    Placement.objects.filter(pk=pk).delete()


def in_force(pks: Collection[int]) -> set[int]:
    """Those of the placements that are still there, with workers that live."""
    rows = Placement.objects.filter(Q(pk__in=list(pks)), worker__in=living())
    return set(rows.values_list("pk", flat=True))
