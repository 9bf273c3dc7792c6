"""Devices for tests: each has a store, and a heap of published one-time prekeys that a claim takes from."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from mana_e2ee.core import (
    Address,
    Device,
    E2EEError,
    MemoryStore,
    OneTimePreKey,
    PreKeyBundle,
    Publication,
    Store,
    Transaction,
    decrypt,
    encrypt,
    process_prekey_bundle,
    tables,
)

NOW = 1_800_000_000
DAY = 86_400


@dataclass
class Party:
    """A device with what a directory would hold for it."""

    store: Store
    device: Device
    publication: Publication
    one_time: list[OneTimePreKey]

    @property
    def address(self) -> Address:
        return self.device.address

    def claim(self, *, one_time: bool = True) -> PreKeyBundle:
        """One bundle, which takes a one-time prekey when there is one left."""
        return self.publication.bundle(self.one_time.pop(0) if one_time and self.one_time else None)

    def start(self, other: "Party", *, one_time: bool = True, now: int = NOW) -> bytes:
        """Claims a bundle of `other` and starts a session with it."""
        return process_prekey_bundle(self.store, other.address, other.claim(one_time=one_time), now=now)

    def send(self, other: "Party", plaintext: bytes, *, now: int = NOW) -> bytes:
        return encrypt(self.store, other.address, plaintext, now=now)

    def read(self, other: "Party", message: bytes, *, now: int = NOW) -> bytes:
        return decrypt(self.store, other.address, message, now=now).plaintext


def party(
    user: str,
    device: str = "phone",
    *,
    suites: tuple[int, ...] = (1, 2),
    one_time: int = 4,
    store: Store | None = None,
    now: int = NOW,
) -> Party:
    store = MemoryStore() if store is None else store
    made = Device.generate(store, Address(user, device), suites=suites, now=now)
    publication = made.publish_bundle(one_time=one_time)
    return Party(store, made, publication, list(publication.one_time))


def pair(**options: object) -> tuple[Party, Party]:
    return party("alice", **options), party("bob", **options)  # type: ignore[arg-type]


def talking(**options: object) -> tuple[Party, Party]:
    """Two devices that have heard each other."""
    alice, bob = pair(**options)
    alice.start(bob)
    assert bob.read(alice, alice.send(bob, b"hello")) == b"hello"
    assert alice.read(bob, bob.send(alice, b"hello yourself")) == b"hello yourself"
    return alice, bob


TABLES = [value for name, value in sorted(vars(tables).items()) if name.isupper()]


def contents_of(tx: Transaction) -> dict[str, list[tuple[bytes, bytes]]]:
    return {table: tx.scan(table) for table in TABLES}


def contents(store: Store) -> dict[str, list[tuple[bytes, bytes]]]:
    """Everything that a store holds."""
    with store.transaction() as tx:
        return contents_of(tx)


@contextmanager
def refused(error: type[E2EEError], *stores: Store) -> Iterator[None]:
    """Expects exactly this error, and that no store has changed by a byte."""
    before = [contents(store) for store in stores]
    with pytest.raises(E2EEError) as caught:
        yield
    assert type(caught.value) is error, repr(caught.value)
    assert [contents(store) for store in stores] == before
