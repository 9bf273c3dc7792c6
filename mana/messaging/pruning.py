"""What of rooms, messages and files is not to be kept."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from mana.conf import settings
from mana.messaging import sealed
from mana.messaging.files import discard
from mana.messaging.models import Attachment, Invite, Membership, Message, PersonalEvent, Room
from mana.messaging.services.control import delete_room_as_staff, empty
from mana.messaging.timeline import database
from mana.protocol import ManaError
from mana.pruning import BATCH, Task, in_batches
from mana.retries import retried


def _names(files: Iterable[Attachment]) -> list[str]:
    return [name for file in files for name in (file.file, file.thumbnail) if name]


def events(dry_run: bool) -> int:
    """Events that are older, or more, than their room keeps."""
    keeping = Q(retention_days__gt=0) | Q(retention_count__gt=0)
    rooms = Room.objects.using(database()).filter(deleted_at=None)
    if not settings.RETENTION_DAYS:
        rooms = rooms.filter(keeping)
    now = timezone.now()
    return sum(_of_room(room, now, dry_run) for room in rooms.iterator(chunk_size=BATCH))


def _of_room(room: Room, now: datetime, dry_run: bool) -> int:
    days = room.retention_days or settings.RETENTION_DAYS
    moment = now - timedelta(days=days) if days else None
    floor = room.last_index - room.retention_count if room.retention_count else 0
    # That the last one left says since when the room is empty, which left_rooms() asks.
    kept = room.last_index if room.member_count == 0 and settings.EMPTY_ROOM_DAYS else None

    def is_over(event: Message) -> bool:
        too_many = event.index is not None and event.index <= floor
        return event.index != kept and (too_many or (moment is not None and event.created_at < moment))

    rows = Message.objects.using(database()).filter(room=room, index__isnull=False).exclude(index=kept)
    if dry_run:
        over = Q(index__lte=floor)
        return rows.filter(over | Q(created_at__lt=moment) if moment else over).count()
    return _oldest_first(room, is_over)


def _oldest_first(room: Room, is_over: Callable[[Message], bool]) -> int:
    using = database()
    done = 0
    while True:
        rows = Message.objects.using(using).filter(room=room, index__isnull=False).order_by("index")
        batch = list(rows.only("pk", "index", "sequence", "number", "created_at", "room_id")[:BATCH])
        over = [event for event in batch if is_over(event)]
        if over:
            _remove(room, over, using)
            done += len(over)
        if len(over) < BATCH:
            return done


@retried
def _remove(room: Room, over: list[Message], using: str) -> None:
    pks = [event.pk for event in over]
    last = over[-1]
    with transaction.atomic(using=using):
        files = Attachment.objects.using(using).filter(message_id__in=pks)
        names = _names(files)
        files.delete()
        sealed.discard(pks, using)
        Message.objects.using(using).filter(pk__in=pks).delete()
        # What is gone can't be unread.
        behind = Membership.objects.using(using).filter(room=room, read_index__lt=last.index)
        behind.update(read_index=last.index, read_sequence=last.sequence, read_count=last.number)
        transaction.on_commit(lambda: discard(names), using=using)


def orphans(dry_run: bool) -> int:
    """Files that no message carries."""
    using = database()
    before = timezone.now() - timedelta(seconds=settings.ORPHAN_LIFETIME)
    rows = Attachment.objects.using(using).filter(message_id__isnull=True, created_at__lt=before)
    if dry_run:
        return rows.count()
    done = 0
    while batch := list(rows[:BATCH]):
        with transaction.atomic(using=using):
            # Not one that a message has taken meanwhile.
            taken = rows.filter(pk__in=[file.pk for file in batch]).select_for_update()
            files = list(taken)
            Attachment.objects.using(using).filter(pk__in=[file.pk for file in files]).delete()
        discard(_names(files))
        done += len(files)
        if not files:
            break
    return done


def invites(dry_run: bool) -> int:
    """Links that let nobody in any more."""
    now = timezone.now()
    closed = Q(revoked_at__lt=now) | Q(expires_at__lt=now) | Q(max_uses__gt=0, uses__gte=F("max_uses"))
    return in_batches(Invite.objects.using(database()).filter(closed), dry_run)


def personal_events(dry_run: bool) -> int:
    """What only a user's own devices are told, after ``PERSONAL_EVENT_DAYS``."""
    before = timezone.now() - timedelta(days=settings.PERSONAL_EVENT_DAYS)
    rows = PersonalEvent.objects.using(database()).filter(created_at__lt=before, sequence__isnull=False)
    return in_batches(rows, dry_run)


def left_rooms(dry_run: bool) -> int:
    """Rooms that everybody has left, after ``EMPTY_ROOM_DAYS``. They go like those that people delete."""
    if not settings.EMPTY_ROOM_DAYS:
        return 0
    before = timezone.now() - timedelta(days=settings.EMPTY_ROOM_DAYS)
    rooms = Room.objects.using(database()).filter(member_count=0, deleted_at=None, created_at__lt=before)
    done = 0
    for room in rooms.exclude(room_type=Room.Type.DIRECT).iterator(chunk_size=BATCH):
        if Message.objects.using(database()).filter(room=room, index=room.last_index, created_at__gte=before).exists():
            continue
        if not dry_run:
            try:
                if delete_room_as_staff(room, only_if_empty=True).event is None:
                    continue  # somebody came back
            except ManaError:
                continue  # somebody else has just deleted it
        done += 1
    return done


def deleted_rooms(dry_run: bool) -> int:
    """The last trace of rooms that were deleted, after ``DELETED_ROOM_DAYS``."""
    using = database()
    rooms = Room.objects.using(using).filter(deleted_at__isnull=False)
    before = timezone.now() - timedelta(days=settings.DELETED_ROOM_DAYS)
    if dry_run:
        return rooms.filter(deleted_at__lt=before).count()
    done = 0
    for room in rooms.iterator(chunk_size=BATCH):
        empty(room.pk)  # where a crash has left something in it
        assert room.deleted_at is not None
        if room.deleted_at < before:
            _oldest_first(room, lambda event: True)
            in_batches(Membership.objects.using(using).filter(room=room), dry_run)
            room.delete(using=using)
            done += 1
    return done


TASKS = (
    Task("events beyond their rooms' retention", events),
    Task("attachments that no message carries", orphans),
    Task("closed invitation links", invites),
    Task("old personal events", personal_events),
    Task("rooms that everybody has left", left_rooms),
    Task("deleted rooms", deleted_rooms),
)
