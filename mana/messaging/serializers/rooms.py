"""Rooms, members, history and sync."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from mana.messaging.models import Membership, Room
from mana.rest import PayloadField


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Example",
            value={"name": "Kitchen", "room_type": "group", "is_private": True, "members": ["2", "3"]},
            request_only=True,
        )
    ]
)
class RoomCreateSerializer(serializers.Serializer[Any]):
    """What a new room needs."""

    name = serializers.CharField(max_length=255, required=False, allow_blank=True, default="")
    room_type = serializers.ChoiceField(Room.Type.choices, default=Room.Type.GROUP)
    is_private = serializers.BooleanField(default=True)
    topic = serializers.CharField(max_length=500, required=False, allow_blank=True, default="")
    shares_history = serializers.BooleanField(default=False)
    members = serializers.ListField(child=serializers.CharField(max_length=128), default=list, max_length=10_000)


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"topic": "What is for dinner?", "slow_mode": 10}, request_only=True)]
)
class RoomChangeSerializer(serializers.Serializer[Any]):
    """What can be changed of a room."""

    name = serializers.CharField(max_length=255, required=False, allow_blank=True)
    topic = serializers.CharField(max_length=500, required=False, allow_blank=True)
    is_private = serializers.BooleanField(required=False)
    is_frozen = serializers.BooleanField(required=False, help_text="Only owners and admins write.")
    slow_mode = serializers.IntegerField(
        required=False, min_value=0, max_value=2**31 - 1, help_text="Seconds between two messages of a member."
    )
    retention_days = serializers.IntegerField(required=False, min_value=0, max_value=100_000)
    retention_count = serializers.IntegerField(required=False, min_value=0, max_value=2**31 - 1)


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"notifications": "mentions", "pinned": True}, request_only=True)]
)
class RoomPreferencesSerializer(serializers.Serializer[Any]):
    """How the user wants a room for themselves; what is left out stays as it is."""

    archived = serializers.BooleanField(required=False)
    pinned = serializers.BooleanField(required=False)
    notifications = serializers.ChoiceField(Membership.Notifications.choices, required=False)
    silenced_until = serializers.DateTimeField(required=False, allow_null=True)


class PeerSerializer(serializers.Serializer[Any]):
    """The other person of a direct room."""

    user_id = serializers.CharField()
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    avatar_url = serializers.CharField(allow_null=True)
    online = serializers.BooleanField()
    last_seen = serializers.CharField(allow_null=True)


class ReactionCountSerializer(serializers.Serializer[Any]):
    """How many put an emoji on a message, the first of them, and whether the user did."""

    emoji = serializers.CharField()
    count = serializers.IntegerField()
    user_ids = serializers.ListField(child=serializers.CharField())
    me = serializers.BooleanField(required=False)


class AttachmentInfoSerializer(serializers.Serializer[Any]):
    """A file that a message carries."""

    id = serializers.CharField()
    name = serializers.CharField()
    content_type = serializers.CharField()
    size = serializers.IntegerField()
    width = serializers.IntegerField(required=False)
    height = serializers.IntegerField(required=False)
    thumbnail = serializers.BooleanField(required=False)


class MessageSerializer(serializers.Serializer[Any]):
    """An event of a room, as on the socket; ``type`` says which. Changes of rooms have ``action``, ``room`` and
    ``members`` instead of a payload; changes of messages ``message_id``."""

    type = serializers.CharField()
    id = serializers.CharField()
    sequence = serializers.IntegerField()
    index = serializers.IntegerField(required=False, help_text="Absent in what the user alone is told.")
    room_id = serializers.CharField(required=False)
    timestamp = serializers.CharField()
    sender_id = serializers.CharField(required=False)
    username = serializers.CharField(required=False)
    payload = PayloadField(required=False)
    reply_to = serializers.CharField(required=False)
    mentions = serializers.ListField(child=serializers.CharField(), required=False)
    attachments = AttachmentInfoSerializer(many=True, required=False)
    edited_at = serializers.CharField(required=False)
    deleted = serializers.BooleanField(required=False)
    reactions = ReactionCountSerializer(many=True, required=False)
    message_id = serializers.CharField(required=False)
    action = serializers.CharField(required=False)
    emoji = serializers.CharField(required=False)
    count = serializers.IntegerField(required=False)
    remove = serializers.BooleanField(required=False)
    scope = serializers.CharField(required=False)


class RoomSerializer(serializers.Serializer[Any]):
    """A room as one of its members sees it."""

    id = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    topic = serializers.CharField(allow_blank=True)
    room_type = serializers.ChoiceField(Room.Type.choices)
    is_private = serializers.BooleanField()
    shares_history = serializers.BooleanField()
    created_at = serializers.CharField()
    member_count = serializers.IntegerField()
    members = serializers.ListField(child=serializers.CharField(), help_text="User ids, the first 100.")
    role = serializers.ChoiceField(Membership.Role.choices)
    last_index = serializers.IntegerField()
    last_sequence = serializers.IntegerField()
    unread = serializers.IntegerField()
    unread_mentions = serializers.IntegerField()
    read_index = serializers.IntegerField()
    avatar = serializers.CharField(allow_null=True, help_text="Changes with the picture at `rooms/{id}/avatar`.")
    is_frozen = serializers.BooleanField()
    slow_mode = serializers.IntegerField()
    retention_days = serializers.IntegerField()
    retention_count = serializers.IntegerField()
    muted_until = serializers.CharField(allow_null=True, help_text="Until then the user can't write.")
    preferences = RoomPreferencesSerializer()
    last_message = MessageSerializer(allow_null=True)
    peer = PeerSerializer(allow_null=True)


class PublicRoomSerializer(serializers.Serializer[Any]):
    """A room that anybody may join."""

    id = serializers.CharField(source="key")
    name = serializers.CharField()
    topic = serializers.CharField()
    room_type = serializers.ChoiceField(Room.Type.choices)
    member_count = serializers.IntegerField()


class InvitationSerializer(PublicRoomSerializer):
    """A room that the user is invited to."""


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"user_ids": ["2", "3"]}, request_only=True)])
class UserIdsSerializer(serializers.Serializer[Any]):
    """People."""

    user_ids = serializers.ListField(child=serializers.CharField(max_length=128), max_length=10_000, required=False)


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"role": "moderator"}, request_only=True)])
class RoleSerializer(serializers.Serializer[Any]):
    """A member's role."""

    role = serializers.ChoiceField(Membership.Role.choices)


