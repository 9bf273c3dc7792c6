"""What a device publishes: its record and its prekeys (X3DH 3.2, PQXDH 3.2).

Every record knows its bytes (`to_bytes`, `from_bytes`) and what its signature covers. `from_bytes` checks
keys and shapes; signatures are checked by `verify`, which needs to know whose they must be.
"""

from dataclasses import dataclass, replace
from typing import Self

from . import keys, primitives
from .encoding import Reader, fields, lp, name, u8, u32, u64
from .errors import InvalidMessage, InvalidSignature, UnsupportedVersion
from .limits import VERSION

SUITE_X3DH = 1
SUITE_PQXDH = 2
SUITES = (SUITE_X3DH, SUITE_PQXDH)

RECORD_LABEL = b"Mana-E2EE v1 device record"
SIGNED_PREKEY_LABEL = b"Mana-E2EE v1 signed prekey"
KEM_PREKEY_LABEL = b"Mana-E2EE v1 KEM prekey"

MAX_SUITES = 16
MAX_RECORD = 1_024
MAX_CLAIMS = 8 + 1 + MAX_SUITES + 2 * keys.TYPED_SIZE + primitives.SIGNATURE_SIZE
_KEM_TYPED_SIZE = primitives.KEM_PUBLIC_SIZE + 1


def check_version(version: int) -> None:
    """Raises UnsupportedVersion unless the version byte is 1."""
    if version != VERSION:
        raise UnsupportedVersion(f"version {version} is not supported")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """One device of one user. Ids are opaque text of 1 to 255 UTF-8 bytes."""

    user: str
    device: str

    def to_bytes(self) -> bytes:
        """lp(user) || lp(device)."""
        return lp(name(self.user)) + lp(name(self.device))

    @classmethod
    def read(cls, reader: Reader) -> Self:
        return cls(reader.name(), reader.name())


@dataclass(frozen=True, slots=True)
class DeviceRecord:
    """Who a device is: both identity keys (raw, 32 bytes each), the suites it speaks, when it was made (unix
    seconds).

    Signed by the device itself; the account key vouches for it in the DeviceList.
    """

    address: Address
    signing_key: bytes
    dh_key: bytes
    suites: tuple[int, ...]
    created: int
    signature: bytes = b""

    def _signed(self) -> bytes:
        return fields(
            RECORD_LABEL,
            name(self.address.user),
            name(self.address.device),
            keys.encode(keys.ED25519, self.signing_key),
            keys.encode(keys.X25519, self.dh_key),
            bytes(self.suites),
            u64(self.created),
        )

    def signed_with(self, seed: bytes) -> Self:
        """A copy with the signature made by the Ed25519 `seed`."""
        return replace(self, signature=primitives.sign(seed, self._signed()))

    def verify(self) -> Self:
        """Itself, or InvalidSignature; InvalidKey for a key on a block list, however the record was made."""
        keys.check_ed25519(self.signing_key)
        keys.check_x25519(self.dh_key)
        primitives.verify(self.signing_key, self.signature, self._signed())
        return self

    def identity(self) -> bytes:
        """Both identity keys with their type bytes, 66 bytes: what trust is about."""
        return keys.encode(keys.ED25519, self.signing_key) + keys.encode(keys.X25519, self.dh_key)

    def claims(self) -> bytes:
        """All but the address: what a first message carries, since the address comes from the connection."""
        return u64(self.created) + u8(len(self.suites)) + bytes(self.suites) + self.identity() + self.signature

    @classmethod
    def read_claims(cls, address: Address, reader: Reader) -> Self:
        created = reader.u64()
        count = reader.u8()
        if not 1 <= count <= MAX_SUITES:
            raise InvalidMessage("a device record lists no suite, or too many")
        suites = tuple(reader.take(count))
        if list(suites) != sorted(set(suites)):
            raise InvalidMessage("the suites of a device record are not strictly ascending")
        signing_key = keys.decode(keys.ED25519, reader.take(keys.TYPED_SIZE))
        dh_key = keys.decode(keys.X25519, reader.take(keys.TYPED_SIZE))
        return cls(address, signing_key, dh_key, suites, created, reader.take(primitives.SIGNATURE_SIZE))

    def to_bytes(self) -> bytes:
        """version || lp(user) || lp(device) || created u64 || count u8 || suites || keys || signature."""
        return u8(VERSION) + self.address.to_bytes() + self.claims()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        check_version(reader.u8())
        record = cls.read_claims(Address.read(reader), reader)
        reader.end()
        return record


