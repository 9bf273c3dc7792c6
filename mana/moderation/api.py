"""REST: people's own reports, and for those who have the permission the review queue and the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.utils import timezone
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle, UserRateThrottle

from mana.conf import settings
from mana.messaging.services.people import people_named
from mana.moderation import services
from mana.moderation.models import AuditEntry, Report
from mana.moderation.serializers import (
    AuditEntrySerializer,
    QueuedReportSerializer,
    QueueQuerySerializer,
    ReportActionSerializer,
    ReportCreateSerializer,
    ReportSerializer,
)
from mana.protocol import ErrorCode, ManaError
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of
from mana.throttles import counts


class ReportThrottle(UserRateThrottle):
    """``MANA["REPORT_RATE"]``."""

    scope = "mana_report"
    cache = counts  # type: ignore[assignment]  # no BaseCache, but has all that is asked of one

    def get_rate(self) -> str:
        """The setting."""
        return settings.REPORT_RATE


class ReportsView(ManaAPIView):
    """The user's own reports."""

    def get_throttles(self) -> list[BaseThrottle]:
        """Nobody floods the queue."""
        return [ReportThrottle()] if self.request.method == "POST" else []

    @extend_schema(operation_id="reports_list", parameters=PAGE_PARAMETERS, responses=page_of(ReportSerializer))
    def get(self, request: Request) -> Response:
        """What the user has reported, newest first."""
        rows = Report.objects.filter(reporter_id=request.user.pk)
        return self.page(rows, "-created_at", "-pk", present=lambda page: list(ReportSerializer(page, many=True).data))

    @extend_schema(
        request=ReportCreateSerializer,
        responses={201: ReportSerializer},
        examples=[
            OpenApiExample(
                "A message",
                value={"message_id": "019ab0f2-7c1c-7000-8000-000000000001", "reason": "spam", "text": "Again."},
                request_only=True,
            )
        ],
    )
    def post(self, request: Request) -> Response:
        """Reports a user, a room or a message to the moderators."""
        given = self.validated(ReportCreateSerializer)
        what = {"reason": given["reason"], "text": given["text"]}
        if "user_id" in given:
            (user,) = people_named([given["user_id"]])
            report = services.report_user(request.user, user, **what)
        elif "room_id" in given:
            report = services.report_room(request.user, given["room_id"], **what)
        else:
            report = services.report_message(request.user, given["message_id"], **what)
        return Response(dict(ReportSerializer(report).data), status=status.HTTP_201_CREATED)


class _StaffView(ManaAPIView):
    """For those who have permissions of Django's, as the admin asks for them; everybody else is ``forbidden``."""

    needs: tuple[str, ...] = ()

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Asks before anything is looked up, so that nobody learns what there is."""
        super().initial(request, *args, **kwargs)
        require(request.user, *self.needs)


def require(user: Any, *permissions: str) -> None:
    """Raises ``ManaError`` with ``forbidden`` for who has none of these permissions of ``mana.moderation``."""
    may = getattr(user, "has_perm", lambda _: False)
    if not any(may(f"{Report._meta.app_label}.{permission}") for permission in permissions):
        raise ManaError(ErrorCode.FORBIDDEN, "This is for moderators of the site.")


class QueueView(_StaffView):
    """The review queue."""

    needs = ("view_report", "change_report")

    @extend_schema(
        operation_id="moderation_reports_list",
        parameters=[
            OpenApiParameter("status", str, enum=Report.Status.values, description="Only those."),
            OpenApiParameter("subject_type", str, enum=Report.Subject.values, description="Only those."),
            *PAGE_PARAMETERS,
        ],
        responses=page_of(QueuedReportSerializer),
    )
    def get(self, request: Request) -> Response:
        """All reports, the newest first. Needs the permission `view_report`."""
        rows = queued().filter(**self.validated(QueueQuerySerializer, request.query_params))
        return self.page(rows, "-created_at", "-pk", present=QueuedReportSerializer.of)


class QueuedReportView(_StaffView):
    """One report."""

    needs = ("view_report", "change_report")

    @extend_schema(responses=QueuedReportSerializer)
    def get(self, request: Request, report_id: str) -> Response:
        """The report with its copy of what was reported. Needs the permission `view_report`."""
        return Response(QueuedReportSerializer.of([report_with(report_id)])[0])


class ReportActionsView(_StaffView):
    """What is done about a report."""

    needs = ("change_report",)

    @extend_schema(
        request=ReportActionSerializer,
        responses=QueuedReportSerializer,
        examples=[
            OpenApiExample("Mute for a day", value={"action": "mute", "seconds": 86400}, request_only=True),
            OpenApiExample("Warn", value={"action": "warn", "text": "Please no advertisements."}, request_only=True),
        ],
    )
    def post(self, request: Request, report_id: str) -> Response:
        """Dismisses the report, or deletes, warns, mutes or bans. Needs the permission `change_report`.

        `conflict` for a report that was handled already; `invalid` for what can't be done about its subject.
        """
        given = self.validated(ReportActionSerializer)
        report = report_with(report_id)
        if report.status != Report.Status.OPEN:
            raise ManaError(ErrorCode.CONFLICT, "This report was handled already.")
        actor = request.user
        seconds = given.get("seconds")
        until = timezone.now() + timedelta(seconds=seconds) if seconds is not None else None
        actions: dict[str, Callable[[], None]] = {
            "dismiss": lambda: services.dismiss(report, actor),
            "delete": lambda: services.delete_reported(report, actor),
            "warn": lambda: services.warn_reported(report, actor, given["text"] or services.WARNING),
            "mute": lambda: services.mute_reported(report, actor, until=until),
            "ban": lambda: services.ban_reported(report, actor),
        }
        actions[given["action"]]()
        return Response(QueuedReportSerializer.of([report_with(report_id)])[0])


class AuditView(_StaffView):
    """The log."""

    needs = ("view_auditentry",)

    @extend_schema(
        operation_id="moderation_audit_list", parameters=PAGE_PARAMETERS, responses=page_of(AuditEntrySerializer)
    )
    def get(self, request: Request) -> Response:
        """Who did what, the newest first. Needs the permission `view_auditentry`."""
        rows = AuditEntry.objects.all()
        return self.page(rows, "-at", "-pk", present=lambda page: list(AuditEntrySerializer(page, many=True).data))


def queued() -> QuerySet[Report]:
    """Reports with what is shown of them."""
    return Report.objects.select_related("room")


def report_with(report_id: str) -> Report:
    """One of them. Raises ``ManaError`` with ``not_found``."""
    number = int(report_id) if report_id.isascii() and report_id.isdigit() and len(report_id) < 19 else 0
    report = queued().filter(pk=number).first()
    if report is None:
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no report {report_id[:40]!r}.")
    return report
