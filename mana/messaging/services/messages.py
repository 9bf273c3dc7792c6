"""Sending."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from asgiref.sync import sync_to_async
from django.db import IntegrityError
from django.utils import timezone

from mana.messaging import sequencer, stores
from mana.messaging.carried import Carried
from mana.messaging.drafts import Draft, Placed, checked_ack_id, payload_text
from mana.messaging.hooks import approve
from mana.messaging.message_store import message_store
from mana.messaging.models import Membership, Message, Room
from mana.messaging.permits import check_may_write, check_no_pending
from mana.messaging.policies import policy
from mana.messaging.publish import publish
from mana.messaging.services.people import as_person
from mana.messaging.services.rooms import adirect_room, direct_room
from mana.messaging.timeline import change, database, in_callers_transaction
from mana.messaging.writer import Writer
from mana.protocol import ErrorCode, ManaError
from mana.realtime import hub as hubs


def send(
    room: Room | str,
    sender: Any,
    payload: Any,
    *,
    ack_id: str | None = None,
    reply_to: UUID | None = None,
    mentions: Sequence[str] = (),
    attachments: Sequence[UUID] = (),
    device_id: str = "",
) -> Message:
    """Stores a message and announces it.

    ``payload`` is anything that JSON can write, or JSON itself as bytes. ``mentions`` are wire ids of members of the
    room, or ``@all``; ``attachments`` ids of files that the sender has uploaded and not sent yet. With ``ack_id`` a
    second call for the same sender stores nothing and gives the first message.

    Inside a transaction of the caller's the message is stored with it, and announced after it commits; ``sequence`` and
    ``index`` are empty until then. Otherwise they are set when the call returns, and the message is committed.

    Raises ``ManaError``: ``not_found`` or ``not_a_member``, ``forbidden``, ``empty_payload``, ``too_large``,
    ``rate_limited`` in slow mode, or what a receiver of ``message_sending`` says.
    """
    draft = _draft(room, sender, payload, ack_id, reply_to, mentions, attachments, device_id)
    if in_callers_transaction(database()):
        return _send_with_caller(draft)
    (result,), events = message_store().save([draft])
    if isinstance(result, ManaError):
        raise result
    publish(events)
    return events[0] if events else stores.message(result.message_id)


async def asend(
    room: Room | str,
    sender: Any,
    payload: Any,
    *,
    ack_id: str | None = None,
    reply_to: UUID | None = None,
    mentions: Sequence[str] = (),
    attachments: Sequence[UUID] = (),
    device_id: str = "",
) -> Message:
    """``send`` for coroutines; in a process that serves sockets through its group-commit writer."""
    hub = hubs.started()
    if hub is None:
        return await sync_to_async(send)(
            room,
            sender,
            payload,
            ack_id=ack_id,
            reply_to=reply_to,
            mentions=mentions,
            attachments=attachments,
            device_id=device_id,
        )
    draft = await hub.database.run(_draft, room, sender, payload, ack_id, reply_to, mentions, attachments, device_id)
    placed: Placed = await hub.extension(Writer).send(draft)
    return await hub.database.run(stores.message, placed.message_id)


def send_direct(sender: Any, recipient: Any, payload: Any, *, ack_id: str | None = None) -> Message:
    """Sends to a person, in the direct room of the two, which is made when they have none."""
    return send(direct_room(sender, recipient).room, sender, payload, ack_id=ack_id)


async def asend_direct(sender: Any, recipient: Any, payload: Any, *, ack_id: str | None = None) -> Message:
    """``send_direct`` for coroutines."""
    return await asend((await adirect_room(sender, recipient)).room, sender, payload, ack_id=ack_id)


def _draft(
    room: Room | str,
    sender: Any,
    payload: Any,
    ack_id: str | None,
    reply_to: UUID | None,
    mentions: Sequence[str],
    attachments: Sequence[UUID],
    device_id: str,
) -> Draft:
    draft = Draft(
        room_key=room if isinstance(room, str) else room.key,
        sender=as_person(sender),
        payload_json=payload_text(payload),
        ack_id=checked_ack_id(ack_id),
        reply_to=reply_to,
        mentions=mentions,
        attachments=attachments,
        device_id=device_id,
    )
    return approve(draft)


def _send_with_caller(draft: Draft) -> Message:
    using = database()
    resent = Message.objects.using(using).filter(sender_id=draft.sender.pk, ack_id=draft.ack_id)
    if draft.ack_id is not None and (earlier := resent.first()) is not None:
        return earlier
    room = stores.room_by_key(draft.room_key, using=using)
    membership = stores.membership(room, draft.sender, using=using) if room is not None else None
    if room is None or membership is None or membership.state != Membership.State.JOINED:
        raise stores.not_in_room(room, draft.room_key)
    rules = policy()
    sequencer.check_may_send(rules, draft.sender, room, membership.role)
    check_may_write(membership, room, timezone.now())
    check_no_pending(membership, room, timezone.now(), using)
    Carried([draft], using).check(draft, room, membership.role, rules)
    if draft.reply_to is not None and not _may_quote(draft.reply_to, room, membership):
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no message {str(draft.reply_to)!r} in this room.")
    try:
        with change() as timeline:
            return timeline.append(sequencer.event_of(draft, room))
    except IntegrityError:
        # Another transaction with the same ack_id was open at the same time, and has committed first.
        if draft.ack_id is None or (earlier := resent.first()) is None:
            raise
        return earlier


def _may_quote(message_id: UUID, room: Room, membership: Membership) -> bool:
    row = room.messages.filter(pk=message_id, kind=Message.Kind.MESSAGE, deleted_at=None).first()
    return row is not None and (row.index is None or membership.can_read(row.index))
