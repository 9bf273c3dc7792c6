"""Contents on their way: encrypted for whoever belongs to the room, again when devices have changed, until the ack."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from mana.client import ClientError, Disconnected, Refused
from mana.protocol import ErrorCode
from mana_e2ee.client.contents import Json, b64, control, encode
from mana_e2ee.client.context import Context
from mana_e2ee.client.controls import LARGEST_FRAME, ROOM_LEFT, Controls
from mana_e2ee.client.directory import Directory, MissingBundles
from mana_e2ee.client.errors import EncryptionError, NoDevices
from mana_e2ee.client.groups import DIRECT, Groups
from mana_e2ee.client.journal import Message
from mana_e2ee.core import (
    Address,
    E2EEError,
    GroupSession,
    MembershipLog,
    RotationNeeded,
    encrypt_many,
    primitives,
    tables,
)

PAIRWISE_DEVICES = 16
ATTEMPTS = 5


class Sender:
    """One message after the other."""

    def __init__(self, context: Context, directory: Directory, groups: Groups, controls: Controls) -> None:
        self._context = context
        self._directory = directory
        self._groups = groups
        self._controls = controls
        self._lock = asyncio.Lock()
        #: Up to how many devices a message is encrypted for each of them.
        self.pairwise_devices = PAIRWISE_DEVICES

    async def send(self, content: Json, attachments: Iterable[str] = ()) -> Message:
        """Sends a content until the server has it. It is kept until then; a refusal ends it.

        Raises ``NotLinked``, ``UnknownMember``, ``NoDevices``, ``AccountChanged``, ``ListRefused``, ``Refused``, or an
        ``E2EEError``.
        """
        self._directory.need_listed()
        encode(content)
        with self._context.journal.transaction() as entries:
            entries.queue({**content, "files": list(attachments)})
        async with self._lock:
            try:
                return await self._send(content, list(attachments))
            except (Exception, asyncio.CancelledError) as error:
                if not _is_lost_connection(error):
                    with self._context.journal.transaction() as entries:
                        entries.unqueue(content["id"])
                raise

    async def resume(self) -> None:
        """Sends what a process before this one has not got an ack for."""
        with self._context.journal.transaction() as entries:
            queued = entries.queued()
        for content in queued:
            files = content.pop("files", [])
            try:
                await self.send(content, files)
            except (ClientError, E2EEError, EncryptionError) as error:
                if _is_lost_connection(error):
                    raise
                # One that is refused must not keep the others back, and whoever wrote it has to know.
                code = getattr(error, "code", "")
                self._context.notify("not_sent", room_id=content["room"], content=content, reason=code)

    async def _send(self, content: Json, files: list[str]) -> Message:
        room_id = content["room"]
        for attempt in range(1, ATTEMPTS + 1):
            try:
                frame = await self._frame(content)
                ack = await self._context.mana.deliver(
                    "encrypted_fanout", ack_id=content["id"], room_id=room_id, attachments=files, **frame
                )
            except MissingBundles:
                if attempt == ATTEMPTS:
                    raise Refused(ErrorCode.STALE_DEVICE_LIST) from None
            except Refused as refused:
                if refused.code != ErrorCode.STALE_DEVICE_LIST or attempt == ATTEMPTS:
                    raise
            else:
                return self.sent(content, ack)
            self._directory.forget_rooms([room_id])
        raise AssertionError("the last attempt has returned or raised")

    def sent(self, content: Json, ack: Json) -> Message:
        """The server has stored a content: it is a message now."""
        message = Message(
            message_id=ack["message_id"],
            room_id=content["room"],
            sequence=ack["sequence"],
            index=ack["index"],
            timestamp=ack["timestamp"],
            sender=content["from"],
            device_id=content["device"],
            content=content,
        )
        with self._context.journal.transaction() as entries:
            entries.put_message(message)
            entries.unqueue(content["id"])
            entries.keep(f"encrypted/{content['room']}", True)
        return message

    async def _frame(self, content: Json) -> Json:
        """What of the frame depends on the devices."""
        room_id = content["room"]
        recipients = await self._directory.recipients(room_id)
        log = await self._groups.members(room_id, recipients)
        recipients = await self._directory.recipients(room_id)
        own = self._context.address.user
        if all(one.user_id == own for one in recipients) and log.members != {own}:
            raise NoDevices("nobody else here has a device that can read encrypted messages")
        position = None if (await self._groups.room(room_id))["type"] == DIRECT else self._groups.position(room_id)
        content = {**content, "log": position} if position is not None else content
        data = encode(content)
        addresses = [Address(one.user_id, device) for one in recipients for device in one.device_ids]
        addresses = [one for one in addresses if one != self._context.address]
        epochs = {one.user_id: one.epoch for one in recipients if one.epoch is not None}
        most = self._context.mana.welcome.get("limits", {}).get("max_message_size", LARGEST_FRAME) - ROOM_LEFT
        if len(addresses) <= self.pairwise_devices and len(addresses) * (len(data) * 4 // 3 + 2_400) <= most:
            payloads = await self._pairwise(content, data, addresses)
            return {"payloads": payloads, "epochs": epochs}
        message = await self._shared(room_id, log, content, data, addresses)
        return {"payload": b64(message), "epochs": epochs}

    async def _pairwise(self, content: Json, data: bytes, addresses: list[Address]) -> dict[str, dict[str, str]]:
        await self._directory.ensure_sessions(addresses)
        messages = encrypt_many(self._context.store, addresses, data)
        payloads: dict[str, dict[str, str]] = {}
        with self._context.journal.transaction() as entries:
            for address, message in messages.items():
                payloads.setdefault(address.user, {})[address.device] = b64(message)
                order = tables.next_id(entries.tx, "client_sent")
                to = [[address.user, address.device]]
                entries.remember_sent(primitives.sha256(message), content, to, content["room"], order)
        return payloads

    async def _shared(
        self, room_id: str, log: MembershipLog, content: Json, data: bytes, addresses: list[Address]
    ) -> bytes:
        group = GroupSession(self._context.store, log)
        await self.hand_out(room_id, group, addresses)
        message = group.encrypt(data)
        with self._context.journal.transaction() as entries:
            order = tables.next_id(entries.tx, "client_sent")
            to = [[address.user, address.device] for address in addresses]
            entries.remember_sent(primitives.sha256(message), content, to, room_id, order)
        return message

    async def hand_out(self, room_id: str, group: GroupSession, addresses: Iterable[Address]) -> None:
        """Sees to it that devices have our sender key, made anew where it has to be."""
        try:
            distribution = group.distribution()
        except RotationNeeded:
            distribution = group.rotate()
        name = f"holders/{room_id}"
        known: dict[str, Any] = self._context.journal.fact(name, {})
        holders = known.get("to", []) if known.get("id") == distribution.id.hex() else []
        missing = [one for one in addresses if [one.user, one.device] not in holders]
        if missing:
            plaintext = control("sender_key", room=room_id, distribution=b64(distribution.to_bytes()))
            await self._controls.send(plaintext, missing, room_id=room_id)
            holders = [*holders, *([one.user, one.device] for one in missing)]
            self._context.journal.keep(name, {"id": distribution.id.hex(), "to": holders})

    def forget_holder(self, room_id: str, address: Address) -> None:
        """A device says that it does not have our sender key."""
        name = f"holders/{room_id}"
        known = self._context.journal.fact(name)
        if known is not None:
            known["to"] = [one for one in known["to"] if one != [address.user, address.device]]
            self._context.journal.keep(name, known)


def _is_lost_connection(error: BaseException) -> bool:
    return isinstance(error, Disconnected | asyncio.CancelledError)
