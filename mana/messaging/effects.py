"""What an event does to other rows, done at the moment in which it gets its place in the order.

Not where it is asked for: inside a caller's transaction a row that is changed stays locked until its end, and the
writer, which everybody waits for, must never wait for it. This way effects also happen in the order of their events.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import transaction

from mana.accounts.stores import resolve
from mana.messaging import sealed
from mana.messaging.extras import EVERYBODY, edit_of, extra_json, extra_of, reaction_of
from mana.messaging.models import Attachment, Mention, Message, Pin, Reaction, Revision

Kind = Message.Kind
NOTHING = "null"


def apply(event: Message, *, using: str, is_stored: bool) -> None:
    """Makes the changes of an event other than one of kind ``room``. ``is_stored`` if its own row is there already."""
    if event.kind == Kind.MESSAGE:
        if event.extra_json:
            _carry(event, using)
    elif event.kind == Kind.EDIT:
        _edit(event, using)
    elif event.kind == Kind.DELETE:
        _delete(event, using)
    elif event.kind == Kind.REACTION:
        _react(event, using)
    if event.kind == Kind.EDIT:
        event.payload_json = NOTHING
        if is_stored:
            Message.objects.using(using).filter(pk=event.pk).update(payload_json=NOTHING)


def _carry(event: Message, using: str) -> None:
    extra = extra_of(event.extra_json)
    _mention(event, extra.mentions, using)
    ids = [UUID(one.id) for one in extra.attachments]
    if ids:
        free = Attachment.objects.using(using).filter(pk__in=ids, owner_id=event.sender_id, message_id__isnull=True)
        free.update(message_id=event.pk, room_id=event.room_id)


def _mention(event: Message, mentions: list[str], using: str) -> None:
    if not mentions:
        return
    # Whom everybody is told of needs no row of their own.
    users: list[Any] = [None]
    if EVERYBODY not in mentions:
        users = [person.pk for person in resolve(mentions, active_only=False).values()]
    Mention.objects.using(using).bulk_create(
        [Mention(message_id=event.pk, room_id=event.room_id, user_id=pk, index=event.index or 0) for pk in users]
    )


def _living(event: Message, using: str) -> Message | None:
    if event.target is None:
        return None
    return Message.objects.using(using).filter(pk=event.target, deleted_at=None).first()


def _edit(event: Message, using: str) -> None:
    message = _living(event, using)
    if message is None:
        return  # deleted by an event that got its place before
    change = edit_of(event.payload_json)
    Revision.objects.using(using).create(
        message=message,
        index=event.index or 0,
        payload_json=message.payload_json,
        editor_id=event.sender_id,
        created_at=event.created_at,
    )
    message.payload_json = bytes(change.payload).decode()
    message.edited_at = event.created_at
    if change.mentions is not None:
        attachments = extra_of(message.extra_json).attachments if message.extra_json else []
        message.extra_json = extra_json(change.mentions, attachments)
        Mention.objects.using(using).filter(message_id=message.pk).delete()
        _mention(message, change.mentions, using)
    message.save(using=using, update_fields=["payload_json", "edited_at", "extra_json"])


def _delete(event: Message, using: str) -> None:
    message = _living(event, using)
    if message is not None:
        message.deleted_at = event.created_at
        erase([message], using=using)


def erase(messages: list[Message], *, using: str) -> None:
    """Takes everything out of messages that they say, said and carry; ``deleted_at`` is the caller's to set."""
    from mana.messaging.files import discard

    pks = [message.pk for message in messages]
    for message in messages:
        message.payload_json, message.extra_json = NOTHING, ""
        message.edited_at, message.reaction_count = None, 0
    fields = ["payload_json", "extra_json", "edited_at", "reaction_count", "deleted_at"]
    Message.objects.using(using).bulk_update(messages, fields, batch_size=200)
    for model in (Revision, Reaction, Mention, Pin):
        model.objects.using(using).filter(message_id__in=pks).delete()
    sealed.discard(pks, using)
    attachments = Attachment.objects.using(using).filter(message_id__in=pks)
    names = [name for pair in attachments.values_list("file", "thumbnail") for name in pair if name]
    if names:
        attachments.delete()
        transaction.on_commit(lambda: discard(names), using=using)


def _react(event: Message, using: str) -> None:
    message = _living(event, using)
    if message is None:
        return
    change = reaction_of(event.payload_json)
    own = {"message_id": message.pk, "user_id": event.sender_id, "emoji": change.emoji}
    reactions = Reaction.objects.using(using)
    if change.remove:
        reactions.filter(**own).delete()
    elif not reactions.filter(**own).exists():
        reactions.create(**own, index=event.index or 0, created_at=event.created_at)
    count = reactions.filter(message_id=message.pk).count()
    Message.objects.using(using).filter(pk=message.pk).update(reaction_count=count)
