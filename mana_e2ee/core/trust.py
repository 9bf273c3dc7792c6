"""Which identity is trusted for an address: the first one seen, the account's device list, or the user's
word.

A record is trusted on first use (X3DH 4.1), then pinned. Once a device list of its user has been accepted,
the record must be in that list.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from . import tables
from .device import own_identity
from .device_list import DeviceList
from .encoding import Reader, lp, name
from .errors import DowngradeRefused, StaleDeviceList, UntrustedIdentity
from .records import Address, DeviceRecord
from .stores.base import Store, Transaction


def check(tx: Transaction, record: DeviceRecord) -> None:
    """Raises UntrustedIdentity or DowngradeRefused. The handshake checks the record's own signature."""
    address = record.address
    if address == own_identity(tx).record.address:
        raise UntrustedIdentity("this is the device's own address")
    known = pinned(tx, address)
    if known is not None:
        if known.identity() != record.identity():
            raise UntrustedIdentity(f"the identity keys of {address} have changed")
        if record.created < known.created:
            raise DowngradeRefused(f"an older device record of {address} than the one known")
    listed = current_list(tx, address.user)
    if listed is not None:
        unsigned = replace(record, signature=b"")
        if all(replace(device, signature=b"") != unsigned for device in listed.devices):
            raise UntrustedIdentity(f"{address} is not in its user's device list")


def pinned(tx: Transaction, address: Address) -> DeviceRecord | None:
    stored = tx.get(tables.IDENTITY, address.to_bytes())
    return None if stored is None else DeviceRecord.from_bytes(stored)


def pin(tx: Transaction, record: DeviceRecord) -> None:
    tx.put(tables.IDENTITY, record.address.to_bytes(), record.to_bytes())


def check_listed(tx: Transaction, address: Address) -> None:
    """Raises UntrustedIdentity when the user's device list is known and has no such device."""
    listed = current_list(tx, address.user)
    if listed is not None and all(device.address != address for device in listed.devices):
        raise UntrustedIdentity(f"{address} is not in its user's device list")


def forget(tx: Transaction, address: Address) -> None:
    """Drops the identity, every session and every sender key of an address.

    Our own sender keys go too: the device may hold any of them, so every group needs a new one, which `rotate`
    hands to the devices that are left.
    """
    key = address.to_bytes()
    tx.delete(tables.IDENTITY, key)
    tx.delete(tables.ACTIVE, key)
    for table in (tables.SESSION, tables.ARCHIVED):
        for row, _ in tx.scan(table, key):
            tx.delete(table, row)
    for row, _ in tx.scan(tables.GROUP_PEER):
        reader = Reader(row)
        reader.name()
        if Address.read(reader) == address:
            tx.delete(tables.GROUP_PEER, row)
    for row, _ in tx.scan(tables.GROUP_OWN):
        tx.delete(tables.GROUP_OWN, row)


def current_list(tx: Transaction, user: str) -> DeviceList | None:
    """The device list of a user that was accepted last."""
    stored = tx.get(tables.DEVICE_LIST, lp(name(user)))
    return None if stored is None else DeviceList.from_bytes(stored)


def identity(store: Store, address: Address) -> DeviceRecord | None:
    """The record trusted for an address, or None."""
    with store.transaction() as tx:
        return pinned(tx, address)


def trust_identity(store: Store, record: DeviceRecord) -> None:
    """The user has looked and agrees: trusts `record` from now on. Sessions with another identity are
    dropped.

    Raises InvalidSignature. A device list, once accepted, still has the last word.
    """
    record.verify()
    with store.transaction() as tx:
        known = pinned(tx, record.address)
        if known is not None and known.identity() != record.identity():
            forget(tx, record.address)
        pin(tx, record)


@dataclass(frozen=True, slots=True)
class DeviceListChange:
    """What an accepted list changed. Tell the user when either is not empty (and it is not the first list
    seen).
    """

    added: tuple[DeviceRecord, ...]
    removed: tuple[DeviceRecord, ...]


def accept_device_list(store: Store, devices: DeviceList, *, since: Iterable[DeviceList] = ()) -> DeviceListChange:
    """Makes `devices` the list of its user. The first list of a user is trusted on first use, at any epoch.

    `since` are the lists between the one accepted last and this one, oldest first; without them a list may
    only follow directly. Devices that are gone, or have other keys, lose their identity and sessions.

    Raises StaleDeviceList (rollback, fork or gap), UntrustedIdentity (another account key), InvalidSignature,
    InvalidMessage.
    """
    with store.transaction() as tx:
        known = current_list(tx, devices.user)
        latest = known
        for follower in (*since, devices):
            follower.verify()
            if follower.user != devices.user:
                raise UntrustedIdentity("a list of another user")
            _check_follows(latest, follower)
            latest = follower
        return _replace_list(tx, known, devices)


def trust_account(store: Store, devices: DeviceList) -> DeviceListChange:
    """The user has compared safety numbers and agrees to the account key of `devices`, which replaces the list
    of another account key.

    It takes the list, and not only the user's name, so that nobody can slip in another key, or an older list of
    the same key, between the user's look and the next list. Raises like `accept_device_list`.
    """
    with store.transaction() as tx:
        known = current_list(tx, devices.user)
        devices.verify()
        if known is not None and known.account == devices.account:
            _check_follows(known, devices)
        return _replace_list(tx, known, devices)


def _replace_list(tx: Transaction, known: DeviceList | None, devices: DeviceList) -> DeviceListChange:
    """Stores a list that was checked, and forgets the devices that it does not vouch for."""
    before = {} if known is None else {device.address: device for device in known.devices}
    after = {device.address: device for device in devices.devices}
    for address in {*before, *(record.address for record in _pinned_of(tx, devices.user))}:
        listed, trusted = after.get(address), pinned(tx, address)
        if trusted is not None and (listed is None or listed.identity() != trusted.identity()):
            forget(tx, address)
    tx.put(tables.DEVICE_LIST, lp(name(devices.user)), devices.to_bytes())

    def missing(these: dict[Address, DeviceRecord], those: dict[Address, DeviceRecord]) -> tuple[DeviceRecord, ...]:
        return tuple(
            device
            for address, device in these.items()
            if address not in those or those[address].identity() != device.identity()
        )

    return DeviceListChange(added=missing(after, before), removed=missing(before, after))


def _check_follows(before: DeviceList | None, after: DeviceList) -> None:
    if before is None:
        return
    if after.account != before.account:
        raise UntrustedIdentity(f"the account key of {after.user!r} has changed")
    if after.epoch < before.epoch:
        raise StaleDeviceList(f"epoch {after.epoch} comes after {before.epoch}: a rollback")
    if after.epoch == before.epoch and after.hash() != before.hash():
        raise StaleDeviceList(f"there are two lists of epoch {after.epoch}: a fork")
    if after.epoch == before.epoch + 1 and after.previous != before.hash():
        raise StaleDeviceList(f"epoch {after.epoch} follows another list than the one known: a fork")
    if after.epoch > before.epoch + 1:
        raise StaleDeviceList(f"the lists between epoch {before.epoch} and {after.epoch} are missing")


def _pinned_of(tx: Transaction, user: str) -> list[DeviceRecord]:
    return [DeviceRecord.from_bytes(row) for _, row in tx.scan(tables.IDENTITY, lp(name(user)))]
