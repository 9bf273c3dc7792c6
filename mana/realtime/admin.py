"""Nodes and live sessions in the admin: to look at, and to disconnect."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from mana.model_admin import ManaAdmin, name_lookup
from mana.realtime import revocation
from mana.realtime.models import Node, Session


class _ReadOnly(ManaAdmin):
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Rows come from the running nodes."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows come from the running nodes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Rows go with the running nodes."""
        return False


@admin.register(Node)
class NodeAdmin(_ReadOnly):
    """Processes that serve sockets."""

    list_display = ["id", "started_at", "seen_at"]
    search_fields = ["id"]


@admin.register(Session)
class SessionAdmin(_ReadOnly):
    """Open sockets."""

    list_display = ["id", "user", "device_id", "node", "connected_at"]
    list_filter = ["node"]
    list_select_related = ["user", "node"]
    search_fields = ["id", "device_id"]
    actions = ["disconnect"]

    def has_disconnect_permission(self, request: HttpRequest) -> bool:
        """Who may delete sessions may end them."""
        return request.user.has_perm("mana_realtime.delete_session")

    @admin.action(description="Disconnect selected sessions", permissions=["disconnect"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Session]) -> None:
        """Closes the sockets, on whatever node they are. Their sign-ins go on."""
        rows = list(queryset.select_related("user"))
        for row in rows:
            revocation.disconnect(row.pk)
            self.note(request, row, f"disconnected, of {row.user.get_username()}")
        self.message_user(request, f"{len(rows)} sessions are being disconnected.")

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), *self.search_fields]
