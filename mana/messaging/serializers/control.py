"""Invitations, bans and mutes."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from mana.messaging.models import Room


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"expires_in": 86400, "max_uses": 5}, request_only=True)]
)
class InviteCreateSerializer(serializers.Serializer[Any]):
    """What a new link needs."""

    expires_in = serializers.IntegerField(
        required=False, min_value=0, max_value=10 * 365 * 86_400, help_text="Seconds; 0 for a link that lasts."
    )
    max_uses = serializers.IntegerField(default=0, min_value=0, max_value=2**31 - 1, help_text="0: any number.")


class InviteSerializer(serializers.Serializer[Any]):
    """A link to a room, for those who may make them."""

    id = serializers.IntegerField(source="pk")
    token = serializers.CharField()
    room_id = serializers.CharField(source="room.key")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    max_uses = serializers.IntegerField()
    uses = serializers.IntegerField()


class InvitesSerializer(serializers.Serializer[Any]):
    """The open links of a room, newest first."""

    results = InviteSerializer(many=True)


class InvitePreviewSerializer(serializers.Serializer[Any]):
    """What a link leads to."""

    room_id = serializers.CharField()
    name = serializers.CharField(allow_blank=True)
    topic = serializers.CharField(allow_blank=True)
    room_type = serializers.ChoiceField(Room.Type.choices)
    member_count = serializers.IntegerField()
    is_member = serializers.BooleanField()


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"user_id": "2"}, request_only=True)])
class UserIdSerializer(serializers.Serializer[Any]):
    """A person."""

    user_id = serializers.CharField(max_length=128)


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"until": "2027-01-01T00:00:00Z"}, request_only=True)]
)
class MuteSerializer(serializers.Serializer[Any]):
    """How long somebody is muted."""

    until = serializers.DateTimeField(required=False, allow_null=True, help_text="Absent: for good.")


class BannedSerializer(serializers.Serializer[Any]):
    """Somebody who is banned from a room."""

    user_id = serializers.CharField()
    username = serializers.CharField()
    display_name = serializers.CharField(allow_blank=True)
