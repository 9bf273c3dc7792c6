"""Rooms, who is in them, and the one sequence of everything that happens there.

The foreign keys here are kept by Django and not checked by the database (``db_constraint=False``). For each row that
refers to another, InnoDB locks the other for as long as the transaction is open: a project's own long transaction that
sends a message, or that has changed a user, would make the writer wait, which holds the order of all events, and with
it everybody.
"""

from mana.messaging.models.attachments import Attachment
from mana.messaging.models.messages import Hidden, Mention, Message, PersonalEvent, Pin, Reaction, Revision
from mana.messaging.models.rooms import DIRECT_SEPARATOR, Invite, Membership, Room, Stream

__all__ = [
    "DIRECT_SEPARATOR",
    "Attachment",
    "Hidden",
    "Invite",
    "Membership",
    "Mention",
    "Message",
    "PersonalEvent",
    "Pin",
    "Reaction",
    "Revision",
    "Room",
    "Stream",
]
