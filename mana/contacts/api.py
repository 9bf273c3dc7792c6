"""REST: contacts, requests, blocks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.accounts import stores as accounts
from mana.accounts.api.views import status_body, user_body
from mana.accounts.persons import Person
from mana.contacts import services
from mana.contacts.serializers import (
    BlockSerializer,
    ContactChangeSerializer,
    ContactRequestSerializer,
    ContactSerializer,
    PersonIdSerializer,
    RequestSerializer,
    RequestStateSerializer,
)
from mana.contacts.stores import store
from mana.protocol import ErrorCode, ManaError
from mana.realtime import stores as presence
from mana.realtime.policies import presence_policy
from mana.realtime.wire import timestamp
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of
from mana.throttles import Throttle

_requests = Throttle("CONTACT_REQUEST_RATE")

DIRECTION = OpenApiParameter("direction", str, enum=["received", "made"], description="Received (the default) or made.")


class ContactsView(ManaAPIView):
    """The user's contacts."""

    @extend_schema(operation_id="contacts_list", parameters=PAGE_PARAMETERS, responses=page_of(ContactSerializer))
    def get(self, request: Request) -> Response:
        """Contacts, the newest first, with what they show of their presence."""
        rows = store().contacts(request.user.pk)
        return self.page(rows, "-pk", present=lambda page: _contacts(request.user.pk, page))

    @extend_schema(
        request=RequestSerializer,
        responses={201: RequestStateSerializer, 200: RequestStateSerializer},
        examples=[OpenApiExample("Ask", {"user_id": "7", "message": "Ada from the office"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Asks somebody to become contacts; accepts, where they have asked already."""
        given = self.validated(RequestSerializer)
        person = _person(given["user_id"])
        _requests.take(str(request.user.pk))
        if services.request(request.user, person, given["message"]):
            return Response({"state": "contacts"})
        return Response({"state": "requested"}, status=status.HTTP_201_CREATED)


class ContactView(ManaAPIView):
    """One contact."""

    @extend_schema(
        request=ContactChangeSerializer,
        responses=ContactSerializer,
        examples=[OpenApiExample("Favourite", {"nickname": "Mum", "is_favourite": True}, request_only=True)],
    )
    def patch(self, request: Request, user_id: str) -> Response:
        """Changes the nickname, or makes it a favourite. The other one does not learn of it."""
        person = _person(user_id, active_only=False)
        services.change(request.user, person, **self.validated(ContactChangeSerializer))
        rows = list(store().contacts(request.user.pk).filter(person=person.pk))
        return Response(_contacts(request.user.pk, rows)[0])

    @extend_schema(responses={204: None})
    def delete(self, request: Request, user_id: str) -> Response:
        """Ends the contact, on both sides."""
        services.remove(request.user, _person(user_id, active_only=False))
        return Response(status=status.HTTP_204_NO_CONTENT)


class RequestsView(ManaAPIView):
    """Requests to become contacts."""

    @extend_schema(
        operation_id="contact_requests_list",
        parameters=[DIRECTION, *PAGE_PARAMETERS],
        responses=page_of(ContactRequestSerializer),
    )
    def get(self, request: Request) -> Response:
        """Requests that wait for an answer, the newest first: received by the user (the default) or made."""
        made = request.query_params.get("direction") == "made"
        rows = store().requests_made(request.user.pk) if made else store().requests_received(request.user.pk)
        return self.page(rows, "-created_at", "-pk", present=lambda page: _request_bodies(page, made=made))


class RequestAcceptView(ManaAPIView):
    """Saying yes."""

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, user_id: str) -> Response:
        """Accepts the request of a user."""
        services.accept(request.user, _person(user_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class RequestView(ManaAPIView):
    """One request."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, user_id: str) -> Response:
        """Declines a user's request, or withdraws the one made to them."""
        person = _person(user_id, active_only=False)
        found = store().request_between(request.user.pk, person.pk)
        if found is not None and found.user_id == request.user.pk:
            services.withdraw(request.user, person)
        else:
            services.decline(request.user, person)
        return Response(status=status.HTTP_204_NO_CONTENT)


class BlocksView(ManaAPIView):
    """Whom the user blocks."""

    @extend_schema(operation_id="blocks_list", parameters=PAGE_PARAMETERS, responses=page_of(BlockSerializer))
    def get(self, request: Request) -> Response:
        """Blocked people, the newest first."""
        return self.page(store().blocks(request.user.pk), "-created_at", "-pk", present=_block_bodies)

    @extend_schema(
        request=PersonIdSerializer,
        responses={204: None},
        examples=[OpenApiExample("Block", {"user_id": "7"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Blocks somebody: no direct messages, calls, presence, search or requests, in both directions."""
        services.block(request.user, _person(self.validated(PersonIdSerializer)["user_id"], active_only=False))
        return Response(status=status.HTTP_204_NO_CONTENT)


class BlockView(ManaAPIView):
    """One block."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, user_id: str) -> Response:
        """Takes the block back."""
        services.unblock(request.user, _person(user_id, active_only=False))
        return Response(status=status.HTTP_204_NO_CONTENT)


def _person(user_id: str, *, active_only: bool = True) -> Person:
    found = accounts.resolve([user_id], active_only=active_only).get(user_id)
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")
    return found


def _contacts(viewer_pk: Any, rows: Sequence[Any]) -> list[dict[str, Any]]:
    pks = [row.person_id for row in rows]
    people, profiles = accounts.people(pks), accounts.profiles().many(pks)
    shown = presence_policy().visible(viewer_pk, pks)
    online, seen = presence.online_users(shown), presence.last_seen(shown)
    return [
        {
            "person": user_body(people[row.person_id]),
            "nickname": row.nickname,
            "is_favourite": row.is_favourite,
            "status": status_body(profiles.get(row.person_id)),
            "online": row.person_id in online if row.person_id in shown else None,
            "last_seen": timestamp(seen[row.person_id]) if row.person_id in seen else None,
            "created_at": timestamp(row.created_at),
        }
        for row in rows
        if row.person_id in people
    ]


def _request_bodies(rows: Sequence[Any], *, made: bool) -> list[dict[str, Any]]:
    people = accounts.people([row.person_id if made else row.user_id for row in rows])
    return [
        {
            "person": user_body(people[pk]),
            "direction": "made" if made else "received",
            "message": row.message,
            "created_at": timestamp(row.created_at),
        }
        for row in rows
        if (pk := row.person_id if made else row.user_id) in people
    ]


def _block_bodies(rows: Sequence[Any]) -> list[dict[str, Any]]:
    people = accounts.people([row.person_id for row in rows])
    return [
        {"person": user_body(people[row.person_id]), "created_at": timestamp(row.created_at)}
        for row in rows
        if row.person_id in people
    ]
