"""Sealing anything for the devices of users, over whatever transport: media keys of calls, for one."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mana_e2ee.client.contents import b64, sealed, unb64, unsealed
from mana_e2ee.client.context import Context
from mana_e2ee.client.directory import Directory
from mana_e2ee.core import Address, UntrustedIdentity, decrypt, encrypt_many, forget


class Sealing:
    """Pairwise ciphertext that is no message."""

    def __init__(self, context: Context, directory: Directory) -> None:
        self._context = context
        self._directory = directory

    async def seal(
        self, user_ids: Iterable[str], data: Any, *, purpose: str, context: str = ""
    ) -> dict[str, dict[str, str]]:
        """``{user: {device: base64}}`` for every listed device of the users but this one. ``data`` is JSON or bytes."""
        self._directory.need_listed()
        plaintext = sealed(purpose, context, data)
        addresses: list[Address] = []
        for user_id in sorted(set(user_ids)):
            await self._directory.refresh(user_id)
            current = self._directory.current(user_id)
            addresses += [record.address for record in current.devices] if current is not None else []
        addresses = [one for one in addresses if one != self._context.address]
        await self._directory.ensure_sessions(addresses)
        found: dict[str, dict[str, str]] = {}
        for address, message in encrypt_many(self._context.store, addresses, plaintext).items():
            found.setdefault(address.user, {})[address.device] = b64(message)
        return found

    async def open(self, user_id: str, device_id: str, text: str, *, purpose: str, context: str = "") -> Any:
        """What a device has sealed for this one, once.

        Raises an ``E2EEError``, or ``InvalidContent`` for something that was sealed for another purpose or context.
        """
        address, data = Address(user_id, device_id), unb64(text)
        if self._directory.current(user_id) is None:
            await self._directory.refresh(user_id)
        if self._directory.current(user_id) is None:
            raise UntrustedIdentity("no device list vouches for this device")
        try:
            received = decrypt(self._context.store, address, data)
        except UntrustedIdentity:
            await self._directory.refresh(user_id)
            received = decrypt(self._context.store, address, data)
        forget(self._context.store, received)
        return unsealed(received.plaintext, purpose, context)
