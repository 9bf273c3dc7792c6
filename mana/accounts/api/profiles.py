"""REST: the user themselves, other users, avatars, devices."""

from __future__ import annotations

import re
import unicodedata
from typing import Any

from django.http import FileResponse, HttpRequest, JsonResponse
from django.http.response import HttpResponseBase
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.http import condition
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers, status
from rest_framework.parsers import MultiPartParser
from rest_framework.request import Request
from rest_framework.response import Response

from mana import etags
from mana.accounts import avatars, services, stores
from mana.accounts.api.auth import guarded
from mana.accounts.api.views import me_body, status_body, user_body, users_body
from mana.accounts.serializers import (
    AvatarSerializer,
    DeletionSerializer,
    DeviceSerializer,
    EmailSerializer,
    MeSerializer,
    PhoneSerializer,
    ProfileChangeSerializer,
    UserDetailSerializer,
    UsernameSerializer,
    UserSerializer,
)
from mana.accounts.services.sign_ins import DEVICE_CLAIM
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.realtime import stores as presence
from mana.realtime.policies import presence_policy
from mana.realtime.wire import timestamp
from mana.rest import PAGE_PARAMETERS, ExactJSONParser, ManaAPIView, page_of
from mana.throttles import Throttle

_searches = Throttle("SEARCH_RATE")
#: Bytes of a multipart body beside the file in it.
MULTIPART_OVERHEAD = 64 * 1024
#: What the files of avatars are called (``mana.accounts.avatars``), and storages make of that.
AVATAR_NAME = re.compile(r"[A-Za-z0-9_-]{1,80}\.webp")


class MeView(ManaAPIView):
    """The user themselves."""

    @extend_schema(responses={200: MeSerializer, 304: None})
    def get(self, request: Request) -> Response:
        """Who the request is from."""
        return etags.answer(request, me_body(request.user))

    @extend_schema(
        request=ProfileChangeSerializer,
        responses=MeSerializer,
        examples=[
            OpenApiExample(
                "Away",
                {"status": {"text": "Back on Monday", "emoji": "🏝", "expires_at": "2027-01-04T08:00:00Z"}},
                request_only=True,
            ),
            OpenApiExample("Private", {"last_seen_to": "contacts", "find_by_email": True}, request_only=True),
        ],
    )
    def patch(self, request: Request) -> Response:
        """Changes the profile. Everybody who shares a room or is a contact learns of it at once."""
        changes = self.validated(ProfileChangeSerializer)
        if "status" in changes:
            given = changes.pop("status") or {}
            changes.update(
                status_text=given.get("text", ""),
                status_emoji=given.get("emoji", ""),
                status_expires_at=given.get("expires_at"),
            )
        if changes:
            services.update_profile(request.user, **changes)
        return Response(me_body(request.user))


class UsernameView(ManaAPIView):
    """The user's name."""

    @extend_schema(request=UsernameSerializer, responses=MeSerializer)
    def post(self, request: Request) -> Response:
        """Changes the name that one signs in with and is found by."""
        services.change_username(request.user, self.validated(UsernameSerializer)["username"])
        return Response(me_body(request.user))


class EmailView(ManaAPIView):
    """The user's e-mail address."""

    @extend_schema(request=EmailSerializer, responses=MeSerializer)
    def post(self, request: Request) -> Response:
        """Changes the address; empty removes it."""
        given = self.validated(EmailSerializer)
        with guarded(request.user):
            services.check_password(request.user, given["password"])
        services.change_email(request.user, given["email"])
        return Response(me_body(request.user))


class PhoneView(ManaAPIView):
    """The user's phone number."""

    @extend_schema(request=PhoneSerializer, responses=MeSerializer)
    def post(self, request: Request) -> Response:
        """Changes the number; empty removes it."""
        given = self.validated(PhoneSerializer)
        with guarded(request.user):
            services.check_password(request.user, given["password"])
        services.change_phone(request.user, given["phone"])
        return Response(me_body(request.user))


