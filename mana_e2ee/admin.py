"""Keys and queues in the admin: the public parts, to look at. Ciphertext is not shown, and nobody here could read it.

A device's keys can be removed: as when its user removes it.
"""

from __future__ import annotations

import hashlib
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.db.models import QuerySet
from django.http import HttpRequest

from mana.accounts.stores import person
from mana.model_admin import ManaAdmin, name_lookup
from mana_e2ee import stores
from mana_e2ee.models import Device, DeviceList


class _ReadOnly(ManaAdmin):
    list_select_related = ["user"]
    search_fields = ["user"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), "=device_id"][: 1 + hasattr(self.model, "device_id")]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made by devices."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Signed by devices."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Removed by the action, which tells those whom it concerns; or with its user."""
        return not self.is_own_page(request) and super().has_delete_permission(request, obj)


@admin.register(Device)
class DeviceAdmin(_ReadOnly):
    """What devices have published, and how much waits for them."""

    list_display = ["device_id", "user", "is_listed", "updated_at"]
    list_filter = ["is_listed", "updated_at"]
    ordering = ["-pk"]
    fields = [
        "user",
        "device_id",
        "is_listed",
        "identity",
        "signed_prekey_id",
        "kem_prekey_id",
        "one_time_top",
        "one_time_left",
        "waits",
        "created_at",
        "updated_at",
    ]
    actions = ["remove_keys"]

    @admin.display(description="one-time prekeys left")
    def one_time_left(self, device: Device) -> int:
        """How many handshakes get one before the device must refill."""
        return stores.remaining([device.pk])[device.pk]

    @admin.display(description="waits for it")
    def waits(self, device: Device) -> str:
        """How much ciphertext it has not acked."""
        count, size, since = stores.waiting([device.pk]).get(device.pk, (0, 0, None))
        return f"{count} ({size} bytes) since {since:%Y-%m-%d %H:%M}" if since is not None else "nothing"

    @admin.display(description="SHA-256 of the public record")
    def identity(self, device: Device) -> str:
        """Enough to compare two of them."""
        return hashlib.sha256(bytes(device.record)).hexdigest()

    def has_remove_permission(self, request: HttpRequest) -> bool:
        """Who may delete rows may end what they stand for."""
        return request.user.has_perm(f"{self.opts.app_label}.delete_{self.opts.model_name}")

    @admin.action(description="Remove the keys of the chosen devices", permissions=["remove"])
    def remove_keys(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """As when their users remove them: others are told, and nobody starts a session with them any more."""
        from mana_e2ee.services import directory

        count = 0
        for row in queryset:
            user = person(row.user_id)
            if user is not None and directory.drop(user, row.device_id):
                self.note(request, row, f"keys removed, of {user.username}", DELETION)
                count += 1
        self.message_user(request, f"The keys of {count} devices were removed.")


@admin.register(DeviceList)
class DeviceListAdmin(_ReadOnly):
    """Signed device lists: epochs, not their bytes."""

    list_display = ["user", "epoch", "created_at"]
    list_filter = ["created_at"]
    ordering = ["-pk"]
    fields = ["user", "epoch", "created_at"]
