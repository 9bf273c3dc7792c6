"""A device's own identity and prekeys: made once, published, rotated, refilled."""

from dataclasses import dataclass
from typing import Self

from . import primitives, tables
from .encoding import Reader, lp, u8, u32, u64
from .errors import UnknownPreKey
from .expiry import sweep
from .handshake import ResponderKeys
from .limits import (
    MAX_ONE_TIME_KEPT,
    OLD_PREKEY_AGE,
    ONE_TIME_LOW,
    ONE_TIME_TARGET,
    SIGNED_PREKEY_AGE,
    VERSION,
)
from .records import (
    MAX_RECORD,
    SUITE_PQXDH,
    SUITES,
    Address,
    DeviceRecord,
    KemPreKey,
    OneTimePreKey,
    Publication,
    SignedPreKey,
)
from .stores.base import Store, Transaction
from .tables import clock


@dataclass(frozen=True, slots=True)
class OwnIdentity:
    """The record of this device with its private keys: an Ed25519 seed and an X25519 key, 32 bytes each."""

    record: DeviceRecord
    signing_seed: bytes
    dh_private: bytes

    def to_bytes(self) -> bytes:
        return u8(VERSION) + lp(self.record.to_bytes()) + self.signing_seed + self.dh_private

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        reader = Reader(data)
        reader.u8()
        own = cls(DeviceRecord.from_bytes(reader.lp(MAX_RECORD)), reader.take(32), reader.take(32))
        reader.end()
        return own

    def __repr__(self) -> str:
        return f"OwnIdentity({self.record.address})"


def own_identity(tx: Transaction) -> OwnIdentity:
    """The device that lives in the store. Raises LookupError when there is none."""
    stored = tx.get(tables.DEVICE, b"")
    if stored is None:
        raise LookupError("the store holds no device: call Device.generate first")
    return OwnIdentity.from_bytes(stored)


class Device:
    """This device, in `store`. Make it once with `generate`, find it again with `load`."""

    def __init__(self, store: Store, record: DeviceRecord) -> None:
        self._store = store
        self.record = record

    @property
    def address(self) -> Address:
        return self.record.address

    @classmethod
    def generate(
        cls, store: Store, address: Address, *, suites: tuple[int, ...] = SUITES, now: int | None = None
    ) -> Self:
        """Makes identity keys, a signed prekey and, for suite 2, a KEM prekey.

        Raises ValueError when the store has a device, or a suite is unknown.
        """
        if not suites or not set(suites) <= set(SUITES):
            raise ValueError(f"the suites are some of {SUITES}")
        moment = clock(now)
        signing_seed, dh_private = primitives.ed25519_private(), primitives.x25519_private()
        record = DeviceRecord(
            address,
            primitives.ed25519_public(signing_seed),
            primitives.x25519_public(dh_private),
            tuple(sorted(set(suites))),
            moment,
        ).signed_with(signing_seed)
        with store.transaction() as tx:
            if tx.get(tables.DEVICE, b"") is not None:
                raise ValueError("the store already holds a device")
            tx.put(tables.DEVICE, b"", OwnIdentity(record, signing_seed, dh_private).to_bytes())
            _new_prekeys(tx, record, moment)
        return cls(store, record)

    @classmethod
    def load(cls, store: Store) -> Self:
        """The device made before. Raises LookupError when there is none."""
        with store.transaction() as tx:
            return cls(store, own_identity(tx).record)

    def publish_bundle(self, *, one_time: int = ONE_TIME_TARGET) -> Publication:
        """The record, the current prekeys, and `one_time` new one-time prekeys, ready to upload."""
        with self._store.transaction() as tx:
            return _publication(tx, _new_one_time(tx, one_time))

    def refill(self, remaining: int) -> tuple[OneTimePreKey, ...]:
        """New one-time prekeys up to 100, when the directory has fewer than 25 left; else none."""
        if remaining >= ONE_TIME_LOW:
            return ()
        with self._store.transaction() as tx:
            # The directory says how many are left: whatever it says, no more than 100 are made.
            return _new_one_time(tx, ONE_TIME_TARGET - max(remaining, 0))

    def rotate(self, *, force: bool = False, now: int | None = None) -> Publication | None:
        """Call daily. Replaces prekeys of 7 days or more, and forgets those replaced 30 days ago along with every
        other key that is too old (`expiry`).

        Returns what must be uploaded, without one-time prekeys, or None when nothing was due.
        """
        moment = clock(now)
        with self._store.transaction() as tx:
            _forget_old(tx, moment)
            sweep(tx, moment)
            _, row = _current(tx, tables.SIGNED_PREKEY)
            if not force and moment < int.from_bytes(row[:8], "big") + SIGNED_PREKEY_AGE:
                return None
            _new_prekeys(tx, self.record, moment)
            return _publication(tx, ())


