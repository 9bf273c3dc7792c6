"""REST: getting into rooms, keeping order in them, and having them one's own way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from drf_spectacular.utils import extend_schema
from msgspec import to_builtins
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.accounts.stores import Person, people, resolve
from mana.messaging import overview, services, stores
from mana.messaging.api.ids import ByIdView
from mana.messaging.models import Membership
from mana.messaging.policies import policy
from mana.messaging.room_store import room_store
from mana.messaging.serializers.control import (
    BannedSerializer,
    InviteCreateSerializer,
    InvitePreviewSerializer,
    InviteSerializer,
    InvitesSerializer,
    MuteSerializer,
    UserIdSerializer,
)
from mana.messaging.serializers.rooms import (
    InvitationSerializer,
    RoomPreferencesSerializer,
    RoomSerializer,
)
from mana.messaging.services.looking import get as room_of
from mana.messaging.services.people import as_person
from mana.messaging.services.preferences import preferences_of
from mana.messaging.timeline import database
from mana.protocol import ErrorCode, ManaError
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of


def _somebody(user_id: str) -> Person:
    # Also one whose account is disabled can be banned or muted.
    found = resolve([user_id], active_only=False).get(user_id)
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, f"There is no user {user_id[:64]!r}.")
    return found


class InvitesView(ManaAPIView):
    """The links to a room."""

    @extend_schema(operation_id="invites_list", responses=InvitesSerializer)
    def get(self, request: Request, room_id: str) -> Response:
        """The open ones, newest first."""
        found = services.invites(room_id, request.user)
        return Response({"results": list(InviteSerializer(found, many=True).data)})

    @extend_schema(request=InviteCreateSerializer, responses={201: InviteSerializer})
    def post(self, request: Request, room_id: str) -> Response:
        """Makes a link."""
        made = services.create_invite(room_id, request.user, **self.validated(InviteCreateSerializer))
        return Response(dict(InviteSerializer(made).data), status=status.HTTP_201_CREATED)


class InviteView(ByIdView):
    """One link to a room, for those who manage it."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str, invite_id: int) -> Response:
        """Closes it."""
        services.revoke_invite(room_id, request.user, invite_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


class InviteTokenView(ManaAPIView):
    """A link, for whoever has it."""

    @extend_schema(responses=InvitePreviewSerializer)
    def get(self, request: Request, token: str) -> Response:
        """What it leads to."""
        invitation = services.look_at_invite(token, request.user)
        room = invitation.invite.room
        return Response(
            {
                "room_id": room.key,
                "name": room.name,
                "topic": room.topic,
                "room_type": room.room_type,
                "member_count": room.member_count,
                "is_member": invitation.is_member,
            }
        )

    @extend_schema(request=None, responses=RoomSerializer)
    def post(self, request: Request, token: str) -> Response:
        """Joins the room."""
        person = as_person(request.user)
        return Response(overview.room_for(person, services.accept_invite(token, person).room))


class MyInvitationsView(ManaAPIView):
    """Rooms that the user is invited to."""

    @extend_schema(operation_id="invitations_list", parameters=PAGE_PARAMETERS, responses=page_of(InvitationSerializer))
    def get(self, request: Request) -> Response:
        """Those that wait for an answer."""
        rows = room_store().invitations_of(as_person(request.user))
        return self.page(rows, "-pk", present=_invitations)


class MyInvitationView(ManaAPIView):
    """One room that the user is invited to."""

    @extend_schema(request=None, responses=RoomSerializer)
    def post(self, request: Request, room_id: str) -> Response:
        """Accepts: joins the room."""
        person = as_person(request.user)
        room = stores.room_by_key(room_id)
        row = stores.membership(room, person, using=database()) if room is not None else None
        if row is None or row.state not in (Membership.State.INVITED, Membership.State.JOINED):
            raise ManaError(ErrorCode.NOT_FOUND, "You have no invitation to this room.")
        return Response(overview.room_for(person, services.join(room_id, person).room))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str) -> Response:
        """Declines."""
        services.decline(room_id, request.user)
        return Response(status=status.HTTP_204_NO_CONTENT)


class MuteView(ManaAPIView):
    """Whether a member may write."""

    @extend_schema(request=MuteSerializer, responses={204: None})
    def put(self, request: Request, room_id: str, user_id: str) -> Response:
        """Mutes them."""
        services.mute(room_id, request.user, _somebody(user_id), until=self.validated(MuteSerializer).get("until"))
        return Response(status=status.HTTP_204_NO_CONTENT)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str, user_id: str) -> Response:
        """Lets them write again."""
        services.unmute(room_id, request.user, _somebody(user_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class BansView(ManaAPIView):
    """Who is banned from a room."""

    @extend_schema(operation_id="bans_list", parameters=PAGE_PARAMETERS, responses=page_of(BannedSerializer))
    def get(self, request: Request, room_id: str) -> Response:
        """The banned, for those who may ban."""
        person = as_person(request.user)
        room = room_of(room_id, person)
        row = stores.membership(room, person, using=database())
        policy().may_ban(person, room, row.role if row else Membership.Role.MEMBER, Membership.Role.MEMBER)
        return self.page(room_store().members(room, state=Membership.State.BANNED), "pk", present=_banned)

    @extend_schema(request=UserIdSerializer, responses={204: None})
    def post(self, request: Request, room_id: str) -> Response:
        """Bans somebody, whether they are in the room or not."""
        services.ban(room_id, request.user, _somebody(self.validated(UserIdSerializer)["user_id"]))
        return Response(status=status.HTTP_204_NO_CONTENT)


class BanView(ManaAPIView):
    """One ban."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, room_id: str, user_id: str) -> Response:
        """Lifts it."""
        services.unban(room_id, request.user, _somebody(user_id))
        return Response(status=status.HTTP_204_NO_CONTENT)


class OwnerView(ManaAPIView):
    """Who owns a room."""

    @extend_schema(request=UserIdSerializer, responses=RoomSerializer)
    def put(self, request: Request, room_id: str) -> Response:
        """Gives the room to another member; the user becomes an admin of it."""
        person = as_person(request.user)
        other = _somebody(self.validated(UserIdSerializer)["user_id"])
        return Response(overview.room_for(person, services.transfer_ownership(room_id, person, other).room))


class RoomPreferencesView(ManaAPIView):
    """How the user wants a room for themselves."""

    @extend_schema(responses=RoomPreferencesSerializer)
    def get(self, request: Request, room_id: str) -> Response:
        """As it is."""
        person = as_person(request.user)
        row = stores.membership(room_of(room_id, person), person, using=database())
        assert row is not None
        return Response(to_builtins(preferences_of(row)))

    @extend_schema(request=RoomPreferencesSerializer, responses=RoomPreferencesSerializer)
    def patch(self, request: Request, room_id: str) -> Response:
        """Changes it, on all of the user's devices."""
        given = self.validated(RoomPreferencesSerializer)
        return Response(to_builtins(services.set_preferences(room_id, request.user, **given)))


def _invitations(rows: Sequence[Membership]) -> list[dict[str, Any]]:
    return list(InvitationSerializer([row.room for row in rows], many=True).data)


def _banned(rows: Sequence[Membership]) -> list[dict[str, str]]:
    persons = people({row.user_id for row in rows})
    return [
        {"user_id": one.user_id, "username": one.username, "display_name": one.display_name}
        for one in (persons[row.user_id] for row in rows if row.user_id in persons)
    ]
