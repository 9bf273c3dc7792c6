"""Who may do what in rooms.

``MANA["MESSAGING_POLICY"]`` names a class that replaces or extends this one; ``MANA["POLICIES"]`` replaces single
decisions by functions.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime, timedelta

from django.utils.module_loading import import_string

from mana.accounts import permissions
from mana.accounts.stores import Person
from mana.conf import settings
from mana.contacts.policies import ContactPolicy
from mana.contacts.policies import policy as contact_policy
from mana.messaging.models import Membership, Message, Room
from mana.protocol import ErrorCode, ManaError

Role = Membership.Role

MANAGERS = frozenset((Role.OWNER, Role.ADMIN, Role.MODERATOR))
ADMINS = frozenset((Role.OWNER, Role.ADMIN))
#: From who has the least say to who has the most.
RANKS = {Role.MEMBER: 0, Role.MODERATOR: 1, Role.ADMIN: 2, Role.OWNER: 3}


class MessagingPolicy:
    """Each method returns if the act is allowed and raises ``ManaError`` if not.

    Nearly all are called while the order of events is locked: keep them quick. That only members write and read, that
    the muted don't write, and that nobody acts on messages which they may not read, is not for a policy to change. What
    a role allows (``mana.accounts.permissions``) comes first.
    """

    def __init__(self) -> None:
        self._contacts: ContactPolicy | None = None

    @property
    def contacts(self) -> ContactPolicy:
        """The policy between two people."""
        if self._contacts is None:
            self._contacts = contact_policy()
        return self._contacts

    def prepare(self, people: Collection[Person], direct: Collection[tuple[Person, str]]) -> None:
        """Reads at once what ``may_send`` and ``may_message_directly`` are about to be asked for a batch of messages.

        ``direct`` are the senders of direct messages and the ids of those whom they write to.
        """
        permissions.prepare({person.pk for person in people})
        self.contacts.prepare(direct)

    # -- Rooms -------------------------------------------------------------------------------------------------------

    def may_create_room(self, person: Person, room_type: str) -> None:
        """Whose role allows it may make rooms; a direct room is a way to write to somebody."""
        direct = room_type == Room.Type.DIRECT
        permissions.require(person.pk, permissions.SEND_MESSAGE if direct else permissions.CREATE_ROOM)

    def may_join(self, person: Person, room: Room, *, invited: bool) -> None:
        """Public rooms are open to all, private ones to the invited; direct rooms to their two people."""
        permissions.require(person.pk, permissions.JOIN_ROOM)
        if room.room_type == Room.Type.DIRECT and person.user_id not in room.direct_user_ids():
            raise ManaError(ErrorCode.NOT_FOUND, f"There is no room {room.key!r}.")
        if room.is_private and not invited:
            # A private room does not tell strangers that it exists.
            raise ManaError(ErrorCode.NOT_FOUND, f"There is no room {room.key!r}.")

    def may_invite(self, person: Person, room: Room, role: str) -> None:
        """Those who manage a room bring others in and make links to it; nobody does in a direct room."""
        if room.room_type == Room.Type.DIRECT or role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators bring people into this room.")

    def may_add(self, person: Person, others: Collection[Person]) -> None:
        """Whether ``person`` may bring others into a room, or invite them: not across a block, whoever made it."""
        self.contacts.may_add(person, others)

    def may_remove(self, person: Person, room: Room, role: str, other_role: str) -> None:
        """Those who manage a room remove members; only owners remove those who manage it."""
        if room.room_type == Room.Type.DIRECT or role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators remove people from this room.")
        if other_role in MANAGERS and role != Role.OWNER:
            raise ManaError(ErrorCode.FORBIDDEN, "Only owners remove those who manage the room.")

    def may_ban(self, person: Person, room: Room, role: str, other_role: str) -> None:
        """Bans and lifts bans: who may remove them."""
        self.may_remove(person, room, role, other_role)

    def may_mute(self, person: Person, room: Room, role: str, other_role: str) -> None:
        """Those who manage a room mute whoever has less say in it."""
        if room.room_type == Room.Type.DIRECT or role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators mute people in this room.")
        if RANKS[Role(other_role)] >= RANKS[Role(role)]:
            raise ManaError(ErrorCode.FORBIDDEN, "You can mute only those who have less say in this room.")

    def may_set_role(self, person: Person, room: Room, role: str, other_role: str, new_role: str) -> None:
        """Owners give every role; admins make moderators and members of those below themselves."""
        if room.room_type == Room.Type.DIRECT or role not in ADMINS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only owners and admins give roles.")
        highest = max(RANKS[Role(other_role)], RANKS[Role(new_role)])
        if role != Role.OWNER and highest >= RANKS[Role.ADMIN]:
            raise ManaError(ErrorCode.FORBIDDEN, "Only owners make and unmake admins and owners.")

    def may_change_room(self, person: Person, room: Room, role: str) -> None:
        """Owners and admins change a room's name and settings."""
        if room.room_type == Room.Type.DIRECT or role not in ADMINS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only owners and admins change this room.")

    def may_delete_room(self, person: Person, room: Room, role: str) -> None:
        """Owners delete a room, and members whose role in the whole allows it; nobody a direct one."""
        if room.room_type == Room.Type.DIRECT:
            raise ManaError(ErrorCode.FORBIDDEN, "A direct room can't be deleted.")
        if role != Role.OWNER and permissions.DELETE_ROOM not in permissions.permissions_of(person.pk):
            raise ManaError(ErrorCode.FORBIDDEN, "Only owners delete this room.")

    # -- Messages ----------------------------------------------------------------------------------------------------

    def may_send(self, person: Person, room: Room, role: str) -> None:
        """In channels, those who manage them write; in frozen rooms owners and admins; elsewhere every member."""
        permissions.require(person.pk, permissions.SEND_MESSAGE)
        if room.room_type == Room.Type.CHANNEL and role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators write in this channel.")
        if room.is_frozen and role not in ADMINS:
            raise ManaError(ErrorCode.FORBIDDEN, "This room is frozen.")

    def may_message_directly(self, person: Person, other_user_id: str) -> None:
        """Whether ``person`` may write to the user ``other_user_id`` directly: blocks, and whom people hear."""
        self.contacts.may_message(person, other_user_id)

    def may_mention_all(self, person: Person, room: Room, role: str) -> None:
        """Those who manage a room call everybody; in direct rooms there is no need."""
        if role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators mention everybody.")

    def may_edit(self, person: Person, room: Room, role: str, message: Message, now: datetime) -> None:
        """Authors edit what they wrote, for ``EDIT_WINDOW`` seconds."""
        if message.sender_id != person.pk:
            raise ManaError(ErrorCode.FORBIDDEN, "Only its author edits a message.")
        if _is_over(message, settings.EDIT_WINDOW, now):
            raise ManaError(ErrorCode.FORBIDDEN, "This message is too old to be edited.")

    def may_delete(self, person: Person, room: Room, role: str, message: Message, now: datetime) -> None:
        """Authors delete what they wrote, for ``DELETE_WINDOW`` seconds; those who manage a room everything in it."""
        if room.room_type != Room.Type.DIRECT and role in MANAGERS:
            return
        if message.sender_id != person.pk:
            raise ManaError(ErrorCode.FORBIDDEN, "Only its author and moderators delete a message.")
        if _is_over(message, settings.DELETE_WINDOW, now):
            raise ManaError(ErrorCode.FORBIDDEN, "This message is too old to be deleted for everyone.")

    def may_read_revisions(self, person: Person, room: Room, role: str, message: Message) -> None:
        """``REVISIONS_FOR_MEMBERS`` says who reads what a message said before."""
        if not settings.REVISIONS_FOR_MEMBERS and message.sender_id != person.pk and role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only its author and moderators see what a message said before.")

    def may_react(self, person: Person, room: Room, role: str) -> None:
        """Every member, in frozen rooms owners and admins."""
        if room.is_frozen and role not in ADMINS:
            raise ManaError(ErrorCode.FORBIDDEN, "This room is frozen.")

    def may_pin(self, person: Person, room: Room, role: str) -> None:
        """Those who manage a room pin messages in it; in a direct room both people do."""
        if room.room_type != Room.Type.DIRECT and role not in MANAGERS:
            raise ManaError(ErrorCode.FORBIDDEN, "Only moderators pin messages in this room.")


def _is_over(message: Message, window: int, now: datetime) -> bool:
    return bool(window) and message.created_at + timedelta(seconds=window) < now


def policy() -> MessagingPolicy:
    """The project's policy."""
    made: MessagingPolicy = settings.MESSAGING_POLICY()
    for decision, path in settings.POLICIES.items():
        setattr(made, decision, import_string(path))
    return made
