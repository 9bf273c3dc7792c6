"""Preferences in the admin, to look at and to reset."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest

from mana.preferences import services
from mana.preferences.models import Preference


@admin.register(Preference)
class PreferenceAdmin(admin.ModelAdmin):
    """What users chose."""

    list_display = ["user", "key", "value_json", "updated_at"]
    list_filter = ["updated_at"]
    list_select_related = ["user"]
    search_fields = ["key"]
    readonly_fields = ["user", "key", "value_json", "updated_at"]
    ordering = ["-pk"]
    show_full_result_count = False
    actions = ["reset"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [f"user__{get_user_model().USERNAME_FIELD}", *self.search_fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Users choose for themselves."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Preference | None = None) -> bool:
        """Users choose for themselves."""
        return False

    @admin.action(description="Go back to the default", permissions=["delete"])
    def reset(self, request: HttpRequest, queryset: QuerySet[Preference]) -> None:
        """Resets the selected preferences; the users' devices learn of it."""
        for row in queryset.select_related("user"):
            services.reset(row.user, row.key)
