"""What a report keeps of its subject, as it was when it was reported: names and texts, whatever becomes of the rows."""

from __future__ import annotations

import json
from typing import Any

from mana.accounts.stores import Person, person, profiles
from mana.messaging.models import Attachment, Message, Room
from mana.realtime.wire import timestamp


def of_user(who: Person) -> dict[str, Any]:
    """A person as others see them."""
    profile = profiles().many([who.pk]).get(who.pk)
    return {
        "user": _named(who),
        "about": profile.about if profile else "",
        "status": " ".join(filter(None, (profile.status_emoji, profile.status_text))) if profile else "",
    }


def of_room(room: Room) -> dict[str, Any]:
    """A room as others see it."""
    return {"room": {"id": room.key, "name": room.name, "topic": room.topic}}


def of_message(message: Message, room: Room) -> dict[str, Any]:
    """A message, its author, and what is known of its files. The files themselves go with the message.

    Of an encrypted message it is the ciphertext.
    """
    author = person(message.sender_id) if message.sender_id is not None else None
    files = Attachment.objects.using(message._state.db).filter(message_id=message.pk).order_by("created_at", "pk")
    return {
        **of_room(room),
        **({"user": _named(author)} if author is not None else {}),
        "message": {
            "id": str(message.pk),
            "index": message.index,
            "timestamp": timestamp(message.created_at),
            "edited_at": timestamp(message.edited_at) if message.edited_at else None,
            "payload": _payload(message),
        },
        "attachments": [
            {"name": one.name, "content_type": one.content_type, "size": one.size, "sha256": one.sha256}
            for one in files
        ],
    }


def _payload(message: Message) -> Any:
    try:
        return json.loads(message.payload_json)
    except ValueError:  # a number without end, which is not taken any more
        return message.payload_json


def _named(who: Person) -> dict[str, str]:
    return {"id": who.user_id, "username": who.username, "display_name": who.display_name}
