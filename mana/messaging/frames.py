"""Rows as frames: how stored events look on the wire, in live delivery, sync, history and REST alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from mana.accounts.stores import Person
from mana.messaging.extras import extra_of, reaction_of
from mana.messaging.models import Membership, Message, PersonalEvent, Room
from mana.messaging.surroundings import Surroundings, around
from mana.protocol import server
from mana.realtime.announcements import NO_PAYLOAD, Announcement
from mana.realtime.wire import timestamp


class RoomChange(msgspec.Struct, omit_defaults=True):
    """What the payload of an event of kind ``room`` holds."""

    action: str
    room: server.RoomInfo
    members: list[server.RoomMember]
    message_id: str | None = None
    until: str | None = None
    avatar_file: str = ""
    changed: list[str] | None = None


#: Whatever has a place in the order of all events.
AnyEvent = Message | PersonalEvent

_changes = msgspec.json.Decoder(RoomChange)
_encode = msgspec.json.Encoder().encode

#: Actions after which the members they name are in the room, and after which they are not.
ENTERING = frozenset(("created", "joined"))
LEAVING = frozenset(("left", "removed", "banned"))


def change_of(event: Message) -> RoomChange:
    """What an event of kind ``room`` changed."""
    return _changes.decode(event.payload_json)


def room_info(room: Room) -> server.RoomInfo:
    """A room as all its members see it."""
    return server.RoomInfo(
        id=room.key,
        name=room.name,
        room_type=room.room_type,  # type: ignore[arg-type]  # one of the choices
        is_private=room.is_private,
        topic=room.topic,
        shares_history=room.shares_history,
        avatar=avatar_version(room),
        is_frozen=room.is_frozen,
        slow_mode=room.slow_mode,
        retention_days=room.retention_days,
        retention_count=room.retention_count,
    )


def avatar_version(room: Room) -> str | None:
    """What changes with a room's avatar, which ``rooms/{id}/avatar`` of the REST API gives."""
    return room.avatar[-12:] or None


def room_member(person: Person, role: str = Membership.Role.MEMBER) -> server.RoomMember:
    """A person whom a room event is about."""
    return server.RoomMember(user_id=person.user_id, username=person.username, role=str(role))


def change_json(
    action: str,
    room: Room,
    members: list[server.RoomMember],
    *,
    message_id: str | None = None,
    until: str | None = None,
    changed: list[str] | None = None,
) -> str:
    """The payload of a room event. ``changed`` names the settings of the room that are others now."""
    change = RoomChange(
        action=action,
        room=room_info(room),
        members=members,
        message_id=message_id,
        until=until,
        avatar_file=room.avatar if changed and "avatar" in changed else "",
        changed=changed,
    )
    return _encode(change).decode()


def peer_of(room: Room, sender: Person | None) -> str | None:
    """In a direct room, whom a message of ``sender`` is for."""
    if room.direct_key is None or sender is None:
        return None
    others = [user_id for user_id in room.direct_user_ids() if user_id != sender.user_id]
    return others[0] if others else sender.user_id


def message_frame(
    *,
    message_id: UUID,
    sequence: int,
    index: int,
    room_key: str,
    sender: Person | None,
    device_id: str,
    to: str | None,
    payload_json: str,
    reply_to: UUID | None,
    created_at: datetime,
    extra_json: str = "",
    edited_at: datetime | None = None,
    deleted: bool = False,
    reactions: list[server.ReactionCount] | None = None,
    ack_id: str | None = None,
) -> bytes:
    """A ``message`` frame."""
    sender_id = sender.user_id if sender else None
    extra = extra_of(extra_json) if extra_json else None
    return _encode(
        server.Message(
            id=str(message_id),
            sequence=sequence,
            index=index,
            room_id=room_key,
            timestamp=timestamp(created_at),
            from_=sender_id,
            sender_id=sender_id,
            username=sender.username if sender else None,
            device_id=device_id or None,
            to=to,
            target_id=to,
            payload=msgspec.Raw(payload_json.encode()),
            reply_to=str(reply_to) if reply_to else None,
            mentions=extra.mentions or None if extra else None,
            attachments=extra.attachments or None if extra else None,
            edited_at=timestamp(edited_at) if edited_at else None,
            deleted=deleted,
            reactions=reactions,
            encrypted=extra.encrypted if extra else False,
            ack_id=ack_id,
        )
    )


