"""What the REST views share: exact JSON, errors with the socket's codes, cursor pages, authentication by setting."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from django.core.exceptions import PermissionDenied
from django.core.exceptions import ValidationError as DjangoValidationError
from django.db import DatabaseError, DataError, InterfaceError
from django.db.models import QuerySet
from django.http import Http404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema_field
from rest_framework import exceptions, serializers, status
from rest_framework.authentication import BaseAuthentication
from rest_framework.pagination import CursorPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import IsAuthenticated
from rest_framework.renderers import BaseRenderer
from rest_framework.response import Response
from rest_framework.views import APIView, set_rollback

from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.protocol.codec import depth
from mana.schema import ManaSchema

logger = logging.getLogger("mana.rest")

STATUS = {
    ErrorCode.INVALID: status.HTTP_400_BAD_REQUEST,
    ErrorCode.INVALID_JSON: status.HTTP_400_BAD_REQUEST,
    ErrorCode.TOO_DEEP: status.HTTP_400_BAD_REQUEST,
    ErrorCode.EMPTY_PAYLOAD: status.HTTP_400_BAD_REQUEST,
    ErrorCode.NOT_SUPPORTED: status.HTTP_400_BAD_REQUEST,
    ErrorCode.UNAUTHENTICATED: status.HTTP_401_UNAUTHORIZED,
    ErrorCode.TOKEN_EXPIRED: status.HTTP_401_UNAUTHORIZED,
    ErrorCode.REVOKED: status.HTTP_401_UNAUTHORIZED,
    ErrorCode.FORBIDDEN: status.HTTP_403_FORBIDDEN,
    ErrorCode.ORIGIN_FORBIDDEN: status.HTTP_403_FORBIDDEN,
    ErrorCode.NOT_A_MEMBER: status.HTTP_403_FORBIDDEN,
    ErrorCode.NOT_FOUND: status.HTTP_404_NOT_FOUND,
    ErrorCode.CONFLICT: status.HTTP_409_CONFLICT,
    ErrorCode.STALE_DEVICE_LIST: status.HTTP_409_CONFLICT,
    ErrorCode.TOO_LARGE: status.HTTP_413_REQUEST_ENTITY_TOO_LARGE,
    ErrorCode.RATE_LIMITED: status.HTTP_429_TOO_MANY_REQUESTS,
    ErrorCode.UNAVAILABLE: status.HTTP_503_SERVICE_UNAVAILABLE,
}

_CODE_OF_STATUS = {
    400: ErrorCode.INVALID,
    401: ErrorCode.UNAUTHENTICATED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.NOT_SUPPORTED,
    406: ErrorCode.NOT_SUPPORTED,
    413: ErrorCode.TOO_LARGE,
    415: ErrorCode.NOT_SUPPORTED,
    429: ErrorCode.RATE_LIMITED,
}


class ExactJSONParser(BaseParser):
    """JSON bodies of one object; the member ``payload`` stays the bytes that arrived (``msgspec.Raw``)."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> dict[str, Any]:
        """The object as a dict. Raises ``ManaError`` with ``invalid_json``, ``invalid`` or ``too_deep``."""
        body = stream.read()
        if not body.strip():
            return {}
        if body.count(b"[") + body.count(b"{") > settings.MAX_DEPTH and depth(body) > settings.MAX_DEPTH:
            raise ManaError(ErrorCode.TOO_DEEP)
        try:
            members = _object.decode(body)
            return {name: value if name == "payload" else msgspec.json.decode(value) for name, value in members.items()}
        except msgspec.ValidationError:
            raise ManaError(ErrorCode.INVALID, "The body must be one JSON object.") from None
        except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
            raise ManaError(ErrorCode.INVALID_JSON, f"The body is not valid JSON: {error}.") from None


_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class ExactJSONRenderer(BaseRenderer):
    """JSON in which ``msgspec.Raw`` values appear as they are."""

    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        """The response's body."""
        return b"" if data is None else msgspec.json.encode(data, enc_hook=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):  # DRF's ReturnDict
        return dict(value)
    return str(value)  # lazy translations, ErrorDetail


@extend_schema_field(OpenApiTypes.ANY)
class PayloadField(serializers.Field[Any, Any, Any, Any]):
    """Any JSON value, untouched."""

    def to_internal_value(self, data: Any) -> Any:
        """What the parser left as it was."""
        return data if isinstance(data, msgspec.Raw) else msgspec.Raw(msgspec.json.encode(data))

    def to_representation(self, value: Any) -> Any:
        """The same."""
        return value


class ManaAPIView(APIView):
    """The base of mana's views: a door to the services, with no rule of its own."""

    permission_classes = [IsAuthenticated]
    parser_classes = [ExactJSONParser]
    renderer_classes = [ExactJSONRenderer]
    #: With refusals. ``extend_schema`` builds on DEFAULT_SCHEMA_CLASS, so that must be drf-spectacular's as well.
    schema = ManaSchema()

    def get_authenticators(self) -> list[BaseAuthentication]:
        """The classes of ``MANA["REST_AUTHENTICATION"]``."""
        return [authentication() for authentication in settings.REST_AUTHENTICATION]

    def get_exception_handler(self) -> Any:
        """Errors look the same whatever the project's own REST views do."""
        return handle_exception

    @property
    def sign_in_id(self) -> str | None:
        """The sign-in that the request's token comes from, or that its Django session is."""
        from mana.accounts.services import SIGN_IN_CLAIM, session_sign_in

        if hasattr(self.request.auth, "get"):
            claimed: str | None = self.request.auth.get(SIGN_IN_CLAIM)
            return claimed
        return session_sign_in(self.request)

    def page(self, rows: QuerySet[Any], *ordering: str, present: Callable[[Sequence[Any]], Sequence[Any]]) -> Response:
        """A page of ``rows`` in an order, each page made presentable as a whole."""
        pages = Pages(*ordering)
        return pages.get_paginated_response(present(pages.paginate_queryset(rows, self.request, view=self) or []))

    def validated(self, serializer_class: type[serializers.Serializer[Any]], data: Any = None) -> dict[str, Any]:
        """The checked body (or ``data``)."""
        serializer = serializer_class(data=self.request.data if data is None else data)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)


