"""Sending control messages: each to devices by name, as many in a frame as fit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from mana.client import Refused
from mana.protocol import ErrorCode
from mana_e2ee.client.contents import Json, b64, encode
from mana_e2ee.client.context import Context
from mana_e2ee.client.directory import Directory
from mana_e2ee.core import Address, encrypt_many, primitives, tables

ROOM_LEFT = 2_000  # bytes of a frame for everything but ciphertext
LARGEST_FRAME = 65_536


class Controls:
    """The way of control messages to other devices."""

    def __init__(self, context: Context, directory: Directory) -> None:
        self._context = context
        self._directory = directory

    async def send(self, plaintext: Json, addresses: Iterable[Address], *, room_id: str | None = None) -> None:
        """Encrypts a control message for devices and sends it; devices that are gone are left out."""
        chosen = [address for address in addresses if address != self._context.address]
        await self._directory.ensure_sessions(chosen)
        data = encode(plaintext)
        messages = encrypt_many(self._context.store, chosen, data)
        with self._context.journal.transaction() as entries:
            for address, message in messages.items():
                order = tables.next_id(entries.tx, "client_sent")
                to = [[address.user, address.device]]
                entries.remember_sent(primitives.sha256(message), plaintext, to, room_id, order)
        await self.deliver(messages, room_id=room_id)

    async def deliver(self, messages: Mapping[Address, bytes], *, room_id: str | None = None) -> None:
        """Sends bytes to devices, in as many frames as it takes."""
        if room_id is not None:
            await self._deliver(messages, {"room_id": room_id})
            return
        for user_id in {address.user for address in messages}:
            of_user = {address: data for address, data in messages.items() if address.user == user_id}
            await self._deliver(of_user, {"to": user_id})

    async def _deliver(self, messages: Mapping[Address, bytes], where: dict[str, str]) -> None:
        most = self._context.mana.welcome.get("limits", {}).get("max_message_size", LARGEST_FRAME) - ROOM_LEFT
        waiting = dict(messages)
        while waiting:
            chosen: dict[Address, bytes] = {}
            size = 0
            for address, data in waiting.items():
                size += len(data) * 4 // 3 + len(address.device) + len(address.user) + 16
                if chosen and size > most:
                    break
                chosen[address] = data
            for address in chosen:
                del waiting[address]
            await self._frame(chosen, where)

    async def _frame(self, messages: dict[Address, bytes], where: dict[str, str]) -> None:
        for _ in range(2):
            if not messages:
                return
            payloads: dict[str, dict[str, str]] = {}
            for address, data in messages.items():
                payloads.setdefault(address.user, {})[address.device] = b64(data)
            try:
                await self._context.mana.deliver("encrypted_fanout", control=True, payloads=payloads, **where)
                return
            except Refused as refused:
                if refused.code != ErrorCode.STALE_DEVICE_LIST:
                    raise
                gone = {Address(one["user_id"], one["device_id"]) for one in refused.details["extra"]}
                messages = {address: data for address, data in messages.items() if address not in gone}
