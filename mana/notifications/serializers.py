"""Shapes of the notifications API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from mana.preferences.serializers import JSONValueField


class NotificationSerializer(serializers.Serializer[Any]):
    """A notification, as on the socket, with whether it was read."""

    id = serializers.CharField()
    kind = serializers.CharField(allow_blank=True)
    title = serializers.CharField()
    body = serializers.CharField(allow_blank=True)
    data = JSONValueField()  # type: ignore[assignment]  # a field of that name
    silent = serializers.BooleanField()
    timestamp = serializers.CharField()
    read = serializers.BooleanField()


class UnreadSerializer(serializers.Serializer[Any]):
    """How many are unread."""

    unread = serializers.IntegerField()


class IdsSerializer(serializers.Serializer[Any]):
    """Some notifications, or without ``ids`` all."""

    ids = serializers.ListField(child=serializers.UUIDField(), max_length=500, required=False)


class SubscriptionKeysSerializer(serializers.Serializer[Any]):
    """The browser's keys, as ``PushSubscription.toJSON()`` gives them."""

    p256dh = serializers.RegexField(r"^[A-Za-z0-9_\-+/=]{80,120}$")
    auth = serializers.RegexField(r"^[A-Za-z0-9_\-+/=]{16,40}$")


@extend_schema_serializer(
    examples=[
        OpenApiExample(
            "Example",
            value={"endpoint": "https://push.example.com/a1", "keys": {"p256dh": "BNcR...", "auth": "tBHI..."}},
            request_only=True,
        )
    ]
)
class SubscriptionSerializer(serializers.Serializer[Any]):
    """What ``PushSubscription.toJSON()`` gives in the browser."""

    endpoint = serializers.CharField(max_length=2000)
    keys = SubscriptionKeysSerializer()


class EndpointSerializer(serializers.Serializer[Any]):
    """A browser that was subscribed."""

    endpoint = serializers.CharField(max_length=2000)


class PushKeySerializer(serializers.Serializer[Any]):
    """The key to subscribe with, in base64url."""

    public_key = serializers.CharField()