class Pages(CursorPagination):
    """Pages by cursor: cheap at any depth, and stable while rows are added."""

    page_size = 50
    page_size_query_param = "limit"
    max_page_size = 200

    def __init__(self, *ordering: str) -> None:
        self._ordering = ordering

    def get_ordering(self, request: Any, queryset: Any, view: Any) -> tuple[str, ...]:
        """The order that the view asked for."""
        return self._ordering

    def paginate_queryset(self, queryset: Any, request: Any, view: Any = None) -> Any:
        """A page. Raises ``NotFound`` for a cursor that is none, also of one whose position is of another kind."""
        try:
            return super().paginate_queryset(queryset, request, view)
        except (ValueError, OverflowError, DataError):
            raise exceptions.NotFound(self.invalid_cursor_message) from None


@cache  # one component of the OpenAPI document each, however many views give it
def page_of(serializer_class: type[serializers.Serializer[Any]]) -> type[serializers.Serializer[Any]]:
    """The shape of a page of something, for the OpenAPI document."""
    name = serializer_class.__name__.removesuffix("Serializer")
    fields = {
        "__doc__": "A page of a list.",
        "results": serializer_class(many=True),
        "next": serializers.CharField(allow_null=True, help_text="URL of the next page."),
        "previous": serializers.CharField(allow_null=True, help_text="URL of the previous page."),
    }
    return type(f"{name}PageSerializer", (serializers.Serializer,), fields)


#: The query parameters of a page.
PAGE_PARAMETERS = [
    OpenApiParameter("limit", int, description="How many at the most."),
    OpenApiParameter("cursor", str, description="From `next` or `previous`."),
]


def handle_exception(error: Exception, context: Any) -> Response | None:
    """Every refusal as ``{"code", "detail"}``, with the codes of the socket; wrong fields are named in ``fields``."""
    if isinstance(error, DatabaseError | InterfaceError):
        logger.warning("A request met a database error: %s", error)
        error = ManaError(ErrorCode.UNAVAILABLE, retry_after=1.0)
    if isinstance(error, ManaError):
        set_rollback()
        return _refusal(error)
    if isinstance(error, DjangoValidationError):
        error = exceptions.ValidationError(serializers.as_serializer_error(error))
    elif isinstance(error, Http404):
        error = exceptions.NotFound()
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied()
    if not isinstance(error, exceptions.APIException):
        return None
    set_rollback()
    return _invalid(error) if isinstance(error, exceptions.ValidationError) else _refused_by_framework(error)


def _refusal(error: ManaError) -> Response:
    body: dict[str, Any] = {"code": error.code, "detail": error.detail}
    headers = {}
    if error.details is not None:
        body["details"] = error.details
    if error.retry_after is not None:
        body["retry_after"] = error.retry_after
        headers["Retry-After"] = str(max(1, round(error.retry_after)))
    return Response(body, status=STATUS.get(error.code, status.HTTP_400_BAD_REQUEST), headers=headers)


def _invalid(error: exceptions.ValidationError) -> Response:
    fields = error.detail if isinstance(error.detail, dict) else {"non_field_errors": error.detail}
    conflict = "conflict" in _codes(error.get_codes())
    body = {
        "code": ErrorCode.CONFLICT if conflict else ErrorCode.INVALID,
        "detail": _first_problem(fields),
        "fields": fields,
    }
    return Response(body, status=status.HTTP_409_CONFLICT if conflict else status.HTTP_400_BAD_REQUEST)


def _refused_by_framework(error: exceptions.APIException) -> Response:
    code = _CODE_OF_STATUS.get(error.status_code, ErrorCode.INTERNAL)
    headers = {}
    if "revoked" in _codes(error.get_codes()):
        code = ErrorCode.REVOKED
    if auth_header := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = auth_header
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(round(wait))
    return Response({"code": code, "detail": _text(error.detail)}, status=error.status_code, headers=headers)


def _text(detail: Any) -> str:
    if isinstance(detail, Mapping):
        return str(detail.get("detail", detail))
    return str(detail[0]) if isinstance(detail, list) and detail else str(detail)


def _first_problem(fields: Mapping[str, Any]) -> str:
    for name, problems in fields.items():
        problem = problems
        while isinstance(problem, list | Mapping) and problem:
            problem = problem[0] if isinstance(problem, list) else next(iter(problem.values()))
        return str(problem) if name == "non_field_errors" else f"{name}: {problem}"
    return "The request is not valid."


def _codes(codes: Any) -> set[str]:
    if isinstance(codes, Mapping):
        return {code for value in codes.values() for code in _codes(value)}
    if isinstance(codes, list):
        return {code for value in codes for code in _codes(value)}
    return {str(codes)}
