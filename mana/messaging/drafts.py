"""A message before it has its place in the order, and what became of it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging.ids import new_message_id
from mana.messaging.sealed import Sealed
from mana.protocol import ErrorCode, ManaError
from mana.protocol.codec import depth, is_empty


@dataclass(slots=True)
class Draft:
    """A message that its sender wants stored in the room ``room_key``."""

    room_key: str
    sender: Person
    payload_json: str
    ack_id: str | None = None
    reply_to: UUID | None = None
    device_id: str = ""
    session_id: str = ""
    id: UUID = field(default_factory=new_message_id)
    mentions: Sequence[str] = ()
    attachments: Sequence[UUID] = ()
    #: The message whose new payload this is, for an edit.
    edits: UUID | None = None
    #: Mentions and attachments as they are stored, once they are checked.
    extra_json: str = ""
    #: Where the payload is each device's own, who keeps it; ``payload_json`` is null then.
    sealed: Sealed | None = None

    @property
    def payload(self) -> Any:
        """The payload as Python values. Assign another one to have that stored instead."""
        return msgspec.json.decode(self.payload_json)

    @payload.setter
    def payload(self, payload: Any) -> None:
        self.payload_json = payload_text(payload)


@dataclass(frozen=True, slots=True)
class Placed:
    """Where a message stands. ``duplicate`` if an earlier sending of it was stored."""

    message_id: UUID
    room_key: str
    sequence: int
    index: int
    created_at: datetime
    duplicate: bool = False


#: What may be, among other things, a number that not every reader of JSON takes.
_EXTREME = re.compile(rb"[0-9]{300}|[0-9][eE]\+?[0-9]{3}")


def payload_text(payload: Any) -> str:
    """The JSON text of a payload. ``msgspec.Raw`` and ``bytes`` are taken to be JSON already and kept as they are.

    Raises ``ManaError`` with ``empty_payload``, ``too_large``, ``too_deep``, ``invalid_json`` or ``invalid``.
    """
    if isinstance(payload, bytes | msgspec.Raw):
        data = bytes(payload)
    else:
        try:
            data = msgspec.json.encode(payload)
        except (TypeError, ValueError, RecursionError) as error:
            raise ManaError(ErrorCode.INVALID, f"The payload can't be written as JSON: {error}.") from None
    if is_empty(data):
        raise ManaError(ErrorCode.EMPTY_PAYLOAD)
    if len(data) > settings.MAX_MESSAGE_SIZE:
        raise ManaError(
            ErrorCode.TOO_LARGE,
            f"The payload has {len(data)} bytes; {settings.MAX_MESSAGE_SIZE} are allowed.",
        )
    if data.count(b"[") + data.count(b"{") > settings.MAX_DEPTH and depth(data) > settings.MAX_DEPTH:
        raise ManaError(ErrorCode.TOO_DEEP, f"The payload nests deeper than {settings.MAX_DEPTH}.")
    if _EXTREME.search(data):
        # What only some can read would pass by those who look at a payload: a filter, the admin, a report.
        try:
            msgspec.json.decode(data)
            json.loads(data)
        except (msgspec.MsgspecError, ValueError):
            raise ManaError(ErrorCode.INVALID, "The payload holds a number that is out of range.") from None
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise ManaError(ErrorCode.INVALID_JSON, "The payload is not valid UTF-8.") from None


def checked_ack_id(ack_id: str | None) -> str | None:
    """An ``ack_id`` that every database can store. Raises ``ManaError`` with ``invalid``."""
    if ack_id is not None and (not 1 <= len(ack_id) <= 64 or "\x00" in ack_id):
        raise ManaError(ErrorCode.INVALID, "ack_id must have 1 to 64 characters, none of them null.")
    return ack_id


def parse_message_id(text: str) -> UUID:
    """A message's id from the wire. Raises ``ManaError``."""
    try:
        return UUID(text)
    except ValueError:
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no message {text[:64]!r}.") from None
