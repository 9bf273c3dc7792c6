"""REST: preferences."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from mana import etags
from mana.preferences import services
from mana.preferences.registry import kind_of
from mana.preferences.serializers import PreferenceSerializer, PreferencesSerializer, ValueSerializer
from mana.rest import ManaAPIView


class PreferencesView(ManaAPIView):
    """The user's preferences."""

    @extend_schema(operation_id="preferences_list", responses={200: PreferencesSerializer, 304: None})
    def get(self, request: Request) -> Response:
        """All of them, chosen or default."""
        values = services.get_all(request.user)
        return etags.answer(request, {"results": [_body(key, value) for key, value in values.items()]})


class PreferenceView(ManaAPIView):
    """One preference."""

    @extend_schema(responses={200: PreferenceSerializer, 304: None})
    def get(self, request: Request, key: str) -> Response:
        """The preference, chosen or default."""
        return etags.answer(request, _body(key, services.get(request.user, key)))

    @extend_schema(
        request=ValueSerializer,
        responses=PreferenceSerializer,
        examples=[
            OpenApiExample("Mentions only", {"value": "mentions"}, request_only=True),
            OpenApiExample(
                "Quiet at night",
                {"value": {"start": "22:00", "end": "07:00", "time_zone": "Europe/Berlin"}},
                request_only=True,
            ),
        ],
    )
    def put(self, request: Request, key: str) -> Response:
        """Chooses. The user's other devices get a `preference` frame."""
        value = self.validated(ValueSerializer)["value"]
        services.set(request.user, key, value)
        return Response(_body(key, value))

    @extend_schema(request=None, responses={200: PreferenceSerializer})
    def delete(self, request: Request, key: str) -> Response:
        """Goes back to the default."""
        return Response(_body(key, services.reset(request.user, key)))


def _body(key: str, value: Any) -> dict[str, Any]:
    kind = kind_of(key)
    return {
        "key": key,
        "value": value,
        "default": kind.default,
        "type": kind.type.__name__,
        "choices": list(kind.choices),
        "help_text": kind.help_text,
    }
