"""REST: the servers that peers need, and the history of calls. Calls themselves are made over the socket."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from msgspec import to_builtins
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.messaging.services.people import as_person
from mana.protocol import ErrorCode, ManaError
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of
from mana_rtc import services, stores
from mana_rtc.ice import ice_servers
from mana_rtc.presenting import calls_as_json
from mana_rtc.serializers import CallSerializer, DeclineSerializer, EndSerializer, IceServersSerializer

EXAMPLE: dict[str, Any] = {
    "id": "pTq0b1hJv2m3xY4z",
    "room_id": "kitchen",
    "state": "ended",
    "reason": "hangup",
    "video": True,
    "from": "7",
    "outgoing": False,
    "own_state": "left",
    "started_at": "2026-03-01T09:00:00.000000Z",
    "answered_at": "2026-03-01T09:00:07.000000Z",
    "ended_at": "2026-03-01T09:02:37.000000Z",
    "seconds": 150,
    "participants": [
        {
            "user_id": user_id,
            "username": username,
            "state": "left",
            "session_id": None,
            "device_id": None,
            "muted": False,
            "camera": False,
            "screen": False,
            "pinned": None,
            "recording": False,
        }
        for user_id, username in (("7", "ann"), ("9", "ben"))
    ],
}


class IceServersView(ManaAPIView):
    """STUN and TURN."""

    @extend_schema(
        responses=IceServersSerializer,
        examples=[
            OpenApiExample(
                "STUN and TURN",
                {
                    "ice_servers": [
                        {"urls": ["stun:stun.example.com:3478"]},
                        {
                            "urls": ["turn:turn.example.com:3478?transport=udp"],
                            "username": "1772359200:7",
                            "credential": "O+kVvXkbeLNmSWu4qLZ8fTfDVYk=",
                        },
                    ],
                    "ice_transport_policy": "all",
                    "expires_in": 3600,
                },
                response_only=True,
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """What an `RTCPeerConnection` is made with; the credentials of TURN are the user's own and hold for a while."""
        answer: dict[str, Any] = to_builtins(ice_servers(as_person(request.user).user_id))
        body = {"expires_in": None, **answer}
        body.pop("type", None)
        return Response(body, headers={"Cache-Control": "no-store"})


class CallsView(ManaAPIView):
    """The user's calls."""

    @extend_schema(
        operation_id="calls_list",
        parameters=[
            OpenApiParameter("live", bool, description="Instead: the calls that go on in the user's rooms."),
            OpenApiParameter("room_id", str, description="Only those of one room."),
            *PAGE_PARAMETERS,
        ],
        responses=page_of(CallSerializer),
        examples=[
            OpenApiExample(
                "A page",
                {"results": [EXAMPLE], "next": None, "previous": None},
                response_only=True,
                status_codes=["200"],
            )
        ],
    )
    def get(self, request: Request) -> Response:
        """Calls that rang at the user or that they were in, the newest first."""
        person = as_person(request.user)
        live = request.query_params.get("live", "").lower() in ("1", "true")
        rows = stores.live_of(person) if live else stores.history_of(person)
        room_id = request.query_params.get("room_id")
        if room_id is not None:
            rows = rows.none() if "\x00" in room_id else rows.filter(room__key=room_id)
        return self.page(rows, "-created_at", "-pk", present=lambda page: calls_as_json(page, person.pk))


class CallView(ManaAPIView):
    """One call."""

    @extend_schema(
        responses=CallSerializer, examples=[OpenApiExample("A call", EXAMPLE, response_only=True, status_codes=["200"])]
    )
    def get(self, request: Request, call_id: str) -> Response:
        """A call as it is now: who is in it, who is muted, who shares the screen."""
        return Response(_visible(request, call_id))


class CallDeclineView(ManaAPIView):
    """Declining a call without a socket, as from a notification."""

    @extend_schema(
        request=DeclineSerializer,
        responses=CallSerializer,
        examples=[OpenApiExample("Busy", {"busy": True}, request_only=True)],
    )
    def post(self, request: Request, call_id: str) -> Response:
        """Declines a call that rings, on all of the user's devices."""
        given = self.validated(DeclineSerializer)
        services.reject(call_id, request.user, busy=given["busy"])
        return Response(_visible(request, call_id))


class CallEndView(ManaAPIView):
    """Hanging up without a socket."""

    @extend_schema(
        request=EndSerializer,
        responses=CallSerializer,
        examples=[OpenApiExample("For all", {"everybody": True}, request_only=True)],
    )
    def post(self, request: Request, call_id: str) -> Response:
        """Hangs up; with `everybody` the call ends for all, which takes the right to."""
        if self.validated(EndSerializer)["everybody"]:
            services.end(call_id, request.user)
        else:
            services.hang_up(call_id, request.user)
        return Response(_visible(request, call_id), status=status.HTTP_200_OK)


def _visible(request: Request, call_id: str) -> dict[str, Any]:
    person = as_person(request.user)
    call = stores.by_key(call_id)
    if not stores.history_of(person).filter(pk=call.pk).exists():
        try:
            stores.standing(call.room.key, person)
        except ManaError:
            raise ManaError(ErrorCode.NOT_FOUND, "There is no such call.") from None
    return calls_as_json([call], person.pk)[0]
