"""Changing messages: edits, deletions, reactions, pins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.utils import timezone
from msgspec import Raw, Struct

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging import sequencer
from mana.messaging.carried import Carried
from mana.messaging.drafts import Draft, payload_text
from mana.messaging.emoji import is_emoji
from mana.messaging.extras import EditChange, ReactionChange, extra_of, to_json
from mana.messaging.frames import peer_of
from mana.messaging.hooks import approve
from mana.messaging.models import Hidden, Membership, Message, PersonalEvent, Pin, Reaction, Revision, Room
from mana.messaging.permits import check_not_muted
from mana.messaging.policies import MessagingPolicy, policy
from mana.messaging.services.acting import Touched, acting_on, readable_message
from mana.messaging.services.asynchronous import reading, writing
from mana.messaging.services.people import as_person
from mana.messaging.timeline import change, database
from mana.protocol import ErrorCode, ManaError


@dataclass(frozen=True, slots=True)
class MessageResult:
    """A message that was changed, and the event of the change; ``None`` if there was nothing to change."""

    message: Message
    event: Message | PersonalEvent | None


def edit(message_id: UUID, user: Any, payload: Any, *, mentions: Sequence[str] | None = None) -> MessageResult:
    """Replaces what a message says. What it said before is kept, until it is deleted.

    Raises ``ManaError``: ``not_found``, ``forbidden`` for others than its author or after ``EDIT_WINDOW``,
    ``conflict`` after ``EDITS_MAX`` edits, and whatever sending refuses.
    """
    person = as_person(user)
    found = readable_message(message_id, person)
    draft = approve(
        Draft(
            room_key=found.room.key,
            sender=person,
            payload_json=payload_text(payload),
            mentions=mentions or (),
            edits=message_id,
        )
    )
    now = timezone.now()
    with change() as timeline:
        message, room, membership = acting_on(timeline, message_id, person)
        rules = policy()
        _check_may_write(rules, person, room, membership)
        rules.may_edit(person, room, membership.role, message, now)
        if message.is_encrypted:
            # Its text would be in the open then.
            raise ManaError(ErrorCode.INVALID, "An encrypted message is changed by another encrypted one.")
        if Revision.objects.using(timeline.using).filter(message_id=message.pk).count() >= settings.EDITS_MAX:
            raise ManaError(ErrorCode.CONFLICT, "This message was edited too often.")
        Carried([draft], timeline.using).check(draft, room, membership.role, rules)
        named = None
        if mentions is not None:
            named = extra_of(draft.extra_json).mentions if draft.extra_json else []
        payload_json = to_json(EditChange(Raw(draft.payload_json.encode()), named))
        event = timeline.append(_event(Message.Kind.EDIT, message, person, payload_json))
    return MessageResult(_again(message), event)


def delete(message_id: UUID, user: Any) -> MessageResult:
    """Deletes a message for everyone: what it says, said and carries leaves the database.

    Raises ``ManaError``: ``not_found``, ``forbidden`` for others than its author and moderators, or after
    ``DELETE_WINDOW``.
    """
    person = as_person(user)
    now = timezone.now()
    with change() as timeline:
        message, room, membership = acting_on(timeline, message_id, person)
        policy().may_delete(person, room, membership.role, message, now)
        event = timeline.append(_event(Message.Kind.DELETE, message, person, "{}"))
    return MessageResult(_again(message), event)


def delete_as_staff(message_id: UUID, user: Any = None) -> MessageResult:
    """Deletes a message for everyone, whoever asks: for moderation and the admin, which have their own permissions."""
    person = as_person(user) if user is not None else None
    with change() as timeline:
        rows = Message.objects.using(timeline.using).select_related("room").filter(pk=message_id, deleted_at=None)
        message = rows.filter(kind=Message.Kind.MESSAGE).first()
        if message is None:
            raise ManaError(ErrorCode.NOT_FOUND, f"There is no message {str(message_id)!r}.")
        message.room = timeline.adopt(message.room)
        event = timeline.append(_event(Message.Kind.DELETE, message, person, "{}"))
    return MessageResult(_again(message), event)


class _HiddenFrame(Struct):
    room_id: str
    message_id: str
    scope: str = "me"


def hide(message_id: UUID, user: Any) -> MessageResult:
    """Deletes a message for the user alone, on all their devices. Nobody else learns of it."""
    person = as_person(user)
    with change() as timeline:
        message, room, _ = readable_message(message_id, person, using=timeline.using)
        Hidden.objects.using(timeline.using).get_or_create(user_id=person.pk, message_id=message.pk)
        event = timeline.append_personal(person, "message_delete", _HiddenFrame(room.key, str(message.pk)))
    return MessageResult(message, event)


def react(message_id: UUID, user: Any, emoji: str, *, remove: bool = False) -> MessageResult:
    """Puts an emoji on a message, or takes it back. Doing it twice changes nothing.

    Raises ``ManaError``: ``not_found``, ``forbidden``, ``invalid`` for what is no emoji, ``conflict`` beyond
    ``REACTIONS_MAX`` or ``REACTIONS_PER_USER``.
    """
    person = as_person(user)
    if not is_emoji(emoji):
        raise ManaError(ErrorCode.INVALID, "A reaction is one emoji, or a :name: between colons.")
    with change() as timeline:
        message, room, membership = acting_on(timeline, message_id, person)
        rules = policy()
        if not remove:
            _check_may_react(rules, person, room, membership)
        reactions = Reaction.objects.using(timeline.using).filter(message_id=message.pk)
        own = reactions.filter(user_id=person.pk)
        if own.filter(emoji=emoji).exists() != remove:
            return MessageResult(message, None)
        if not remove:
            if own.count() >= settings.REACTIONS_PER_USER:
                raise ManaError(ErrorCode.CONFLICT, f"You may put {settings.REACTIONS_PER_USER} emoji on a message.")
            others = reactions.exclude(emoji=emoji).values("emoji").distinct().count()
            if others >= settings.REACTIONS_MAX:
                raise ManaError(ErrorCode.CONFLICT, f"A message has {settings.REACTIONS_MAX} different emoji at most.")
        payload_json = to_json(ReactionChange(emoji, remove))
        event = timeline.append(_event(Message.Kind.REACTION, message, person, payload_json))
    return MessageResult(_again(message), event)


def pin(message_id: UUID, user: Any) -> MessageResult:
    """Pins a message in its room. Raises ``ManaError``: ``not_found``, ``forbidden``, ``conflict`` at ``PINS_MAX``."""
    person = as_person(user)
    with change() as timeline:
        message, room, membership = acting_on(timeline, message_id, person)
        rules = policy()
        rules.may_pin(person, room, membership.role)
        _check_reaches(rules, person, room)
        pins = Pin.objects.using(timeline.using).filter(room=room)
        if pins.filter(message_id=message.pk).exists():
            return MessageResult(message, None)
        if pins.count() >= settings.PINS_MAX:
            raise ManaError(ErrorCode.CONFLICT, f"A room has {settings.PINS_MAX} pinned messages at most.")
        event = timeline.append_change(room, person, "pinned", {}, message_id=str(message.pk))
    return MessageResult(message, event)


def unpin(message_id: UUID, user: Any) -> MessageResult:
    """Takes a message from the pinned ones."""
    person = as_person(user)
    with change() as timeline:
        message, room, membership = acting_on(timeline, message_id, person)
        policy().may_pin(person, room, membership.role)
        if not Pin.objects.using(timeline.using).filter(message_id=message.pk).exists():
            return MessageResult(message, None)
        event = timeline.append_change(room, person, "unpinned", {}, message_id=str(message.pk))
    return MessageResult(message, event)


def get_message(message_id: UUID, user: Any) -> Touched:
    """A message that the user may read. Raises ``ManaError`` with ``not_found``."""
    return readable_message(message_id, as_person(user))


def revisions(message_id: UUID, user: Any) -> list[Revision]:
    """What a message said before, oldest first, as far as the user may know: who left knows of no later edits."""
    person = as_person(user)
    message, room, membership = readable_message(message_id, person)
    policy().may_read_revisions(person, room, membership.role, message)
    rows = Revision.objects.using(database()).filter(message_id=message.pk).order_by("index")
    if membership.last_index is not None:
        rows = rows.filter(index__lte=membership.last_index)
    return list(rows)


def _check_may_write(rules: MessagingPolicy, person: Person, room: Room, membership: Membership) -> None:
    sequencer.check_may_send(rules, person, room, membership.role)
    check_not_muted(membership, timezone.now())


def _check_may_react(rules: MessagingPolicy, person: Person, room: Room, membership: Membership) -> None:
    rules.may_react(person, room, membership.role)
    check_not_muted(membership, timezone.now())
    _check_reaches(rules, person, room)


def _check_reaches(rules: MessagingPolicy, person: Person, room: Room) -> None:
    other = peer_of(room, person)
    if other is not None:
        rules.may_message_directly(person, other)


def _event(kind: str, message: Message, person: Person | None, payload_json: str) -> Message:
    return Message(
        room=message.room,
        kind=kind,
        target=message.pk,
        sender_id=person.pk if person else None,
        payload_json=payload_json,
        created_at=timezone.now(),
    )


def _again(message: Message) -> Message:
    return Message.objects.using(database()).select_related("room").get(pk=message.pk)


aedit = writing(edit)
adelete = writing(delete)
ahide = writing(hide)
areact = writing(react)
apin = writing(pin)
aunpin = writing(unpin)
aget_message = reading(get_message)
arevisions = reading(revisions)
