"""Preferences in the admin, to look at and to reset."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from mana.model_admin import ManaAdmin, name_lookup
from mana.preferences import services
from mana.preferences.models import Preference


@admin.register(Preference)
class PreferenceAdmin(ManaAdmin):
    """What users chose."""

    list_display = ["user", "key", "value_json", "updated_at"]
    list_filter = ["updated_at"]
    list_select_related = ["user"]
    search_fields = ["key"]
    readonly_fields = ["user", "key", "value_json", "updated_at"]
    ordering = ["-pk"]
    actions = ["reset"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), *self.search_fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Users choose for themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Preference | None = None) -> bool:
        """Users choose for themselves."""
        return False

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's own deletion of many, of which no device would learn."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def delete_model(self, request: HttpRequest, obj: Preference) -> None:
        """Goes back to the default."""
        self._reset(obj)

    @admin.action(description="Go back to the default", permissions=["delete"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Preference]) -> None:
        """Resets the selected preferences; the users' devices learn of it."""
        rows = list(queryset.select_related("user"))
        for row in rows:
            self._reset(row)
            self.note(request, row, f"reset, of {row.user.get_username()}")
        self.message_user(request, f"{len(rows)} preferences were reset.")

    def _reset(self, row: Preference) -> None:
        if services.is_registered(row.key):
            services.reset(row.user, row.key)
        else:  # of an app that is not there any more: no device knows it
            row.delete()
