"""Who owns a room when its owner has left."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mana.accounts.stores import Person, accounts, people
from mana.messaging.models import Membership, Message, Room
from mana.messaging.policies import RANKS
from mana.messaging.timeline import Outbox, Timeline

Role, State = Membership.Role, Membership.State

#: Members of one role among whom an heir is looked for, the first who came; the others may be gone or disabled.
HEIRS_LOOKED_AT = 100


def appoint_owner(timeline: Timeline | Outbox, room: Room) -> Message | None:
    """Gives a room without an owner another: who has most say in it, of several the one who is there longest.

    Disabled accounts inherit nothing.
    """
    members = Membership.objects.using(timeline.using).filter(room=room, state=State.JOINED)
    if room.room_type == Room.Type.DIRECT or members.filter(role=Role.OWNER).exists():
        return None
    for role in sorted(Role.values, key=lambda role: -RANKS[Role(role)]):
        candidates = members.filter(role=role).order_by("joined_sequence", "pk").values_list("user_id", flat=True)
        heir = _first_active(list(candidates[:HEIRS_LOOKED_AT]))
        if heir is not None:
            members.filter(user_id=heir.pk).update(role=Role.OWNER)
            return timeline.append_change(room, None, "role", {heir: str(Role.OWNER)})
    return None


def _first_active(pks: Sequence[Any]) -> Person | None:
    active = accounts().active(pks)
    found = people(active)
    return next((found[pk] for pk in pks if pk in found), None)
