"""Use cases of rooms and memberships."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import IntegrityError, connections, transaction

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging import stores
from mana.messaging.ids import is_valid_room_key, new_room_key
from mana.messaging.models import DIRECT_SEPARATOR, Membership, Message, Room
from mana.messaging.policies import policy
from mana.messaging.services.acting import acting_in, tell
from mana.messaging.services.asynchronous import writing
from mana.messaging.services.heirs import appoint_owner
from mana.messaging.services.people import as_person
from mana.messaging.timeline import Outbox, Timeline, change, database
from mana.protocol import ErrorCode, ManaError
from mana.text import is_presentable

Role, State = Membership.Role, Membership.State


@dataclass(frozen=True, slots=True)
class RoomResult:
    """A room after a change, and the event of the change; ``None`` if there was nothing to change."""

    room: Room
    event: Message | None


def create_room(
    creator: Any,
    *,
    name: str = "",
    room_type: str = Room.Type.GROUP,
    is_private: bool = True,
    topic: str = "",
    shares_history: bool = False,
    members: Sequence[Any] = (),
    key: str | None = None,
) -> RoomResult:
    """Makes a group or channel with its first members; the creator owns it.

    Raises ``ManaError``: ``conflict`` when ``key`` is taken, ``invalid``, or what the policy says.
    """
    owner = as_person(creator)
    if room_type not in (Room.Type.GROUP, Room.Type.CHANNEL):
        raise ManaError(ErrorCode.INVALID, "room_type must be group or channel; direct rooms are made for two people.")
    if key is not None and not is_valid_room_key(key):
        raise ManaError(ErrorCode.INVALID, "A room id is 1 to 128 printable characters without surrounding spaces.")
    rules = policy()
    rules.may_create_room(owner, room_type)
    roles: dict[Person, str] = {owner: Role.OWNER}
    roles.update({person: Role.MEMBER for person in map(as_person, members) if person.pk != owner.pk})
    _check_count(len(roles))
    rules.may_add(owner, [person for person in roles if person.pk != owner.pk])
    room = Room(
        key=key or new_room_key(),
        name=_checked(name, "name", 255),
        topic=_checked(topic, "topic", 500),
        room_type=room_type,
        is_private=is_private,
        shares_history=shares_history,
        created_by_id=owner.pk,
    )
    return _store_new_room(room, owner, roles)


def direct_room(user: Any, other: Any) -> RoomResult:
    """The direct room of two people, made when they have none. A person may have one with themselves."""
    person, peer = as_person(user), as_person(other)
    key = DIRECT_SEPARATOR.join(sorted((person.user_id, peer.user_id)))
    room = Room.objects.using(database()).filter(direct_key=key).first()
    if room is not None:
        return RoomResult(room, None)
    rules = policy()
    rules.may_create_room(person, Room.Type.DIRECT)
    rules.may_message_directly(person, peer.user_id)
    room = Room(room_type=Room.Type.DIRECT, is_private=True, direct_key=key, created_by_id=person.pk)
    try:
        return _store_new_room(room, person, {person: Role.MEMBER, peer: Role.MEMBER})
    except ManaError:
        # The other one was faster.
        room = Room.objects.using(database()).filter(direct_key=key).first()
        if room is None:  # and this transaction still sees the time before it (MariaDB's REPEATABLE READ)
            raise
        return RoomResult(room, None)


def _store_new_room(room: Room, creator: Person, roles: Mapping[Person, str]) -> RoomResult:
    try:
        with change() as timeline:
            with transaction.atomic(using=timeline.using):
                room.save(using=timeline.using)
            Membership.objects.using(timeline.using).bulk_create(
                [Membership(room=room, user_id=person.pk, role=role) for person, role in roles.items()]
            )
            event = timeline.append_change(room, creator, "created", roles)
    except IntegrityError:
        raise ManaError(ErrorCode.CONFLICT, f"There is a room {room.key!r} already.") from None
    return RoomResult(room, event)


def join(
    room_key: str,
    user: Any,
    *,
    create: bool = False,
    name: str | None = None,
    room_type: str | None = None,
) -> RoomResult:
    """Makes a user a member. With ``create``, a room that does not exist is made: public, owned by the user.

    Raises ``ManaError``: ``not_found`` also for private rooms to which the user is not invited, ``forbidden`` for the
    banned, or what the policy says.
    """
    person = as_person(user)
    room = stores.room_by_key(room_key)
    if room is None:
        if not create or not is_valid_room_key(room_key):
            raise ManaError(ErrorCode.NOT_FOUND, f"There is no room {room_key[:128]!r}.")
        try:
            return create_room(
                person,
                key=room_key,
                name=name or room_key,
                room_type=room_type or Room.Type.GROUP,
                is_private=False,
            )
        except ManaError as error:
            room = stores.room_by_key(room_key)
            if error.code is not ErrorCode.CONFLICT or room is None:
                raise
    with change() as timeline:
        room = timeline.room(room.pk)
        membership = stores.membership(room, person, using=timeline.using)
        state = membership.state if membership else None
        if state == State.JOINED:
            return RoomResult(room, None)
        if state == State.BANNED:
            raise banned()
        policy().may_join(person, room, invited=state == State.INVITED)
        event = let_in(timeline, room, person, [person])
    return RoomResult(room, event)


def add_members(room_key: str, actor: Any, users: Sequence[Any]) -> RoomResult:
    """Brings people into a room. Those who are in it stay as they are; the banned are not brought back."""
    person, newcomers = as_person(actor), [as_person(user) for user in users]
    _check_count(len(newcomers))
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        policy().may_invite(person, room, role)
        present = stores.memberships(room, newcomers, using=timeline.using)
        missing = [
            one
            for one in newcomers
            if one.pk not in present or present[one.pk].state not in (State.JOINED, State.BANNED)
        ]
        policy().may_add(person, missing)
        event = let_in(timeline, room, person, missing) if missing else None
    return RoomResult(room, event)


def invite(room_key: str, actor: Any, users: Sequence[Any]) -> RoomResult:
    """Lets people join a private room by themselves."""
    person, invited = as_person(actor), [as_person(user) for user in users]
    _check_count(len(invited))
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        policy().may_invite(person, room, role)
        present = stores.memberships(room, invited, using=timeline.using)
        strangers = [one for one in invited if one.pk not in present or present[one.pk].state == State.LEFT]
        policy().may_add(person, strangers)
        rows = locked_memberships(room, strangers, using=timeline.using)
        open_to = [one for one in strangers if rows[one.pk].state == State.LEFT]
        for one in open_to:
            tell(timeline, one, "invited", room)
            _set_state(rows[one.pk], State.INVITED, timeline.using)
        event = (
            timeline.append_change(room, person, "invited", dict.fromkeys(open_to, str(Role.MEMBER)))
            if open_to
            else None
        )
    return RoomResult(room, event)


def decline(room_key: str, user: Any) -> RoomResult:
    """Turns an invitation down. Raises ``ManaError`` with ``not_found`` for who has none."""
    person = as_person(user)
    with change() as timeline:
        room = stores.room_by_key(room_key, using=timeline.using)
        membership = stores.membership(room, person, using=timeline.using) if room is not None else None
        if room is None or membership is None or membership.state != State.INVITED:
            raise ManaError(ErrorCode.NOT_FOUND, "You have no invitation to this room.")
        room = timeline.adopt(room)
        _set_state(membership, State.LEFT, timeline.using)
        event = timeline.append_change(room, person, "declined", {person: str(Role.MEMBER)})
        tell(timeline, person, "declined", room)
    return RoomResult(room, event)


def leave(room_key: str, user: Any) -> RoomResult:
    """Ends a user's membership. What they could read they still can, up to here.

    When the last owner leaves, the one who has most say owns the room, of several the one who is there longest.
    """
    person = as_person(user)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        if room.room_type == Room.Type.DIRECT:
            raise ManaError(ErrorCode.FORBIDDEN, "A direct room can't be left.")
        event = _let_out(timeline, room, person, person, "left", role)
        if role == Role.OWNER:
            appoint_owner(timeline, room)
    return RoomResult(room, event)


def transfer_ownership(room_key: str, actor: Any, user: Any) -> RoomResult:
    """Makes another member the owner of a room in the place of the one who does so, who becomes an admin."""
    person, other = as_person(actor), as_person(user)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        if role != Role.OWNER:
            raise ManaError(ErrorCode.FORBIDDEN, "Only its owners give a room away.")
        policy().may_delete_room(person, room, role)  # nothing less than the whole room is given away
        if other.pk == person.pk:
            raise ManaError(ErrorCode.INVALID, "You own this room already.")
        members = Membership.objects.using(timeline.using).filter(room=room, state=State.JOINED)
        if not members.filter(user_id=other.pk).update(role=Role.OWNER):
            raise ManaError(ErrorCode.NOT_FOUND, f"{other.username} is not a member of this room.")
        members.filter(user_id=person.pk).update(role=Role.ADMIN)
        event = timeline.append_change(room, person, "role", {other: str(Role.OWNER), person: str(Role.ADMIN)})
    return RoomResult(room, event)


def remove_member(room_key: str, actor: Any, user: Any) -> RoomResult:
    """Takes somebody out of a room; who means themselves leaves it, and an owner has an heir."""
    person, other = as_person(actor), as_person(user)
    if person.pk == other.pk:
        return leave(room_key, person)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        membership = stores.membership(room, other, using=timeline.using)
        if membership is None or membership.state not in (State.JOINED, State.INVITED):
            raise ManaError(ErrorCode.NOT_FOUND, f"{other.username} is not a member of this room.")
        policy().may_remove(person, room, role, membership.role)
        if membership.state == State.INVITED:
            tell(timeline, other, "removed", room)
        event = _let_out(timeline, room, person, other, "removed", membership.role)
    return RoomResult(room, event)


def set_role(room_key: str, actor: Any, user: Any, role: str) -> RoomResult:
    """Changes a member's role. The only owner stays one: they transfer the room or leave it."""
    person, other = as_person(actor), as_person(user)
    if role not in Role.values:
        raise ManaError(ErrorCode.INVALID, f"A role is one of {', '.join(Role.values)}.")
    with change() as timeline:
        room, own_role = acting_in(timeline, room_key, person)
        members = Membership.objects.using(timeline.using).filter(room=room, state=State.JOINED)
        membership = members.filter(user_id=other.pk).first()
        policy().may_set_role(person, room, own_role, membership.role if membership else Role.MEMBER, role)
        if membership is None:
            raise ManaError(ErrorCode.NOT_FOUND, f"{other.username} is not a member of this room.")
        if membership.role == role:
            return RoomResult(room, None)
        if membership.role == Role.OWNER and not members.filter(role=Role.OWNER).exclude(pk=membership.pk).exists():
            raise ManaError(ErrorCode.CONFLICT, "A room needs an owner: make somebody else one first.")
        members.filter(pk=membership.pk).update(role=role)
        event = timeline.append_change(room, person, "role", {other: role})
    return RoomResult(room, event)


