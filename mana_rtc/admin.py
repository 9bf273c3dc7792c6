"""Calls in the admin: looked at, and ended where they go on."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import Count, QuerySet
from django.http import HttpRequest

from mana_rtc import services
from mana_rtc.models import Call, CallParticipant


class _ReadOnly:
    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """People call."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What was, was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """``manage.py mana_prune`` removes what is old; a call goes with its room."""
        view = (request.resolver_match.url_name if request.resolver_match else "") or ""
        own_pages = view.startswith("mana_rtc_")
        return not own_pages and bool(request.user.has_perm("mana_rtc.delete_call"))


class ParticipantInline(_ReadOnly, admin.TabularInline):
    """Who was in a call, or rung."""

    model = CallParticipant
    fields = ["user", "state", "device_id", "joined_at", "left_at", "is_muted", "has_camera", "shares_screen"]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[CallParticipant]:
        """With their names."""
        return super().get_queryset(request).select_related("user")


@admin.register(Call)
class CallAdmin(_ReadOnly, admin.ModelAdmin):
    """Calls that go on, and those that were."""

    list_display = ["key", "room", "started_by", "state", "reason", "people", "created_at", "duration"]
    list_filter = ["state", "reason", "is_video", "created_at"]
    list_select_related = ["room", "started_by"]
    search_fields = ["=key", "=room__key", "room__name"]
    ordering = ["-created_at", "-pk"]
    show_full_result_count = False
    fields = ["key", "room", "started_by", "state", "reason", "is_video", "created_at", "answered_at", "ended_at"]
    inlines = [ParticipantInline]
    actions = ["end"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [*self.search_fields, f"started_by__{get_user_model().USERNAME_FIELD}"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        """With the number of people."""
        calls: QuerySet[Call] = super().get_queryset(request).annotate(people_count=Count("participants"))
        return calls

    @admin.display(description="people")
    def people(self, call: Any) -> int:
        """How many were in it or rung."""
        return int(call.people_count)

    @admin.display(description="seconds")
    def duration(self, call: Call) -> int | None:
        """How long they talked."""
        return call.seconds

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Who may delete calls, were they deleted here, may end them."""
        return bool(request.user.has_perm("mana_rtc.delete_call"))

    @admin.action(description="End the selected calls, for all", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Call]) -> None:
        """Ends calls that go on; everybody's devices learn of it."""
        live = [call.key for call in queryset if call.state != Call.State.ENDED]
        for key in live:
            services.end_as_staff(key)
        self.message_user(request, f"{len(live)} calls were ended.")
