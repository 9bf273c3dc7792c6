"""REST: rooms, members, history, receipts, sync."""

from __future__ import annotations

from django.db.models import F
from django.http import HttpResponse
from django.urls import reverse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from msgspec import Raw
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.messaging import overview, services
from mana.messaging.api.tags import tagged
from mana.messaging.frames import event_frames
from mana.messaging.limits import creations, joins
from mana.messaging.models import Room
from mana.messaging.room_store import room_store
from mana.messaging.serializers.rooms import (
    HistorySerializer,
    MemberSerializer,
    MessageSerializer,
    PageQuerySerializer,
    PositionSerializer,
    PublicRoomSerializer,
    ReceiptSerializer,
    RoleSerializer,
    RoomChangeSerializer,
    RoomCreateSerializer,
    RoomSerializer,
    SendSerializer,
    SyncQuerySerializer,
    SyncSerializer,
    UserIdsSerializer,
)
from mana.messaging.services.looking import get as room_of
from mana.messaging.services.people import as_person, people_named
from mana.protocol import ErrorCode, ManaError
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of


class RoomsView(ManaAPIView):
    """The rooms of the user."""

    @extend_schema(operation_id="rooms_list", parameters=PAGE_PARAMETERS, responses=page_of(RoomSerializer))
    def get(self, request: Request) -> Response:
        """The user's rooms, those with the newest events first."""
        person = as_person(request.user)
        # The cursor holds where a row stands, so that must be an attribute of the row.
        rows = room_store().rooms_of(person).annotate(newest=F("room__last_sequence"))
        return self.page(rows, "-newest", "-pk", present=lambda page: overview.rooms_for(person, page))

    @extend_schema(request=RoomCreateSerializer, responses={200: RoomSerializer, 201: RoomSerializer})
    def post(self, request: Request) -> Response:
        """Makes a room; a direct room that is there already comes back with 200."""
        person = as_person(request.user)
        given = self.validated(RoomCreateSerializer)
        members = people_named(given.pop("members"))
        if given["room_type"] == Room.Type.DIRECT:
            others = [one for one in members if one.pk != person.pk] or members
            if len(others) != 1:
                raise ManaError(ErrorCode.INVALID, "A direct room has one other member.")
            creations.check(person.user_id)
            result = services.direct_room(person, others[0])
        else:
            creations.check(person.user_id)
            result = services.create_room(person, members=members, **given)
        if result.event is not None:
            creations.count(person.user_id)
        code = status.HTTP_201_CREATED if result.event is not None else status.HTTP_200_OK
        return Response(overview.room_for(person, result.room), status=code)


class PublicRoomsView(ManaAPIView):
    """Rooms that anybody may join."""

    @extend_schema(
        operation_id="rooms_public",
        parameters=[OpenApiParameter("search", str, description="Part of the name."), *PAGE_PARAMETERS],
        responses=page_of(PublicRoomSerializer),
    )
    def get(self, request: Request) -> Response:
        """Public groups and channels, the largest first."""
        search = request.query_params.get("search", "").strip()[:255].replace("\x00", "")
        rooms = room_store().public(search)
        return self.page(
            rooms, "-member_count", "-pk", present=lambda page: list(PublicRoomSerializer(page, many=True).data)
        )


class RoomView(ManaAPIView):
    """One room."""

    @extend_schema(responses=RoomSerializer)
    def get(self, request: Request, room_id: str) -> Response | HttpResponse:
        """The room as the user sees it. `If-None-Match` with the last `ETag` saves the body."""
        person = as_person(request.user)
        return tagged(request, overview.room_for(person, room_of(room_id, person)))

    @extend_schema(request=RoomChangeSerializer, responses=RoomSerializer)
    def patch(self, request: Request, room_id: str) -> Response:
        """Changes a room's settings."""
        person = as_person(request.user)
        result = services.update_room(room_id, person, **self.validated(RoomChangeSerializer))
        return Response(overview.room_for(person, result.room))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str) -> Response:
        """Deletes a room for everybody."""
        services.delete_room(room_id, as_person(request.user))
        return Response(status=status.HTTP_204_NO_CONTENT)


