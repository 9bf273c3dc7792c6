"""Shapes of the moderation API."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from mana.accounts.stores import people
from mana.moderation.models import AuditEntry, Report


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


class QueueQuerySerializer(serializers.Serializer[Any]):
    """Which reports."""

    status = serializers.ChoiceField(Report.Status.choices, required=False)
    subject_type = serializers.ChoiceField(Report.Subject.choices, required=False)


class SomebodySerializer(serializers.Serializer[Any]):
    """A user by id and name."""

    id = serializers.CharField(source="user_id")
    username = serializers.CharField()


class QueuedReportSerializer(serializers.Serializer[Any]):
    """A report as moderators see it."""

    id = serializers.IntegerField(source="pk")
    subject_type = serializers.ChoiceField(Report.Subject.choices)
    reporter = serializers.SerializerMethodField()
    user = serializers.SerializerMethodField()
    room_id = serializers.CharField(source="room.key", default=None, allow_null=True)
    message_id = serializers.UUIDField(allow_null=True)
    reason = serializers.CharField()
    text = serializers.CharField(allow_blank=True)
    evidence = serializers.DictField(help_text="What was reported, as it was then.")
    status = serializers.ChoiceField(Report.Status.choices)
    created_at = serializers.DateTimeField()
    handled_by = serializers.SerializerMethodField()
    handled_at = serializers.DateTimeField(allow_null=True)
    resolution = serializers.CharField(allow_blank=True, help_text="What was done.")

    @classmethod
    def of(cls, reports: Sequence[Report]) -> list[dict[str, Any]]:
        """Several, with one query for all the people in them."""
        pks = {pk for one in reports for pk in (one.reporter_id, one.user_id, one.handled_by_id) if pk is not None}
        return [dict(row) for row in cls(reports, many=True, context={"people": people(pks)}).data]

    @extend_schema_field(SomebodySerializer(allow_null=True))
    def get_reporter(self, report: Report) -> dict[str, Any] | None:
        """Who reported."""
        return self._somebody(report.reporter_id)

    @extend_schema_field(SomebodySerializer(allow_null=True))
    def get_user(self, report: Report) -> dict[str, Any] | None:
        """The reported user; of a message, its author."""
        return self._somebody(report.user_id)

    @extend_schema_field(SomebodySerializer(allow_null=True))
    def get_handled_by(self, report: Report) -> dict[str, Any] | None:
        """Who handled it."""
        return self._somebody(report.handled_by_id)

    def _somebody(self, pk: Any) -> dict[str, Any] | None:
        who = self.context["people"].get(pk)
        return dict(SomebodySerializer(who).data) if who is not None else None


class ReportActionSerializer(serializers.Serializer[Any]):
    """What to do."""

    action = serializers.ChoiceField([(name, name) for name in ("dismiss", "delete", "warn", "mute", "ban")])
    text = serializers.CharField(
        max_length=2000,
        required=False,
        allow_blank=True,
        default="",
        help_text="Of a warning; empty for the usual one.",
    )
    seconds = serializers.IntegerField(
        min_value=1, max_value=10 * 366 * 86400, required=False, help_text="Of a mute; absent for one without end."
    )


class AuditEntrySerializer(serializers.ModelSerializer[AuditEntry]):
    """Somebody did something."""

    class Meta:
        model = AuditEntry
        fields = ("id", "at", "actor_name", "action", "subject", "room_key", "details")
