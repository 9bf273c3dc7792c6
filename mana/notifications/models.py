"""Stored notifications, and the browsers that can be pushed to."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone

from mana.conf import table
from mana.fields import ExactCharField
from mana.messaging.ids import new_message_id


class Notification(models.Model):
    """Something that one user is told of. ``kind`` says of what: ``mention``, ``call_missed``, the project's words."""

    id = models.UUIDField(primary_key=True, default=new_message_id, editable=False)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_notifications", db_index=False
    )
    kind = models.CharField(max_length=40, blank=True)
    title = models.CharField(max_length=200)
    body = models.CharField(max_length=2000, blank=True)
    data_json = models.TextField("data", default="null")
    is_silent = models.BooleanField("silent", default=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = table("notification")
        indexes = [
            models.Index(fields=["user", "-created_at"], name=table("notification_of_user")),
            models.Index(fields=["user", "read_at"], name=table("notification_unread")),
        ]

    def __str__(self) -> str:
        return self.title

    @property
    def data(self) -> Any:
        """What the application added, as Python values."""
        return json.loads(self.data_json)


class PushSubscription(models.Model):
    """A browser that a push service reaches (RFC 8030). ``digest`` is of the endpoint, which has no length limit."""

    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_push_subscriptions"
    )
    digest = ExactCharField(max_length=64, unique=True, editable=False)
    endpoint = models.TextField()
    p256dh = models.CharField(max_length=200)
    auth = models.CharField(max_length=100)
    sign_in_id = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = table("push_subscription")

    def __str__(self) -> str:
        return self.endpoint[:60]


def digest_of(endpoint: str) -> str:
    """What an endpoint is stored under."""
    return hashlib.sha256(endpoint.encode()).hexdigest()
