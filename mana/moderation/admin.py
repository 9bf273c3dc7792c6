"""The review queue, the audit log and the dashboard."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html

from mana.messaging.admin import excerpt_of
from mana.model_admin import ManaAdmin, name_lookup, text_block
from mana.moderation import services
from mana.moderation.models import AuditEntry, Dashboard, Report
from mana.moderation.numbers import nodes, numbers
from mana.protocol import ManaError
from mana.text import storable


class _ReadOnly(ManaAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody writes here by hand."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody takes anything away."""
        return False


@admin.register(Report)
class ReportAdmin(_ReadOnly):
    """Reports: made by people, handled here."""

    list_display = ["subject", "excerpt", "reason", "status", "created_at", "reporter", "resolution"]
    list_filter = ["status", "subject_type", "reason", "created_at"]
    list_select_related = ["reporter", "user", "room", "message"]
    search_fields = ["=room__key", "room__name", "text"]
    ordering = ["-pk"]
    list_per_page = 50
    actions = ["dismiss", "delete", "warn", "mute_for_a_day", "mute_for_good", "ban"]
    readonly_fields = [
        "created_at",
        "status",
        "reason",
        "text",
        "reporter",
        "subject",
        "excerpt",
        "shown_evidence",
        "user",
        "room_link",
        "message_link",
        "handled_by",
        "handled_at",
        "resolution",
    ]
    fields = tuple(readonly_fields)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), name_lookup("reporter"), *self.search_fields]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """To open a report it takes a look; to handle one, the permission to change it."""
        return super().has_change_permission(request, obj) if obj is None else False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may change reports may look at them."""
        return super().has_view_permission(request, obj) or super().has_change_permission(request, obj)

    @admin.display(description="about")
    def subject(self, report: Report) -> str:
        """Who or what was reported."""
        about_room = report.subject_type == Report.Subject.ROOM
        who = report.room if about_room else report.user
        kept = report.evidence.get("room" if about_room else "user", {})  # of what is gone
        name = str(who or kept.get("name") or kept.get("username") or "-")
        return name if report.subject_type == Report.Subject.MESSAGE else f"{report.subject_type} {name}"

    @admin.display(description="message now")
    def excerpt(self, report: Report) -> str:
        """The beginning of what the reported message says now."""
        if report.message is None:
            return ""
        if report.message.deleted_at is not None:
            return "(deleted)"
        return excerpt_of(report.message)

    @admin.display(description="as it was when it was reported")
    def shown_evidence(self, report: Report) -> str:
        """The copy that the report keeps."""
        text = json.dumps(report.evidence, indent=2, ensure_ascii=False) if report.evidence else "-"
        return text_block(storable(text))

    @admin.display(description="room")
    def room_link(self, report: Report) -> str:
        """Where it happened."""
        if report.room is None:
            return "-"
        url = reverse("admin:mana_messaging_room_change", args=[report.room.pk])
        return format_html('<a href="{}">{}</a>', url, report.room)

    @admin.display(description="message")
    def message_link(self, report: Report) -> str:
        """The message in the list of all."""
        if report.message is None:
            return "-"
        url = reverse("admin:mana_messaging_message_change", args=[report.message.pk])
        return format_html('<a href="{}">{}</a>', url, report.message.pk)

    def _handle(
        self, request: HttpRequest, queryset: QuerySet[Report], handle: Callable[[Report], None], done: str
    ) -> None:
        count = 0
        for report in queryset.select_related("room", "message", "user").order_by("pk"):
            report.refresh_from_db(fields=["status"])
            if report.status != Report.Status.OPEN:
                continue  # closed by one of the others, about the same thing
            try:
                handle(report)
                count += 1
            except ManaError as error:
                self.message_user(request, f"{report}: {error.detail}", messages.WARNING)
        self.message_user(request, f"{count} reports: {done}.")

    @admin.action(description="Dismiss: nothing is wrong", permissions=["change"])
    def dismiss(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Closes them."""
        self._handle(request, queryset, lambda report: services.dismiss(report, request.user), "dismissed")

    @admin.action(description="Delete the message or room", permissions=["change"])
    def delete(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Deletes what was reported, for everyone."""
        self._handle(request, queryset, lambda report: services.delete_reported(report, request.user), "deleted")

    @admin.action(description="Warn the user", permissions=["change"])
    def warn(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Tells the user on all their devices."""
        self._handle(request, queryset, lambda report: services.warn_reported(report, request.user), "warned")

    @admin.action(description="Mute the user in the room for a day", permissions=["change"])
    def mute_for_a_day(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Keeps the author from writing there."""
        until = timezone.now() + timedelta(days=1)
        handle = lambda report: services.mute_reported(report, request.user, until=until)  # noqa: E731
        self._handle(request, queryset, handle, "muted")

    @admin.action(description="Mute the user in the room for good", permissions=["change"])
    def mute_for_good(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """Keeps the author from writing there."""
        self._handle(request, queryset, lambda report: services.mute_reported(report, request.user), "muted")

    @admin.action(description="Ban the user (of a message: from its room)", permissions=["change"])
    def ban(self, request: HttpRequest, queryset: QuerySet[Report]) -> None:
        """From the room of the message; a user who was reported as such, from the site."""
        self._handle(request, queryset, lambda report: services.ban_reported(report, request.user), "banned")


@admin.register(AuditEntry)
class AuditEntryAdmin(_ReadOnly):
    """Who did what. Only ``mana_prune`` takes entries away, after ``AUDIT_DAYS``."""

    list_display = ["at", "actor_name", "action", "subject", "room_key"]
    list_filter = ["action", "at"]
    search_fields = ["actor_name", "subject", "=room_key"]
    ordering = ["-pk"]

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was done was done."""
        return False


@admin.register(Dashboard)
class DashboardAdmin(_ReadOnly):
    """A page with live numbers."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """There is nothing to change."""
        return False

    def get_urls(self) -> list[Any]:
        """The page has no rows: the list's address is its own, and one beside it gives the numbers."""
        info = (self.opts.app_label, self.opts.model_name)
        return [
            path("", self.admin_site.admin_view(self.changelist_view), name="{}_{}_changelist".format(*info)),
            path("numbers/", self.admin_site.admin_view(self.numbers_view), name="{}_{}_numbers".format(*info)),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The page."""
        if not self.has_view_permission(request):
            return self._refused()
        context = {
            **self.admin_site.each_context(request),
            "title": "Dashboard",
            "opts": self.opts,
            "numbers": numbers(),
            "nodes": nodes(),
            "numbers_url": reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_numbers"),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/mana_moderation/dashboard.html", context)

    def numbers_view(self, request: HttpRequest) -> HttpResponse:
        """The numbers as JSON, for the page that stays open."""
        return JsonResponse(numbers()) if self.has_view_permission(request) else self._refused()

    def _refused(self) -> HttpResponse:
        return HttpResponse("You may not see the dashboard.", status=403, content_type="text/plain")
