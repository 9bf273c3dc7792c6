"""Files that messages carry."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.messaging.ids import new_message_id
from mana.messaging.models.messages import Message
from mana.messaging.models.rooms import Room


class Attachment(models.Model):
    """A file that somebody uploaded, and the message that carries it; without one it is an orphan after a while.

    ``file`` and ``thumbnail`` are names in the storage, with nothing of the user's own in them.
    """

    id = models.UUIDField(primary_key=True, default=new_message_id, editable=False)
    owner = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        related_name="mana_attachments",
    )
    room = models.ForeignKey(
        Room, db_constraint=False, on_delete=models.CASCADE, null=True, blank=True, related_name="attachments"
    )
    message = models.ForeignKey(
        Message, db_constraint=False, on_delete=models.SET_NULL, null=True, blank=True, related_name="attachments"
    )
    name = models.CharField(max_length=255)
    content_type = models.CharField(max_length=100)
    size = models.BigIntegerField()
    width = models.PositiveIntegerField(null=True, blank=True)
    height = models.PositiveIntegerField(null=True, blank=True)
    sha256 = models.CharField(max_length=64)
    file = models.CharField("stored file", max_length=200, editable=False)
    thumbnail = models.CharField("stored thumbnail", max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)

    class Meta:
        db_table = table("attachment")

    def __str__(self) -> str:
        return self.name