class MemberSerializer(serializers.Serializer[Any]):
    """A member of a room."""

    user_id = serializers.CharField()
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
    avatar_url = serializers.CharField(allow_null=True)
    role = serializers.ChoiceField(Membership.Role.choices)
    online = serializers.BooleanField()
    last_seen = serializers.CharField(allow_null=True)
    delivered_index = serializers.IntegerField()
    delivered_sequence = serializers.IntegerField()
    read_index = serializers.IntegerField()
    read_sequence = serializers.IntegerField()
    muted_until = serializers.CharField(allow_null=True)


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Example",
            value={
                "payload": {"text": "Tea, @ben?"},
                "ack_id": "7f9c24e8-1",
                "reply_to": "019ab0f2-7c1c-7000-8000-000000000001",
                "mentions": ["2"],
                "attachments": ["019ab0f2-7c1c-7000-8000-000000000001"],
            },
            request_only=True,
        )
    ]
)
class SendSerializer(serializers.Serializer[Any]):
    """A message to send."""

    payload = PayloadField()
    ack_id = serializers.CharField(max_length=64, required=False)
    reply_to = serializers.UUIDField(required=False)
    mentions = serializers.ListField(
        child=serializers.CharField(max_length=128), max_length=100, required=False, help_text="User ids, or `@all`."
    )
    attachments = serializers.ListField(child=serializers.UUIDField(), max_length=32, required=False)


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"sequence": 1207, "status": "read"}, request_only=True)]
)
class ReceiptSerializer(serializers.Serializer[Any]):
    """How far the user has got."""

    sequence = serializers.IntegerField(min_value=0, max_value=2**63 - 1)
    status = serializers.ChoiceField(["delivered", "read"])


class PositionSerializer(serializers.Serializer[Any]):
    """Where the user now stands in the room."""

    room_id = serializers.CharField()
    sequence = serializers.IntegerField()
    index = serializers.IntegerField()


class PageQuerySerializer(serializers.Serializer[Any]):
    """A page of history."""

    before = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    after = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)


class HistorySerializer(serializers.Serializer[Any]):
    """A page of a room's events, in order of index."""

    results = MessageSerializer(many=True)
    next = serializers.CharField(allow_null=True, help_text="The page of newer events.")
    previous = serializers.CharField(allow_null=True, help_text="The page of older events.")


class SyncQuerySerializer(serializers.Serializer[Any]):
    """Where to go on."""

    cursor = serializers.IntegerField(required=False, min_value=0, max_value=2**63 - 1)
    limit = serializers.IntegerField(required=False, min_value=1, max_value=2**63 - 1)
    device_id = serializers.CharField(required=False, max_length=64)


class SyncSerializer(serializers.Serializer[Any]):
    """Missed events, in order of sequence."""

    cursor = serializers.IntegerField()
    has_more = serializers.BooleanField()
    messages = MessageSerializer(many=True)
    reason = serializers.CharField()
