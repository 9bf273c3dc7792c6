"""What an event's columns hold as JSON beside a message's own payload."""

from __future__ import annotations

from typing import Any

import msgspec

from mana.protocol import server

#: Stands for everybody in the room in a list of mentions.
EVERYBODY = "@all"


class Extra(msgspec.Struct, omit_defaults=True):
    """``Message.extra_json``."""

    mentions: list[str] = []
    attachments: list[server.AttachmentInfo] = []
    encrypted: bool = False


class EditChange(msgspec.Struct, omit_defaults=True):
    """The payload of an event of kind ``edit`` until it has its place; then the message itself holds it."""

    payload: msgspec.Raw = msgspec.Raw(b"null")
    mentions: list[str] | None = None


class ReactionChange(msgspec.Struct, omit_defaults=True):
    """The payload of an event of kind ``reaction``."""

    emoji: str = ""
    remove: bool = False


_encode = msgspec.json.Encoder().encode
_extra = msgspec.json.Decoder(Extra)
_edit = msgspec.json.Decoder(EditChange)
_reaction = msgspec.json.Decoder(ReactionChange)


def to_json(value: Any) -> str:
    """A value as JSON text."""
    return _encode(value).decode()


def extra_of(extra_json: str) -> Extra:
    """What a message carries."""
    return _extra.decode(extra_json)


def extra_json(mentions: list[str], attachments: list[server.AttachmentInfo], *, encrypted: bool = False) -> str:
    """What a message carries, as it is stored; empty for nothing."""
    return to_json(Extra(mentions, attachments, encrypted)) if mentions or attachments or encrypted else ""


def edit_of(payload_json: str) -> EditChange:
    """What an edit changes."""
    return _edit.decode(payload_json)


def reaction_of(payload_json: str) -> ReactionChange:
    """What a reaction changes."""
    return _reaction.decode(payload_json)
