"""The directory of devices: publishing, refilling and removing their public keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, transaction
from django.utils import timezone

from mana.accounts.stores import Person, touch_device
from mana.conf import settings
from mana.messaging.services.people import as_person
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError
from mana.retries import retried
from mana.stores import async_twin
from mana.throttles import Throttle
from mana_e2ee import notices, stores
from mana_e2ee.core import DeviceRecord, OneTimePreKey, Publication
from mana_e2ee.core.limits import MAX_DEVICES
from mana_e2ee.counters import counters
from mana_e2ee.models import Device
from mana_e2ee.models import OneTimePreKey as OneTimeRow
from mana_e2ee.uploads import Refill, one_time_keys, publication, shaped

_uploads = Throttle("E2EE_UPLOAD_RATE")


@dataclass(frozen=True, slots=True)
class Status:
    """What the server has of a device. ``epoch`` is that of the user's device list, if there is one."""

    device_id: str
    is_listed: bool
    one_time_remaining: int
    signed_prekey_id: int
    kem_prekey_id: int
    epoch: int | None


def publish(user: Any, device_id: str, payload: Any) -> Status:
    """Stores a device's public keys; the same again changes nothing, and a rotation replaces the prekeys.

    ``payload`` is the shape of ``uploads.Bundle``. Raises ``ManaError``: ``invalid`` for keys and signatures that the
    core refuses, ``conflict`` for other identity keys than the device's, a prekey's id that was used before, an older
    prekey or too many of them; ``rate_limited``.
    """
    person = as_person(user)
    checked = publication(payload, person, device_id)
    _uploads.take(str(person.pk))
    touch_device(person.pk, device_id)  # removing it there removes its keys
    _store(person, checked)
    counters.uploads += 1
    return status(person, device_id)


def refill(user: Any, device_id: str, payload: Any) -> Status:
    """Adds one-time prekeys of a device that has published. ``payload`` is the shape of ``uploads.Refill``."""
    person = as_person(user)
    keys = one_time_keys(shaped(payload, Refill).one_time)
    _uploads.take(str(person.pk))
    _refill(person, device_id, keys)
    counters.uploads += 1
    return status(person, device_id)


@retried
def _refill(person: Person, device_id: str, keys: tuple[OneTimePreKey, ...]) -> None:
    with transaction.atomic(using=database()):
        row = stores.devices(person.pk).select_for_update().filter(device_id=device_id).first()
        if row is None:
            raise ManaError(ErrorCode.NOT_FOUND, "This device has published no keys.")
        _add_one_time(row, keys)


@retried
def _store(person: Person, upload: Publication) -> None:
    device_id = upload.record.address.device
    try:
        with transaction.atomic(using=database()):
            row = stores.devices(person.pk).select_for_update().filter(device_id=device_id).first()
            if row is None:
                _make_room(person)
                row = Device(user_id=person.pk, device_id=device_id)
            else:
                _check_follows(row, upload)
            _fill(row, upload)
            row.save(using=database())
            _add_one_time(row, upload.one_time)
    except IntegrityError:
        raise ManaError(ErrorCode.CONFLICT, "This device is publishing its keys right now.", retry_after=1.0) from None


def _make_room(person: Person) -> None:
    """A user has so many devices and no more. Of those that were never linked, such as closed private windows, the one
    that has been silent for longest makes room. Raises ``ManaError`` with ``conflict`` if all are in the list.
    """
    devices = stores.devices(person.pk)
    if devices.count() < MAX_DEVICES:
        return
    oldest = devices.filter(is_listed=False).order_by("updated_at", "pk").first()
    if oldest is None:
        raise ManaError(ErrorCode.CONFLICT, f"A user has at most {MAX_DEVICES} devices with keys: remove one.")
    stores.forget(stores.queue(oldest.pk))
    oldest.delete(using=database())


def _fill(row: Device, upload: Publication) -> None:
    row.record = upload.record.to_bytes()
    row.signed_prekey, row.signed_prekey_id = upload.signed_prekey.to_bytes(), upload.signed_prekey.id
    kem = upload.kem_prekey
    row.kem_prekey, row.kem_prekey_id = (kem.to_bytes(), kem.id) if kem is not None else (None, 0)
    row.updated_at = timezone.now()