def update_room(
    room_key: str,
    actor: Any,
    *,
    name: str | None = None,
    topic: str | None = None,
    is_private: bool | None = None,
    is_frozen: bool | None = None,
    slow_mode: int | None = None,
    retention_days: int | None = None,
    retention_count: int | None = None,
    avatar: str | None = None,
) -> RoomResult:
    """Changes a room's settings, from the place of the change in the order on.

    ``slow_mode`` is in seconds. ``avatar`` is a name in the storage of attachments (see ``set_avatar``).
    """
    person = as_person(actor)
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        policy().may_change_room(person, room, role)
        given: dict[str, Any] = {
            "name": None if name is None else _checked(name, "name", 255),
            "topic": None if topic is None else _checked(topic, "topic", 500),
            "is_private": is_private,
            "is_frozen": is_frozen,
            "slow_mode": _checked_number(slow_mode, "slow_mode", settings.SLOW_MODE_MAX),
            "retention_days": _checked_number(retention_days, "retention_days", 100_000),
            "retention_count": _checked_number(retention_count, "retention_count", 2**31 - 1),
            "avatar": avatar,
        }
        changed = [field for field, value in given.items() if value is not None]
        if not changed:
            return RoomResult(room, None)
        for field in changed:
            setattr(room, field, given[field])
        event = timeline.append_change(room, person, "updated", {}, changed=changed)
    return RoomResult(room, event)


