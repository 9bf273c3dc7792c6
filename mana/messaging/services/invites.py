"""Links that let people into a room."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import F, Q, QuerySet
from django.utils import timezone

from mana.accounts.stores import Person
from mana.conf import settings
from mana.messaging import stores
from mana.messaging.models import Invite, Membership, Room
from mana.messaging.policies import policy
from mana.messaging.services.acting import acting_in
from mana.messaging.services.asynchronous import reading, writing
from mana.messaging.services.people import as_person
from mana.messaging.services.rooms import RoomResult, banned, let_in
from mana.messaging.timeline import change, database
from mana.protocol import ErrorCode, ManaError

State = Membership.State
#: Seconds of the longest life that a link may be given: what every database can store.
LONGEST = 10 * 365 * 86_400


@dataclass(frozen=True, slots=True)
class Invitation:
    """A link, and whether the one who looks at it is in the room already."""

    invite: Invite
    is_member: bool


def create_invite(room_key: str, actor: Any, *, expires_in: int | None = None, max_uses: int = 0) -> Invite:
    """Makes a link for whoever gets it. ``expires_in`` is in seconds, 0 for a link that lasts.

    Raises ``ManaError``: ``forbidden``, ``invalid``, ``conflict`` at ``INVITES_MAX`` open links.
    """
    person = as_person(actor)
    lifetime = settings.INVITE_LIFETIME if expires_in is None else expires_in
    if not 0 <= lifetime <= LONGEST or not 0 <= max_uses <= 2**31 - 1:
        raise ManaError(ErrorCode.INVALID, "expires_in and max_uses must be 0 or positive, within reason.")
    now = timezone.now()
    with change() as timeline:
        room, role = acting_in(timeline, room_key, person)
        policy().may_invite(person, room, role)
        if _open(room).using(timeline.using).count() >= settings.INVITES_MAX:
            raise ManaError(ErrorCode.CONFLICT, f"A room has {settings.INVITES_MAX} open links at most.")
        return Invite.objects.using(timeline.using).create(
            room=room,
            created_by_id=person.pk,
            expires_at=now + timedelta(seconds=lifetime) if lifetime else None,
            max_uses=max_uses,
        )


def invites(room_key: str, actor: Any) -> list[Invite]:
    """The open links of a room, the newest first, for those who may make them."""
    person = as_person(actor)
    room, role = _managed(room_key, person)
    policy().may_invite(person, room, role)
    return list(_open(room).select_related("created_by").order_by("-pk")[: settings.INVITES_MAX])


def revoke_invite(room_key: str, actor: Any, invite_id: int) -> None:
    """Closes a link. Raises ``ManaError`` with ``not_found``, also for one of another room."""
    person = as_person(actor)
    room, role = _managed(room_key, person)
    policy().may_invite(person, room, role)
    rows = Invite.objects.using(database()).filter(room=room, pk=invite_id, revoked_at=None)
    if not rows.update(revoked_at=timezone.now()):
        raise ManaError(ErrorCode.NOT_FOUND, "There is no such link.")


def look_at_invite(token: str, user: Any) -> Invitation:
    """What a link leads to, for whoever has it.

    Raises ``ManaError``: ``not_found`` for a link that is closed, ``forbidden`` for those who are banned from its room.
    """
    person = as_person(user)
    invite = _by_token(token)
    row = stores.membership(invite.room, person, using=database())
    if row is not None and row.state == State.BANNED:
        raise ManaError(ErrorCode.FORBIDDEN, "You are banned from this room.")
    return Invitation(invite, row is not None and row.state == State.JOINED)


def accept_invite(token: str, user: Any) -> RoomResult:
    """Joins the room of a link. Who is in it already uses none of the link up.

    Raises ``ManaError``: ``not_found`` for a link that is closed or used up, ``forbidden`` for the banned.
    """
    person = as_person(user)
    invite = _by_token(token)
    with change() as timeline:
        room = timeline.room(invite.room_id)
        membership = stores.membership(room, person, using=timeline.using)
        if membership is not None and membership.state == State.JOINED:
            return RoomResult(room, None)
        if membership is not None and membership.state == State.BANNED:
            raise banned()
        policy().may_join(person, room, invited=True)
        # One statement: of several who come at once as many get in as the link allows, on every database.
        rows = _valid().using(timeline.using).filter(pk=invite.pk)
        if room.deleted_at is not None or not rows.update(uses=F("uses") + 1):
            raise _closed()
        event = let_in(timeline, room, person, [person])
    return RoomResult(room, event)


def _managed(room_key: str, person: Person) -> tuple[Room, str]:
    room = stores.room_by_key(room_key)
    membership = stores.membership(room, person, using=database()) if room is not None else None
    if room is None or membership is None or membership.state != State.JOINED:
        raise stores.not_in_room(room, room_key)
    return room, membership.role


def _by_token(token: str) -> Invite:
    if "\x00" in token or len(token) > 64:
        raise _closed()
    found = _valid().using(database()).select_related("room").filter(token=token, room__deleted_at=None).first()
    if found is None:
        raise _closed()
    return found


def _closed() -> ManaError:
    return ManaError(ErrorCode.NOT_FOUND, "This invitation link does not work any more.")


def _valid() -> QuerySet[Invite]:
    lasts = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    return Invite.objects.filter(lasts, Q(max_uses=0) | Q(uses__lt=F("max_uses")), revoked_at=None)


def _open(room: Room) -> QuerySet[Invite]:
    return _valid().filter(room=room)


acreate_invite = writing(create_invite)
ainvites = reading(invites)
arevoke_invite = reading(revoke_invite)
alook_at_invite = reading(look_at_invite)
aaccept_invite = writing(accept_invite)
