"""The OpenAPI document of the REST views: every answer of theirs, refusals included."""

from __future__ import annotations

from typing import Any

from drf_spectacular.openapi import AutoSchema
from rest_framework import serializers

from mana.protocol.errors import TEXTS


class ErrorSerializer(serializers.Serializer[Any]):
    """A refusal."""

    code = serializers.ChoiceField([(str(code), text) for code, text in TEXTS.items()], help_text="For programs.")
    detail = serializers.CharField(help_text="For people.")
    retry_after = serializers.FloatField(required=False, help_text="Seconds until it is worth another try.")
    details = serializers.DictField(required=False, help_text="What a program needs to know of it.")
    fields = serializers.DictField(required=False, help_text="What is wrong with which field.")  # type: ignore[assignment]


class ManaSchema(AutoSchema):
    """Says of each operation that it may refuse, and how that looks."""

    def _get_response_bodies(self, direction: Any = "response") -> dict[str, Any]:
        bodies: dict[str, Any] = super()._get_response_bodies(direction)
        refusal: dict[str, Any] = self._get_response_for_code(
            ErrorSerializer, "default", ["application/json"], direction
        )  # type: ignore[no-untyped-call]
        refusal["description"] = "A refusal, with the codes of the socket."
        return {**bodies, "default": refusal}
