"""What does not open is asked for again; what others could not open is sent to them again."""

from __future__ import annotations

import time
from collections.abc import Iterable

from mana_e2ee.client.contents import Json, checked_content, control, unb64
from mana_e2ee.client.context import Context
from mana_e2ee.client.controls import Controls
from mana_e2ee.client.directory import Directory
from mana_e2ee.client.errors import InvalidContent
from mana_e2ee.client.groups import Groups
from mana_e2ee.client.journal import CONTENT, content_key
from mana_e2ee.client.receiving import Receiver
from mana_e2ee.client.sending import Sender
from mana_e2ee.core import (
    Address,
    Distribution,
    E2EEError,
    GroupSession,
    NoSession,
    NotAMember,
    RetryRefused,
    RetryRequest,
    Throttled,
    UntrustedIdentity,
    answer_retry,
    process_prekey_bundle,
    request_retry,
)

AT_ONCE = 100  # contents that one request gets again
NAMED = 50  # messages that one request for a sender key names
#: Why something does not open that may open later without anybody's help.
MAY_OPEN = (Throttled.code, UntrustedIdentity.code, NotAMember.code)
EVERY = 60.0  # seconds between two requests for a sender key or a log, and between two answers, per device and room


class Repair:
    """The control messages that heal."""

    def __init__(
        self,
        context: Context,
        directory: Directory,
        groups: Groups,
        controls: Controls,
        sender: Sender,
        receiver: Receiver,
    ) -> None:
        self._context = context
        self._directory = directory
        self._groups = groups
        self._controls = controls
        self._sender = sender
        self._receiver = receiver
        self._last: dict[tuple[str, Address, str], float] = {}
        receiver.on_failure = self._failed
        receiver.on_other_log = self._ask_for_log
        receiver.controls |= {
            "retry": self._retry_asked,
            "resend": self._resent,
            "sender_key": self._key_came,
            "key_request": self._key_asked,
            "log": self._log_came,
            "log_request": self._log_asked,
        }

    # -- Asking ------------------------------------------------------------------------------------------------------

    def _failed(self, frame: Json, sender: Address, data: bytes, reason: str) -> None:
        room_id: str = frame.get("room_id") or ""
        if reason == NotAMember.code:
            self._ask_for_log(room_id, sender)
        elif frame["type"] == "message" and data[1] == 3:
            if reason == NoSession.code:
                self._context.background(self._ask_for_key(room_id, sender), "A request for a sender key")
        elif reason not in (UntrustedIdentity.code, Throttled.code):
            self._context.background(self._ask_again(frame, sender, data), "A request to send again")

    async def _ask_again(self, frame: Json, sender: Address, data: bytes) -> None:
        try:
            request = request_retry(self._context.store, sender, data)
        except (RetryRefused, E2EEError):
            return  # asked within the hour, or no message at all
        await self._controls.deliver({sender: request.to_bytes()}, room_id=frame.get("room_id"))

    async def _ask_for_key(self, room_id: str, sender: Address) -> None:
        if not self._may("key", sender, room_id):
            return
        with self._context.journal.transaction() as entries:
            waiting = [
                event_id
                for event_id, row in entries.held().items()
                if row["frame"].get("room_id") == room_id
                and (row["frame"]["from"], row["frame"]["device_id"]) == (sender.user, sender.device)
            ]
        plaintext = control("key_request", room=room_id, messages=waiting[-NAMED:])
        await self._controls.send(plaintext, [sender], room_id=room_id)

    def _ask_for_log(self, room_id: str, sender: Address) -> None:
        if self._may("log", sender, room_id):
            work = self._controls.send(control("log_request", room=room_id), [sender], room_id=room_id)
            self._context.background(work, "A request for a membership log")

    async def remind(self) -> None:
        """At every connect and every hour: what is held is tried again, or asked for once more.

        The request, or its answer, may have been lost; the core keeps one device from asking another twice an hour.
        """
        await self._receiver.reopen(lambda row: row["reason"] in MAY_OPEN)
        with self._context.journal.transaction() as entries:
            held = sorted(entries.held().values(), key=lambda row: int(row["frame"]["sequence"]))
        for row in held:
            frame = row["frame"]
            sender = Address(frame["from"], frame["device_id"])
            self._failed(frame, sender, unb64(frame["payload"]), row["reason"])

    # -- Answering ---------------------------------------------------------------------------------------------------

    async def _retry_asked(self, frame: Json, sender: Address, said: Json) -> None:
        try:
            request = RetryRequest.from_bytes(said["data"])
            digest = answer_retry(self._context.store, sender, request)
        except E2EEError:
            return
        with self._context.journal.transaction() as entries:
            first = entries.sent().get(digest)
        if first is None or [sender.user, sender.device] not in first["to"]:
            return
        self._context.background(self._start_over(sender, first["order"]), "An answer to a request to send again")

    async def _start_over(self, address: Address, order: int) -> None:
        bundles = await self._directory.claim(address.user, address.device)
        process_prekey_bundle(self._context.store, address, bundles[address.device])
        # Only now: what was written while the bundle was claimed was for the old session, too.
        with self._context.journal.transaction() as entries:
            sent = list(entries.sent().values())
        rows = [row for row in sent if row["to"] == [[address.user, address.device]] and row["order"] >= order]
        rows.sort(key=lambda row: int(row["order"]))
        for row in rows[:AT_ONCE]:
            await self._send_again(address, row)

    async def _send_again(self, address: Address, row: Json) -> None:
        said, room_id = row["said"], row["room"]
        if said.get("control") == "resend":
            said, plaintext = said["content"], dict(said)
        else:
            plaintext = control("resend", content=said)
            if "kind" in said and (message_id := self._message_id(said)) is not None:
                message = self._context.journal.message(message_id)
                if message is not None and message.state == "deleted":
                    return
                plaintext["message_id"] = message_id
        if said.get("control") == "account":
            return  # it holds the account key, and was meant for the moment of linking alone
        await self._controls.send(plaintext, [address], room_id=room_id)

    def _message_id(self, content: Json) -> str | None:
        with self._context.journal.transaction() as entries:
            row = entries.tx.get(CONTENT, content_key(content["room"], content["from"], content["id"]))
        return None if row is None else row.decode()

    async def _key_asked(self, frame: Json, sender: Address, said: Json) -> None:
        room_id = _room(said)
        if not self._may("key answer", sender, room_id) or not await self._is_member(room_id, sender):
            return
        named = said.get("messages")
        named = named[:NAMED] if isinstance(named, list) else []
        with self._context.journal.transaction() as entries:
            rows = [row for row in entries.sent().values() if row["room"] == room_id and "kind" in row["said"]]
        rows = [row for row in rows if [sender.user, sender.device] in row["to"]]
        rows = [row for row in rows if self._message_id(row["said"]) in named]
        rows.sort(key=lambda row: int(row["order"]))
        self._context.background(self._give_key(room_id, sender, rows), "An answer to a request for a sender key")

    async def _give_key(self, room_id: str, sender: Address, rows: Iterable[Json]) -> None:
        log = self._groups.group(room_id, await self._groups.room(room_id))
        if log is not None:
            self._sender.forget_holder(room_id, sender)
            await self._sender.hand_out(room_id, GroupSession(self._context.store, log), [sender])
        for row in rows:
            await self._send_again(sender, row)

    async def _log_asked(self, frame: Json, sender: Address, said: Json) -> None:
        room_id = _room(said)
        if self._may("log answer", sender, room_id) and await self._is_member(room_id, sender):
            self._context.background(self._groups.share(room_id, [sender]), "An answer to a request for a log")

    async def _is_member(self, room_id: str, address: Address) -> bool:
        log = self._groups.group(room_id, await self._groups.room(room_id))
        current = self._directory.current(address.user)
        return (
            log is not None
            and address.user in log.members
            and current is not None
            and any(record.address == address for record in current.devices)
        )

    # -- What comes --------------------------------------------------------------------------------------------------

    async def _key_came(self, frame: Json, sender: Address, said: Json) -> None:
        room_id = _room(said)
        distribution = Distribution.from_bytes(unb64(said.get("distribution")))
        log = self._groups.group(room_id, await self._groups.room(room_id))
        if log is None or sender.user not in log.members:
            # Whoever founded the log sends it before: then it did not open, and is asked for.
            raise NotAMember("a sender key of somebody who is not known to be a member")
        GroupSession(self._context.store, log).receive_key(sender, distribution)
        await self._receiver.open_held(room_id)

    async def _log_came(self, frame: Json, sender: Address, said: Json) -> None:
        room_id = _room(said)
        if await self._groups.receive(room_id, sender, said):
            self._directory.forget_rooms([room_id])
            await self._receiver.open_held(room_id)

    async def _resent(self, frame: Json, sender: Address, said: Json) -> None:
        content = said.get("content")
        if not isinstance(content, dict):
            raise InvalidContent("nothing was sent again")
        if "control" in content:
            if content["control"] == "resend":
                raise InvalidContent("a resend of a resend")
            await self._receiver.control(frame, sender, content)
            return
        place = self._place(frame, sender, said.get("message_id"))
        checked_content(content, place["room_id"], sender)
        if not await self._receiver.belongs(place["room_id"], sender, content):
            raise NotAMember("it is from somebody who does not belong to this room")
        if self._context.journal.fact(f"gone/{said.get('message_id')}"):
            return
        await self._receiver.take_again(place, content)

    def _place(self, frame: Json, sender: Address, message_id: object) -> Json:
        """The frame of the message that could not be read; if that is not known, the one that brought it again."""
        if isinstance(message_id, str):
            message = self._context.journal.message(message_id)
            if (
                message is not None
                and message.state != "ok"
                and (message.sender, message.device_id, message.room_id)
                == (sender.user, sender.device, frame.get("room_id"))
            ):
                return {
                    "type": "message",
                    "id": message.message_id,
                    "room_id": message.room_id,
                    "sequence": message.sequence,
                    "index": message.index,
                    "timestamp": message.timestamp,
                    "from": message.sender,
                    "device_id": message.device_id,
                }
        if frame.get("room_id") is None:
            raise InvalidContent("a content without a room")
        return frame

    def _may(self, what: str, address: Address, room_id: str) -> bool:
        """Whether this was not done just now."""
        now = time.monotonic()
        key = (what, address, room_id)
        if now - self._last.get(key, -EVERY) < EVERY:
            return False
        self._last[key] = now
        return True


def _room(said: Json) -> str:
    room_id = said.get("room")
    if not isinstance(room_id, str):
        raise InvalidContent("`room` is missing")
    return room_id
