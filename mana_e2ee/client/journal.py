"""What a client keeps beside the core's keys, in the same store, so that one transaction covers both.

client_message   message id                 a Message, as JSON
client_room      lp(room) || u64 sequence   message id
client_content   lp(room) || lp(user) || lp(content id)   message id, or "" where the message is not known by id
client_handled   event id                   u64, when a control message was handled
client_held      message id                 the frame of a message that does not open (yet), and why
client_sent      SHA-256 of a ciphertext    what it said, to whom, in which room, as JSON
client_outbox    content id                 a content without an ack
client_fact      name                       JSON: see the modules that use `fact`
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

from mana_e2ee.client.contents import Json
from mana_e2ee.core import Store, Transaction
from mana_e2ee.core import tables as core_tables
from mana_e2ee.core.encoding import lp, u64

MESSAGE = "client_message"
ROOM = "client_room"
CONTENT = "client_content"
HANDLED = "client_handled"
HELD = "client_held"
SENT = "client_sent"
OUTBOX = "client_outbox"
FACT = "client_fact"

KEPT = 7 * 86_400  # seconds that ciphertext that does not open, and what was sent, is kept for repair
HANDLED_KEPT = 40 * 86_400  # longer than the server keeps ciphertext
HELD_AT_MOST = 500


@dataclass
class Message:
    """A message of the timeline. ``content`` is null while it can't be read: ``state`` says why.

    ``ok``; ``held`` (waiting for a repair); ``missing`` (this device was never given it); ``unreadable`` (for good);
    ``deleted`` (by its author or a moderator, for everybody).
    """

    message_id: str
    room_id: str
    sequence: int
    index: int | None
    timestamp: str
    sender: str
    device_id: str
    content: Json | None = None
    state: str = "ok"
    healed: bool = False


class Journal:
    """The client's tables in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    @contextmanager
    def transaction(self) -> Iterator[Entries]:
        """One transaction of the store."""
        with self.store.transaction() as tx:
            yield Entries(tx)

    def fact(self, name: str, default: Any = None) -> Any:
        """A JSON value that was kept."""
        with self.transaction() as entries:
            return entries.fact(name, default)

    def keep(self, name: str, value: Any) -> None:
        """Keeps a JSON value; ``None`` forgets it."""
        with self.transaction() as entries:
            entries.keep(name, value)

    def message(self, message_id: str) -> Message | None:
        """A message by its id."""
        with self.transaction() as entries:
            return entries.message(message_id)

    def prune(self) -> None:
        """Forgets what is too old: what was sent, what does not open, marks of control messages."""
        now = int(time.time())
        with self.transaction() as entries:
            tx = entries.tx
            for key, row in tx.scan(HANDLED):
                if int.from_bytes(row, "big") + HANDLED_KEPT < now:
                    tx.delete(HANDLED, key)
            for key, row in tx.scan(SENT):
                if json.loads(row)["at"] + KEPT < now:
                    tx.delete(SENT, key)
            for message_id, at in entries.facts("gone/").items():
                if at + KEPT < now:
                    entries.keep(f"gone/{message_id}", None)
            entries.trim_held()


