"""The processes that serve sockets, and those sockets. A node's rows count as long as it renews its lease."""

from __future__ import annotations

from django.conf import settings as django_settings
from django.db import models
from django.db.models.functions import Now

from mana.conf import table


class Node(models.Model):
    """A process with a hub. ``seen_at`` is the database's time of its last sign of life."""

    id = models.CharField(primary_key=True, max_length=100)
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(db_index=True)

    class Meta:
        db_table = table("node")

    def __str__(self) -> str:
        return self.id


class Session(models.Model):
    """An open socket."""

    id = models.CharField(primary_key=True, max_length=32)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="sessions")
    user = models.ForeignKey(django_settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="mana_sessions")
    device_id = models.CharField(max_length=64)
    connected_at = models.DateTimeField()

    class Meta:
        db_table = table("session")

    def __str__(self) -> str:
        return self.id


class LastSeen(models.Model):
    """When a user's last socket closed."""

    user = models.OneToOneField(
        django_settings.AUTH_USER_MODEL,
        on_delete=models.CASCADE,
        primary_key=True,
        related_name="mana_last_seen",
    )
    at = models.DateTimeField()

    class Meta:
        db_table = table("last_seen")
        verbose_name_plural = "last seen"

    def __str__(self) -> str:
        return f"{self.user_id}: {self.at}"


class Revocation(models.Model):
    """A hint to all nodes that a user's credentials, or one session, may have ended. It counts for a minute."""

    user_id = models.CharField("user's id on the wire", max_length=255, blank=True)
    session_id = models.CharField(max_length=32, blank=True)
    created_at = models.DateTimeField(db_default=Now(), db_index=True)

    class Meta:
        db_table = table("revocation")

    def __str__(self) -> str:
        return f"{self.user_id or self.session_id} at {self.created_at}"
