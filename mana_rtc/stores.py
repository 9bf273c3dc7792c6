"""Queries for calls and their participants, and the writes that are no transition. Synchronous."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from django.db.models import Exists, OuterRef, Q, QuerySet
from django.db.models.functions import Now

from mana.accounts.stores import Person
from mana.conf import settings
from mana.contacts.stores import store as contacts
from mana.messaging.models import Membership, Room
from mana.messaging.stores import membership, not_in_room, room_by_key
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError
from mana.realtime.stores import ago
from mana_rtc.models import PRESENT, Call, CallParticipant

State = CallParticipant.State
#: Seconds without renewal after which a participant's connection counts as lost: another device may take over.
COLD = 5.0


class Standing(NamedTuple):
    """A room, and a member's role in it."""

    room: Room
    role: str


def standing(room_key: str, person: Person) -> Standing:
    """A member's standing in a room. Raises ``ManaError`` for who is no member."""
    using = database()
    room = room_by_key(room_key, using=using)
    row = membership(room, person, using=using) if room is not None else None
    if room is None or row is None or row.state != Membership.State.JOINED:
        raise not_in_room(room, room_key)
    return Standing(room, row.role)


def no_call() -> ManaError:
    """What is said of a call that does not exist, or that one may not know of."""
    return ManaError(ErrorCode.NOT_FOUND, "There is no such call.")


def by_key(key: str) -> Call:
    """A call. Raises ``ManaError``."""
    found = None if "\x00" in key else Call.objects.select_related("room").filter(key=key).first()
    if found is None:
        raise no_call()
    return found


def live_in(room_key: str) -> Call | None:
    """The call that goes on in a room."""
    if "\x00" in room_key:
        return None
    return Call.objects.select_related("room").filter(live_in=room_key).first()


def joined_in(call: Call) -> QuerySet[CallParticipant]:
    """Those who are in a call."""
    return CallParticipant.objects.filter(call=call, state=State.JOINED).order_by("pk")


def live_of(person: Person) -> QuerySet[Call]:
    """The calls that go on in the rooms of a member."""
    rooms = Membership.objects.filter(
        user_id=person.pk, state=Membership.State.JOINED, room_id=OuterRef("room_id"), room__deleted_at=None
    )
    return Call.objects.select_related("room").filter(Exists(rooms), live_in__isnull=False)


def history_of(person: Person) -> QuerySet[Call]:
    """The calls that rang at somebody or that they were in, on the way or over."""
    return Call.objects.select_related("room").filter(participants__user_id=person.pk)


def busy(user_pks: Collection[Any]) -> set[Any]:
    """Those of the users who are in a call."""
    rows = CallParticipant.objects.filter(user_id__in=list(user_pks), state=State.JOINED)
    return set(rows.values_list("user_id", flat=True))


def ringable(room: Room, caller: Person) -> list[Any]:
    """The other members whom a call in a room rings: nobody in a large one, and nobody across a block."""
    rows = Membership.objects.using(database()).filter(room=room, state=Membership.State.JOINED)
    others = list(rows.exclude(user_id=caller.pk).values_list("user_id", flat=True)[: settings.RING_MAX_ROOM])
    if len(others) >= settings.RING_MAX_ROOM:
        return []
    if room.room_type == Room.Type.DIRECT:
        return others
    blocked = contacts().blocked_with(caller.pk)
    return [pk for pk in others if pk not in blocked]


def role_of(room: Room, user_pk: Any) -> str | None:
    """A member's role, ``None`` for who is no member."""
    rows = Membership.objects.using(database()).filter(room=room, user_id=user_pk, state=Membership.State.JOINED)
    role: str | None = rows.values_list("role", flat=True).first()
    return role


# -- Leases ----------------------------------------------------------------------------------------------------------


def renew(session_ids: Collection[str]) -> None:
    """Notes that these sessions are still there."""
    CallParticipant.objects.filter(state=State.JOINED, session_id__in=list(session_ids)).update(seen_at=Now())


