"""What a stored message is in the baseline."""

from __future__ import annotations

from typing import ClassVar

from django.db import models


class Message(models.Model):
    """A message in a room: the least that a chat stores."""

    room = models.CharField(max_length=100, db_index=True)
    text = models.TextField()
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[models.Manager[Message]]

    class Meta:
        app_label = "baseline"

    def __str__(self) -> str:
        return self.text
