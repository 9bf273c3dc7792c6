"""Shapes of the contacts API."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mana.accounts.serializers import StatusSerializer, UserSerializer


class ContactSerializer(serializers.Serializer[Any]):
    """A contact; ``online`` is null where they do not show it."""

    person = UserSerializer()
    nickname = serializers.CharField(allow_blank=True)
    is_favourite = serializers.BooleanField()
    status = StatusSerializer(allow_null=True)
    online = serializers.BooleanField(allow_null=True)
    last_seen = serializers.CharField(allow_null=True)
    created_at = serializers.CharField()


class ContactChangeSerializer(serializers.Serializer[Any]):
    """What can be changed of a contact, on the user's own side."""

    nickname = serializers.CharField(max_length=100, required=False, allow_blank=True)
    is_favourite = serializers.BooleanField(required=False)


class RequestSerializer(serializers.Serializer[Any]):
    """Whom to ask."""

    user_id = serializers.CharField(max_length=128)
    message = serializers.CharField(max_length=300, required=False, allow_blank=True, default="")


class RequestStateSerializer(serializers.Serializer[Any]):
    """What became of it: they are contacts at once if the other one had asked as well."""

    state = serializers.ChoiceField(["requested", "contacts"])


class ContactRequestSerializer(serializers.Serializer[Any]):
    """A request that waits for an answer."""

    person = UserSerializer()
    direction = serializers.ChoiceField(["received", "made"])
    message = serializers.CharField(allow_blank=True)
    created_at = serializers.CharField()


class PersonIdSerializer(serializers.Serializer[Any]):
    """Somebody."""

    user_id = serializers.CharField(max_length=128)


class BlockSerializer(serializers.Serializer[Any]):
    """Somebody whom the user blocks."""

    person = UserSerializer()
    created_at = serializers.CharField()