@dataclass(frozen=True, slots=True)
class SignedPreKey:
    """An X25519 prekey signed by its device's Ed25519 key; the id grows and is never reused. 101 bytes."""

    id: int
    public: bytes
    signature: bytes

    @staticmethod
    def covered(address: Address, key_id: int, public: bytes) -> bytes:
        """What the signature covers."""
        return fields(
            SIGNED_PREKEY_LABEL,
            name(address.user),
            name(address.device),
            u32(key_id),
            keys.encode(keys.X25519, public),
        )

    def verify(self, record: DeviceRecord) -> None:
        """Raises InvalidSignature unless `record`'s device signed it."""
        primitives.verify(record.signing_key, self.signature, self.covered(record.address, self.id, self.public))

    def to_bytes(self) -> bytes:
        return u32(self.id) + keys.encode(keys.X25519, self.public) + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        key_id = _prekey_id(reader)
        public = keys.decode(keys.X25519, reader.take(keys.TYPED_SIZE))
        signature = reader.take(primitives.SIGNATURE_SIZE)
        reader.end()
        return cls(key_id, public, signature)


@dataclass(frozen=True, slots=True)
class KemPreKey:
    """An ML-KEM-768 key signed like a SignedPreKey, for many handshakes until it is rotated. 1,253 bytes."""

    id: int
    public: bytes
    signature: bytes

    @staticmethod
    def covered(address: Address, key_id: int, public: bytes) -> bytes:
        """What the signature covers."""
        return fields(
            KEM_PREKEY_LABEL,
            name(address.user),
            name(address.device),
            u32(key_id),
            keys.encode(keys.MLKEM768, public),
        )

    def verify(self, record: DeviceRecord) -> None:
        """Raises InvalidSignature unless `record`'s device signed it."""
        primitives.verify(record.signing_key, self.signature, self.covered(record.address, self.id, self.public))

    def to_bytes(self) -> bytes:
        return u32(self.id) + keys.encode(keys.MLKEM768, self.public) + self.signature

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        key_id = _prekey_id(reader)
        public = keys.decode(keys.MLKEM768, reader.take(_KEM_TYPED_SIZE))
        signature = reader.take(primitives.SIGNATURE_SIZE)
        reader.end()
        return cls(key_id, public, signature)


@dataclass(frozen=True, slots=True)
class OneTimePreKey:
    """An X25519 prekey for one handshake, unsigned (X3DH 3.2). 37 bytes."""

    id: int
    public: bytes

    def to_bytes(self) -> bytes:
        return u32(self.id) + keys.encode(keys.X25519, self.public)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        key = cls(_prekey_id(reader), keys.decode(keys.X25519, reader.take(keys.TYPED_SIZE)))
        reader.end()
        return key


def _prekey_id(reader: Reader) -> int:
    key_id = reader.u32()
    if key_id == 0:
        raise InvalidMessage("a prekey has the id 0, which means none")
    return key_id


@dataclass(frozen=True, slots=True)
class PreKeyBundle:
    """What a claim answers: all that one handshake with one device needs."""

    record: DeviceRecord
    signed_prekey: SignedPreKey
    kem_prekey: KemPreKey | None
    one_time: OneTimePreKey | None

    def verify(self) -> None:
        """Checks every key and every signature of the bundle. Raises InvalidKey or InvalidSignature."""
        self.record.verify()
        keys.check_x25519(self.signed_prekey.public)
        self.signed_prekey.verify(self.record)
        if self.kem_prekey is not None:
            self.kem_prekey.verify(self.record)
        if self.one_time is not None:
            keys.check_x25519(self.one_time.public)

    def to_bytes(self) -> bytes:
        """version || lp(record) || lp(signed prekey) || lp(KEM prekey) || lp(one-time prekey), empty for
        none.
        """
        return (
            u8(VERSION)
            + lp(self.record.to_bytes())
            + lp(self.signed_prekey.to_bytes())
            + lp(self.kem_prekey.to_bytes() if self.kem_prekey else b"")
            + lp(self.one_time.to_bytes() if self.one_time else b"")
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        check_version(reader.u8())
        record = DeviceRecord.from_bytes(reader.lp(MAX_RECORD))
        signed_prekey = SignedPreKey.from_bytes(reader.lp(MAX_RECORD))
        kem, one_time = reader.lp(2 * MAX_RECORD), reader.lp(MAX_RECORD)
        reader.end()
        return cls(
            record,
            signed_prekey,
            KemPreKey.from_bytes(kem) if kem else None,
            OneTimePreKey.from_bytes(one_time) if one_time else None,
        )


@dataclass(frozen=True, slots=True)
class Publication:
    """What a device uploads. The one-time prekeys are new ones, to be added to those already there."""

    record: DeviceRecord
    signed_prekey: SignedPreKey
    kem_prekey: KemPreKey | None
    one_time: tuple[OneTimePreKey, ...]

    def verify(self) -> None:
        """What a directory may check before it stores the upload. Raises InvalidSignature."""
        self.bundle(None).verify()
        ids = [key.id for key in self.one_time]
        if len(set(ids)) != len(ids):
            raise InvalidSignature("two one-time prekeys have the same id")

    def bundle(self, one_time: OneTimePreKey | None) -> PreKeyBundle:
        """The bundle for one claim, with the one-time prekey that it consumes, or without."""
        return PreKeyBundle(self.record, self.signed_prekey, self.kem_prekey, one_time)
