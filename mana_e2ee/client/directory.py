"""Keys: publishing one's own, following the device lists of others, sessions with their devices."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from mana.client import Refused
from mana.protocol import ErrorCode
from mana_e2ee.client.contents import Json, b64, unb64
from mana_e2ee.client.context import Context
from mana_e2ee.client.errors import AccountChanged, ListRefused, NotLinked
from mana_e2ee.core import (
    AccountKey,
    Address,
    DeviceList,
    DeviceListChange,
    DeviceRecord,
    E2EEError,
    PreKeyBundle,
    Publication,
    SafetyNumber,
    UntrustedIdentity,
    accept_device_list,
    has_session,
    keys,
    process_prekey_bundle,
    tables,
    trust_account,
)
from mana_e2ee.core import trust as core_trust
from mana_e2ee.core.encoding import lp

LISTS_OF_A_PAGE = 20
ASKED = 2  # times that the server is asked for the devices of a room whose lists say otherwise


@dataclass(frozen=True, slots=True)
class Recipient:
    """The devices of one user in a room, as the server names them, and the epoch of their list."""

    user_id: str
    epoch: int | None
    device_ids: tuple[str, ...]


class MissingBundles(Exception):
    """The server has no bundle of a device that it has named: its lists have changed meanwhile."""


class Directory:
    """The server's directory, as far as this device believes it."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._rooms: dict[str, list[Recipient]] = {}
        #: How often rooms were forgotten.
        self._forgotten = 0
        self._refilling = asyncio.Lock()

    # -- One's own keys ----------------------------------------------------------------------------------------------

    async def settle(self) -> bool:
        """Publishes, refills and rotates this device's keys as needed, and makes the user's first device list.

        Whether the device is listed: otherwise it waits to be linked.
        """
        await self._publish()
        context = self._context
        user = context.address.user
        found = await self._lists(user, 0)
        if not found and self.current(user) is None:
            account = self.account() or AccountKey.generate()
            self.keep_account(account)
            await self.publish_list(DeviceList.create(account, user, [context.device.record]))
            return True
        if self.account() is None:
            return False
        if not found:
            raise AccountChanged(user)
        await self.follow(user, found[-1].epoch)
        return self.is_linked

    async def _publish(self) -> None:
        context, device = self._context, self._context.device
        path = f"e2ee/devices/{quote(context.address.device, safe='')}"
        try:
            status = await context.mana.rest.get(path)
        except Refused as refused:
            if refused.code != ErrorCode.NOT_FOUND:
                raise
            await context.mana.rest.put(path, **upload_of(device.publish_bundle()))
            return
        rotated = device.rotate()
        if rotated is not None or status["signed_prekey_id"] < device.publish_bundle(one_time=0).signed_prekey.id:
            await context.mana.rest.put(path, **upload_of(rotated or device.publish_bundle(one_time=0)))
        await self.refill(status["one_time_remaining"])

    async def refill_now(self) -> None:
        """As ``refill``, with as many as the server has now: notices come many at a time."""
        async with self._refilling:
            path = f"e2ee/devices/{quote(self._context.address.device, safe='')}"
            status = await self._context.mana.rest.get(path)
            await self._refill(status["one_time_remaining"])

    async def refill(self, remaining: int) -> None:
        """Uploads one-time prekeys if the server has few left.

        Those that were made are uploaded until the server has them: each time others would push out private halves that
        are in use.
        """
        async with self._refilling:
            await self._refill(remaining)

    async def _refill(self, remaining: int) -> None:
        journal = self._context.journal
        keys = journal.fact("one_time")
        if keys is None:
            keys = [b64(key.to_bytes()) for key in self._context.device.refill(remaining)]
            if not keys:
                return
            journal.keep("one_time", keys)
        path = f"e2ee/devices/{quote(self._context.address.device, safe='')}/prekeys"
        try:
            await self._context.mana.rest.post(path, one_time=keys)
        except Refused as refused:
            if refused.code != ErrorCode.CONFLICT:  # which says that it has enough, or newer ones
                raise
        journal.keep("one_time", None)

    def account(self) -> AccountKey | None:
        """The user's account key, if this device has it."""
        seed = self._context.journal.fact("account_seed")
        return None if seed is None else AccountKey(unb64(seed))

    def keep_account(self, account: AccountKey) -> None:
        """This device may sign device lists from now on."""
        self._context.journal.keep("account_seed", b64(account.seed))

    @property
    def is_listed(self) -> bool:
        """Whether the device list of the user that is known here has this device."""
        current = self.current(self._context.address.user)
        return current is not None and self._context.device.record in current.devices

    @property
    def is_linked(self) -> bool:
        """Whether this device is one of the user's: it is listed, and has the account key."""
        return self.is_listed and self.account() is not None

    def need_listed(self) -> AccountKey:
        """The account key. Raises ``NotLinked``."""
        account = self.account()
        if account is None or not self.is_listed:
            raise NotLinked("this device is not linked: link it from another one, or restore the backup")
        return account

    async def publish_list(self, devices: DeviceList) -> None:
        """Publishes a device list of the user, and takes it as the known one."""
        await self._context.mana.rest.put("e2ee/device-list", device_list=b64(devices.to_bytes()))
        self._accept(devices)

    async def change_list(self, records: Iterable[DeviceRecord]) -> DeviceList:
        """Publishes the next device list of the user, with just these devices."""
        account = self.need_listed()
        user = self._context.address.user
        await self.refresh(user)
        current = self.current(user)
        assert current is not None
        made = current.next(account, records)
        await self.publish_list(made)
        return made

    # -- Others' lists -----------------------------------------------------------------------------------------------

    def current(self, user_id: str) -> DeviceList | None:
        """The device list of a user that was accepted last."""
        with self._context.store.transaction() as tx:
            return core_trust.current_list(tx, user_id)

    async def refresh(self, user_id: str) -> None:
        """Reads what is new of a user's lists. Raises ``AccountChanged`` or ``ListRefused``."""
        found = await self._lists(user_id, 0)
        if found:
            await self.follow(user_id, found[-1].epoch)
            if self.current(user_id) is not None:
                self._accept(found[-1])  # of the same epoch there must not be another

    async def follow(self, user_id: str, epoch: int | None) -> None:
        """Accepts a user's lists up to an epoch. Raises ``AccountChanged`` or ``ListRefused``."""
        if self._context.journal.fact(f"changed/{user_id}") is not None:
            raise AccountChanged(user_id)
        if user_id == self._context.address.user and self.account() is None:
            return  # which list of our own user is right, a new device learns by being linked, not from the server
        known = self.current(user_id)
        if epoch is None or (known is not None and known.epoch == epoch):
            return
        behind = known is not None and known.epoch < epoch
        while True:
            before = known
            found = await self._lists(user_id, known.epoch if behind and known is not None else 0)
            for one in found:
                self._accept(one)
            known = self.current(user_id)
            is_through = len(found) < LISTS_OF_A_PAGE or known is None or known.epoch >= epoch
            if not behind or is_through or known == before:
                break
        if known is None or known.epoch < epoch:
            # It says that there is a newer list, and gives an older one, or none that follows.
            await self._refuse(user_id)

    async def _refuse(self, user_id: str) -> None:
        for one in await self._lists(user_id, 0):
            self._accept(one)
        raise self._refused(user_id, "the server does not give the list that it names")

    def _refused(self, user_id: str, why: str) -> ListRefused:
        """What to raise, once the application was told."""
        self._context.notify("list_refused", user_id=user_id)
        return ListRefused(user_id, why)

    def _accept(self, devices: DeviceList) -> None:
        user, journal = devices.user, self._context.journal
        expected = journal.fact(f"expected/{user}")
        if expected is not None and expected != typed(devices.account) and self.current(user) is None:
            self._account_changed(devices)
        known = self.current(user)
        try:
            change = accept_device_list(self._context.store, devices)
        except UntrustedIdentity:
            self._account_changed(devices)
        except E2EEError as error:
            raise self._refused(user, str(error)) from error
        else:
            self._changed(user, known, change)

    def _account_changed(self, devices: DeviceList) -> None:
        devices.verify()
        self._context.journal.keep(f"changed/{devices.user}", b64(devices.to_bytes()))
        self._context.notify("account_changed", user_id=devices.user)
        raise AccountChanged(devices.user)

    def _changed(self, user_id: str, known: DeviceList | None, change: DeviceListChange) -> None:
        self.forget_users([user_id])
        if known is not None and (change.added or change.removed):
            self._context.notify(
                "devices_changed",
                user_id=user_id,
                added=[record.address.device for record in change.added],
                removed=[record.address.device for record in change.removed],
            )

    async def _lists(self, user_id: str, since: int) -> list[DeviceList]:
        path = f"e2ee/users/{quote(user_id, safe='')}/device-lists"
        answer = await self._context.mana.rest.get(path, since=since)
        found = []
        for row in answer["results"]:
            try:
                devices = DeviceList.from_bytes(unb64(row["device_list"])).verify()
            except E2EEError as error:
                raise self._refused(user_id, str(error)) from error
            if devices.user != user_id:
                raise self._refused(user_id, "it is of another user")
            found.append(devices)
        return found

    def trust_account(self, user_id: str) -> None:
        """The user agrees to the account key that ``account_changed`` was about."""
        journal = self._context.journal
        changed = journal.fact(f"changed/{user_id}")
        if changed is None:
            return
        devices = DeviceList.from_bytes(unb64(changed))
        known = self.current(user_id)
        change = trust_account(self._context.store, devices)
        with journal.transaction() as entries:
            for name in ("changed", "verified", "expected"):
                entries.keep(f"{name}/{user_id}", None)
        self._changed(user_id, known, change)

    def expect(self, accounts: Mapping[str, str]) -> None:
        """Account keys of others (typed, base64) as a device of ours or the backup knows them.

        Where the server has given this device another one already, nothing of that is trusted any more; where it gives
        another one from now on, the application is told as of any other change.
        """
        for user_id, key in accounts.items():
            if user_id == self._context.address.user:
                continue
            known = self.current(user_id)
            self._context.journal.keep(f"expected/{user_id}", key)
            if known is not None and typed(known.account) != key:
                self._drop(known)

    def _drop(self, devices: DeviceList) -> None:
        with self._context.store.transaction() as tx:
            tx.delete(tables.DEVICE_LIST, lp(devices.user.encode()))
            for record in devices.devices:
                core_trust.forget(tx, record.address)
        self.forget_users([devices.user])

    async def adopt(self, vouched: DeviceList) -> DeviceList:
        """Our own user's list, for a device that has a ``vouched`` one from the backup: that one, and what follows it.

        Raises ``AccountChanged`` where the server names another account, ``ListRefused`` where its lists go back behind
        the vouched one or fork from it.
        """
        user = vouched.user
        newest = await self._lists(user, 0)
        if not newest or newest[-1].account != vouched.account:
            raise AccountChanged(user)
        known = self.current(user)
        if known is None or known.account != vouched.account:
            trust_account(self._context.store, vouched)
            known = vouched
        while (followers := await self._lists(user, known.epoch)) and followers[-1].epoch > known.epoch:
            for one in followers:
                if one.epoch == vouched.epoch and one.hash() != vouched.hash():
                    raise self._refused(user, "it is another one than the backup has")
                self._accept(one)
            known = followers[-1]
        if known.epoch < vouched.epoch or newest[-1].epoch < vouched.epoch:
            raise self._refused(user, "it is older than the backup")
        if newest[-1].epoch == known.epoch:
            self._accept(newest[-1])  # of the same epoch there must not be another
        return known

    # -- Safety numbers ----------------------------------------------------------------------------------------------

    async def safety_number(self, user_id: str) -> SafetyNumber:
        """The number to compare with a user: that of the new account key, where it waits for the user's consent.

        Raises ``ListRefused`` for who has no devices.
        """
        own, other = self.current(self._context.address.user), self.current(user_id)
        changed = self._context.journal.fact(f"changed/{user_id}")
        if changed is not None:
            other = DeviceList.from_bytes(unb64(changed))
        if other is None:
            await self.refresh(user_id)
            other = self.current(user_id)
        if own is None or other is None:
            raise ListRefused(user_id, "there is no device list")
        return SafetyNumber.of_accounts(own.user, own.account, other.user, other.account)

    def set_verified(self, user_id: str, verified: bool = True) -> None:
        """The user has compared safety numbers."""
        current = self.current(user_id)
        if verified and current is None:
            raise ListRefused(user_id, "there is no device list")
        key = typed(current.account) if verified and current is not None else None
        self._context.journal.keep(f"verified/{user_id}", key)

    def is_verified(self, user_id: str) -> bool:
        """Whether the account key that is known now is the one that was compared."""
        current = self.current(user_id)
        key = self._context.journal.fact(f"verified/{user_id}")
        return current is not None and key == typed(current.account)

    # -- Devices -----------------------------------------------------------------------------------------------------

    async def recipients(self, room_id: str) -> list[Recipient]:
        """Whom a message in a room has to be encrypted for, with lists that are up to date and vouch for all of them.

        Raises ``AccountChanged`` or ``ListRefused``.
        """
        unlisted: str | None = None
        for _ in range(ASKED):
            found = await self._named(room_id)
            for one in found:
                await self.follow(one.user_id, one.epoch)
            unlisted = next((one.user_id for one in found if not self._lists_all(one)), None)
            if unlisted is None:
                return found
            self.forget_rooms([room_id])  # it may be from before a device was removed
        assert unlisted is not None
        raise self._refused(unlisted, "the server names a device that is not in it")

    async def _named(self, room_id: str) -> list[Recipient]:
        found = self._rooms.get(room_id)
        if found is None:
            before = self._forgotten
            answer = await self._context.mana.rest.get(f"e2ee/rooms/{quote(room_id, safe='')}/devices")
            found = [Recipient(row["user_id"], row["epoch"], tuple(row["device_ids"])) for row in answer["results"]]
            if before == self._forgotten:  # else it may be from before: for this message it will do, or be refused
                self._rooms[room_id] = found
        return found

    def _lists_all(self, one: Recipient) -> bool:
        """Whether a list of the user vouches for each of the devices that the server names."""
        current = self.current(one.user_id)
        return current is not None and set(one.device_ids) <= {record.address.device for record in current.devices}

    def forget_rooms(self, room_ids: Iterable[str] | None = None) -> None:
        """Reads the devices of these rooms anew, of all if none are named."""
        self._forgotten += 1
        for room_id in list(self._rooms if room_ids is None else room_ids):
            self._rooms.pop(room_id, None)

    def forget_users(self, user_ids: Collection[str]) -> None:
        """Reads the devices of the rooms of these users anew."""
        self.forget_rooms(
            [room for room, people in self._rooms.items() if any(one.user_id in user_ids for one in people)]
        )

    async def ensure_sessions(self, addresses: Iterable[Address]) -> None:
        """Starts sessions where there are none. Raises ``MissingBundles``, or what the core says of a bundle."""
        missing: dict[str, list[str]] = defaultdict(list)
        for address in addresses:
            if not has_session(self._context.store, address):
                missing[address.user].append(address.device)
        for user_id, device_ids in missing.items():
            given = await self.claim(user_id, device_ids[0] if len(device_ids) == 1 else None)
            for device_id in device_ids:
                if device_id not in given:
                    raise MissingBundles(device_id)
                process_prekey_bundle(self._context.store, Address(user_id, device_id), given[device_id])

    async def claim(self, user_id: str, device_id: str | None = None) -> dict[str, PreKeyBundle]:
        """Bundles by device id."""
        body: Json = {"own_device_id": self._context.address.device}
        if device_id is not None:
            body["device_id"] = device_id
        answer = await self._context.mana.rest.post(f"e2ee/bundles/{quote(user_id, safe='')}", **body)
        await self.follow(user_id, answer["epoch"])
        if answer["device_list"] is not None and self.current(user_id) is not None:
            devices = DeviceList.from_bytes(unb64(answer["device_list"]))
            if devices.user != user_id:
                raise self._refused(user_id, "it is of another user")
            self._accept(devices)
        if answer["bundles"] and user_id != self._context.address.user and self.current(user_id) is None:
            # The core would trust such a device on first use, and no account key would ever vouch for it.
            raise self._refused(user_id, "the server gives keys of a user without a device list")
        return {one["device_id"]: PreKeyBundle.from_bytes(unb64(one["bundle"])) for one in answer["bundles"]}


def typed(account: bytes) -> str:
    """An account key with its type byte, in base64."""
    return b64(keys.encode(keys.ED25519, account))


def upload_of(publication: Publication) -> dict[str, Any]:
    """A publication as the server takes it."""
    return {
        "record": b64(publication.record.to_bytes()),
        "signed_prekey": b64(publication.signed_prekey.to_bytes()),
        "kem_prekey": b64(publication.kem_prekey.to_bytes()) if publication.kem_prekey else None,
        "one_time": [b64(key.to_bytes()) for key in publication.one_time],
    }