def event_frame(event: AnyEvent, seen: Surroundings, *, reader_pk: Any = None) -> bytes:
    """A sequenced event as a frame; ``event.room`` must be loaded. Its sender also reads the ``ack_id``."""
    if isinstance(event, PersonalEvent):
        return _personal_frame(event, seen)
    assert event.sequence is not None
    assert event.index is not None
    sender = seen.senders.get(event.sender_id)
    if event.kind != Message.Kind.MESSAGE:
        return _encode(_change_frame(event, sender, seen))
    return message_frame(
        message_id=event.id,
        sequence=event.sequence,
        index=event.index,
        room_key=event.room.key,
        sender=sender,
        device_id=event.device_id,
        to=peer_of(event.room, sender),
        payload_json=seen.payload_json(event),
        reply_to=event.reply_to_id,
        created_at=event.created_at,
        extra_json=event.extra_json,
        edited_at=event.edited_at,
        deleted=event.deleted_at is not None,
        reactions=seen.reactions(event),
        ack_id=event.ack_id if reader_pk is not None and event.sender_id == reader_pk else None,
    )


def _change_frame(event: Message, sender: Person | None, seen: Surroundings) -> server.Event:
    assert event.sequence is not None
    place: dict[str, Any] = {
        "id": str(event.id),
        "sequence": event.sequence,
        "index": event.index,
        "room_id": event.room.key,
        "timestamp": timestamp(event.created_at),
        "from_": sender.user_id if sender else None,
        "username": sender.username if sender else None,
    }
    if event.kind == Message.Kind.ROOM:
        change = change_of(event)
        return server.RoomEvent(
            **place,
            action=change.action,  # type: ignore[arg-type]  # written by this module
            room=change.room,
            members=change.members,
            message_id=change.message_id,
            until=change.until,
        )
    place["message_id"] = str(event.target)
    if event.kind == Message.Kind.EDIT:
        payload, mentions = seen.edited(event)
        return server.MessageEdit(**place, payload=payload, mentions=mentions)
    if event.kind == Message.Kind.REACTION:
        change_ = reaction_of(event.payload_json)
        return server.Reaction(
            **place, emoji=change_.emoji, remove=change_.remove, count=seen.count(event, change_.emoji)
        )
    return server.MessageDelete(**place)


def _personal_frame(event: PersonalEvent, seen: Surroundings) -> bytes:
    place = {
        "type": event.kind,
        "id": str(event.id),
        "sequence": event.sequence,
        "timestamp": timestamp(event.created_at),
    }
    # Both are objects with members.
    frame = _encode(place)[:-1] + b"," + event.payload_json.encode()[1:]
    own = seen.sealed_payload(event)
    return frame if own is None else frame.replace(NO_PAYLOAD.encode(), f',"payload":{own}'.encode(), 1)


def event_frames(events: Sequence[AnyEvent], *, reader_pk: Any, device_id: str | None = None) -> list[bytes]:
    """Events as frames for a reader, on one of their devices where it is known, in a fixed number of queries."""
    seen = around(events, reader_pk=reader_pk, device_id=device_id)
    return [event_frame(event, seen, reader_pk=reader_pk) for event in events]


def announcement_of(event: AnyEvent, seen: Surroundings) -> Announcement:
    """A sequenced event on its way to sessions."""
    assert event.sequence is not None
    if isinstance(event, PersonalEvent):
        user = seen.senders.get(event.user_id)
        users = [user.user_id] if user else []
        payloads = seen.payloads_of_all(event)
        return Announcement(event.sequence, "", event_frame(event, seen).decode(), users=users, payloads=payloads)
    joined: list[str] = []
    left: list[str] = []
    if event.kind == Message.Kind.ROOM:
        change = change_of(event)
        concerned = [member.user_id for member in change.members]
        if change.action in ENTERING:
            joined = concerned
        elif change.action in LEAVING:
            left = concerned
        elif change.action == "deleted":
            left = _left_at(event)
    sender = seen.senders.get(event.sender_id)
    return Announcement(
        event.sequence,
        event.room.key,
        event_frame(event, seen).decode(),
        origin=event.session_id if event.kind == Message.Kind.MESSAGE else "",
        sender=sender.user_id if sender and event.ack_id else "",
        ack_id=event.ack_id or "",
        joined=joined,
        left=left,
        payloads=seen.payloads_of_all(event),
    )


def _left_at(event: Message) -> list[str]:
    """Everybody whom the deletion of a room took out of it: too many to name in the frame."""
    from mana.accounts.stores import people

    rows = Membership.objects.filter(room_id=event.room_id, last_index=event.index)
    return [person.user_id for person in people(set(rows.values_list("user_id", flat=True))).values()]


def announcements_of(events: Iterable[AnyEvent]) -> list[Announcement]:
    """Sequenced events on their way to sessions, in their order, in a fixed number of queries."""
    events = sorted(events, key=lambda event: event.sequence or 0)
    seen = around(events)
    return [announcement_of(event, seen) for event in events]