class DeletionView(ManaAPIView):
    """The end of an account."""

    @extend_schema(request=DeletionSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Deletes the account. What was written stays in its rooms, without a name."""
        password = self.validated(DeletionSerializer).get("password", "")
        user: Any = request.user
        if user.has_usable_password():
            with guarded(user):
                services.check_password(user, password)
        services.delete_account(user)
        if not hasattr(request.auth, "get"):
            request._request.session.flush()
        return Response(status=status.HTTP_204_NO_CONTENT)


class MyAvatarView(ManaAPIView):
    """The user's avatar."""

    parser_classes = [MultiPartParser, ExactJSONParser]

    @extend_schema(request={"multipart/form-data": AvatarSerializer}, responses=MeSerializer)
    def put(self, request: Request) -> Response:
        """Takes an image; it is cut to a square and written anew. The one before is removed."""
        if int(request.META.get("CONTENT_LENGTH") or 0) > settings.AVATAR_MAX_BYTES + MULTIPART_OVERHEAD:
            raise ManaError(ErrorCode.TOO_LARGE, f"An avatar may have {settings.AVATAR_MAX_BYTES} bytes.")
        services.set_avatar(request.user, self.validated(AvatarSerializer)["avatar"])
        return Response(me_body(request.user))

    @extend_schema(request=None, responses={200: MeSerializer})
    def delete(self, request: Request) -> Response:
        """Takes the avatar away."""
        services.remove_avatar(request.user)
        return Response(me_body(request.user))


def _never_changes(request: HttpRequest, name: str) -> str | None:
    return f'"{name}"' if AVATAR_NAME.fullmatch(name) else None


@method_decorator(condition(etag_func=_never_changes), name="get")
class AvatarView(View):
    """The image of an avatar. Its name can't be guessed and its content never changes."""

    def get(self, request: HttpRequest, name: str) -> HttpResponseBase:
        """The image, for everybody who knows the name: an ``<img>`` sends no token."""
        try:
            if not AVATAR_NAME.fullmatch(name):
                raise FileNotFoundError(name)
            image = avatars.storage().open(f"{avatars.FOLDER}/{name}")
        except OSError:
            return JsonResponse({"code": ErrorCode.NOT_FOUND, "detail": "There is no such avatar."}, status=404)
        return FileResponse(
            image,
            content_type=avatars.CONTENT_TYPE,
            headers={
                "Cache-Control": "public, max-age=31536000, immutable",
                "X-Content-Type-Options": "nosniff",
                "Content-Security-Policy": "default-src 'none'; sandbox",
            },
        )


class UsersView(ManaAPIView):
    """Other users."""

    @extend_schema(
        operation_id="users_search",
        parameters=[
            OpenApiParameter(
                "search",
                str,
                required=True,
                description="Beginning of the name, 2 characters or more; or a whole e-mail address or phone number, "
                "which finds those who allow it.",
            ),
            *PAGE_PARAMETERS,
        ],
        responses=page_of(UserSerializer),
    )
    def get(self, request: Request) -> Response:
        """Finds users. Those who have blocked the user, or are blocked, are not found."""
        text = request.query_params.get("search", "").strip()
        if not (len(text) >= 2 or _is_a_word(text)) or len(text) > 150 or "\x00" in text:
            raise serializers.ValidationError({"search": "Give 2 to 150 characters of the name."})
        _searches.take(str(request.user.pk))
        found = services.find_people(request.user, text)
        return self.page(found, found.model.USERNAME_FIELD, "pk", present=users_body)


def _is_a_word(text: str) -> bool:
    """Whether it is one character of a script that writes a name in one, such as 李."""
    return len(text) == 1 and unicodedata.east_asian_width(text) == "W"


class UserView(ManaAPIView):
    """One user."""

    @extend_schema(responses={200: UserDetailSerializer, 304: None})
    def get(self, request: Request, user_id: str) -> Response:
        """A user's profile, with what of their presence they show to who asks."""
        person = stores.resolve([user_id]).get(user_id)
        if person is None or services.is_hidden(request.user, person.pk):
            raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")
        profile = stores.profiles().many([person.pk]).get(person.pk)
        shown = person.pk in presence_policy().visible(request.user.pk, [person.pk])
        online = shown and person.pk in presence.online_users([person.pk])
        seen = presence.last_seen([person.pk]).get(person.pk) if shown and not online else None
        body = {
            **user_body(person),
            "about": profile.about if profile else "",
            "status": status_body(profile),
            "online": online if shown else None,
            "last_seen": timestamp(seen) if seen else None,
        }
        return etags.answer(request, body)


class DevicesView(ManaAPIView):
    """The user's devices."""

    @extend_schema(operation_id="devices_list", parameters=PAGE_PARAMETERS, responses=page_of(DeviceSerializer))
    def get(self, request: Request) -> Response:
        """The devices that the user has connected with, with whether they are connected now."""
        return self.page(services.devices(request.user), "-last_seen_at", "-pk", present=self._present)

    def _present(self, page: Any) -> list[Any]:
        return list(DeviceSerializer(page, many=True, context=_device_context(self)).data)


class DeviceView(ManaAPIView):
    """One of the user's devices."""

    @extend_schema(
        request=DeviceSerializer,
        responses=DeviceSerializer,
        examples=[OpenApiExample("Rename", {"name": "Kitchen tablet"}, request_only=True)],
    )
    def patch(self, request: Request, device_id: str) -> Response:
        """Renames a device."""
        device = services.device(request.user, device_id)
        serializer = DeviceSerializer(device, data=request.data, partial=True)
        serializer.is_valid(raise_exception=True)
        if "name" in serializer.validated_data:
            device = services.rename_device(request.user, device_id, serializer.validated_data["name"])
        return Response(DeviceSerializer(device, context=_device_context(self)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, device_id: str) -> Response:
        """Forgets a device and its cursor. Its tokens are refused from now on, its sockets close."""
        made_for_it = hasattr(request.auth, "get") and request.auth.get(DEVICE_CLAIM) == device_id
        services.remove_device(request.user, device_id, keep=None if made_for_it else self.sign_in_id)
        return Response(status=status.HTTP_204_NO_CONTENT)


def _device_context(view: ManaAPIView) -> dict[str, Any]:
    row = stores.accounts().sign_in(view.sign_in_id) if view.sign_in_id else None
    return {
        "online": presence.online_devices(view.request.user.pk),
        "device_id": row.device_id if row is not None else None,
    }
