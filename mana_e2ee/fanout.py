"""One encrypted message: a ciphertext for every device that needs one, checked and stored with the message itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from mana.accounts.stores import Person, people
from mana.messaging.models import Message, Room
from mana.messaging.sealed import Payloads
from mana.protocol import EncryptedFanout, ErrorCode, ManaError
from mana.realtime.announcements import device_key
from mana_e2ee import stores
from mana_e2ee.core import Address, DeviceRecord
from mana_e2ee.counters import counters
from mana_e2ee.keeper import payload_json
from mana_e2ee.models import Device
from mana_e2ee.stores import Recipient
from mana_e2ee.uploads import claimed_record, group, pairwise

#: A device as frames name it: user and device id.
Named = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Parcels:
    """What a frame brings, taken apart: ciphertext by device, or by device id alone where no user was named."""

    sender: Address
    named: Mapping[Named, bytes]
    unnamed: Mapping[str, bytes] = field(default_factory=dict)
    shared: bytes | None = None

    @classmethod
    def of(cls, frame: EncryptedFanout, sender: Address) -> Parcels:
        """Every ciphertext checked for being one. Raises ``ManaError``."""
        if frame.payload is not None and frame.payloads:
            raise ManaError(ErrorCode.INVALID, "The frame has `payloads` or `payload`, not both.")
        if frame.control and not frame.payloads:
            raise ManaError(ErrorCode.INVALID, "What is for control goes to named devices, in `payloads`.")
        if frame.payload is not None:
            return cls(sender, {}, shared=group(frame.payload))
        named: dict[Named, bytes] = {}
        unnamed: dict[str, bytes] = {}
        for key, value in frame.payloads.items():
            if isinstance(value, dict):
                for device_id, text in value.items():
                    named[key, device_id] = pairwise(text, sender, control=frame.control)
            else:
                unnamed[key] = pairwise(value, sender, control=frame.control)
        return cls(sender, named, unnamed)

    def by_device(self, known: Iterable[Named]) -> dict[Named, bytes]:
        """All ciphertext by device; ``known`` are the devices that a bare device id may mean. Raises ``ManaError``."""
        if not self.unnamed:
            return dict(self.named)
        users: dict[str, list[str]] = {}
        for user_id, device_id in known:
            users.setdefault(device_id, []).append(user_id)
        found = dict(self.named)
        for device_id, body in self.unnamed.items():
            owners = users.get(device_id, [""])
            if len(owners) > 1:
                raise ManaError(ErrorCode.INVALID, f"Several users have a device {device_id[:64]!r}: name the user.")
            found[owners[0], device_id] = body
        return found

    def check_sender(self, device: Device) -> None:
        """Whether first messages say that they are from the device that sends them. Raises ``ManaError``."""
        record = DeviceRecord.from_bytes(bytes(device.record))
        for body in (*self.named.values(), *self.unnamed.values()):
            claimed = claimed_record(self.sender, body)
            if claimed is not None and claimed.identity() != record.identity():
                raise ManaError(
                    ErrorCode.INVALID,
                    "A first message carries other identity keys than this device has published.",
                    details={"error": "untrusted_identity"},
                )


class Fanout:
    """The ``mana.messaging.sealed.Sealed`` of one message."""

    def __init__(self, sender: Person, parcels: Parcels, epochs: Mapping[str, int]) -> None:
        self._sender = sender
        self._parcels = parcels
        self._epochs = epochs
        self._bodies: dict[Named, bytes] = {}
        self._pks: dict[Named, int] = {}

    @property
    def device_pks(self) -> list[int]:
        """The devices for which ciphertext is kept."""
        return list(self._pks.values())

    @cached_property
    def payloads(self) -> Payloads:
        """What the devices get; known once the message is admitted."""
        if self._parcels.shared is not None:
            return Payloads(common=payload_json(self._parcels.shared))
        return Payloads(own={device_key(*named): payload_json(body) for named, body in self._bodies.items()})

    def admit(self, room: Room, using: str) -> None:
        """Refuses what does not fit the devices of the room's members as they are now: ``stale_device_list``."""
        self._parcels.check_sender(sending_device(self._sender, self._parcels.sender.device, using))
        devices = stores.recipients_in(room.pk, using)
        self._pks = named_devices(devices)
        self._pks.pop((self._sender.user_id, self._parcels.sender.device), None)
        self._bodies = self._parcels.by_device(self._pks)
        wanted = set(self._pks)
        given = wanted if self._parcels.shared is not None else set(self._bodies)
        current = epochs_by_user_id({device.user_pk for device in devices}, using)
        stale = {
            user_id: current.get(user_id)
            for user_id in {*current, *self._epochs}
            if self._epochs.get(user_id) != current.get(user_id)
        }
        if wanted != given or stale:
            raise stale_device_list(wanted - given, given - wanted, stale)

    def keep(self, event: Message, using: str) -> None:
        """Stores an envelope for each device."""
        shared = self._parcels.shared
        bodies = {pk: b"" if shared is not None else self._bodies[named] for named, pk in self._pks.items()}
        stores.keep(event.pk, self._sender.pk, bodies, event.created_at, using, shared=shared)


def sending_device(sender: Person, device_id: str, using: str) -> Device:
    """The published keys of the device that sends. Raises ``ManaError``: nobody could read what it encrypts."""
    row = Device.objects.using(using).filter(user_id=sender.pk, device_id=device_id).first()
    if row is None:
        raise ManaError(ErrorCode.CONFLICT, "This device has published no keys.")
    if not row.is_listed:
        raise ManaError(ErrorCode.CONFLICT, "This device is not in its user's device list.")
    return row


def named_devices(devices: Iterable[Recipient]) -> dict[Named, int]:
    """The primary keys of devices by their names on the wire."""
    devices = list(devices)
    users = people({device.user_pk for device in devices})
    return {
        (users[device.user_pk].user_id, device.device_id): device.pk for device in devices if device.user_pk in users
    }


def epochs_by_user_id(user_pks: set[Any], using: str) -> dict[str, int]:
    """The current epochs of users by their ids on the wire."""
    users = people(user_pks)
    return {users[pk].user_id: epoch for pk, epoch in stores.epochs(user_pks, using).items() if pk in users}


def stale_device_list(missing: Iterable[Named], extra: Iterable[Named], stale: Mapping[str, int | None]) -> ManaError:
    """The refusal of what was encrypted for other devices than there are, and what to do about it."""
    counters.stale += 1

    def listed(devices: Iterable[Named]) -> list[dict[str, str]]:
        return [{"user_id": user_id, "device_id": device_id} for user_id, device_id in sorted(devices)]

    return ManaError(
        ErrorCode.STALE_DEVICE_LIST,
        details={
            "missing": listed(missing),
            "extra": listed(extra),
            "stale": [{"user_id": user_id, "epoch": epoch} for user_id, epoch in sorted(stale.items())],
        },
    )