class MembersView(ManaAPIView):
    """The members of a room."""

    @extend_schema(operation_id="members_list", parameters=PAGE_PARAMETERS, responses=page_of(MemberSerializer))
    def get(self, request: Request, room_id: str) -> Response:
        """Who is in the room, in the order in which they first came."""
        person = as_person(request.user)
        rows = room_store().members(room_of(room_id, person))
        return self.page(rows, "pk", present=lambda page: overview.members_for(person, page))

    @extend_schema(request=UserIdsSerializer, responses=RoomSerializer)
    def post(self, request: Request, room_id: str) -> Response:
        """Brings people in; without ``user_ids`` the user joins by themselves."""
        person = as_person(request.user)
        user_ids = self.validated(UserIdsSerializer).get("user_ids")
        if user_ids:
            result = services.add_members(room_id, person, people_named(user_ids))
        else:
            joins.take(person.user_id)
            result = services.join(room_id, person)
        return Response(overview.room_for(person, result.room))


class MemberView(ManaAPIView):
    """One member of a room."""

    @extend_schema(request=RoleSerializer, responses=RoomSerializer)
    def patch(self, request: Request, room_id: str, user_id: str) -> Response:
        """Gives a member a role."""
        person = as_person(request.user)
        (member,) = people_named([user_id])
        result = services.set_role(room_id, person, member, self.validated(RoleSerializer)["role"])
        return Response(overview.room_for(person, result.room))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str, user_id: str) -> Response:
        """Removes a member; ``me`` leaves."""
        person = as_person(request.user)
        if user_id in ("me", person.user_id):
            services.leave(room_id, person)
        else:
            (member,) = people_named([user_id])
            services.remove_member(room_id, person, member)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InvitationsView(ManaAPIView):
    """Invitations to a room."""

    @extend_schema(request=UserIdsSerializer, responses={204: None})
    def post(self, request: Request, room_id: str) -> Response:
        """Lets people join by themselves."""
        user_ids = self.validated(UserIdsSerializer).get("user_ids") or []
        services.invite(room_id, as_person(request.user), people_named(user_ids))
        return Response(status=status.HTTP_204_NO_CONTENT)


class MessagesView(ManaAPIView):
    """The messages of a room."""

    @extend_schema(parameters=[PageQuerySerializer], responses=HistorySerializer)
    def get(self, request: Request, room_id: str) -> Response | HttpResponse:
        """A page of events before or after an index, in order; without either, the newest."""
        query = self.validated(PageQuerySerializer, request.query_params)
        page = services.history(room_id, request.user, **query)
        older = newer = None
        if page.indexes:
            backwards = query.get("after") is None
            if page.has_more if backwards else query["after"] > 0:
                older = self._url(room_id, query, before=page.indexes[0])
            if query.get("before") is not None or (not backwards and page.has_more):
                newer = self._url(room_id, query, after=page.indexes[-1])
        return tagged(request, {"results": [Raw(frame) for frame in page.frames], "next": newer, "previous": older})

    @extend_schema(request=SendSerializer, responses={201: MessageSerializer})
    def post(self, request: Request, room_id: str) -> Response:
        """Sends a message; with the same ``ack_id`` again it gives the first one."""
        given = self.validated(SendSerializer)
        message = services.send(room_id, request.user, given.pop("payload"), **given)
        (frame,) = event_frames([message], reader_pk=message.sender_id)
        return Response(Raw(frame), status=status.HTTP_201_CREATED)

    def _url(self, room_id: str, query: dict[str, int], **position: int) -> str:
        query_string = "&".join(
            f"{name}={value}" for name, value in {"limit": query.get("limit"), **position}.items() if value is not None
        )
        path = reverse("mana:room-messages", args=[room_id])
        return self.request.build_absolute_uri(f"{path}?{query_string}")


class ReceiptsView(ManaAPIView):
    """How far the user has got in a room."""

    @extend_schema(request=ReceiptSerializer, responses=PositionSerializer)
    def post(self, request: Request, room_id: str) -> Response:
        """Moves the delivered or read position."""
        given = self.validated(ReceiptSerializer)
        position = services.mark(room_id, request.user, given["sequence"], given["status"])
        return Response({"room_id": position.room_key, "sequence": position.sequence, "index": position.index})


class SyncView(ManaAPIView):
    """Catching up."""

    @extend_schema(parameters=[SyncQuerySerializer], responses=SyncSerializer)
    def get(self, request: Request) -> Response:
        """The events after a cursor."""
        query = self.validated(SyncQuerySerializer, request.query_params)
        batch = services.sync(request.user, query.pop("cursor", None), **query)
        return Response(
            {
                "cursor": batch.cursor,
                "has_more": batch.has_more,
                "messages": [Raw(frame) for frame in batch.frames],
                "reason": batch.reason,
            }
        )
