"""Single messages and what can be done with them."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema_serializer
from rest_framework import serializers

from mana.rest import PayloadField


@extend_schema_serializer(
    examples=[OpenApiExample("Example", value={"payload": {"text": "Coffee, then?"}}, request_only=True)]
)
class EditSerializer(serializers.Serializer[Any]):
    """What a message says from now on."""

    payload = PayloadField()
    mentions = serializers.ListField(
        child=serializers.CharField(max_length=128), max_length=100, required=False, help_text="User ids, or `@all`."
    )


class ScopeSerializer(serializers.Serializer[Any]):
    """For whom a message is deleted."""

    scope = serializers.ChoiceField([("everyone", "everyone"), ("me", "me")], default="everyone")


@extend_schema_serializer(examples=[OpenApiExample("Example", value={"emoji": "👍"}, request_only=True)])
class ReactSerializer(serializers.Serializer[Any]):
    """An emoji."""

    emoji = serializers.CharField(max_length=64, help_text="One emoji, or a `:name:` between colons.")


class ReactionSerializer(serializers.Serializer[Any]):
    """Who put an emoji on a message."""

    user_id = serializers.CharField()
    username = serializers.CharField()
    emoji = serializers.CharField()
    timestamp = serializers.CharField()


class RevisionSerializer(serializers.Serializer[Any]):
    """What a message said until it was edited."""

    payload = PayloadField()
    replaced_at = serializers.CharField()


class RevisionsSerializer(serializers.Serializer[Any]):
    """What a message said before, oldest first."""

    results = RevisionSerializer(many=True)


class AttachmentSerializer(serializers.Serializer[Any]):
    """A file that was uploaded."""

    id = serializers.CharField()
    name = serializers.CharField()
    content_type = serializers.CharField(help_text="What it is by its content, whatever its name says.")
    size = serializers.IntegerField()
    width = serializers.IntegerField(allow_null=True)
    height = serializers.IntegerField(allow_null=True)
    thumbnail = serializers.BooleanField()
    message_id = serializers.CharField(allow_null=True)
    url = serializers.CharField()
    thumbnail_url = serializers.CharField(allow_null=True)


class UploadSerializer(serializers.Serializer[Any]):
    """A file, as ``multipart/form-data``."""

    file = serializers.FileField(allow_empty_file=True)
