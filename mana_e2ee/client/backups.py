"""History out and in: for a device that was linked just now, and for the backup under the recovery key."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable
from typing import Any

from mana_e2ee.client.contents import Json, b64, checked_content, control, unb64
from mana_e2ee.client.context import Context
from mana_e2ee.client.controls import Controls
from mana_e2ee.client.directory import Directory, typed
from mana_e2ee.client.errors import InvalidContent
from mana_e2ee.client.files import Files
from mana_e2ee.client.groups import Groups
from mana_e2ee.client.journal import Message
from mana_e2ee.client.receiving import Receiver
from mana_e2ee.core import AccountKey, Address, Backup, DeviceList, RecoveryKey

LARGEST_BACKUP = 1_000_000  # bytes of plaintext; `E2EE_BACKUP_BYTES` of the server is 1 MiB
LARGEST_HISTORY = 8_000_000
RECOVERY_KEY = 32  # bytes


class Backups:
    """What one device knows, for another."""

    def __init__(
        self,
        context: Context,
        directory: Directory,
        groups: Groups,
        controls: Controls,
        files: Files,
        receiver: Receiver,
    ) -> None:
        self._context = context
        self._directory = directory
        self._groups = groups
        self._controls = controls
        self._files = files
        self._writing = asyncio.Lock()
        receiver.controls |= {
            "history": self._history_came,
            "trust": self._trust_came,
            "recovery": self._recovery_came,
        }

    def verified(self) -> dict[str, str]:
        """The account keys that the user has compared, by user."""
        with self._context.journal.transaction() as entries:
            return dict(entries.facts("verified/"))

    def accounts(self) -> dict[str, str]:
        """The account keys that are known, by user."""
        from mana_e2ee.core import tables

        with self._context.store.transaction() as tx:
            lists = [DeviceList.from_bytes(row) for _, row in tx.scan(tables.DEVICE_LIST)]
        return {one.user: typed(one.account) for one in lists}

    # -- Export and import -------------------------------------------------------------------------------------------

    def export(self, most: int) -> Json:
        """The newest messages that fit into so many bytes, and the membership logs."""
        with self._context.journal.transaction() as entries:
            logs = entries.facts("log/")
            messages = entries.messages()
        size = len(json.dumps(logs))
        chosen: list[Json] = []
        for message in reversed(messages):
            if message.content is None:
                continue
            row = {
                "message_id": message.message_id,
                "sequence": message.sequence,
                "index": message.index,
                "timestamp": message.timestamp,
                "content": message.content,
            }
            size += len(json.dumps(row, ensure_ascii=False).encode()) + 1
            if size > most:
                break
            chosen.append(row)
        return {"v": 1, "user": self._context.address.user, "messages": chosen[::-1], "logs": logs}

    def take_in(self, known: Json) -> int:
        """Writes down the messages and logs that are not here yet; how many messages. Raises ``InvalidContent``."""
        if known.get("v") != 1 or known.get("user") != self._context.address.user:
            raise InvalidContent("it is of another user, or written by a newer version")
        rows, logs = known.get("messages"), known.get("logs")
        if not isinstance(rows, list) or not isinstance(logs, dict):
            raise InvalidContent("no history")
        taken = 0
        for row in rows:
            message = _message(row)
            with self._context.journal.transaction() as entries:
                before = entries.message(message.message_id)
                if before is not None and (before.content is not None or before.state == "deleted"):
                    continue
                if entries.fact(f"gone/{message.message_id}") is not None:
                    continue  # from a device that had not heard of its end
                if not entries.knows_content(message.content or {}):
                    entries.put_message(message)
                    entries.release(message.message_id)
                    entries.keep(f"encrypted/{message.room_id}", True)
                    taken += 1
        for room_id, log in logs.items():
            self._groups.restore(room_id, log)
        return taken

    # -- To a device that was linked ---------------------------------------------------------------------------------

    async def hand_over(self, address: Address) -> None:
        """Sends the history to a device of our own, as an encrypted file."""
        data = json.dumps(self.export(LARGEST_HISTORY), ensure_ascii=False, separators=(",", ":")).encode()
        file = await self._files.upload("history", data, "application/json")
        await self._controls.send(control("history", attachment=file), [address])

    async def _history_came(self, frame: Json, sender: Address, said: Json) -> None:
        self._need_own(sender)
        file = said.get("attachment")
        data = await self._files.download(file)
        self.take_in(_object(data))
        assert isinstance(file, dict)
        await self._context.mana.rest.delete(f"attachments/{file['id']}")
        self._context.notify("history_imported")

    async def _trust_came(self, frame: Json, sender: Address, said: Json) -> None:
        self._need_own(sender)
        for user_id, key in strings(said.get("verified")).items():
            self._context.journal.keep(f"verified/{user_id}", key)
        cleared = said.get("cleared")
        for user_id in cleared if isinstance(cleared, list) else ():
            if isinstance(user_id, str):
                self._context.journal.keep(f"verified/{user_id}", None)

    async def share_trust(self, user_id: str) -> None:
        """Tells our other devices what was decided about one person, and nothing of others: they may know better."""
        key = self._context.journal.fact(f"verified/{user_id}")
        said = {"verified": {user_id: key}} if key is not None else {"verified": {}, "cleared": [user_id]}
        await self._controls.send(control("trust", **said), self._others())

    def _others(self) -> list[Address]:
        """The other devices in our list."""
        current = self._directory.current(self._context.address.user)
        addresses = [record.address for record in current.devices] if current is not None else []
        return [address for address in addresses if address != self._context.address]

    def _need_own(self, sender: Address) -> None:
        current = self._directory.current(self._context.address.user)
        if current is None or all(record.address != sender for record in current.devices):
            raise InvalidContent("it is not from a device of our own")

    # -- The backup --------------------------------------------------------------------------------------------------

    async def enable(self) -> RecoveryKey:
        """Makes a recovery key, which the user must be shown, and the first backup."""
        self._directory.need_listed()
        key = RecoveryKey.generate()
        self._decide(b64(key.key))
        await self.store()
        await self.share_recovery()
        return key

    def _decide(self, key: str | None, at: int | None = None) -> None:
        with self._context.journal.transaction() as entries:
            after = entries.fact("recovery_at", 0) + 1
            entries.keep("recovery", key)
            entries.keep("recovery_at", max(int(time.time()), after) if at is None else at)

    async def share_recovery(self, to: Iterable[Address] | None = None) -> None:
        """Tells our other devices, or just these, which recovery key holds, or that there is to be no backup.

        Otherwise each would go on writing backups under the key that it knows, and the user's would not open them.
        """
        at = self._context.journal.fact("recovery_at")
        if at is not None:
            key = self._context.journal.fact("recovery")
            await self._controls.send(control("recovery", key=key, at=at), self._others() if to is None else to)

    async def _recovery_came(self, frame: Json, sender: Address, said: Json) -> None:
        self._need_own(sender)
        key, at = said.get("key"), said.get("at")
        if not isinstance(at, int) or isinstance(at, bool) or not (key is None or len(unb64(key)) == RECOVERY_KEY):
            raise InvalidContent("no decision about the backup")
        journal = self._context.journal
        # Of two that were made at once all devices take the same.
        if (at, key or "") > (journal.fact("recovery_at", 0), journal.fact("recovery") or ""):
            self._decide(key, at)
            if key is None:
                async with self._writing:  # ours may arrive after the other device's DELETE
                    await self._remove()

    @property
    def is_enabled(self) -> bool:
        """Whether this device writes backups."""
        return self._context.journal.fact("recovery") is not None

    async def store(self) -> None:
        """Writes the backup anew, if there is to be one."""
        async with self._writing:
            await self._store()

    async def _store(self) -> None:
        recovery = self._context.journal.fact("recovery")
        account = self._directory.account()
        current = self._directory.current(self._context.address.user)
        if recovery is None or account is None or current is None:
            return
        plaintext = {
            **self.export(LARGEST_BACKUP - 20_000),
            "seed": b64(account.seed),
            "list": b64(current.to_bytes()),
            "verified": self.verified(),
            "accounts": self.accounts(),
        }
        data = json.dumps(plaintext, ensure_ascii=False, separators=(",", ":")).encode()
        sealed = Backup.seal(RecoveryKey(unb64(recovery)), data)
        await self._context.mana.rest.put("e2ee/backup", backup=b64(sealed))

    async def disable(self) -> None:
        """Removes the backup and forgets the recovery key, on all our devices."""
        self._decide(None)
        await self.share_recovery()
        async with self._writing:  # what is on its way comes first
            await self._remove()

    async def _remove(self) -> None:
        await self._context.mana.rest.delete("e2ee/backup")

    async def restore(self, text: str) -> int:
        """Makes this device one of the user's, with the recovery key, and takes in the history; how many messages.

        Raises ``InvalidKey`` and ``InvalidMessage`` for a wrong key, ``AccountChanged`` and ``ListRefused`` for a
        server whose device list is not that of the account, or older than the backup; ``Refused``.
        """
        key = RecoveryKey.from_text(text)
        user = self._context.address.user
        answer = await self._context.mana.rest.get("e2ee/backup")
        known = _object(Backup.open(key, unb64(answer["backup"])))
        if known.get("user") != user:
            raise InvalidContent("the backup is of another user")
        account = AccountKey(unb64(known.get("seed")))
        before = DeviceList.from_bytes(unb64(known.get("list"))).verify()
        if before.user != user or before.account != account.public:
            raise InvalidContent("the backup's device list is of another account")
        current = await self._directory.adopt(before)
        own = self._context.device.record
        if own not in current.devices:
            others = [one for one in current.devices if one.address != own.address]
            await self._directory.publish_list(current.next(account, [*others, own]))
        self._directory.keep_account(account)
        self._directory.expect(strings(known.get("accounts")))
        with self._context.journal.transaction() as entries:
            for user_id, one in strings(known.get("verified")).items():
                entries.keep(f"verified/{user_id}", one)
            entries.keep("recovery", b64(key.key))
        self._directory.forget_rooms()
        self._context.notify("linked")
        return self.take_in(known)


def _message(row: Any) -> Message:
    if not isinstance(row, dict) or not isinstance(row.get("content"), dict):
        raise InvalidContent("not a message")
    content = row["content"]
    sender = Address(str(content.get("from")), str(content.get("device")))
    checked_content(content, str(content.get("room")), sender)
    if not isinstance(row.get("message_id"), str) or not isinstance(row.get("sequence"), int):
        raise InvalidContent("not a message")
    return Message(
        message_id=row["message_id"],
        room_id=content["room"],
        sequence=row["sequence"],
        index=row.get("index"),
        timestamp=str(row.get("timestamp", "")),
        sender=sender.user,
        device_id=sender.device,
        content=content,
    )


def strings(value: object) -> dict[str, str]:
    """A table of keys by user. Raises ``InvalidContent``."""
    if not isinstance(value, dict) or not all(isinstance(one, str) for one in [*value, *value.values()]):
        raise InvalidContent("not a table of keys")
    return value


def _object(data: bytes) -> Json:
    try:
        value = json.loads(data)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise InvalidContent("not JSON") from None
    return _object_of(value)


def _object_of(value: Any) -> Json:
    if not isinstance(value, dict):
        raise InvalidContent("not an object")
    return value
