"""Who may know of whose devices."""

from __future__ import annotations

from mana.accounts.stores import Person
from mana.contacts.policies import policy
from mana.contacts.stores import store as contacts
from mana.messaging.models import Membership, Room
from mana.messaging.timeline import database


def visible(person: Person, other: Person) -> None:
    """Everybody but those with whom there is a block. Raises ``ManaError``."""
    if person.pk != other.pk:
        policy().may_request(person, other)


def are_acquainted(person: Person, other: Person) -> bool:
    """Whether two people are contacts, or in a room together that is no direct one: strangers can make those."""
    if person.pk == other.pk or contacts().contact(other.pk, person.pk) is not None:
        return True
    joined = Membership.State.JOINED
    rooms = Membership.objects.using(database()).filter(user_id=person.pk, state=joined)
    common = Membership.objects.using(database()).filter(
        user_id=other.pk, state=joined, room__in=rooms.exclude(room__room_type=Room.Type.DIRECT).values("room_id")
    )
    return common.exists()
