"""Encrypted backups: one opaque blob per user, for a device that has the recovery key."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone

from mana.conf import settings
from mana.messaging.services.people import as_person
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError
from mana.retries import retried
from mana.throttles import Throttle
from mana_e2ee import stores
from mana_e2ee.models import Backup
from mana_e2ee.uploads import backup, packed

_backups = Throttle("E2EE_BACKUP_RATE")


@dataclass(frozen=True, slots=True)
class Stored:
    """A backup in base64, and its size in bytes."""

    backup: str
    size: int
    updated_at: datetime


def read(user: Any) -> Stored:
    """The user's own backup. Raises ``ManaError`` with ``not_found``."""
    row = stores.backups(user.pk).first()
    if row is None:
        raise ManaError(ErrorCode.NOT_FOUND, "There is no backup.")
    return Stored(packed(row.data), row.size, row.updated_at)


def write(user: Any, payload: Any) -> Stored:
    """Stores the user's backup, in place of the one before.

    ``payload`` is the shape of ``uploads.BackupUpload``. Raises ``ManaError``: ``invalid`` for what is no sealed
    backup, ``too_large``, ``not_supported`` where backups are off, ``rate_limited``.
    """
    person = as_person(user)
    most = settings.E2EE_BACKUP_BYTES
    if not most:
        raise ManaError(ErrorCode.NOT_SUPPORTED, "This server keeps no backups.")
    data = backup(payload)
    if len(data) > most:
        raise ManaError(ErrorCode.TOO_LARGE, f"The backup has {len(data)} bytes; {most} are allowed.")
    _backups.take(str(person.pk))
    now = timezone.now()
    _store(person.pk, data, now)
    return Stored(packed(data), len(data), now)


@retried
def _store(user_pk: Any, data: bytes, now: datetime) -> None:
    rows = Backup.objects.using(database())
    rows.update_or_create(user_id=user_pk, defaults={"data": data, "size": len(data), "updated_at": now})


def remove(user: Any) -> None:
    """Forgets the user's backup, if there is one: who starts over need not know."""
    stores.backups(user.pk).delete()
