"""Contacts, requests and blocks in the admin. They are made by people; here they are looked at and ended."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from mana.accounts.stores import people
from mana.contacts import services
from mana.contacts.models import Block, Contact, ContactRequest
from mana.model_admin import ManaAdmin, name_lookup
from mana.protocol import ErrorCode, ManaError


class _OfTwo(ManaAdmin):
    list_select_related = ["user", "person"]
    list_filter = ["created_at"]
    ordering = ["-pk"]
    search_fields = ["user"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), name_lookup("person")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made by people."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Made by people."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ended by the actions, which tell those whom it concerns; or with its user."""
        return not self.is_own_page(request) and super().has_delete_permission(request, obj)

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Who may delete rows may end what they stand for."""
        return request.user.has_perm(f"{self.opts.app_label}.delete_{self.opts.model_name}")

    def _end(self, request: HttpRequest, queryset: QuerySet[Any], end: Any) -> None:
        rows = list(queryset.select_related("user", "person"))
        found = people({pk for row in rows for pk in (row.user_id, row.person_id)})
        count = 0
        for row in rows:
            try:
                end(found[row.user_id], found[row.person_id])
            except ManaError as error:
                if error.code is not ErrorCode.NOT_FOUND:  # they were faster, or it was the other side's row
                    raise
            else:
                self.note(request, row, "ended")
                count += 1
        self.message_user(request, f"{count} were ended.")


@admin.register(Contact)
class ContactAdmin(_OfTwo):
    """Contacts: one row of each side."""

    list_display = ["user", "person", "nickname", "is_favourite", "created_at"]
    list_filter = ["is_favourite", "created_at"]
    actions = ["end"]

    @admin.action(description="End the selected contacts, on both sides", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Contact]) -> None:
        """Ends contacts; both people's devices learn of it."""
        self._end(request, queryset, services.remove)


@admin.register(ContactRequest)
class ContactRequestAdmin(_OfTwo):
    """Requests that wait for an answer."""

    list_display = ["user", "person", "message", "created_at"]
    actions = ["end"]

    @admin.action(description="Withdraw the selected requests", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[ContactRequest]) -> None:
        """Withdraws requests."""
        self._end(request, queryset, services.withdraw)


@admin.register(Block)
class BlockAdmin(_OfTwo):
    """Who blocks whom."""

    list_display = ["user", "person", "created_at"]
    actions = ["end"]

    @admin.action(description="Take the selected blocks back", permissions=["end"])
    def end(self, request: HttpRequest, queryset: QuerySet[Block]) -> None:
        """Unblocks."""
        self._end(request, queryset, services.unblock)
