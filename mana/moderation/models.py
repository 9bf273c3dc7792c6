"""Reports, and the log of what moderators and administrators did."""

from __future__ import annotations

import json
from typing import Any

from django.conf import settings as django_settings
from django.db import models

from mana.conf import table
from mana.fields import ExactCharField
from mana.messaging.models import Message, Room


class Report(models.Model):
    """Somebody thinks that a user, a room or a message is against the rules.

    ``evidence`` is a copy of what was reported (``mana.moderation.evidence``): it stays when the subject is changed,
    deleted, or its account is. ``open_key`` names reporter and subject while the report is open, so that nobody reports
    the same thing twice at once on any database; a handled report has none.
    """

    class Subject(models.TextChoices):
        USER = "user", "user"
        ROOM = "room", "room"
        MESSAGE = "message", "message"

    class Status(models.TextChoices):
        OPEN = "open", "open"
        DISMISSED = "dismissed", "dismissed"
        RESOLVED = "resolved", "resolved"

    reporter = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        related_name="mana_reports",
    )
    subject_type = models.CharField("about a", max_length=8, choices=Subject.choices)
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        verbose_name="reported user",
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="Of a message, its author.",
    )
    room = models.ForeignKey(
        Room, db_constraint=False, on_delete=models.SET_NULL, null=True, blank=True, related_name="reports"
    )
    message = models.ForeignKey(
        Message, db_constraint=False, on_delete=models.SET_NULL, null=True, blank=True, related_name="reports"
    )
    reason = models.CharField(max_length=32)
    text = models.TextField("what the reporter says", blank=True)
    # Text: a payload may hold what PostgreSQL does not take as JSON, such as an escaped null.
    evidence_json = models.TextField("as it was when it was reported", blank=True, editable=False)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.OPEN, db_index=True)
    open_key = ExactCharField(max_length=200, unique=True, null=True, editable=False)
    created_at = models.DateTimeField(auto_now_add=True, db_index=True)
    handled_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
    )
    handled_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField("what was done", max_length=32, blank=True)

    class Meta:
        db_table = table("report")

    def __str__(self) -> str:
        return f"report of a {self.subject_type} for {self.reason}"

    @property
    def evidence(self) -> dict[str, Any]:
        """What was reported, as it was then; empty for reports of before there were such copies."""
        kept: dict[str, Any] = json.loads(self.evidence_json) if self.evidence_json else {}
        return kept


class AuditEntry(models.Model):
    """Who did what to whom. Names are kept as text: they stay when the rows they name are gone."""

    at = models.DateTimeField(auto_now_add=True, db_index=True)
    actor = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        related_name="+",
    )
    actor_name = models.CharField(max_length=200, blank=True)
    action = models.CharField(max_length=64, db_index=True)
    subject = models.CharField(max_length=255, blank=True)
    room_key = ExactCharField("room", max_length=128, blank=True, db_index=True)
    details = models.JSONField(default=dict)

    class Meta:
        db_table = table("audit_entry")
        verbose_name_plural = "audit entries"

    def __str__(self) -> str:
        return f"{self.actor_name or 'the server'}: {self.action} {self.subject}"


class Dashboard(Report):
    """The page with live numbers in the admin; no rows of its own."""

    class Meta:
        proxy = True
        default_permissions = ("view",)
        verbose_name = "dashboard"
        verbose_name_plural = "dashboard"
