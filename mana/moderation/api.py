"""REST: reports."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.throttling import BaseThrottle, UserRateThrottle

from mana.conf import settings
from mana.messaging.services.people import people_named
from mana.moderation import services
from mana.moderation.models import Report
from mana.moderation.serializers import ReportCreateSerializer, ReportSerializer
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of


class ReportThrottle(UserRateThrottle):
    """``MANA["REPORT_RATE"]``."""

    scope = "mana_report"

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
