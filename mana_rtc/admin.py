"""Calls in the admin: looked at, and ended where they go on."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from mana.model_admin import ManaAdmin, name_lookup
from mana_rtc import services
from mana_rtc.models import Call, CallParticipant, MediaWorker, Placement


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


class PlacementInline(_ReadOnly, admin.TabularInline):
    """The rooms of a worker."""

    model = Placement
    fields = readonly_fields = ("room_key", "placed_at")
    extra = 0


@admin.register(MediaWorker)
class MediaWorkerAdmin(_ReadOnly, ManaAdmin):
    """Processes that forward media, with what they told when they were last seen."""

    list_display = [
        *("__str__", "seen_at", "is_draining", "rooms", "participants", "tracks"),
        *("share", "packets_out", "started_at"),
    ]
    list_filter = ["is_draining"]
    search_fields = ["id", "name"]
    ordering = ["name", "pk"]
    inlines = [PlacementInline]

    @admin.display(description="processor", ordering="busy")
    def share(self, worker: MediaWorker) -> str:
        """Of one processor."""
        return f"{worker.busy:.0%}"

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows go with the processes."""
        return False


class ParticipantInline(_ReadOnly, admin.TabularInline):
    """Who was in a call, or rung."""

    model = CallParticipant
    fields = [
        "user",
        "state",
        "device_id",
        "joined_at",
        "left_at",
        "is_muted",
        "has_camera",
        "shares_screen",
        "is_recording",
    ]
    extra = 0

    def get_queryset(self, request: HttpRequest) -> QuerySet[CallParticipant]:
        """With their names."""
        return super().get_queryset(request).select_related("user")


@admin.register(Call)
class CallAdmin(_ReadOnly, ManaAdmin):
    """Calls that go on, and those that were."""

    list_display = ["key", "room", "started_by", "state", "reason", "people", "created_at", "duration"]
    list_filter = ["state", "reason", "is_video", "created_at"]
    list_select_related = ["room", "started_by"]
    search_fields = ["=key", "=room__key", "room__name"]
    ordering = ["-pk"]
    fields = ["key", "room", "started_by", "state", "reason", "is_video", "created_at", "answered_at", "ended_at"]
    inlines = [ParticipantInline]
    actions = ["end"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [*self.search_fields, name_lookup("started_by")]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Call]:
        """With the number of people."""
        # A subquery counts for the rows of the page; a join would group all calls that there are first.
        counts = CallParticipant.objects.filter(call=OuterRef("pk")).order_by().values("call").annotate(n=Count("pk"))
        calls: QuerySet[Call] = (
            super().get_queryset(request).annotate(people_count=Coalesce(Subquery(counts.values("n")), 0))
        )
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
        live = [call for call in queryset.select_related("room") if call.state != Call.State.ENDED]
        for call in live:
            services.end_as_staff(call.key)
            self.note(request, call, f"ended, in {call.room}")
        self.message_user(request, f"{len(live)} calls were ended.")
