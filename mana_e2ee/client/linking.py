"""A new device and an old one of the same user: a code that one shows and the other is given, and what follows."""

from __future__ import annotations

import asyncio
import base64
import hmac
import secrets
import time
from dataclasses import dataclass
from typing import Self
from urllib.parse import quote

from mana.client import Refused
from mana.protocol import ErrorCode
from mana_e2ee.client.backups import Backups, strings
from mana_e2ee.client.contents import Json, b64, control, unb64
from mana_e2ee.client.context import Context
from mana_e2ee.client.controls import Controls
from mana_e2ee.client.directory import Directory
from mana_e2ee.client.errors import InvalidContent, LinkRefused
from mana_e2ee.client.receiving import Receiver
from mana_e2ee.core import (
    AccountKey,
    Address,
    DeviceList,
    DeviceRecord,
    identity,
    keys,
    process_prekey_bundle,
    trust_account,
)
from mana_e2ee.core.encoding import fields
from mana_e2ee.core.primitives import sha256

CODE_LIVES = 600.0  # seconds
CHECK = 3
CODE_LABEL = b"Mana-E2EE v1 link code"
PROOF_LABEL = b"Mana-E2EE v1 link"
QR_PREFIX = "mana-link:"


@dataclass(frozen=True, slots=True)
class LinkCode:
    """What a new device shows: the start of the hash of its record, and a secret, 16 bytes each."""

    hash: bytes
    secret: bytes

    @classmethod
    def make(cls, record: DeviceRecord) -> Self:
        """A code for a device."""
        return cls(sha256(record.to_bytes())[:16], secrets.token_bytes(16))

    @property
    def text(self) -> str:
        """14 groups of four letters."""
        data = self.hash + self.secret
        letters = base64.b32encode(data + sha256(CODE_LABEL + data)[:CHECK]).decode().lower()
        return "-".join(letters[start : start + 4] for start in range(0, len(letters), 4))

    @property
    def qr(self) -> str:
        """What the QR code holds."""
        return QR_PREFIX + self.text.replace("-", "")

    @classmethod
    def from_text(cls, text: str) -> Self:
        """From the text or the QR code. Raises ``LinkRefused``."""
        letters = "".join(text.removeprefix(QR_PREFIX).split()).replace("-", "").upper()
        try:
            data = base64.b32decode(letters) if letters.isascii() else b""
        except ValueError:
            data = b""
        if len(data) != 32 + CHECK or sha256(CODE_LABEL + data[:32])[:CHECK] != data[32:]:
            raise LinkRefused("the code is mistyped")
        return cls(data[:16], data[16:32])

    def proof(self, account: bytes, old: DeviceRecord, new: DeviceRecord) -> bytes:
        """What only who has seen the code can make."""
        account = keys.encode(keys.ED25519, account)
        return hmac.digest(self.secret, fields(PROOF_LABEL, account, old.to_bytes(), new.to_bytes()), "sha256")

    def __repr__(self) -> str:
        return "LinkCode(...)"


class Linking:
    """Both sides of linking."""

    def __init__(
        self, context: Context, directory: Directory, controls: Controls, backups: Backups, receiver: Receiver
    ) -> None:
        self._context = context
        self._directory = directory
        self._controls = controls
        self._backups = backups
        self._code: LinkCode | None = None
        self._until = 0.0
        self.linked = asyncio.Event()
        receiver.controls |= {"account": self._account_came}

    # -- The new device ----------------------------------------------------------------------------------------------

    def show_code(self) -> LinkCode:
        """The code to show, which holds for ten minutes."""
        if self._directory.is_linked:
            raise LinkRefused("this device is linked already")
        self._code = LinkCode.make(self._context.device.record)
        self._until = time.monotonic() + CODE_LIVES
        return self._code

    async def _account_came(self, frame: Json, sender: Address, said: Json) -> None:
        code, own = self._code, self._context.device.record
        if code is None or time.monotonic() > self._until or sender.user != own.address.user:
            raise InvalidContent("nobody is being linked")
        account = AccountKey(unb64(said.get("seed")))
        devices = DeviceList.from_bytes(unb64(said.get("list"))).verify()
        old = identity(self._context.store, sender)
        if old is None or not hmac.compare_digest(code.proof(account.public, old, own), unb64(said.get("proof"))):
            raise InvalidContent("it was not made with the code that is shown here")
        if devices.account != account.public or not {old, own} <= set(devices.devices):
            raise InvalidContent("the device list does not have both devices")
        self._code = None
        verified, accounts = strings(said.get("verified")), strings(said.get("accounts"))
        self._directory.keep_account(account)  # first: without it, who is in the list can do nothing
        trust_account(self._context.store, devices)
        with self._context.journal.transaction() as entries:
            for user_id, key in verified.items():
                entries.keep(f"verified/{user_id}", key)
        self._directory.expect(accounts)
        self._directory.forget_rooms()
        self.linked.set()
        self._context.notify("linked")

    # -- The old device ----------------------------------------------------------------------------------------------

    async def link(self, text: str, *, history: bool = True) -> str:
        """Vouches for the device that shows this code, and hands over what it needs; its id. Raises ``LinkRefused``."""
        code = LinkCode.from_text(text)
        account = self._directory.need_listed()
        user, own = self._context.address.user, self._context.device.record
        bundles = await self._directory.claim(user)
        found = [one for one in bundles.values() if sha256(one.record.to_bytes())[:16] == code.hash]
        if not found:
            raise LinkRefused("no device of yours shows this code: it must be signed in, and online")
        bundle = found[0]
        bundle.verify()
        address = bundle.record.address
        if address.user != user:
            raise LinkRefused("the device is of another user")
        await self._directory.refresh(user)
        current = self._directory.current(user)
        assert current is not None
        devices = current
        if bundle.record not in current.devices:
            others = [one for one in current.devices if one.address != address]
            devices = await self._directory.change_list([*others, bundle.record])
        process_prekey_bundle(self._context.store, address, bundle)
        known = self._backups.accounts()
        plaintext = control(
            "account",
            seed=b64(account.seed),
            list=b64(devices.to_bytes()),
            verified=self._backups.verified(),
            accounts={one: key for one, key in known.items() if one != user},
            proof=b64(code.proof(account.public, own, bundle.record)),
        )
        await self._controls.send(plaintext, [address])
        await self._backups.share_recovery([address])
        if history:
            await self._backups.hand_over(address)
        return address.device

    async def unlink(self, device_id: str) -> None:
        """Removes another device of the user: its keys at the server, and from the device list."""
        user = self._context.address.user
        current = self._directory.current(user)
        self._directory.need_listed()
        assert current is not None
        if device_id == self._context.address.device:
            raise LinkRefused("a device does not remove itself: sign out instead")
        left = [one for one in current.devices if one.address.device != device_id]
        if len(left) < len(current.devices):
            await self._directory.change_list(left)
        try:
            await self._context.mana.rest.delete(f"e2ee/devices/{quote(device_id, safe='')}")
        except Refused as refused:
            if refused.code != ErrorCode.NOT_FOUND:  # the answer to the last try was lost
                raise
