"""Profiles, devices, sign-ins and identifiers in the admin, and actions for the project's own users."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.contrib.admin.models import DELETION
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html

from mana.accounts import permissions, services
from mana.accounts.models import Device, Identifier, Profile, SignIn
from mana.accounts.persons import Person
from mana.model_admin import ManaAdmin, name_lookup


class _OfUser(ManaAdmin):
    """Found by the user's name, and without a query per row."""

    list_select_related = ["user"]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), *self.search_fields]

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made by people, not by hand."""
        return False


class ProfileForm(forms.ModelForm):
    """Says what is wrong beside the field; the services would refuse it when it is saved."""

    def clean(self) -> dict[str, Any]:
        """What the services will take."""
        given: dict[str, Any] = super().clean() or self.cleaned_data
        for name in self.changed_data:
            if name == "phone" and name in given:
                given[name] = services.check_phone(self.instance.user, given[name])
            elif name in given:
                given[name] = services.without_controls(name, given[name])
        return given


@admin.register(Profile)
class ProfileAdmin(_OfUser):
    """Profiles: how users appear, whether they are enabled, and what is done with them."""

    form = ProfileForm
    list_display = ["user", "display_name", "role", "is_enabled", "guest_id", "created_at"]
    list_filter = [
        ("guest_id", admin.EmptyFieldListFilter),
        ("avatar", admin.EmptyFieldListFilter),
        "user__is_active",
        "created_at",
    ]
    search_fields = ["display_name", "guest_id", "=phone"]
    ordering = ["-pk"]
    readonly_fields = ["user", "picture", "guest_id", "created_at", "role"]
    fieldsets = [
        (None, {"fields": ["user", "role", "display_name", "about", "picture"]}),
        ("Status", {"fields": ["status_text", "status_emoji", "status_expires_at"]}),
        (
            "Privacy",
            {"fields": ["last_seen_to", "direct_messages_from", "phone", "find_by_email", "find_by_phone"]},
        ),
        (None, {"fields": ["guest_id", "created_at"]}),
    ]
    actions = ["disconnect", "disable", "enable", "remove_avatars"]

    def get_queryset(self, request: HttpRequest) -> QuerySet[Profile]:
        """Reads the roles of a page's users at once."""
        return super().get_queryset(request).select_related("user")

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Has the roles of the page's users read before they are shown one by one."""
        response = super().changelist_view(request, extra_context)
        listing = getattr(response, "context_data", {}).get("cl")
        if listing is not None:
            permissions.prepare([row.pk for row in listing.result_list])
        return response

    @admin.display(description="role")
    def role(self, profile: Profile) -> str:
        """The highest role."""
        return permissions.role_of(profile.pk) or "-"

    @admin.display(boolean=True, description="enabled", ordering="user__is_active")
    def is_enabled(self, profile: Profile) -> bool:
        """Whether the user may sign in."""
        return bool(profile.user.is_active)

    @admin.display(description="avatar")
    def picture(self, profile: Profile) -> str:
        """The image."""
        url = Person(profile.pk, "", "", "", profile.avatar).avatar_url
        return format_html('<img src="{}" alt="" width="96" height="96">', url) if url else "-"

    def save_model(self, request: HttpRequest, obj: Profile, form: Any, change: bool) -> None:
        """Through the service, so that those who know the user see it live."""
        changes = {name: form.cleaned_data[name] for name in form.changed_data if name != "phone"}
        if "phone" in form.changed_data:
            services.change_phone(obj.user, form.cleaned_data["phone"])
        services.update_profile(obj.user, **changes)

    def has_delete_permission(self, request: HttpRequest, obj: Profile | None = None) -> bool:
        """Only with its user: alone it would leave a number behind that nobody can have, and a guest without an id."""
        return not self.is_own_page(request) and super().has_delete_permission(request, obj)

    def has_users_permission(self, request: HttpRequest) -> bool:
        """Who may change users may disable them."""
        opts = get_user_model()._meta
        return request.user.has_perm(f"{opts.app_label}.change_{opts.model_name}")

    @admin.action(description="Close the sockets of the selected users", permissions=["change"])
    def disconnect(self, request: HttpRequest, queryset: QuerySet[Profile]) -> None:
        """Closes all their sockets; their sign-ins go on."""
        self._with_users(request, queryset, services.disconnect, "disconnected")

    @admin.action(description="Disable the selected users, and end their sign-ins", permissions=["users"])
    def disable(self, request: HttpRequest, queryset: QuerySet[Profile]) -> None:
        """They can't sign in, and are out at once."""
        queryset = queryset.exclude(pk=request.user.pk)
        self._with_users(request, queryset, services.disable, "disabled")

    @admin.action(description="Enable the selected users", permissions=["users"])
    def enable(self, request: HttpRequest, queryset: QuerySet[Profile]) -> None:
        """They can sign in again."""
        self._with_users(request, queryset, services.enable, "enabled")

    @admin.action(description="Remove the avatars of the selected users", permissions=["change"])
    def remove_avatars(self, request: HttpRequest, queryset: QuerySet[Profile]) -> None:
        """For images that must not be there."""
        self._with_users(request, queryset, services.remove_avatar, "without avatar")

    def _with_users(self, request: HttpRequest, queryset: QuerySet[Profile], act: Any, what: str) -> None:
        rows = list(queryset.select_related("user"))
        for row in rows:
            act(row.user)
            self.note(request, row, what)
        self.message_user(request, f"{len(rows)} users: {what}.")


