"""Keeping order in a room: muting, banning, deleting it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from mana.accounts.stores import Person, people
from mana.messaging import stores
from mana.messaging.models import Attachment, Invite, Membership, Message, Pin, Room
from mana.messaging.policies import policy
from mana.messaging.services.acting import acting_in, tell
from mana.messaging.services.asynchronous import reading, writing
from mana.messaging.services.heirs import appoint_owner
from mana.messaging.services.people import as_person
from mana.messaging.services.rooms import RoomResult, locked_memberships
from mana.messaging.timeline import Outbox, Timeline, change, database
from mana.protocol import ErrorCode, ManaError
from mana.realtime.wire import timestamp

Role, State = Membership.Role, Membership.State

#: Until when somebody is muted who is muted for good.
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


def mute(room_key: str, actor: Any, user: Any, *, until: datetime | None = None) -> RoomResult:
    """Keeps a member from writing in a room, until then or for good."""
    person = as_person(actor)
    if until is not None and until <= timezone.now():
        raise ManaError(ErrorCode.INVALID, "This moment has passed.")
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        other, membership = _member(timeline, room, user)
        policy().may_mute(person, room, role, membership.role)
        return _mute(timeline, room, person, other, membership, until or FOR_EVER)


def mute_as_staff(room: Room, user: Any, *, until: datetime | None = None, actor: Any = None) -> RoomResult:
    """Mutes a member, whoever asks: for moderation and the admin, which have their own permissions."""
    with change() as timeline:
        room = timeline.room(room.pk)
        other, membership = _member(timeline, room, user)
        by = as_person(actor) if actor is not None else None
        return _mute(timeline, room, by, other, membership, until or FOR_EVER)


def unmute(room_key: str, actor: Any, user: Any) -> RoomResult:
    """Lets a muted member write again."""
    person = as_person(actor)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        other, membership = _member(timeline, room, user)
        policy().may_mute(person, room, role, membership.role)
        if not membership.is_muted(timezone.now()):
            return RoomResult(room, None)
        Membership.objects.using(timeline.using).filter(pk=membership.pk).update(muted_until=None)
        event = timeline.append_change(room, person, "unmuted", {other: membership.role})
    return RoomResult(room, event)


def ban(room_key: str, actor: Any, user: Any) -> RoomResult:
    """Takes somebody out of a room and keeps them out, whether they were in it or not."""
    person = as_person(actor)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        other = as_person(user)
        row = stores.membership(room, other, using=timeline.using)
        policy().may_ban(person, room, role, row.role if row else Role.MEMBER)
        if other.pk == person.pk:
            raise ManaError(ErrorCode.INVALID, "You can't ban yourself.")
        return _ban(timeline, room, person, other)


def ban_as_staff(room: Room, user: Any, *, actor: Any = None) -> RoomResult:
    """Bans somebody from a room, whoever asks: for moderation and the admin, which have their own permissions."""
    other = as_person(user)
    with change() as timeline:
        room = timeline.room(room.pk)
        result = _ban(timeline, room, as_person(actor) if actor is not None else None, other)
        appoint_owner(timeline, room)
    return result


def unban(room_key: str, actor: Any, user: Any) -> RoomResult:
    """Lifts a ban. They are not in the room by that, but may come back."""
    person, other = as_person(actor), as_person(user)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        policy().may_ban(person, room, role, Role.MEMBER)
        banned = Membership.objects.using(timeline.using).filter(room=room, user_id=other.pk, state=State.BANNED)
        if not banned.update(state=State.LEFT):
            raise ManaError(ErrorCode.NOT_FOUND, f"{other.username} is not banned from this room.")
        event = timeline.append_change(room, person, "unbanned", {other: str(Role.MEMBER)})
    return RoomResult(room, event)


def delete_room(room_key: str, actor: Any) -> RoomResult:
    """Deletes a room for everybody: devices that are offline learn of it by sync, and nothing else is left of it."""
    person = as_person(actor)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        policy().may_delete_room(person, room, role)
        _withdraw_invitations(timeline, room)
        event = timeline.append_change(room, person, "deleted", {})
    transaction.on_commit(lambda: empty(room.pk), using=database())
    return RoomResult(room, event)


def delete_room_as_staff(room: Room, actor: Any = None, *, only_if_empty: bool = False) -> RoomResult:
    """Deletes a room, whoever asks: for moderation and the admin, which have their own permissions.

    With ``only_if_empty`` it stays, without an event, if somebody has come back to it.
    """
    with change() as timeline:
        room = timeline.room(room.pk)
        if only_if_empty and room.member_count:
            return RoomResult(room, None)
        _withdraw_invitations(timeline, room)
        event = timeline.append_change(room, as_person(actor) if actor is not None else None, "deleted", {})
    transaction.on_commit(lambda: empty(room.pk), using=database())
    return RoomResult(room, event)


def freeze_as_staff(room: Room, *, frozen: bool, actor: Any = None) -> RoomResult:
    """Freezes a room or thaws it, whoever asks: for the admin, which has its own permissions."""
    with change() as timeline:
        room = timeline.room(room.pk)
        if room.is_frozen == frozen:
            return RoomResult(room, None)
        room.is_frozen = frozen
        event = timeline.append_change(
            room, as_person(actor) if actor is not None else None, "updated", {}, changed=["is_frozen"]
        )
    return RoomResult(room, event)


def remove_as_staff(room: Room, user: Any, *, actor: Any = None) -> RoomResult:
    """Takes somebody out of a room, whoever asks: for the admin, which has its own permissions."""
    with change() as timeline:
        room = timeline.room(room.pk)
        other, membership = _member(timeline, room, user)
        if room.room_type == Room.Type.DIRECT:
            raise ManaError(ErrorCode.FORBIDDEN, "A direct room can't be left.")
        rows = Membership.objects.using(timeline.using).filter(pk=membership.pk)
        rows.update(state=State.LEFT, role=Role.MEMBER)
        by = as_person(actor) if actor is not None else None
        event = timeline.append_change(room, by, "removed", {other: membership.role})
        appoint_owner(timeline, room)
    return RoomResult(room, event)


#: Messages whose content one transaction takes away.
EMPTIED_AT_ONCE = 500


def empty(room_pk: int) -> int:
    """Takes the content out of a room that is deleted; the number of messages. ``mana_prune`` does it after a crash.

    In batches and without the lock on the order: nobody can read any of it any more.
    """
    from mana.messaging.effects import erase
    from mana.messaging.files import discard

    using = database()
    room = Room.objects.using(using).filter(pk=room_pk, deleted_at__isnull=False).first()
    if room is None:
        return 0
    done = 0
    told = Message.objects.using(using).filter(room=room, kind=Message.Kind.MESSAGE, deleted_at=None)
    while batch := list(told[:EMPTIED_AT_ONCE]):
        with transaction.atomic(using=using):
            for message in batch:
                message.deleted_at = room.deleted_at
            erase(batch, using=using)
        done += len(batch)
    Invite.objects.using(using).filter(room=room).delete()
    Pin.objects.using(using).filter(room=room).delete()
    files = Attachment.objects.using(using).filter(room=room)
    names = [name for pair in files.values_list("file", "thumbnail") for name in pair if name]
    files.delete()
    if room.avatar:
        names.append(room.avatar)
        Room.objects.using(using).filter(pk=room.pk).update(avatar="")
    discard(names)
    return done


# -- Helpers ---------------------------------------------------------------------------------------------------------


def _member(timeline: Timeline | Outbox, room: Room, user: Any) -> tuple[Person, Membership]:
    other = as_person(user)
    membership = stores.membership(room, other, using=timeline.using)
    if membership is None or membership.state != State.JOINED:
        raise ManaError(ErrorCode.NOT_FOUND, f"{other.username} is not a member of this room.")
    return other, membership


def _mute(
    timeline: Timeline | Outbox,
    room: Room,
    actor: Person | None,
    other: Person,
    membership: Membership,
    until: datetime,
) -> RoomResult:
    Membership.objects.using(timeline.using).filter(pk=membership.pk).update(muted_until=until)
    event = timeline.append_change(room, actor, "muted", {other: membership.role}, until=timestamp(until))
    return RoomResult(room, event)


def _withdraw_invitations(timeline: Timeline | Outbox, room: Room) -> None:
    """Tells those who are invited to a room that goes: its own event does not reach who reads nothing of it."""
    invited = Membership.objects.using(timeline.using).filter(room=room, state=State.INVITED)
    for one in people(list(invited.values_list("user_id", flat=True))).values():
        tell(timeline, one, "deleted", room)


def _ban(timeline: Timeline | Outbox, room: Room, actor: Person | None, other: Person) -> RoomResult:
    if room.room_type == Room.Type.DIRECT:
        raise ManaError(ErrorCode.FORBIDDEN, "Nobody is banned from a direct room.")
    row = locked_memberships(room, [other], using=timeline.using)[other.pk]
    if row.state == State.BANNED:
        return RoomResult(room, None)
    role = row.role
    if row.state == State.INVITED:
        tell(timeline, other, "banned", room)
    Membership.objects.using(timeline.using).filter(pk=row.pk).update(state=State.BANNED, role=Role.MEMBER)
    event = timeline.append_change(room, actor, "banned", {other: role})
    return RoomResult(room, event)


amute = writing(mute)
aunmute = writing(unmute)
aban = writing(ban)
aunban = writing(unban)
# Emptying a large room would keep the writer from everybody's messages.
adelete_room = reading(delete_room)
