"""REST: notifications, and the browsers to push to."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana import etags
from mana.conf import settings
from mana.notifications import services, stores
from mana.notifications.models import Notification
from mana.notifications.serializers import (
    EndpointSerializer,
    IdsSerializer,
    NotificationSerializer,
    PushKeySerializer,
    SubscriptionSerializer,
    UnreadSerializer,
)
from mana.protocol import ErrorCode, ManaError
from mana.realtime.wire import timestamp
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of


class NotificationsView(ManaAPIView):
    """The user's notifications."""

    @extend_schema(
        operation_id="notifications_list",
        parameters=[OpenApiParameter("unread", bool, description="Only those that were not read."), *PAGE_PARAMETERS],
        responses=page_of(NotificationSerializer),
    )
    def get(self, request: Request) -> Response:
        """What the user was told of, the newest first."""
        unread = request.query_params.get("unread", "").lower() in ("1", "true")
        rows = stores.of_user(request.user.pk, unread=unread)
        return self.page(rows, "-created_at", "-pk", present=lambda page: [_body(row) for row in page])


class UnreadView(ManaAPIView):
    """How many notifications are unread."""

    @extend_schema(responses={200: UnreadSerializer, 304: None})
    def get(self, request: Request) -> Response:
        """The number that a bell shows."""
        return etags.answer(request, {"unread": services.unread_count(request.user)})


class ReadView(ManaAPIView):
    """Reading notifications."""

    @extend_schema(
        request=IdsSerializer,
        responses=UnreadSerializer,
        examples=[
            OpenApiExample("All", {}, request_only=True),
            OpenApiExample("One", {"ids": ["0198a3c2-7b1e-7cc3-98a1-0242ac120002"]}, request_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Marks some, or all, as read; the user's other devices learn of it."""
        ids = self.validated(IdsSerializer).get("ids")
        return Response({"unread": services.mark_read(request.user, ids)})


class NotificationView(ManaAPIView):
    """One notification."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, notification_id: str) -> Response:
        """Removes it."""
        try:
            pk = UUID(notification_id)
        except ValueError:
            pk = UUID(int=0)
        if not stores.of_user(request.user.pk).filter(pk=pk).exists():
            raise ManaError(ErrorCode.NOT_FOUND, "You have no such notification.")
        services.remove(request.user, [pk])
        return Response(status=status.HTTP_204_NO_CONTENT)


class PushKeyView(ManaAPIView):
    """The server's key of Web Push."""

    @extend_schema(responses={200: PushKeySerializer, 304: None})
    def get(self, request: Request) -> Response:
        """The key that a page subscribes with; `not_supported` where the project does not push."""
        _require_web_push()
        from mana.notifications.webpush import public_key

        return etags.answer(request, {"public_key": public_key()})


class SubscriptionsView(ManaAPIView):
    """Browsers to push to."""

    @extend_schema(request=SubscriptionSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Subscribes a browser, for when no device of the user is connected."""
        _require_web_push()
        from mana.notifications.webpush import may_be_called

        given = self.validated(SubscriptionSerializer)
        if not may_be_called(given["endpoint"]):
            raise ManaError(ErrorCode.INVALID, "The endpoint is of no push service that this server talks to.")
        if len(stores.subscriptions(request.user.pk)) >= settings.MAX_PUSH_SUBSCRIPTIONS:
            raise ManaError(ErrorCode.CONFLICT, f"A user may have {settings.MAX_PUSH_SUBSCRIPTIONS} of these.")
        keys = given["keys"]
        stores.subscribe(request.user.pk, given["endpoint"], keys["p256dh"], keys["auth"], self.sign_in_id or "")
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(
        operation_id="push_unsubscribe",
        parameters=[OpenApiParameter("endpoint", str, required=True, description="The browser's endpoint.")],
        request=None,
        responses={204: None},
    )
    def delete(self, request: Request) -> Response:
        """Forgets a browser."""
        given = self.validated(EndpointSerializer, request.query_params)
        if not stores.unsubscribe(request.user.pk, given["endpoint"]):
            raise ManaError(ErrorCode.NOT_FOUND, "You have no such subscription.")
        return Response(status=status.HTTP_204_NO_CONTENT)


def _require_web_push() -> None:
    if not settings.PUSH_BACKENDS or not settings.WEB_PUSH_PRIVATE_KEY:
        raise ManaError(ErrorCode.NOT_SUPPORTED, "This server does not push.")


def _body(row: Notification) -> dict[str, Any]:
    return {
        "id": str(row.pk),
        "kind": row.kind,
        "title": row.title,
        "body": row.body,
        "data": row.data,
        "silent": row.is_silent,
        "timestamp": timestamp(row.created_at),
        "read": row.read_at is not None,
    }