# -- Helpers ---------------------------------------------------------------------------------------------------------


def let_in(timeline: Timeline | Outbox, room: Room, actor: Person, people: Sequence[Person]) -> Message | None:
    """Brings people into a room; ``None`` if another transaction has brought all of them in meanwhile.

    Raises ``ManaError`` with ``forbidden`` for who brings themselves and was banned meanwhile.
    """
    rows = locked_memberships(room, people, using=timeline.using)
    entering = [one for one in people if rows[one.pk].state not in (State.JOINED, State.BANNED)]
    if actor in people and rows[actor.pk].state == State.BANNED:
        raise banned()
    for one in entering:
        row = rows[one.pk]
        row.first_index = row.last_index = None
        row.role = Role.MEMBER
        row.state = State.JOINED
        # Who is muted does not get rid of it by leaving.
        row.save(using=timeline.using, update_fields=["first_index", "last_index", "role", "state"])
    if not entering:
        return None
    return timeline.append_change(room, actor, "joined", dict.fromkeys(entering, str(Role.MEMBER)))


def locked_memberships(room: Room, people: Collection[Person], *, using: str) -> dict[Any, Membership]:
    """The rows of people in a room as they are now, by primary key of the user, until the end of the transaction.

    Who has none gets one, in the state ``left``. Callers' transactions do not hold the stream, so two of them may make
    the same row: an insert that turns into an update waits for the other, instead of failing as that one commits, and
    locks what it finds. In one order, so that two of these can't wait for each other.
    """
    if not people:
        return {}
    pks = sorted((person.pk for person in people), key=str)
    targeted = connections[using].features.supports_update_conflicts_with_target
    rows = Membership.objects.using(using)
    known = set(rows.filter(room=room, user_id__in=pks).values_list("user_id", flat=True))
    rows.bulk_create(
        [Membership(room=room, user_id=pk, state=State.LEFT) for pk in pks if pk not in known],
        update_conflicts=True,
        update_fields=["user"],  # nothing changes
        unique_fields=["room", "user"] if targeted else None,
    )
    # What a transaction locks it reads as it is, whatever it saw at its beginning (MariaDB's REPEATABLE READ).
    locked = rows.select_for_update().filter(room=room, user_id__in=pks).order_by("user_id")
    return {row.user_id: row for row in locked}


