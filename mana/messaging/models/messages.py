"""Events of rooms, and what belongs to single messages."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField
from mana.messaging.ids import new_message_id
from mana.messaging.models.rooms import Room


class Message(models.Model):
    """An event in a room: a message, or a change of one, or of the room.

    ``sequence`` is its place among all events, ``index`` among those of its room; both are empty for the moment between
    the commit of a caller's own transaction and the sequencing that follows. ``number`` counts the messages of the room
    up to here. ``payload_json`` is the payload exactly as it was sent, or as it was last changed; of a deleted message
    nothing is left. An edit, deletion or reaction names the message it changes in ``target``, which is no foreign key:
    nobody looks for it, and an index would cost each message an insert.
    """

    class Kind(models.TextChoices):
        MESSAGE = "message", "message"
        ROOM = "room", "room change"
        EDIT = "edit", "edit"
        DELETE = "delete", "deletion"
        REACTION = "reaction", "reaction"

    id = models.UUIDField(primary_key=True, default=new_message_id, editable=False)
    room = models.ForeignKey(
        Room, on_delete=models.CASCADE, related_name="messages", db_index=False, db_constraint=False
    )
    kind = models.CharField(max_length=16, choices=Kind.choices, default=Kind.MESSAGE)
    sequence = models.BigIntegerField(unique=True, null=True, editable=False)
    index = models.BigIntegerField(null=True, editable=False)
    number = models.BigIntegerField(null=True, editable=False)
    sender = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="mana_messages",
        db_index=False,
    )
    device_id = models.CharField(max_length=64, blank=True)
    session_id = models.CharField(max_length=32, blank=True)
    ack_id = ExactCharField(max_length=64, null=True, blank=True)
    payload_json = models.TextField("payload")
    reply_to = models.ForeignKey("self", on_delete=models.SET_NULL, null=True, blank=True, related_name="replies")
    target = models.UUIDField(null=True, blank=True, editable=False)
    extra_json = models.TextField("mentions and attachments", blank=True, default="")
    edited_at = models.DateTimeField(null=True, blank=True)
    deleted_at = models.DateTimeField(null=True, blank=True)
    reaction_count = models.IntegerField(default=0, editable=False)
    created_at = models.DateTimeField()

    class Meta:
        db_table = table("message")
        constraints = [
            models.UniqueConstraint(fields=["room", "index"], name=table("message_index")),
            models.UniqueConstraint(fields=["sender", "ack_id"], name=table("message_ack")),
        ]
        indexes = [models.Index(fields=["room", "sequence"], name=table("message_room_sequence"))]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"

    @property
    def payload(self) -> Any:
        """The payload as Python values."""
        return json.loads(self.payload_json)

    @property
    def is_encrypted(self) -> bool:
        """Whether the payload is each device's own, and kept elsewhere: ``mana.messaging.sealed``."""
        return bool(self.extra_json) and bool(json.loads(self.extra_json).get("encrypted"))

    @property
    def mentions(self) -> list[str]:
        """The wire ids of the users whom the message mentions; ``@all`` stands for everybody in the room."""
        return list(json.loads(self.extra_json).get("mentions", ())) if self.extra_json else []


class PersonalEvent(models.Model):
    """An event that one person alone sees, on all their devices: in the order of all events, but in no room's index.

    ``payload_json`` is what its frame holds beside type, id, sequence and timestamp.
    """

    id = models.UUIDField(primary_key=True, default=new_message_id, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    kind = models.CharField("frame type", max_length=32)
    sequence = models.BigIntegerField(unique=True, null=True, editable=False)
    payload_json = models.TextField("payload")
    created_at = models.DateTimeField()

    class Meta:
        db_table = table("personal_event")
        indexes = [models.Index(fields=["user", "sequence"], name=table("personal_sequence"))]

    def __str__(self) -> str:
        return f"{self.kind} {self.pk}"


class Revision(models.Model):
    """What a message said before an edit. ``index`` is the edit's place in the room."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="revisions", db_constraint=False)
    index = models.BigIntegerField()
    payload_json = models.TextField("payload")
    editor = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField("when it was replaced")

    class Meta:
        db_table = table("revision")

    def __str__(self) -> str:
        return f"revision of {self.message_id}"


class Reaction(models.Model):
    """An emoji that somebody put on a message; ``index`` is the place of its event in the room."""

    message = models.ForeignKey(
        Message, on_delete=models.CASCADE, related_name="reactions", db_constraint=False, db_index=False
    )
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.CASCADE, related_name="+"
    )
    emoji = ExactCharField(max_length=64)
    index = models.BigIntegerField()
    created_at = models.DateTimeField()

    class Meta:
        db_table = table("reaction")
        constraints = [models.UniqueConstraint(fields=["message", "user", "emoji"], name=table("reaction_once"))]

    def __str__(self) -> str:
        return f"{self.emoji} on {self.message_id}"


class Hidden(models.Model):
    """A message that somebody deleted for themselves."""

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.CASCADE, related_name="+", db_index=False
    )
    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="hidden_for", db_constraint=False)

    class Meta:
        db_table = table("hidden")
        verbose_name_plural = "hidden"
        constraints = [models.UniqueConstraint(fields=["user", "message"], name=table("hidden_once"))]

    def __str__(self) -> str:
        return f"{self.message_id} hidden for {self.user_id}"


class Mention(models.Model):
    """Somebody whom a message mentions; without a user, everybody in the room."""

    message = models.ForeignKey(Message, on_delete=models.CASCADE, related_name="+", db_constraint=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="+", db_constraint=False, db_index=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.CASCADE, null=True, related_name="+"
    )
    index = models.BigIntegerField()

    class Meta:
        db_table = table("mention")
        indexes = [models.Index(fields=["room", "index"], name=table("mention_room_index"))]

    def __str__(self) -> str:
        return f"mention in {self.message_id}"


class Pin(models.Model):
    """A message that is pinned in its room."""

    message = models.OneToOneField(Message, on_delete=models.CASCADE, related_name="pin", db_constraint=False)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="pins", db_constraint=False)
    pinned_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.SET_NULL, null=True, related_name="+"
    )
    created_at = models.DateTimeField()

    class Meta:
        db_table = table("pin")

    def __str__(self) -> str:
        return f"pin of {self.message_id}"
