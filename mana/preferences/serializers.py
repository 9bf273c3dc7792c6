"""Shapes of the preferences API."""

from __future__ import annotations

from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers


@extend_schema_field(OpenApiTypes.ANY)
class JSONValueField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value, null included."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(allow_null=True, **kwargs)

    def to_internal_value(self, data: Any) -> Any:
        """As it is."""
        return data

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


class PreferenceSerializer(serializers.Serializer[Any]):
    """A preference as it counts for the user."""

    key = serializers.CharField()
    value = JSONValueField()
    default = JSONValueField()
    type = serializers.ChoiceField(["bool", "int", "float", "str", "list", "dict"])
    choices = serializers.ListField(child=JSONValueField())
    help_text = serializers.CharField(allow_blank=True)  # type: ignore[assignment]  # a field of that name


class PreferencesSerializer(serializers.Serializer[Any]):
    """All preferences of the user."""

    results = PreferenceSerializer(many=True)


class ValueSerializer(serializers.Serializer[Any]):
    """A choice."""

    value = JSONValueField()