def _publication(tx: Transaction, one_time: tuple[OneTimePreKey, ...]) -> Publication:
    own = own_identity(tx)
    record = own.record
    key_id, row = _current(tx, tables.SIGNED_PREKEY)
    public = primitives.x25519_public(row[16:])
    signature = primitives.sign(own.signing_seed, SignedPreKey.covered(record.address, key_id, public))
    signed_prekey = SignedPreKey(key_id, public, signature)
    kem_prekey: KemPreKey | None = None
    if SUITE_PQXDH in record.suites:
        key_id, row = _current(tx, tables.KEM_PREKEY)
        public = primitives.kem_public(row[16:])
        signature = primitives.sign(own.signing_seed, KemPreKey.covered(record.address, key_id, public))
        kem_prekey = KemPreKey(key_id, public, signature)
    return Publication(record, signed_prekey, kem_prekey, one_time)


def _new_prekeys(tx: Transaction, record: DeviceRecord, now: int) -> None:
    """A new signed prekey and KEM prekey; those before them count as replaced from now on."""
    kinds = {tables.SIGNED_PREKEY: primitives.x25519_private}
    if SUITE_PQXDH in record.suites:
        kinds[tables.KEM_PREKEY] = primitives.kem_private
    for table, make in kinds.items():
        for key, row in tx.scan(table):
            if row[8:16] == bytes(8):
                tx.put(table, key, row[:8] + u64(now) + row[16:])
        tx.put(table, u32(tables.next_id(tx, table)), u64(now) + bytes(8) + make())


def _current(tx: Transaction, table: str) -> tuple[int, bytes]:
    """(id, row) of the newest key: ids grow."""
    key, row = tx.scan(table)[-1]
    return int.from_bytes(key, "big"), row


def _forget_old(tx: Transaction, now: int) -> None:
    """Deletes what was replaced 30 days ago, and the handshakes that only those keys could repeat."""
    for table in (tables.SIGNED_PREKEY, tables.KEM_PREKEY):
        for key, row in tx.scan(table):
            replaced = int.from_bytes(row[8:16], "big")
            if replaced and replaced + OLD_PREKEY_AGE <= now:
                tx.delete(table, key)
                if table == tables.SIGNED_PREKEY:
                    for session_id, used in tx.scan(tables.HANDSHAKE):
                        if used == key:
                            tx.delete(tables.HANDSHAKE, session_id)


def _new_one_time(tx: Transaction, count: int) -> tuple[OneTimePreKey, ...]:
    made: list[OneTimePreKey] = []
    for _ in range(count):
        key_id, private = tables.next_id(tx, tables.ONE_TIME), primitives.x25519_private()
        tx.put(tables.ONE_TIME, u32(key_id), private)
        made.append(OneTimePreKey(key_id, primitives.x25519_public(private)))
    for key, _ in tx.scan(tables.ONE_TIME)[:-MAX_ONE_TIME_KEPT]:
        tx.delete(tables.ONE_TIME, key)
    return tuple(made)


def responder_keys(
    tx: Transaction, own: OwnIdentity, signed_prekey_id: int, one_time_id: int, kem_id: int
) -> ResponderKeys:
    """The private parts that a first message names; an id of 0 means none. Raises UnknownPreKey."""

    def find(table: str, key_id: int) -> bytes:
        row = tx.get(table, u32(key_id))
        if row is None:
            raise UnknownPreKey(f"there is no {table} with the id {key_id}")
        return row

    return ResponderKeys(
        dh_private=own.dh_private,
        signed_prekey=find(tables.SIGNED_PREKEY, signed_prekey_id)[16:],
        one_time=find(tables.ONE_TIME, one_time_id) if one_time_id else None,
        kem_seed=find(tables.KEM_PREKEY, kem_id)[16:] if kem_id else None,
    )
