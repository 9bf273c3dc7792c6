"""Calls, and who was in them or rung by them. A call that goes on is ``live_in`` its room; others are history."""

from __future__ import annotations

import json
import secrets
from typing import Any

from django.conf import settings as django_settings
from django.db import models
from django.utils import timezone

from mana.conf import table
from mana.fields import ExactCharField
from mana.messaging.models import Room


def new_call_key() -> str:
    """The id of a call whose caller chose none."""
    return secrets.token_urlsafe(12)


class Call(models.Model):
    """A call. ``mana_rtc.services.transitions`` alone changes ``state``, under the lock of this row.

    ``live_in`` is the room's key until the call has ended: unique, so that a room has one call at a time.
    """

    class State(models.TextChoices):
        RINGING = "ringing", "ringing"
        ACCEPTED = "accepted", "accepted"
        ENDED = "ended", "ended"

    class Reason(models.TextChoices):
        HANGUP = "hangup", "hang-up"
        REJECTED = "rejected", "rejected"
        BUSY = "busy", "busy"
        MISSED = "missed", "missed"
        FAILED = "failed", "failed"
        DISCONNECTED = "disconnected", "disconnected"

    key = ExactCharField("id on the wire", max_length=64, unique=True, default=new_call_key)
    room = models.ForeignKey(Room, on_delete=models.CASCADE, related_name="calls", db_constraint=False)
    live_in = ExactCharField(max_length=128, unique=True, null=True, blank=True, editable=False)
    started_by = models.ForeignKey(
        django_settings.AUTH_USER_MODEL,
        db_constraint=False,
        on_delete=models.SET_NULL,
        null=True,
        blank=True,
        related_name="mana_calls_started",
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.RINGING, db_index=True)
    reason = models.CharField(max_length=12, choices=Reason.choices, blank=True)
    is_video = models.BooleanField("video", default=False)
    payload_json = models.TextField("payload", default="null")
    version = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(default=timezone.now, db_index=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    ended_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = table("call")

    def __str__(self) -> str:
        return str(self.key)

    @property
    def payload(self) -> Any:
        """What the application added when it began."""
        return json.loads(self.payload_json)

    @property
    def seconds(self) -> int | None:
        """How long people talked; ``None`` if they did not, or still do."""
        if self.answered_at is None or self.ended_at is None:
            return None
        return max(0, round((self.ended_at - self.answered_at).total_seconds()))


class CallParticipant(models.Model):
    """A user who is rung by a call, in it, or was.

    ``seen_at`` and ``rung_at`` are by the database's clock, and compared with nothing else. ``seen_at`` is a lease: the
    node that serves the participant's session renews it. ``busy_as`` is there while they can be in no other call.
    """

    class State(models.TextChoices):
        RINGING = "ringing", "ringing"
        JOINED = "joined", "joined"
        LEFT = "left", "left"
        REJECTED = "rejected", "rejected"
        BUSY = "busy", "busy"
        MISSED = "missed", "missed"
        REMOVED = "removed", "removed"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="participants")
    user = models.ForeignKey(
        django_settings.AUTH_USER_MODEL, db_constraint=False, on_delete=models.CASCADE, related_name="mana_calls"
    )
    state = models.CharField(max_length=8, choices=State.choices, default=State.RINGING)
    busy_as = ExactCharField(max_length=64, unique=True, null=True, blank=True, editable=False)
    device_id = models.CharField(max_length=64, blank=True)
    session_id = models.CharField(max_length=32, blank=True, editable=False)
    seen_at = models.DateTimeField(null=True, blank=True, editable=False)
    rung_at = models.DateTimeField(null=True, blank=True, editable=False)
    joined_at = models.DateTimeField(null=True, blank=True)
    left_at = models.DateTimeField(null=True, blank=True)
    is_muted = models.BooleanField("muted", default=False)
    has_camera = models.BooleanField("camera", default=False)
    shares_screen = models.BooleanField("screen", default=False)
    pinned = models.CharField(max_length=128, blank=True)
    is_recording = models.BooleanField("records", default=False)

    class Meta:
        db_table = table("call_participant")
        constraints = [models.UniqueConstraint(fields=["call", "user"], name=table("call_user_once"))]
        indexes = [
            models.Index(fields=["user", "-id"], name=table("calls_of_user")),
            models.Index(fields=["state", "seen_at"], name=table("call_lease")),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.call_id}"

    def seat_key(self) -> str | None:
        """What ``busy_as`` is while they are in the call."""
        from mana.conf import settings

        return str(self.user_id) if settings.ONE_CALL_AT_A_TIME else None


class MediaWorker(models.Model):
    """A process that forwards media (``manage.py mana_sfu``). ``seen_at`` is the database's time of its last sign of
    life; the numbers are what it told then, those per second since the time before.
    """

    id = models.CharField(primary_key=True, max_length=100)
    name = models.CharField(max_length=100, blank=True)
    channel = models.CharField(max_length=150, editable=False)
    started_at = models.DateTimeField(auto_now_add=True)
    seen_at = models.DateTimeField(db_index=True)
    is_draining = models.BooleanField("draining", default=False)
    max_rooms = models.PositiveIntegerField(default=0)
    rooms = models.PositiveIntegerField(default=0)
    participants = models.PositiveIntegerField(default=0)
    tracks = models.PositiveIntegerField(default=0)
    busy = models.FloatField("share of a processor", default=0)
    packets_in = models.FloatField("packets in per second", default=0)
    packets_out = models.FloatField("packets out per second", default=0)
    bytes_in = models.FloatField("bytes in per second", default=0)
    bytes_out = models.FloatField("bytes out per second", default=0)

    class Meta:
        db_table = table("media_worker")

    def __str__(self) -> str:
        return str(self.name or self.id)


class Placement(models.Model):
    """The worker that has a room's media. Unique, so that no two nodes place a room twice; its primary key names this
    stay of the room, and is never used again.
    """

    room_key = ExactCharField(max_length=128, unique=True)
    worker = models.ForeignKey(MediaWorker, on_delete=models.CASCADE, related_name="placements")
    placed_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = table("media_placement")

    def __str__(self) -> str:
        return f"{self.room_key} on {self.worker_id}"


#: States of participants who have to do with a call that goes on.
PRESENT: tuple[Any, ...] = (CallParticipant.State.RINGING, CallParticipant.State.JOINED)
