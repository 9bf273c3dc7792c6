"""REST: single messages, their reactions, revisions and replies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from drf_spectacular.utils import extend_schema
from msgspec import Raw
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.accounts.stores import people
from mana.messaging import services, stores
from mana.messaging.api.ids import ByIdView
from mana.messaging.api.tags import tagged
from mana.messaging.frames import event_frames
from mana.messaging.message_store import message_store
from mana.messaging.models import Message, Pin, Reaction
from mana.messaging.serializers.messages import (
    EditSerializer,
    ReactionSerializer,
    ReactSerializer,
    RevisionsSerializer,
    ScopeSerializer,
)
from mana.messaging.serializers.rooms import MessageSerializer
from mana.messaging.services.looking import get as room_of
from mana.messaging.services.people import as_person
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError
from mana.realtime.wire import timestamp
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of


class MessageView(ByIdView):
    """One message."""

    @extend_schema(responses=MessageSerializer)
    def get(self, request: Request, message_id: UUID) -> Response | HttpResponse:
        """The message as it is now."""
        return tagged(request, _frame(services.get_message(message_id, request.user).message, request.user.pk))

    @extend_schema(request=EditSerializer, responses=MessageSerializer)
    def patch(self, request: Request, message_id: UUID) -> Response:
        """Replaces what it says."""
        given = self.validated(EditSerializer)
        result = services.edit(message_id, request.user, given.pop("payload"), **given)
        return Response(_frame(result.message, request.user.pk))

    @extend_schema(parameters=[ScopeSerializer], responses={204: None})
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Deletes it, for everyone or for the user alone."""
        if self.validated(ScopeSerializer, request.query_params)["scope"] == "me":
            services.hide(message_id, request.user)
        else:
            services.delete(message_id, request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class RevisionsView(ByIdView):
    """What a message said before."""

    @extend_schema(operation_id="messages_revisions", responses=RevisionsSerializer)
    def get(self, request: Request, message_id: UUID) -> Response:
        """Each earlier payload and when it was replaced, oldest first."""
        return Response(
            {
                "results": [
                    {"payload": Raw(one.payload_json.encode()), "replaced_at": timestamp(one.created_at)}
                    for one in services.revisions(message_id, request.user)
                ]
            }
        )


class RepliesView(ByIdView):
    """The thread below a message."""

    @extend_schema(operation_id="messages_replies", parameters=PAGE_PARAMETERS, responses=page_of(MessageSerializer))
    def get(self, request: Request, message_id: UUID) -> Response:
        """The messages that answer it, in their order."""
        message, room, membership = services.get_message(message_id, request.user)
        rows = Message.objects.using(database()).filter(reply_to=message.pk, room=room, index__isnull=False)
        rows = rows.filter(index__gte=membership.first_index or 0, kind=Message.Kind.MESSAGE).select_related("room")
        if membership.last_index is not None:
            rows = rows.filter(index__lte=membership.last_index)
        rows = message_store().visible_to(request.user.pk, rows)
        return self.page(rows, "index", present=lambda page: _frames(page, request.user.pk))


class ReactionsView(ByIdView):
    """The emoji on a message."""

    @extend_schema(operation_id="reactions_list", parameters=PAGE_PARAMETERS, responses=page_of(ReactionSerializer))
    def get(self, request: Request, message_id: UUID) -> Response:
        """Who put which emoji on it, in their order."""
        message, _, membership = services.get_message(message_id, request.user)
        rows = Reaction.objects.using(database()).filter(message_id=message.pk)
        if membership.last_index is not None:
            rows = rows.filter(index__lte=membership.last_index)
        return self.page(rows, "pk", present=_reactions)

    @extend_schema(request=ReactSerializer, responses=MessageSerializer)
    def post(self, request: Request, message_id: UUID) -> Response:
        """Puts an emoji on it."""
        result = services.react(message_id, request.user, self.validated(ReactSerializer)["emoji"])
        return Response(_frame(result.message, request.user.pk))


class ReactionView(ByIdView):
    """One of the user's emoji on a message."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, message_id: UUID, emoji: str) -> Response:
        """Takes it back."""
        services.react(message_id, request.user, emoji, remove=True)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PinView(ByIdView):
    """Whether a message is pinned in its room."""

    @extend_schema(request=None, responses={204: None})
    def put(self, request: Request, message_id: UUID) -> Response:
        """Pins it."""
        services.pin(message_id, request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, message_id: UUID) -> Response:
        """Unpins it."""
        services.unpin(message_id, request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PinsView(ManaAPIView):
    """The pinned messages of a room."""

    @extend_schema(operation_id="rooms_pins", parameters=PAGE_PARAMETERS, responses=page_of(MessageSerializer))
    def get(self, request: Request, room_id: str) -> Response:
        """Those that the user may read, the last pinned first."""
        person = as_person(request.user)
        room = room_of(room_id, person)
        interval = stores.readable(room, person)
        if interval is None:
            raise ManaError(ErrorCode.UNAVAILABLE, "You are joining this room right now.", retry_after=1.0)
        pins = Pin.objects.using(database()).filter(room=room, message__index__gte=interval.first)
        pins = pins.exclude(message__hidden_for__user_id=person.pk).select_related("message__room")
        return self.page(
            pins, "-created_at", "-pk", present=lambda page: _frames([pin.message for pin in page], person.pk)
        )


def _frame(message: Message, reader_pk: Any) -> Raw:
    (frame,) = _frames([message], reader_pk)
    return frame


def _frames(messages: Sequence[Message], reader_pk: Any) -> list[Raw]:
    return [Raw(frame) for frame in event_frames(messages, reader_pk=reader_pk)]


def _reactions(rows: Sequence[Reaction]) -> list[dict[str, str]]:
    persons = people({row.user_id for row in rows})
    return [
        {
            "user_id": persons[row.user_id].user_id,
            "username": persons[row.user_id].username,
            "emoji": row.emoji,
            "timestamp": timestamp(row.created_at),
        }
        for row in rows
        if row.user_id in persons
    ]
