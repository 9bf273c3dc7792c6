"""The list of a user's devices, signed by the account key, each list naming the hash of the one before it."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Self

from . import keys, primitives
from .encoding import Reader, fields, lp, name, u8, u64
from .errors import InvalidMessage, InvalidSignature
from .limits import MAX_DEVICES, VERSION
from .records import MAX_RECORD, DeviceRecord, check_version

DEVICE_LIST_LABEL = b"Mana-E2EE v1 device list"


@dataclass(frozen=True, slots=True)
class AccountKey:
    """A user's Ed25519 key. It signs device lists and nothing else; keep `seed` (32 bytes) on few devices."""

    seed: bytes

    @classmethod
    def generate(cls) -> Self:
        return cls(primitives.ed25519_private())

    @property
    def public(self) -> bytes:
        """The raw public key, 32 bytes."""
        return primitives.ed25519_public(self.seed)

    def __repr__(self) -> str:
        return f"AccountKey({self.public.hex()})"


@dataclass(frozen=True, slots=True)
class DeviceList:
    """`epoch` counts from 1; `previous` is the hash of the list before, zeros for the first."""

    user: str
    account: bytes
    epoch: int
    previous: bytes
    devices: tuple[DeviceRecord, ...]
    signature: bytes = b""

    @classmethod
    def create(cls, account: AccountKey, user: str, devices: Iterable[DeviceRecord]) -> Self:
        """The first list of a user."""
        return cls(user, account.public, 1, bytes(32), _ordered(devices))._signed_with(account)

    def next(self, account: AccountKey, devices: Iterable[DeviceRecord]) -> Self:
        """The list after this one. Raises InvalidSignature when `account` is not this list's account."""
        if account.public != self.account:
            raise InvalidSignature("another account key signed the list before")
        follower = replace(self, epoch=self.epoch + 1, previous=self.hash(), devices=_ordered(devices))
        return follower._signed_with(account)

    def _signed(self) -> bytes:
        return fields(
            DEVICE_LIST_LABEL,
            name(self.user),
            keys.encode(keys.ED25519, self.account),
            u64(self.epoch),
            self.previous,
            *(device.to_bytes() for device in self.devices),
        )

    def _signed_with(self, account: AccountKey) -> Self:
        return replace(self, signature=primitives.sign(account.seed, self._signed())).verify()

    def hash(self) -> bytes:
        """SHA-256 of what the signature covers, 32 bytes."""
        return primitives.sha256(self._signed())

    def verify(self) -> Self:
        """Itself, or InvalidSignature (the list's or a device's), or InvalidMessage (epoch, order, another user's
        device), or InvalidKey.
        """
        if self.epoch < 1 or (self.epoch == 1) != (self.previous == bytes(32)):
            raise InvalidMessage("epochs count from 1, and only the first list follows none")
        if not 1 <= len(self.devices) <= MAX_DEVICES:
            raise InvalidMessage(f"a device list has 1 to {MAX_DEVICES} devices")
        ids = [name(device.address.device) for device in self.devices]
        if ids != sorted(set(ids)) or any(device.address.user != self.user for device in self.devices):
            raise InvalidMessage("the devices are not in order, or not all of the list's user")
        keys.check_ed25519(self.account)
        primitives.verify(self.account, self.signature, self._signed())
        for device in self.devices:
            device.verify()
        return self

    def to_bytes(self) -> bytes:
        """version || lp(user) || account 33 || epoch u64 || previous 32 || count u8 || lp(record)... ||
        signature 64.
        """
        return (
            u8(VERSION)
            + lp(name(self.user))
            + keys.encode(keys.ED25519, self.account)
            + u64(self.epoch)
            + self.previous
            + u8(len(self.devices))
            + b"".join(lp(device.to_bytes()) for device in self.devices)
            + self.signature
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Checks keys and shapes; call `verify` for the signatures."""
        reader = Reader(data)
        check_version(reader.u8())
        user = reader.name()
        account = keys.decode(keys.ED25519, reader.take(keys.TYPED_SIZE))
        epoch, previous, count = reader.u64(), reader.take(32), reader.u8()
        devices = tuple(DeviceRecord.from_bytes(reader.lp(MAX_RECORD)) for _ in range(count))
        signature = reader.take(primitives.SIGNATURE_SIZE)
        reader.end()
        return cls(user, account, epoch, previous, devices, signature)


def _ordered(devices: Iterable[DeviceRecord]) -> tuple[DeviceRecord, ...]:
    return tuple(sorted(devices, key=lambda device: name(device.address.device)))