class Entries:
    """The tables within one transaction, which is ``tx``."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx

    # -- Facts -------------------------------------------------------------------------------------------------------

    def fact(self, name: str, default: Any = None) -> Any:
        """A JSON value that was kept."""
        row = self.tx.get(FACT, name.encode())
        return default if row is None else json.loads(row)

    def keep(self, name: str, value: Any) -> None:
        """Keeps a JSON value; ``None`` forgets it."""
        if value is None:
            self.tx.delete(FACT, name.encode())
        else:
            self.tx.put(FACT, name.encode(), _row(value))

    def facts(self, prefix: str) -> dict[str, Any]:
        """All values whose names start with ``prefix``, by the rest of the name."""
        rows = self.tx.scan(FACT, prefix.encode())
        return {key.decode()[len(prefix) :]: json.loads(row) for key, row in rows}

    # -- Messages ----------------------------------------------------------------------------------------------------

    def message(self, message_id: str) -> Message | None:
        """A message by its id."""
        row = self.tx.get(MESSAGE, message_id.encode())
        return None if row is None else Message(**json.loads(row))

    def put_message(self, message: Message) -> None:
        """Writes a message, and where it is found."""
        self.tx.put(MESSAGE, message.message_id.encode(), _row(asdict(message)))
        self.tx.put(ROOM, lp(message.room_id.encode()) + u64(message.sequence), message.message_id.encode())
        if message.content is not None:
            key = content_key(message.room_id, message.content["from"], message.content["id"])
            self.tx.put(CONTENT, key, message.message_id.encode())

    def note_content(self, content: Json, message_id: str) -> None:
        """This content has come, in a message that does not show it."""
        self.tx.put(CONTENT, content_key(content["room"], content["from"], content["id"]), message_id.encode())

    def knows_content(self, content: Json) -> bool:
        """Whether this content has come before, in whatever message."""
        return self.tx.get(CONTENT, content_key(content["room"], content["from"], content["id"])) is not None

    def messages(self, room_id: str | None = None) -> list[Message]:
        """Those of a room, or all, in order of sequence."""
        if room_id is not None:
            ids = [row for _, row in self.tx.scan(ROOM, lp(room_id.encode()))]
            rows = [self.tx.get(MESSAGE, one) for one in ids]
        else:
            rows = [row for _, row in self.tx.scan(MESSAGE)]
        found = [Message(**json.loads(row)) for row in rows if row is not None]
        return sorted(found, key=lambda message: message.sequence)

    # -- Events ------------------------------------------------------------------------------------------------------

    def was_handled(self, event_id: str) -> bool:
        """Whether an event was dealt with: a control message, or a message that is read or held."""
        if self.tx.get(HANDLED, event_id.encode()) is not None:
            return True
        message = self.message(event_id)
        return message is not None and message.state != "missing"

    def mark_handled(self, event_id: str) -> None:
        """A control message was dealt with."""
        self.tx.put(HANDLED, event_id.encode(), u64(int(time.time())))

    def interrupted(self, digest: bytes) -> bytes | None:
        """The plaintext of a ciphertext that was decrypted by a process that ended before it was done with it."""
        row = self.tx.get(core_tables.INBOX, digest)
        if row is None:
            return None
        from mana_e2ee.core.encoding import Reader

        reader = Reader(row)
        reader.name()
        reader.name()
        reader.take(16)
        return reader.rest()

    def forget_plaintext(self, digest: bytes) -> None:
        """The application has it."""
        self.tx.delete(core_tables.INBOX, digest)

    # -- For repair --------------------------------------------------------------------------------------------------

    def hold(self, frame: Json, reason: str) -> None:
        """Keeps what does not open."""
        row = {"frame": frame, "reason": reason, "at": int(time.time())}
        self.tx.put(HELD, frame["id"].encode(), _row(row))

    def trim_held(self) -> None:
        """Gives up what nobody has answered within seven days, and the oldest of more than 500."""
        now = int(time.time())
        held = sorted(self.held().items(), key=lambda one: int(one[1]["at"]), reverse=True)
        for place, (event_id, row) in enumerate(held):
            if place < HELD_AT_MOST and row["at"] + KEPT >= now:
                continue
            self.release(event_id)
            message = self.message(event_id)
            if message is not None and message.state == "held":
                message.state = "unreadable"
                self.put_message(message)

    def held(self) -> dict[str, Json]:
        """What does not open, by id: ``frame``, ``reason``, ``at``."""
        return {key.decode(): json.loads(row) for key, row in self.tx.scan(HELD)}

    def release(self, event_id: str) -> None:
        """It has opened, or come again."""
        self.tx.delete(HELD, event_id.encode())

    def remember_sent(self, digest: bytes, said: Json, to: list[list[str]], room_id: str | None, order: int) -> None:
        """What a ciphertext said, until nobody asks for it any more."""
        row = {"said": said, "to": to, "room": room_id, "at": int(time.time()), "order": order}
        self.tx.put(SENT, digest, _row(row))

    def forget_sent(self, content: Json) -> None:
        """A content is not to be sent again."""
        for key, row in self.sent().items():
            said = row["said"].get("content") or row["said"]
            if (said.get("from"), said.get("id")) == (content["from"], content["id"]):
                self.tx.delete(SENT, key)

    def sent(self) -> dict[bytes, Json]:
        """What was sent: ``said``, ``to``, ``room``, ``at``, ``order``."""
        return {key: json.loads(row) for key, row in self.tx.scan(SENT)}

    # -- On the way --------------------------------------------------------------------------------------------------

    def queue(self, content: Json) -> None:
        """A content that must be sent."""
        self.tx.put(OUTBOX, content["id"].encode(), _row(content))

    def unqueue(self, content_id: str) -> None:
        """It was acked, or has failed."""
        self.tx.delete(OUTBOX, content_id.encode())

    def queued(self) -> list[Json]:
        """What was not acked, the oldest first."""
        return sorted((json.loads(row) for _, row in self.tx.scan(OUTBOX)), key=lambda content: int(content["at"]))


def content_key(room_id: str, user_id: str, content_id: str) -> bytes:
    """Where a content is found."""
    return lp(room_id.encode()) + lp(user_id.encode()) + lp(content_id.encode())


def _row(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