class PlatformFilter(admin.SimpleListFilter):
    """Platforms by their beginnings: the table may hold thousands of different texts."""

    title = "platform"
    parameter_name = "platform"
    KNOWN = ("Android", "iPhone", "iPad", "Windows", "macOS", "Linux", "ChromeOS")

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """The systems that sign-ins tell of, others, and none."""
        return [*((name, name) for name in self.KNOWN), ("other", "another"), ("none", "unknown")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Device]) -> QuerySet[Device]:
        """Devices whose platform ends with the system."""
        chosen = self.value()
        if chosen in self.KNOWN:
            return queryset.filter(platform__endswith=chosen)
        if chosen == "none":
            return queryset.filter(platform="")
        if chosen == "other":
            for name in self.KNOWN:
                queryset = queryset.exclude(platform__endswith=name)
            return queryset.exclude(platform="")
        return queryset


@admin.register(Device)
class DeviceAdmin(_OfUser):
    """Devices: made by connecting, named here."""

    list_display = ["user", "device_id", "name", "platform", "cursor", "last_seen_at"]
    list_filter = [PlatformFilter, "last_seen_at"]
    search_fields = ["device_id", "name"]
    ordering = ["-pk"]
    readonly_fields = ["user", "device_id", "platform", "cursor", "created_at", "last_seen_at"]
    fields = ["user", "device_id", "name", "platform", "cursor", "created_at", "last_seen_at"]
    actions = ["remove"]

    def delete_model(self, request: HttpRequest, obj: Device) -> None:
        """With its sign-ins and sockets."""
        services.remove_device(obj.user, obj.device_id)

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Without Django's own deletion of many, which would leave the sign-ins."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    @admin.action(description="Remove the selected devices: tokens die, sockets close", permissions=["delete"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Device]) -> None:
        """As their users can."""
        rows = list(queryset.select_related("user"))
        for row in rows:
            services.remove_device(row.user, row.device_id)
            self.note(request, row, f"removed from {row.user.get_username()}", DELETION)
        self.message_user(request, f"{len(rows)} devices were removed.")


class SignInStateFilter(admin.SimpleListFilter):
    """Which sign-ins count."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Those that go on, were ended, or ran out."""
        return [("open", "open"), ("ended", "ended"), ("expired", "expired")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[SignIn]) -> QuerySet[SignIn]:
        """By the two times."""
        now = timezone.now()
        if self.value() == "open":
            return queryset.filter(revoked_at=None, expires_at__gt=now)
        if self.value() == "ended":
            return queryset.exclude(revoked_at=None)
        if self.value() == "expired":
            return queryset.filter(revoked_at=None, expires_at__lte=now)
        return queryset


@admin.register(SignIn)
class SignInAdmin(_OfUser):
    """Sign-ins: made by signing in, ended here."""

    list_display = ["user", "kind", "device_id", "user_agent", "address", "refreshed_at", "expires_at", "revoked_at"]
    list_filter = [SignInStateFilter, ("session_key", admin.EmptyFieldListFilter), "created_at"]
    search_fields = ["=device_id", "=address"]
    ordering = ["-refreshed_at"]
    fields = [
        "id",
        "user",
        "kind",
        "device_id",
        "user_agent",
        "address",
        "created_at",
        "refreshed_at",
        "expires_at",
        "revoked_at",
    ]
    actions = ["revoke"]

    def has_change_permission(self, request: HttpRequest, obj: SignIn | None = None) -> bool:
        """There is nothing to write in one: it is looked at, or ended."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: SignIn | None = None) -> bool:
        """Not from its own pages: it would be forgotten, not ended. With its user."""
        return not self.is_own_page(request) and super().has_delete_permission(request, obj)

    def has_end_permission(self, request: HttpRequest) -> bool:
        """Who may change sign-ins may end them."""
        return request.user.has_perm("mana_accounts.change_signin")

    @admin.display(description="kind", empty_value="token")
    def kind(self, row: SignIn) -> str:
        """A browser's session or a client's tokens."""
        return "session" if row.session_key else "token"

    @admin.action(description="End the selected sign-ins", permissions=["end"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[SignIn]) -> None:
        """Refuses their tokens from now on and closes their sockets."""
        rows = list(queryset.select_related("user"))
        for row in rows:
            services.revoke_sign_in(row)
            self.note(request, row, f"ended, of {row.user.get_username()}")
        self.message_user(request, f"{len(rows)} sign-ins were ended.")


@admin.register(Identifier)
class IdentifierAdmin(_OfUser):
    """By what accounts are found and signed in with. They follow the accounts."""

    list_display = ["key", "kind", "user"]
    list_filter = ["kind"]
    search_fields = ["key"]
    ordering = ["-pk"]

    def has_change_permission(self, request: HttpRequest, obj: Identifier | None = None) -> bool:
        """They follow the accounts."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Identifier | None = None) -> bool:
        """Only with their user."""
        return not self.is_own_page(request) and super().has_delete_permission(request, obj)
