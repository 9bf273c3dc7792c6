"""Frames with ciphertext: opened, checked, written down with their keys in one transaction, and only then acked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote

from mana.client import ClientError, Disconnected, Refused
from mana_e2ee.client.contents import Json, checked_content, decode, unb64
from mana_e2ee.client.context import Context, logger
from mana_e2ee.client.directory import Directory
from mana_e2ee.client.errors import EncryptionError, InvalidContent
from mana_e2ee.client.groups import DIRECT, Groups
from mana_e2ee.client.journal import Entries, Message
from mana_e2ee.core import (
    Address,
    DuplicateMessage,
    E2EEError,
    GroupSession,
    InvalidMessage,
    NotAMember,
    Throttled,
    UntrustedIdentity,
    decrypt,
    envelope,
    primitives,
)

ACK_DELAY = 0.05  # seconds in which acks are gathered into one frame
ACKS_AT_ONCE = 200

#: A handler of a control message: (frame, sender, plaintext).
ControlHandler = Callable[[Json, Address, Json], Awaitable[None]]


class Receiver:
    """One frame after the other."""

    def __init__(self, context: Context, directory: Directory, groups: Groups) -> None:
        self._context = context
        self._directory = directory
        self._groups = groups
        self._lock = asyncio.Lock()
        self._acks: list[str] = []
        self._acking = False
        self._waiting = False  # until an address whose messages have failed may try again
        #: Control messages by name; ``retry`` is asked for signed requests, with their bytes as ``plaintext["data"]``.
        self.controls: dict[str, ControlHandler] = {}
        #: Told of each message that was read, each once.
        self.on_message: Callable[[Message], Awaitable[None]] | None = None
        #: Told of what does not open: (frame, sender, ciphertext, the core's code).
        self.on_failure: Callable[[Json, Address, bytes, str], None] | None = None
        #: Asked for the membership log of a sender who knows another one: (room, sender).
        self.on_other_log: Callable[[str, Address], None] | None = None

    async def handle(self, frame: Json) -> None:
        """A ``message`` with ``encrypted``, or an ``encrypted`` frame; any number of times."""
        async with self._lock:
            await self._handle(frame)

    async def reopen(self, wanted: Callable[[Json], bool]) -> None:
        """Tries again what is held, where ``wanted(row)`` says so; a row has ``frame``, ``reason`` and ``at``."""
        async with self._lock:
            await self._reopen(wanted)

    async def delete(self, message_id: str, room_id: str) -> None:
        """The server says that a message was deleted: what it said is forgotten, or never told if it opens later."""
        async with self._lock:
            with self._context.journal.transaction() as entries:
                held = entries.held().get(message_id)
                if held is not None and held["frame"].get("payload"):
                    entries.forget_plaintext(primitives.sha256(unb64(held["frame"]["payload"])))
                entries.release(message_id)
                message = entries.message(message_id)
                if message is None and entries.fact(f"encrypted/{room_id}"):
                    # Its sender may not know yet, and send it again.
                    entries.keep(f"gone/{message_id}", int(time.time()))
                elif message is not None:
                    if message.content is not None:
                        entries.forget_sent(message.content)
                        _forget_edits(entries, message)
                    message.content, message.state = None, "deleted"
                    entries.put_message(message)

    async def _handle(self, frame: Json) -> None:
        payload, event_id = frame.get("payload"), frame["id"]
        with self._context.journal.transaction() as entries:
            handled = entries.was_handled(event_id)
            own = self._own(frame)
            mine = None
            if own and not handled:
                mine = next((one for one in entries.queued() if one["id"] == frame.get("ack_id")), None)
        if mine is not None:
            mine.pop("files", None)
            self._keep_message(frame, mine)  # acked, but this process did not live to see it
        elif payload is None:
            if not handled and not own and frame["type"] == "message" and not frame.get("deleted"):
                self._put(self._message(frame, state="missing"))
        elif handled:
            self._ack(event_id)
        else:
            await self._opened(frame)

    async def _opened(self, frame: Json) -> None:
        try:
            await self._open(frame, Address(frame["from"], frame["device_id"]), unb64(frame["payload"]))
        except Refused as refused:
            if refused.is_temporary:
                raise
            # What it is about is not there any more, or nothing of ours: a room that was left, a user who never was.
            self._lose(frame, refused.code)
            self._done(frame, None)

    def _lose(self, frame: Json, reason: str) -> None:
        """Nobody will ever be able to read it here."""
        self._context.notify("undecryptable", message_id=frame["id"], room_id=frame.get("room_id"), reason=reason)
        if frame["type"] == "message":
            self._put(self._message(frame, state="unreadable"))

    def _own(self, frame: Json) -> bool:
        return (frame.get("from"), frame.get("device_id")) == (self._context.address.user, self._context.address.device)

    async def _open(self, frame: Json, sender: Address, data: bytes) -> None:
        if frame["type"] == "encrypted" and data[1:2] == bytes((envelope.RETRY_REQUEST,)):
            await self._control(frame, sender, {"control": "retry", "data": data})
            self._done(frame, None)
            return
        digest = primitives.sha256(data)
        try:
            plaintext = await self._decrypted(frame, sender, data)
        except DuplicateMessage:
            with self._context.journal.transaction() as entries:
                found = entries.interrupted(digest)
            if found is None:
                self._done(frame, None)  # the server repeats something: it was told in its place
                return
            plaintext = found
        except Throttled as error:
            self._fail(frame, sender, data, error.code)
            if not self._waiting:
                self._waiting = True
                self._context.background(self._after_the_throttle(error.retry_after), "A look at what had to wait")
            return
        except E2EEError as error:
            self._fail(frame, sender, data, error.code)
            return
        await self._apply(frame, sender, plaintext, digest, data)

    async def _after_the_throttle(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._waiting = False
        await self.reopen(lambda row: bool(row["reason"] == Throttled.code))

    async def _decrypted(self, frame: Json, sender: Address, data: bytes) -> bytes:
        if data[1:2] == bytes((envelope.GROUP_MESSAGE,)):
            if frame["type"] == "encrypted":
                raise InvalidMessage("a group message is none for control")
            room_id = frame["room_id"]
            log = self._groups.group(room_id, await self._groups.room(room_id))
            if log is None:
                raise NotAMember("the membership log is not known yet")
            return GroupSession(self._context.store, log).decrypt(sender, data).plaintext
        if sender.user != self._context.address.user and not self._directory.is_listed:
            # Nobody writes to it but who was told to, and whom to believe it learns by being linked.
            raise UntrustedIdentity("this device is not linked")
        if sender.user != self._context.address.user and self._directory.current(sender.user) is None:
            await self._refresh(sender.user)
            if self._directory.current(sender.user) is None:
                # The server lets nobody write who has none; the core would trust whoever that is on first use.
                raise UntrustedIdentity("no device list vouches for this device")
        try:
            return decrypt(self._context.store, sender, data).plaintext
        except UntrustedIdentity:
            await self._refresh(sender.user)
            return decrypt(self._context.store, sender, data).plaintext

    async def _refresh(self, user_id: str) -> None:
        try:
            await self._directory.refresh(user_id)
        except (EncryptionError, ClientError) as error:
            if isinstance(error, Disconnected):
                raise

    async def _apply(self, frame: Json, sender: Address, plaintext: bytes, digest: bytes, data: bytes) -> None:
        try:
            said = decode(plaintext)
            self._check_own(sender, said)
            if frame["type"] == "encrypted":
                try:
                    await self.control(frame, sender, said)
                except NotAMember as error:
                    self._fail(frame, sender, data, error.code)  # until the membership log comes
                    return
            else:
                content = checked_content(said, frame["room_id"], sender)
                if not await self.belongs(frame["room_id"], sender, content):
                    # The plaintext stays in the core's inbox until the membership log comes.
                    self._fail(frame, sender, data, NotAMember.code)
                    return
                await self._take(frame, content, digest)
                return
        except (InvalidContent, E2EEError) as error:
            self._lose(frame, error.code)
        self._done(frame, digest)

    def _check_own(self, sender: Address, said: Json) -> None:
        """A device of our own user that nothing vouches for may do one thing: link this one, which takes a proof."""
        own = self._context.address.user
        if sender.user != own or said.get("control") == "account":
            return
        current = self._directory.current(own)
        if current is None or all(record.address != sender for record in current.devices):
            raise InvalidContent("it is not from a device of our own")

    async def control(self, frame: Json, sender: Address, said: Json) -> None:
        """A control message that was opened. Raises ``InvalidContent``."""
        if "room" in said and said["room"] != frame.get("room_id"):
            raise InvalidContent("it belongs to another room")
        await self._control(frame, sender, said)

    async def _control(self, frame: Json, sender: Address, said: Json) -> None:
        handler = self.controls.get(str(said.get("control")))
        if handler is None:
            raise InvalidContent("written by a newer version")
        await handler(frame, sender, said)

    async def belongs(self, room_id: str, sender: Address, content: Json) -> bool:
        """Whether the sender is a member as far as this device knows; asks for the log if theirs is another."""
        room = await self._groups.room(room_id)
        if room["type"] == DIRECT:
            return sender.user in (room["peer"], self._context.address.user)
        position = content.get("log")
        if position is not None and self._groups.is_behind(room_id, position) and self.on_other_log is not None:
            self.on_other_log(room_id, sender)
        log = self._groups.log(room_id)
        return log is not None and sender.user in log.members

    async def _take(self, frame: Json, content: Json, digest: bytes | None) -> None:
        message = self._keep_message(frame, content, digest)
        self._ack(frame["id"])
        if message is not None and self.on_message is not None:
            await self.on_message(message)

    def _keep_message(self, frame: Json, content: Json, digest: bytes | None = None) -> Message | None:
        """Writes it down; ``None`` if the content had come before."""
        message = self._message(frame, content=content)
        with self._context.journal.transaction() as entries:
            entries.unqueue(content["id"]) if self._own(frame) else None
            entries.release(frame["id"])
            if digest is not None:
                entries.forget_plaintext(digest)
            before = entries.message(message.message_id)
            is_deleted = before is not None and before.state == "deleted"
            if entries.knows_content(content) or is_deleted:
                entries.mark_handled(frame["id"])
                if is_deleted:
                    entries.note_content(content, frame["id"])
                return None
            message.healed = before is not None and before.state != "ok"
            entries.put_message(message)
            entries.keep(f"encrypted/{message.room_id}", True)
        return message

    async def take_again(self, frame: Json, content: Json) -> None:
        """A content that its sender has sent again, in the place of ``frame``."""
        with self._context.journal.transaction() as entries:
            held = entries.held().get(frame["id"])
        data = unb64(held["frame"]["payload"]) if held is not None and held["frame"].get("payload") else b""
        await self._take(frame, content, primitives.sha256(data) if data else None)

    async def open_held(self, room_id: str) -> None:
        """A sender key or a membership log has come: tries again what waits for it."""
        await self._reopen(lambda row: bool(row["frame"].get("room_id") == room_id))

    async def _reopen(self, wanted: Callable[[Json], bool]) -> None:
        with self._context.journal.transaction() as entries:
            held = [row["frame"] for row in entries.held().values() if wanted(row)]
        for frame in sorted(held, key=lambda frame: int(frame["sequence"])):
            await self._opened(frame)

    def _fail(self, frame: Json, sender: Address, data: bytes, reason: str) -> None:
        with self._context.journal.transaction() as entries:
            again = frame["id"] in entries.held()
            entries.hold(frame, reason)
            entries.trim_held()
            if frame["type"] == "message":
                entries.put_message(self._message(frame, state="held"))
            else:
                entries.mark_handled(frame["id"])
        self._ack(frame["id"])
        if not again:
            self._context.notify("undecryptable", message_id=frame["id"], room_id=frame.get("room_id"), reason=reason)
        if self.on_failure is not None and not again:
            self.on_failure(frame, sender, data, reason)

    def _done(self, frame: Json, digest: bytes | None) -> None:
        with self._context.journal.transaction() as entries:
            entries.mark_handled(frame["id"])
            entries.release(frame["id"])
            if digest is not None:
                entries.forget_plaintext(digest)
        self._ack(frame["id"])

    def _put(self, message: Message) -> None:
        with self._context.journal.transaction() as entries:
            entries.put_message(message)

    def _message(self, frame: Json, **fields: Any) -> Message:
        return Message(
            message_id=frame["id"],
            room_id=frame["room_id"],
            sequence=frame["sequence"],
            index=frame.get("index"),
            timestamp=frame["timestamp"],
            sender=frame["from"],
            device_id=frame.get("device_id", ""),
            **fields,
        )

    # -- Acks --------------------------------------------------------------------------------------------------------

    def _ack(self, event_id: str) -> None:
        self._acks.append(event_id)
        if not self._acking:
            self._acking = True
            self._context.background(self._send_acks(), "An ack of messages")

    async def _send_acks(self) -> None:
        try:
            await asyncio.sleep(ACK_DELAY)
            while self._acks:
                some = self._acks[:ACKS_AT_ONCE]
                await self._context.mana.request("encrypted_ack", message_ids=some)
                del self._acks[: len(some)]
        finally:
            self._acking = False

    async def drain(self) -> None:
        """Handles whatever waits for this device at the server, whatever the cursor says.

        What fails is left there, and the rest goes on: nobody may stop a device with one message.
        """
        path = f"e2ee/devices/{quote(self._context.address.device, safe='')}"
        while True:
            page = await self._context.mana.rest.get(f"{path}/envelopes")
            ids = []
            for frame in page["messages"]:
                try:
                    await self.handle(frame)
                except Disconnected:
                    raise
                except Exception:
                    logger.exception("A frame could not be handled; it stays at the server.")
                else:
                    ids.append(frame["id"])
            if not ids:
                return
            self._acks = [one for one in self._acks if one not in ids]
            await self._context.mana.rest.post(f"{path}/acks", message_ids=ids)


def _forget_edits(entries: Entries, message: Message) -> None:
    """The texts that a message has had later are messages of their own, which stay, and say nothing."""
    content = message.content or {}
    for other in entries.messages(message.room_id):
        edit = other.content
        if edit is None or edit["kind"] != "edit" or not isinstance(edit["target"], dict):
            continue
        if edit["from"] == content["from"] and edit["target"].get("id") == content["id"]:
            entries.forget_sent(edit)
            other.content = {**edit, "text": ""}
            entries.put_message(other)
