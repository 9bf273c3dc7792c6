"""A room as people see it: texts, with the edits, deletions and reactions that came for them. No I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from mana_e2ee.client.contents import reference
from mana_e2ee.client.errors import InvalidContent
from mana_e2ee.client.journal import Message


@dataclass
class Shown:
    """One entry. Without ``text`` there is nothing to read: ``message.state`` says why, or it is ``deleted``."""

    message: Message
    text: str | None = None
    attachments: list[dict[str, Any]] = field(default_factory=list)
    reply_to: tuple[str, str] | None = None
    edited: bool = False
    deleted: bool = False
    reactions: dict[str, set[str]] = field(default_factory=dict)


def shown(messages: Iterable[Message]) -> list[Shown]:
    """Entries in order of sequence. What is about a message that is not there is left out until it comes."""
    entries: list[Shown] = []
    by_ref: dict[tuple[str, str], Shown] = {}
    later: list[Message] = []
    for message in messages:
        content = message.content
        if content is None:
            entries.append(Shown(message, deleted=message.state == "deleted"))
        elif content["kind"] == "text":
            entry = Shown(message, content["text"], content.get("attachments", []))
            if "reply_to" in content:
                entry.reply_to = reference(content["reply_to"])
            entries.append(entry)
            by_ref[content["from"], content["id"]] = entry
        elif content["kind"] == "custom":
            entries.append(Shown(message))
        else:
            later.append(message)
    for message in sorted(later, key=lambda one: (one.content or {})["at"] if _is_edit(one) else 0):
        _apply(message, by_ref)
    for entry in entries:
        if entry.deleted:
            entry.text, entry.attachments, entry.reactions = None, [], {}
    return entries


def _is_edit(message: Message) -> bool:
    return message.content is not None and message.content["kind"] == "edit"


def _apply(message: Message, by_ref: dict[tuple[str, str], Shown]) -> None:
    content = message.content
    assert content is not None
    try:
        target = by_ref.get(reference(content["target"]))
    except InvalidContent:
        return
    if target is None:
        return
    own = target.message.sender == content["from"]
    if content["kind"] == "edit" and own:
        target.text, target.edited = content["text"], True
    elif content["kind"] == "delete" and own:
        target.deleted = True
    elif content["kind"] == "reaction":
        people = target.reactions.setdefault(content["emoji"], set())
        if content.get("remove"):
            people.discard(content["from"])
        else:
            people.add(content["from"])
        if not people:
            del target.reactions[content["emoji"]]