def is_cold(row: CallParticipant) -> bool:
    """Whether nobody renews a participant's lease any more."""
    return CallParticipant.objects.filter(pk=row.pk, seen_at__lt=ago(COLD)).exists()


def unrenewed() -> QuerySet[CallParticipant]:
    """Those in calls whose session is gone for good."""
    return CallParticipant.objects.filter(state=State.JOINED, seen_at__lt=ago(settings.RTC_RESUME_TIMEOUT))


def unanswered() -> QuerySet[CallParticipant]:
    """Those who were rung for long enough."""
    return CallParticipant.objects.filter(state=State.RINGING, rung_at__lt=ago(settings.RING_TIMEOUT))


def strangers() -> QuerySet[CallParticipant]:
    """Those in calls, or rung, who are no members of the room."""
    members = Membership.objects.filter(
        room_id=OuterRef("call__room_id"), user_id=OuterRef("user_id"), state=Membership.State.JOINED
    )
    return CallParticipant.objects.filter(~Exists(members), state__in=PRESENT)


def deserted() -> QuerySet[Call]:
    """Calls that go on without anybody, as when the accounts of all were deleted."""
    anybody = CallParticipant.objects.filter(call_id=OuterRef("pk"), state__in=PRESENT)
    return Call.objects.filter(~Exists(anybody), live_in__isnull=False)


def across_blocks() -> list[int]:
    """The primary keys of calls in direct rooms whose two people have a block between them."""
    rows = CallParticipant.objects.filter(call__live_in__isnull=False, call__room__room_type=Room.Type.DIRECT)
    people: dict[int, list[Any]] = {}
    for call_pk, user_pk in rows.order_by("pk").values_list("call_id", "user_id"):
        people.setdefault(call_pk, []).append(user_pk)
    pairs = {call_pk: (pks[0], pks[1]) for call_pk, pks in people.items() if len(pks) == 2}
    blocks = contacts().blocks_between(list(pairs.values()))
    return [call_pk for call_pk, (one, two) in pairs.items() if (one, two) in blocks or (two, one) in blocks]


def live_calls_of(user_pk: Any) -> list[int]:
    """The primary keys of the calls that somebody is in, or rung by."""
    rows = CallParticipant.objects.filter(user_id=user_pk, state__in=PRESENT)
    return list(rows.values_list("call_id", flat=True))


def direct_call_of(one_pk: Any, two_pk: Any) -> Call | None:
    """The call that goes on between two people in their direct room."""
    calls = Call.objects.filter(live_in__isnull=False, room__room_type=Room.Type.DIRECT)
    return calls.filter(participants__user_id=one_pk).filter(participants__user_id=two_pk).first()


def live_for(user_pks: Collection[Any]) -> list[tuple[Any, Call]]:
    """(user, call) for the calls that ring at some users."""
    rows = CallParticipant.objects.filter(user_id__in=list(user_pks), state=State.RINGING)
    return [(row.user_id, row.call) for row in rows.select_related("call__room", "call__started_by")]


def anything_live() -> bool:
    """Whether there is any call in the whole cluster."""
    return Call.objects.filter(live_in__isnull=False).exists()


def in_calls_of(room_keys: Collection[str]) -> dict[str, set[Any]]:
    """Who is in the calls of rooms, by room; rooms without a call are missing."""
    found: dict[str, set[Any]] = {}
    calls = Call.objects.filter(live_in__in=list(room_keys))
    for room_key, user_pk, state in calls.values_list("live_in", "participants__user_id", "participants__state"):
        joined = found.setdefault(str(room_key), set())
        if state == State.JOINED:
            joined.add(user_pk)
    return found


def before(moment: Any) -> QuerySet[Call]:
    """Calls that were over before a moment."""
    return Call.objects.filter(Q(ended_at__lt=moment), live_in=None)
