"""Shapes of the moderation API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mana.moderation.models import Report


class ReportCreateSerializer(serializers.Serializer[Any]):
    """What is wrong: name one of user, room and message."""

    user_id = serializers.CharField(max_length=128, required=False)
    room_id = serializers.CharField(max_length=128, required=False)
    message_id = serializers.UUIDField(required=False)
    reason = serializers.CharField(max_length=32, help_text='One of `MANA["REPORT_REASONS"]`, such as spam or abuse.')
    text = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """Exactly one subject."""
        if sum(name in attrs for name in ("user_id", "room_id", "message_id")) != 1:
            raise serializers.ValidationError("Name one of user_id, room_id and message_id.")
        return attrs


class ReportSerializer(serializers.Serializer[Any]):
    """One of the user's own reports. What was done about it is not told."""

    id = serializers.IntegerField(source="pk")
    subject_type = serializers.ChoiceField(Report.Subject.choices)
    reason = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    status = serializers.ChoiceField([("open", "open"), ("closed", "closed")])
    created_at = serializers.DateTimeField()

    def to_representation(self, instance: Report) -> dict[str, Any]:
        """A handled report is closed, whatever came of it."""
        shown = dict(super().to_representation(instance))
        shown["status"] = "open" if instance.status == Report.Status.OPEN else "closed"
        return shown
