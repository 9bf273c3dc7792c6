"""Who may do what with calls. ``MANA["CALL_POLICY"]`` names a class that replaces this one."""

from __future__ import annotations

from mana.accounts import permissions
from mana.accounts.stores import Person
from mana.conf import settings
from mana.contacts.policies import policy as contact_policy
from mana.messaging.models import Room
from mana.messaging.policies import ADMINS, MANAGERS, RANKS, Role
from mana.protocol import ErrorCode, ManaError


class CallPolicy:
    """Each method returns if the act is allowed and raises ``ManaError`` if not.

    That only members of a room are in its calls is not for a policy to change.
    """

    def may_start(self, person: Person, room: Room, role: str) -> None:
        """Whose role in the whole allows it; in channels who manages them, in frozen rooms owners and admins."""
        permissions.require(person.pk, permissions.START_CALL)
        if room.room_type == Room.Type.CHANNEL and role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators start calls in this channel.")
        if room.is_frozen and role not in ADMINS:
            raise ManaError(ErrorCode.FORBIDDEN, "This room is frozen.")

    def may_reach(self, person: Person, room: Room) -> None:
        """Whether somebody may call, answer and signal to the other one of a direct room: blocks, and whom they hear.

        What is said does not tell whether they are blocked.
        """
        contacts = contact_policy()
        for user_id in room.direct_user_ids():
            if user_id != person.user_id:
                contacts.may_call(person, user_id)

    def may_join(self, person: Person, room: Room, role: str) -> None:
        """Every member."""

    def may_end(self, person: Person, room: Room, role: str, *, started: bool) -> None:
        """For all: who started the call, who manages the room, and whose role in the whole allows it."""
        if started or (role in MANAGERS and room.room_type != Room.Type.DIRECT):
            return
        permissions.require(person.pk, permissions.END_CALL)

    def may_moderate(self, person: Person, room: Room, role: str, other_role: str) -> None:
        """Mute others and take them out: those who manage the room, and who have less say in it."""
        if room.room_type == Room.Type.DIRECT or role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators mute and remove people.")
        if RANKS[Role(other_role)] >= RANKS[Role(role)]:
            raise ManaError(ErrorCode.FORBIDDEN, "You can moderate only those who have less say in this room.")

    def may_record(self, person: Person, room: Room, role: str) -> None:
        """Record calls with ``manage.py mana_record``: nobody, until a project says who. The law may want more than
        that everybody in the call is told.
        """
        raise ManaError(ErrorCode.FORBIDDEN, "Calls are not recorded here.")


def policy() -> CallPolicy:
    """The project's policy."""
    made: CallPolicy = settings.CALL_POLICY()
    return made
