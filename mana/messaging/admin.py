"""Rooms, memberships, messages, files and links in the admin.

Everything that changes a timeline must have its place in the order, so rows are not edited by hand: what can be changed
goes through the services, as actions, and is told to everybody concerned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.views.main import ChangeList
from django.contrib.auth import get_user_model
from django.db.models import QuerySet
from django.http import HttpRequest
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.text import Truncator

from mana.accounts.stores import resolve
from mana.messaging import services
from mana.messaging.models import Attachment, Invite, Membership, Message, Room
from mana.model_admin import ManaAdmin, ManaList, name_lookup, text_block
from mana.protocol import ManaError
from mana.text import storable


def _name_direct_rooms(rooms: Iterable[Room]) -> None:
    """Has direct rooms show their people's names instead of nothing, in one query for all."""
    direct = [room for room in rooms if room.direct_key]
    people = resolve({one for room in direct for one in room.direct_user_ids()}, active_only=False)
    for room in direct:
        names = [people[one].username if one in people else "deleted account" for one in room.direct_user_ids()]
        room.name = " & ".join(dict.fromkeys(names))


def excerpt_of(message: Message) -> str:
    """The beginning of what a message says: its text, where it is the usual ``{"text": ...}``, else all of it."""
    try:
        payload = message.payload
    except ValueError:  # a number without end, which is not taken any more
        payload = None
    text = payload.get("text") if isinstance(payload, dict) and message.kind == Message.Kind.MESSAGE else None
    return storable(Truncator(text if isinstance(text, str) and text else message.payload_json).chars(80))


class _RoomList(ManaList):
    """A list whose rows are rooms, or belong to rooms."""

    def get_results(self, request: HttpRequest) -> None:
        """The rows of the page, with the names of direct rooms."""
        super().get_results(request)
        rows = list(self.result_list)
        _name_direct_rooms(row if isinstance(row, Room) else row.room for row in rows if getattr(row, "room", True))
        self.result_list = rows


class _ByServices(ManaAdmin):
    """Rows that are made and changed by the services only."""

    list_per_page = 50

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """With the names of direct rooms."""
        return _RoomList

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With the names of a direct room."""
        found = super().get_object(request, object_id, from_field)
        room = found if isinstance(found, Room) else getattr(found, "room", None)
        if room is not None:
            _name_direct_rooms([room])
        return found

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Made by people in rooms, not by hand."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """A change without its place in the order would reach nobody."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Not from its own pages: it would leave a gap. With its user or room, as the models say."""
        return not self.is_own_page(request) and super().has_delete_permission(request, obj)

    def has_control_permission(self, request: HttpRequest) -> bool:
        """Who may use the actions: those with the model's ``change`` permission."""
        return super().has_change_permission(request)

    def has_removal_permission(self, request: HttpRequest) -> bool:
        """Who may use the actions that delete: those with the model's ``delete`` permission."""
        return super().has_delete_permission(request)

    def each(self, request: HttpRequest, rows: Iterable[Any], act: Callable[[Any], Any], done: str) -> None:
        """Does something to each of the rows, and says what became of it."""
        count = 0
        for row in rows:
            try:
                act(row)
                count += 1
            except ManaError as error:
                self.message_user(request, f"{row}: {error.detail}", messages.WARNING)
        self.message_user(request, f"{count} {done}.")


class MembershipInline(admin.TabularInline):
    """The first members of a room."""

    model = Membership
    fields = ["user", "role", "state", "muted_until", "first_index", "last_index", "read_index"]
    readonly_fields = ["user", "role", "state", "muted_until", "first_index", "last_index", "read_index"]
    extra = 0
    can_delete = False
    max_num = 0
    verbose_name_plural = "members (the first 50)"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Membership]:
        """Large rooms have a list of their own."""
        rows = super().get_queryset(request).select_related("user").order_by("pk")
        room_id = request.resolver_match.kwargs.get("object_id") if request.resolver_match else None
        first = rows.filter(room_id=room_id).values_list("pk", flat=True)[:50] if room_id else []
        return rows.filter(pk__in=list(first))