def banned() -> ManaError:
    """What somebody is told who was banned."""
    return ManaError(ErrorCode.FORBIDDEN, "You are banned from this room.")


def _let_out(timeline: Timeline | Outbox, room: Room, actor: Person, person: Person, action: str, role: str) -> Message:
    Membership.objects.using(timeline.using).filter(room=room, user_id=person.pk).update(
        state=State.LEFT, role=Role.MEMBER
    )
    return timeline.append_change(room, actor, action, {person: role})


def _set_state(membership: Membership, state: str, using: str) -> None:
    membership.state = state
    membership.save(using=using, update_fields=["state"])


def _checked(text: str, field: str, length: int) -> str:
    text = text.strip()
    if len(text) > length:
        raise ManaError(ErrorCode.INVALID, f"The {field} has {len(text)} characters; {length} are allowed.")
    if not is_presentable(text, lines=field == "topic"):
        raise ManaError(ErrorCode.INVALID, f"The {field} contains control characters.")
    return text


def _checked_number(number: int | None, field: str, most: int) -> int | None:
    if number is not None and not 0 <= number <= most:
        raise ManaError(ErrorCode.INVALID, f"The {field} must be between 0 and {most}.")
    return number


def _check_count(count: int) -> None:
    if count > settings.MAX_MEMBERS_PER_REQUEST:
        raise ManaError(
            ErrorCode.INVALID,
            f"{count} people are too many at once; {settings.MAX_MEMBERS_PER_REQUEST} are allowed.",
        )


acreate_room = writing(create_room)
adirect_room = writing(direct_room)
ajoin = writing(join)
aadd_members = writing(add_members)
ainvite = writing(invite)
adecline = writing(decline)
atransfer_ownership = writing(transfer_ownership)
aleave = writing(leave)
aremove_member = writing(remove_member)
aset_role = writing(set_role)
aupdate_room = writing(update_room)
