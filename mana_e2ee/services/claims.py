"""Claims of prekey bundles: each one-time prekey goes to one claim, and the same claim gets the same answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import msgspec
from django.db import IntegrityError, transaction
from django.utils import timezone

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging.drafts import checked_ack_id
from mana.messaging.services.people import as_person
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError
from mana.protocol.server import DeviceBundle
from mana.retries import retried
from mana.stores import async_twin
from mana.throttles import Throttle
from mana_e2ee import notices, stores
from mana_e2ee.core import DeviceRecord, KemPreKey, OneTimePreKey, PreKeyBundle, SignedPreKey
from mana_e2ee.counters import counters
from mana_e2ee.models import Claim, Device
from mana_e2ee.services.visibility import are_acquainted, visible
from mana_e2ee.uploads import packed

_by_requester = Throttle("E2EE_CLAIM_RATE")
_of_target = Throttle("E2EE_CLAIM_TARGET_RATE")


class Answer(msgspec.Struct):
    """One bundle per device, and the device list that vouches for them; both in base64."""

    user_id: str
    bundles: list[DeviceBundle]
    epoch: int | None = None
    device_list: str | None = None


def claim(
    user: Any,
    other: Person,
    *,
    device_id: str | None = None,
    claim_id: str | None = None,
    own_device_id: str | None = None,
) -> Answer:
    """The bundles of somebody's devices, or of one of them, for starting sessions with them.

    Others get those in the device list only; of the user's own devices all but ``own_device_id``. ``claim_id`` makes
    it safe to ask again: for ``E2EE_CLAIM_LIFETIME`` seconds the answer stays the same. Raises ``ManaError``:
    ``not_found`` for who may not know of them, ``conflict`` for a claim id that was used for something else,
    ``rate_limited``.
    """
    person = as_person(user)
    checked_ack_id(claim_id)
    visible(person, other)
    target = msgspec.json.encode([str(other.pk), device_id or ""]).decode()
    now = timezone.now()
    if claim_id is not None and (earlier := _earlier(person, claim_id, target, now)) is not None:
        return earlier
    _by_requester.take(str(person.pk))
    try:
        answer = _claim(person, other, device_id, own_device_id, claim_id, target, now)
    except IntegrityError:
        # The same claim came twice at once; the other one has committed.
        repeated = _earlier(person, claim_id, target, now) if claim_id is not None else None
        if repeated is None:
            raise ManaError(ErrorCode.UNAVAILABLE, retry_after=1.0) from None
        return repeated
    counters.claims += 1
    return answer


def _earlier(person: Person, claim_id: str, target: str, now: datetime) -> Answer | None:
    rows = Claim.objects.using(database()).filter(requester_id=person.pk, claim_id=claim_id)
    row = rows.first()
    if row is None:
        return None
    if row.created_at < now - timedelta(seconds=settings.E2EE_CLAIM_LIFETIME):
        rows.filter(pk=row.pk).delete()
        return None
    if row.target != target:
        raise ManaError(ErrorCode.CONFLICT, "This id was used for another claim.")
    return msgspec.json.decode(row.answer, type=Answer)


@retried
def _claim(
    person: Person,
    other: Person,
    device_id: str | None,
    own_device_id: str | None,
    claim_id: str | None,
    target: str,
    now: datetime,
) -> Answer:
    using = database()
    plenty = _take_of_target(other)
    reserve = Reserve(person, other)
    with transaction.atomic(using=using):
        row = None
        if claim_id is not None:
            # Before anything is taken: two of the same wait for each other here.
            row = Claim.objects.using(using).create(
                requester_id=person.pk, claim_id=claim_id, target=target, answer="", created_at=now
            )
        devices = stores.devices(other.pk)
        if person.pk != other.pk:
            devices = devices.filter(is_listed=True)
        elif own_device_id is not None:
            devices = devices.exclude(device_id=own_device_id)
        if device_id is not None:
            devices = devices.filter(device_id=device_id)
        taken: list[Device] = []
        bundles = []
        for device in devices:
            may_take = plenty and reserve.may_take_of(device.pk)
            data = stores.take_one_time(device.pk, now) if may_take else None
            taken += [device] if data is not None else []
            bundles.append(DeviceBundle(device_id=device.device_id, bundle=packed(_bundle(device, data))))
        current = stores.device_lists(other.pk).first()
        answer = Answer(
            other.user_id,
            bundles,
            current.epoch if current is not None else None,
            packed(current.data) if current is not None else None,
        )
        if row is not None:
            row.answer = msgspec.json.encode(answer).decode()
            row.save(using=using, update_fields=["answer"])
    counters.one_time += len(taken)
    counters.without_one_time += len(bundles) - len(taken)
    _tell_if_low(other, taken)
    return answer


class Reserve:
    """Whether somebody may have one of the last keys of another's devices; asked only where it matters."""

    def __init__(self, person: Person, other: Person) -> None:
        self._people = person, other

    def may_take_of(self, device_pk: int) -> bool:
        """Everybody, while there are more than the reserve; then those who know each other."""
        return stores.has_more_than(device_pk, settings.E2EE_PREKEY_RESERVE) or self._acquainted

    @cached_property
    def _acquainted(self) -> bool:
        return are_acquainted(*self._people)


def _take_of_target(other: Person) -> bool:
    """Counts a claim of somebody's keys; whether one-time prekeys may be given out for it."""
    try:
        _of_target.take(str(other.pk))
    except ManaError:
        return False
    return True


def _bundle(device: Device, one_time: bytes | None) -> bytes:
    return PreKeyBundle(
        DeviceRecord.from_bytes(bytes(device.record)),
        SignedPreKey.from_bytes(bytes(device.signed_prekey)),
        KemPreKey.from_bytes(bytes(device.kem_prekey)) if device.kem_prekey is not None else None,
        OneTimePreKey.from_bytes(one_time) if one_time is not None else None,
    ).to_bytes()


def _tell_if_low(other: Person, taken: list[Device]) -> None:
    if not taken:
        return
    left = stores.remaining([device.pk for device in taken])
    for device in taken:
        if left[device.pk] < settings.E2EE_PREKEYS_LOW:
            notices.prekeys_low(other, device.device_id, left[device.pk])


aclaim = async_twin(claim)