@admin.register(Room)
class RoomAdmin(_ByServices):
    """Rooms."""

    list_display = [
        "__str__",
        "room_type",
        "member_count",
        "message_count",
        "is_private",
        "is_frozen",
        "created_at",
        "key",
    ]
    list_filter = ["room_type", "is_private", "is_frozen", ("deleted_at", admin.EmptyFieldListFilter), "created_at"]
    search_fields = ["key", "name"]
    ordering = ["-pk"]
    inlines = [MembershipInline]
    actions = ["freeze", "thaw", "delete_rooms"]
    fields = [
        "key",
        "room_type",
        "name",
        "topic",
        "is_private",
        "shares_history",
        "is_frozen",
        "slow_mode",
        "retention_days",
        "retention_count",
        "created_by",
        "created_at",
        "deleted_at",
        "member_count",
        "message_count",
        "last_index",
        "last_sequence",
    ]

    @admin.action(description="Freeze: only owners and admins write", permissions=["control"])
    def freeze(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        """Freezes them."""
        act = lambda room: services.freeze_as_staff(room, frozen=True, actor=request.user)  # noqa: E731
        self.each(request, queryset.filter(deleted_at=None), act, "rooms are frozen")

    @admin.action(description="Thaw", permissions=["control"])
    def thaw(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        """Lets everybody write again."""
        act = lambda room: services.freeze_as_staff(room, frozen=False, actor=request.user)  # noqa: E731
        self.each(request, queryset.filter(deleted_at=None), act, "rooms are not frozen any more")

    @admin.action(description="Delete for everybody, with all that is in them", permissions=["removal"])
    def delete_rooms(self, request: HttpRequest, queryset: QuerySet[Room]) -> None:
        """Deletes groups and channels."""
        rooms = queryset.filter(deleted_at=None).exclude(room_type=Room.Type.DIRECT)
        self.each(request, rooms, lambda room: services.delete_room_as_staff(room, request.user), "rooms were deleted")


@admin.register(Membership)
class MembershipAdmin(_ByServices):
    """Who is in which room."""

    list_display = ["user", "room", "role", "state", "muted_until", "first_index", "last_index", "read_index"]
    list_filter = ["state", "role", ("muted_until", admin.EmptyFieldListFilter)]
    #: By columns that have an index: half a second of sorting for 70,000 rows is what the filters are for.
    sortable_by = ["user", "room"]
    list_select_related = ["user", "room"]
    search_fields = ["=room__key", "room__name"]
    ordering = ["-pk"]
    actions = ["mute_for_a_day", "remove", "ban"]
    fields = [
        "room",
        "user",
        "role",
        "state",
        "created_at",
        "joined_sequence",
        "first_index",
        "last_index",
        "delivered_index",
        "delivered_sequence",
        "read_index",
        "read_sequence",
        "read_count",
        "muted_until",
        "is_archived",
        "is_pinned",
        "notifications",
        "silenced_until",
    ]

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("user"), *self.search_fields]

    @admin.action(description="Mute for a day", permissions=["control"])
    def mute_for_a_day(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Keeps them from writing in the room."""
        until = timezone.now() + timedelta(days=1)

        def mute(row: Membership) -> None:
            services.mute_as_staff(row.room, row.user, until=until, actor=request.user)

        self.each(request, queryset.select_related("room", "user"), mute, "members are muted")

    @admin.action(description="Remove from the room", permissions=["control"])
    def remove(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Takes them out."""

        def remove(row: Membership) -> None:
            services.remove_as_staff(row.room, row.user, actor=request.user)

        self.each(request, queryset.select_related("room", "user"), remove, "members were removed")

    @admin.action(description="Ban from the room", permissions=["control"])
    def ban(self, request: HttpRequest, queryset: QuerySet[Membership]) -> None:
        """Takes them out and keeps them out."""

        def ban(row: Membership) -> None:
            services.ban_as_staff(row.room, row.user, actor=request.user)

        self.each(request, queryset.select_related("room", "user"), ban, "users are banned")


@admin.register(Message)
class MessageAdmin(_ByServices):
    """Messages and changes of rooms, newest first."""

    list_display = ["sequence", "room", "sender", "excerpt", "kind", "state", "index", "created_at"]
    list_display_links = ["sequence"]
    list_filter = ["kind", "created_at"]
    list_select_related = ["room", "sender"]
    search_fields = ["payload_json"]
    search_help_text = "A room's id, a user's whole name, or words of the message"
    ordering = ["-sequence"]
    actions = ["delete_for_everyone"]
    fields = [
        "id",
        "room",
        "sequence",
        "index",
        "kind",
        "sender",
        "device_id",
        "ack_id",
        "reply_to",
        "target",
        "payload_text",
        "extra_json",
        "reaction_count",
        "revisions_text",
        "created_at",
        "edited_at",
        "deleted_at",
    ]

    @admin.display(description="payload")
    def excerpt(self, message: Message) -> str:
        """The beginning of the payload."""
        return "" if message.deleted_at else excerpt_of(message)

    @admin.display(description="")
    def state(self, message: Message) -> str:
        """What has become of it."""
        if message.deleted_at is not None:
            return "deleted"
        return "edited" if message.edited_at is not None else ""

    @admin.display(description="payload")
    def payload_text(self, message: Message) -> str:
        """The whole payload."""
        return text_block(storable(message.payload_json))

    @admin.display(description="what it said before")
    def revisions_text(self, message: Message) -> str:
        """The payloads that edits have replaced, oldest first."""
        earlier = message.revisions.order_by("index").values_list("payload_json", flat=True)[:100]
        return text_block("\n".join(earlier)) if earlier else "-"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Message], search_term: str
    ) -> tuple[QuerySet[Message], bool]:
        """A room's id or a user's name finds what is theirs by an index; other words are looked for in payloads."""
        term = search_term.strip()
        room = Room.objects.filter(key=term).first() if term else None
        if room is not None:
            return queryset.filter(room=room), False
        user_model = get_user_model()
        user = user_model._default_manager.filter(**{user_model.USERNAME_FIELD: term}).first() if term else None
        if user is not None:
            return queryset.filter(sender=user), False
        return super().get_search_results(request, queryset, search_term)

    @admin.action(description="Delete for everyone", permissions=["removal"])
    def delete_for_everyone(self, request: HttpRequest, queryset: QuerySet[Message]) -> None:
        """Takes what they say out of the database, and tells the rooms."""
        rows = queryset.filter(kind=Message.Kind.MESSAGE, deleted_at=None)
        act = lambda message: services.delete_as_staff(message.pk, request.user)  # noqa: E731
        self.each(request, rows, act, "messages were deleted")


