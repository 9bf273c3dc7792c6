"""What people are notified of by themselves: mentions, requests to become contacts, and messages while they are away.

Receivers of mana's signals.
"""

from __future__ import annotations

import json
from typing import Any

from mana.accounts.stores import Person, people, person, resolve
from mana.conf import settings
from mana.messaging.models import Membership
from mana.messaging.timeline import database
from mana.notifications import push, services
from mana.notifications.models import Notification
from mana.notifications.wishes import wishes_of
from mana.realtime.database import patient
from mana.text import storable

#: Characters of a message that a notification shows.
EXCERPT = 200
#: What stands for everybody among a message's mentions.
EVERYBODY = "@all"


def message_stored(sender: Any, message: Any, **_: Any) -> None:
    """Notifies those whom a message mentions, and pushes it to the other members who are away."""
    if settings.PUSH_BACKENDS:
        push.in_background(push_message, message)
    if not message.mentions:
        return
    # Only what reads is done again: a second broadcast would notify twice.
    author, users = _author_and_mentioned(message)
    if not users:
        return
    name = (author.display_name or author.username) if author is not None else "Somebody"
    room = message.room
    services.broadcast(
        f"{name} mentioned you" + (f" in {room.name}" if room.name else ""),
        excerpt(message.payload_json),
        {"room_id": room.key, "message_id": str(message.pk), "index": message.index},
        users=users,
        kind="mention",
        room=room.key,
    )


@patient
def _author_and_mentioned(message: Any) -> tuple[Person | None, list[Person]]:
    mentions = mentions_of(message)
    mentioned = {**resolve(mentions), **(_everybody_in(message) if EVERYBODY in mentions else {})}
    author = person(message.sender_id) if message.sender_id is not None else None
    return author, [one for one in mentioned.values() if author is None or one.pk != author.pk]


def _everybody_in(message: Any) -> dict[str, Person]:
    if message.room.member_count > settings.MENTION_ALL_MAX_ROOM:
        return {}
    return {person.user_id: person for person in people(_readers_of(message)).values()}


def _readers_of(message: Any) -> list[Any]:
    """The members who may read a message: not who has come since, where newcomers don't get what was before."""
    members = Membership.objects.using(database()).filter(
        room=message.room, state=Membership.State.JOINED, first_index__lte=message.index
    )
    return list(members.values_list("user_id", flat=True))


def push_message(message: Any) -> int:
    """Pushes a message to the members of its room who are away and want to be told of all; how many were reached."""
    room = message.room
    if room.member_count > settings.PUSH_MAX_ROOM:
        return 0
    mentions = mentions_of(message)
    if EVERYBODY in mentions:
        return 0
    told = {one.pk for one in resolve(mentions).values()} | {message.sender_id}
    away = push.reachable(set(_readers_of(message)) - told)
    if not away:
        return 0
    wishes = wishes_of(away, room=room.key, mention=False)
    author = person(message.sender_id) if message.sender_id is not None else None
    name = (author.display_name or author.username) if author is not None else "Somebody"
    data = {"room_id": room.key, "message_id": str(message.pk), "index": message.index}
    return push.push(
        [
            Notification(
                user_id=pk,
                kind="message",
                title=f"{name} in {room.name}"[: services.TITLE_LENGTH] if room.name else name,
                body=excerpt(message.payload_json),
                data_json=json.dumps(data),
            )
            for pk in sorted(away, key=str)
            if wishes[pk].wanted and not wishes[pk].silent
        ]
    )


def mentions_of(message: Any) -> list[str]:
    """The wire ids of those whom a message mentions; ``@all`` stands for everybody in the room."""
    return list(message.mentions)


def excerpt(payload_json: str) -> str:
    """The beginning of a message's text; empty for payloads that hold none, such as encrypted ones."""
    try:
        payload = json.loads(payload_json)
    except ValueError:  # a number without end, which is not taken any more
        return ""
    text = payload.get("text") if isinstance(payload, dict) else payload
    return storable(text[:EXCERPT]) if isinstance(text, str) else ""


@patient
def contact_requested(sender: Any, user: Any, other: Any, **_: Any) -> None:
    """Notifies who is asked to become a contact."""
    _of_person(other, user, "{} wants to be your contact", "contact_request")


@patient
def contact_accepted(sender: Any, user: Any, other: Any, **_: Any) -> None:
    """Notifies who had asked."""
    _of_person(other, user, "{} is your contact now", "contact_accepted")


def _of_person(user: Any, about: Any, title: str, kind: str) -> None:
    who = person(about.pk) if about is not None else None
    if who is not None and user is not None:
        services.send(user, title.format(who.display_name or who.username), data={"user_id": who.user_id}, kind=kind)
