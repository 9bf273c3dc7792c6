"""Notifications in the admin: what was sent, again if need be."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from mana.model_admin import ManaAdmin, name_lookup
from mana.notifications import services
from mana.notifications.models import Notification, PushSubscription


class _OfUser(ManaAdmin):
    list_select_related = ["user"]
    search_fields = ["user"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """``notifications.send`` makes them."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Notification | None = None) -> bool:
        """What was said was said."""
        return False


@admin.register(Notification)
class NotificationAdmin(_OfUser):
    """What users were told of."""

    list_display = ["title", "user", "kind", "created_at", "read_at"]
    list_filter = [("read_at", admin.EmptyFieldListFilter), "created_at"]
    fields = ["user", "kind", "title", "body", "data_json", "is_silent", "created_at", "read_at"]
    ordering = ["-created_at", "-pk"]
    actions = ["send_again"]

    def has_send_permission(self, request: HttpRequest) -> bool:
        """Who may add notifications, were they made here, may send them again."""
        return request.user.has_perm("mana_notifications.add_notification")

    @admin.action(description="Send again, as new ones", permissions=["send"])
    def send_again(self, request: HttpRequest, queryset: QuerySet[Notification]) -> None:
        """Sends the same once more."""
        sent = 0
        for row in queryset.select_related("user"):
            if services.send(row.user, row.title, row.body, row.data, kind=row.kind) is not None:
                self.note(request, row, f"sent again, to {row.user.get_username()}")
                sent += 1
        self.message_user(request, f"{sent} notifications were sent.")

    def delete_model(self, request: HttpRequest, obj: Notification) -> None:
        """Removes it from the user's devices too."""
        services.remove(obj.user, [obj.pk])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Notification]) -> None:
        """Removes them from their users' devices too."""
        of: dict[Any, list[Any]] = defaultdict(list)
        for row in queryset.select_related("user"):
            of[row.user].append(row.pk)
        for user, ids in of.items():
            services.remove(user, ids)


@admin.register(PushSubscription)
class PushSubscriptionAdmin(_OfUser):
    """Browsers that are pushed to."""

    list_display = ["user", "service", "created_at", "used_at"]
    list_filter = ["created_at", ("used_at", admin.EmptyFieldListFilter)]
    fields = ["user", "service", "created_at", "used_at"]
    ordering = ["-pk"]

    @admin.display(description="push service")
    def service(self, row: PushSubscription) -> str:
        """The host; the whole address would let its reader push."""
        return row.endpoint.split("/")[2] if row.endpoint.count("/") > 2 else row.endpoint