def _check_follows(row: Device, upload: Publication) -> None:
    """Whether an upload may replace what is there. Raises ``ManaError`` with ``conflict``."""
    before = DeviceRecord.from_bytes(bytes(row.record))
    if before.identity() != upload.record.identity():
        raise ManaError(ErrorCode.CONFLICT, "This device has other identity keys: remove it first.")
    if bytes(row.record) != upload.record.to_bytes() and (row.is_listed or upload.record.created <= before.created):
        raise ManaError(ErrorCode.CONFLICT, "The device list vouches for another record, or this one is older.")
    kem_id, kem = (upload.kem_prekey.id, upload.kem_prekey.to_bytes()) if upload.kem_prekey else (0, None)
    pairs = (
        (row.signed_prekey_id, bytes(row.signed_prekey), upload.signed_prekey.id, upload.signed_prekey.to_bytes()),
        (row.kem_prekey_id, row.kem_prekey and bytes(row.kem_prekey), kem_id, kem),
    )
    for old_id, old, new_id, new in pairs:
        if new_id < old_id or (new_id == old_id and new != old):
            raise ManaError(ErrorCode.CONFLICT, "A prekey is older than the one that is there, or has its id.")


def _add_one_time(row: Device, keys: tuple[OneTimePreKey, ...]) -> None:
    known = stores.one_time_rows(row.pk, [key.id for key in keys])
    new = [key for key in keys if key.id not in known]
    if any(known[key.id] != key.to_bytes() for key in keys if key.id in known) or (
        new and new[0].id <= row.one_time_top
    ):
        raise ManaError(ErrorCode.CONFLICT, "The id of a one-time prekey was used before.")
    if not new:
        return
    if stores.remaining([row.pk])[row.pk] + len(new) > settings.E2EE_ONE_TIME_MAX:
        raise ManaError(ErrorCode.CONFLICT, f"A device has at most {settings.E2EE_ONE_TIME_MAX} one-time prekeys here.")
    OneTimeRow.objects.using(database()).bulk_create(
        [OneTimeRow(device_id=row.pk, key_id=key.id, data=key.to_bytes()) for key in new]
    )
    row.one_time_top = new[-1].id
    row.save(using=database(), update_fields=["one_time_top"])


def status(user: Any, device_id: str) -> Status:
    """What the server has of one of the user's own devices. Raises ``ManaError`` with ``not_found``."""
    found = [one for one in statuses(user) if one.device_id == device_id]
    if not found:
        raise ManaError(ErrorCode.NOT_FOUND, "This device has published no keys.")
    return found[0]


def statuses(user: Any) -> list[Status]:
    """What the server has of the user's own devices."""
    rows = list(stores.devices(user.pk).defer("record", "signed_prekey", "kem_prekey"))
    left = stores.remaining([row.pk for row in rows])
    epoch = stores.epochs([user.pk], database()).get(user.pk)
    return [
        Status(row.device_id, row.is_listed, left[row.pk], row.signed_prekey_id, row.kem_prekey_id, epoch)
        for row in rows
    ]


def remove(user: Any, device_id: str) -> None:
    """Removes a device's keys and what waits for it, and tells those who may have sessions with it.

    The signed list still names the device until one of the user's others publishes the next one; nobody gets its
    bundle, and nothing is kept for it. Raises ``ManaError`` with ``not_found``.
    """
    person = as_person(user)
    if not drop(person, device_id):
        raise ManaError(ErrorCode.NOT_FOUND, "This device has published no keys.")


def drop(person: Person, device_id: str) -> bool:
    """``remove`` for a device that may have no keys; whether it had."""
    with stores.in_order() as using:
        row = stores.device(person.pk, device_id)
        if row is None:
            return False
        stores.forget(stores.queue(row.pk))
        row.delete(using=using)
    notices.devices_changed(person, stores.epochs([person.pk], using).get(person.pk), [device_id])
    return True


apublish = async_twin(publish)
arefill = async_twin(refill)