@admin.register(Invite)
class InviteAdmin(_ByServices):
    """Links to rooms: made by those who manage them, closed here."""

    list_display = ["room", "created_by", "created_at", "expires_at", "uses", "max_uses", "revoked_at"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter), "created_at"]
    list_select_related = ["room", "created_by"]
    search_fields = ["=room__key", "room__name"]
    ordering = ["-pk"]
    fields = ["room", "created_by", "created_at", "expires_at", "uses", "max_uses", "revoked_at"]
    actions = ["revoke"]

    @admin.action(description="Close the selected links", permissions=["control"])
    def revoke(self, request: HttpRequest, queryset: QuerySet[Invite]) -> None:
        """Nobody comes in by them any more."""
        rows = list(queryset.filter(revoked_at=None).select_related("room"))
        for row in rows:
            queryset.model.objects.filter(pk=row.pk, revoked_at=None).update(revoked_at=timezone.now())
            self.note(request, row, f"closed, of the room {row.room}")
        self.message_user(request, f"{len(rows)} links were closed.")


@admin.register(Attachment)
class AttachmentAdmin(_ByServices):
    """Files: uploaded by people, gone with their messages."""

    list_display = ["name", "content_type", "bytes", "owner", "room", "created_at"]
    list_filter = ["content_type", ("message", admin.EmptyFieldListFilter), "created_at"]
    list_select_related = ["owner", "room"]
    search_fields = ["name", "=room__key", "=sha256"]
    #: By the time that the ids begin with, and by the index that they have.
    ordering = ["-pk"]
    fields = [
        "id",
        "name",
        "content_type",
        "bytes",
        "width",
        "height",
        "sha256",
        "owner",
        "room",
        "message",
        "created_at",
    ]

    @admin.display(description="size", ordering="size")
    def bytes(self, file: Attachment) -> str:
        """For people."""
        return filesizeformat(file.size)

    def get_search_fields(self, request: HttpRequest) -> list[str]:
        """The name field of whatever user model the project has."""
        return [name_lookup("owner"), *self.search_fields]
