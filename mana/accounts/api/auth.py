"""REST: registration, tokens, sign-ins, tickets, passwords."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import logout, update_session_auth_hash
from django.db import transaction
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.exceptions import PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from mana.accounts import services, stores
from mana.accounts.api.views import OpenView, client_of, me_body, tokens_body, user_body
from mana.accounts.names import email_key
from mana.accounts.serializers import (
    CredentialsSerializer,
    GuestSerializer,
    LogoutSerializer,
    MeSerializer,
    PasswordChangeSerializer,
    PasswordResetConfirmSerializer,
    PasswordResetSerializer,
    RefreshSerializer,
    RegisteredSerializer,
    RegistrationSerializer,
    SignInSerializer,
    TicketSerializer,
    TokensSerializer,
)
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.rest import PAGE_PARAMETERS, ManaAPIView, page_of
from mana.throttles import Throttle, address_of

_registrations = Throttle("REGISTRATION_RATE")
_sign_ins = Throttle("SIGN_IN_RATE")
_addresses = Throttle("SIGN_IN_ADDRESS_RATE")
_resets = Throttle("PASSWORD_RESET_RATE")
_reset_addresses = Throttle("PASSWORD_RESET_ADDRESS_RATE")

ADA = OpenApiExample("Ada", {"username": "ada", "password": "a-long-one-7", "email": "ada@example.com"})


class RegisterView(OpenView):
    """Makes an account."""

    @extend_schema(
        request=RegistrationSerializer,
        responses={201: RegisteredSerializer},
        examples=[OpenApiExample("Ada", ADA.value, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Makes an account and signs it in."""
        if not settings.REGISTRATION_OPEN:
            raise PermissionDenied("Registration is closed.")
        given = self.validated(RegistrationSerializer)
        client = client_of(request, given)
        _registrations.check(address_of(request))
        user = services.register(**given)
        _registrations.count(address_of(request))
        return _registered(user, client)


class GuestView(OpenView):
    """Makes a guest."""

    @extend_schema(
        request=GuestSerializer,
        responses={201: RegisteredSerializer},
        examples=[OpenApiExample("Passing by", {"display_name": "Passing by"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Makes an account without a password, where the project lets guests in, and signs it in."""
        given = self.validated(GuestSerializer)
        client = client_of(request, given)
        _registrations.check(address_of(request))
        user = services.register_guest(**given)
        _registrations.count(address_of(request))
        return _registered(user, client)


class ClaimView(ManaAPIView):
    """Makes a guest's account a lasting one."""

    @extend_schema(
        request=RegistrationSerializer,
        responses=MeSerializer,
        examples=[OpenApiExample("Ada", ADA.value, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Gives a guest a name and a password; rooms and messages stay theirs."""
        given = self.validated(RegistrationSerializer)
        client_of(request, given)
        _registrations.check(address_of(request))
        user = services.claim(request.user, **given, keep=self.sign_in_id)
        _registrations.count(address_of(request))
        return Response(me_body(user))


class TokenView(OpenView):
    """Signs in."""

    @extend_schema(
        request=CredentialsSerializer,
        responses=TokensSerializer,
        examples=[
            OpenApiExample("Ada", {"username": "ada", "password": "a-long-one-7"}, request_only=True),
            OpenApiExample("By address", {"username": "ada@example.com", "password": "..."}, request_only=True),
        ],
    )
    def post(self, request: Request) -> Response:
        """Tokens for a name, e-mail address or phone number, and a password."""
        given = self.validated(CredentialsSerializer)
        account, address = services.account_key(given["username"]), address_of(request)
        _sign_ins.check(account)
        _addresses.check(address)
        try:
            tokens = services.sign_in_with_password(
                given["username"], given["password"], request, client_of(request, given)
            )
        except ManaError:
            _sign_ins.count(account)
            _addresses.count(address)
            raise
        _sign_ins.forget(account)
        return Response(tokens_body(tokens))


class TokenRefreshView(OpenView):
    """Renews tokens."""

    @extend_schema(request=RefreshSerializer, responses=TokensSerializer)
    def post(self, request: Request) -> Response:
        """New tokens for a refresh token, which can't be used again."""
        return Response(tokens_body(services.refresh(self.validated(RefreshSerializer)["refresh"])))


class LogoutView(ManaAPIView):
    """Signs out."""

    @extend_schema(
        request=LogoutSerializer,
        responses={204: None},
        examples=[OpenApiExample("Everywhere", {"everywhere": True}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Ends the sign-in that the request comes from, or all of the user's; their sockets close."""
        everywhere = self.validated(LogoutSerializer)["everywhere"]
        by_session = not hasattr(request.auth, "get")
        if self.sign_in_id is None and not by_session and not everywhere:
            raise ManaError(ErrorCode.INVALID, "This request carries no token; say everywhere: true.")
        services.sign_out(request.user, self.sign_in_id, everywhere=everywhere)
        if by_session:
            logout(request._request)
        return Response(status=status.HTTP_204_NO_CONTENT)


class SignInsView(ManaAPIView):
    """Where the user is signed in."""

    @extend_schema(operation_id="sign_ins_list", parameters=PAGE_PARAMETERS, responses=page_of(SignInSerializer))
    def get(self, request: Request) -> Response:
        """The sign-ins that have not ended, the newest first."""
        context = {"sign_in_id": self.sign_in_id}
        return self.page(
            stores.accounts().sign_ins(request.user.pk),
            "-refreshed_at",
            "-id",
            present=lambda page: list(SignInSerializer(page, many=True, context=context).data),
        )


class SignInView(ManaAPIView):
    """One of the user's sign-ins."""

    @extend_schema(responses={204: None})
    def delete(self, request: Request, sign_in_id: str) -> Response:
        """Ends it: its tokens are refused, its sockets close."""
        row = stores.accounts().sign_in(sign_in_id)
        if row is None or row.user_id != request.user.pk or row.revoked_at is not None:
            raise ManaError(ErrorCode.NOT_FOUND, "You have no such sign-in.")
        services.revoke_sign_in(row)
        return Response(status=status.HTTP_204_NO_CONTENT)


class TicketView(ManaAPIView):
    """Passes for WebSockets."""

    @extend_schema(request=None, responses=TicketSerializer)
    def post(self, request: Request) -> Response:
        """A ticket for ``/ws?ticket=``, good for one handshake."""
        ticket = services.make_ticket(request.user, self.sign_in_id)
        return Response({"ticket": ticket, "expires_in": settings.TICKET_LIFETIME})


class PasswordView(ManaAPIView):
    """The user's password."""

    @extend_schema(
        request=PasswordChangeSerializer,
        responses={204: None},
        examples=[OpenApiExample("Change", {"old_password": "a-long-one-7", "password": "another-one-8"})],
    )
    def post(self, request: Request) -> Response:
        """Changes the password. All other sign-ins end, and their sockets close."""
        given = self.validated(PasswordChangeSerializer)
        user: Any = request.user
        # In one transaction: nodes that look at the user's sockets after it find this session in order.
        with guarded(user), transaction.atomic():
            services.change_password(user, given["old_password"], given["password"], keep=self.sign_in_id)
            if not hasattr(request.auth, "get"):
                # Django's session holds a hash of the password: this one goes on with the new one.
                session = request._request.session
                before = session.session_key
                update_session_auth_hash(request._request, user)
                session.save()
                services.session_renamed(before, session.session_key)
        return Response(status=status.HTTP_204_NO_CONTENT)


class PasswordResetView(OpenView):
    """Forgotten passwords."""

    @extend_schema(
        request=PasswordResetSerializer,
        responses={202: None},
        examples=[OpenApiExample("Ada", {"email": "ada@example.com"}, request_only=True)],
    )
    def post(self, request: Request) -> Response:
        """Sends a mail to the address if somebody has it. The answer is the same if nobody does."""
        email = self.validated(PasswordResetSerializer)["email"]
        _reset_addresses.take(address_of(request))
        try:
            _resets.take(email_key(email))
        except ManaError:
            # No error: it would tell nothing of the account, but much to who floods a mailbox.
            return Response(status=status.HTTP_202_ACCEPTED)
        services.request_password_reset(email)
        return Response(status=status.HTTP_202_ACCEPTED)


class PasswordResetConfirmView(OpenView):
    """The end of a reset."""

    @extend_schema(request=PasswordResetConfirmSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Sets a password with what the mail said, once. All sign-ins end."""
        given = self.validated(PasswordResetConfirmSerializer)
        _reset_addresses.check(address_of(request))
        try:
            services.reset_password(given["uid"], given["token"], given["password"])
        except ManaError:
            _reset_addresses.count(address_of(request))
            raise
        return Response(status=status.HTTP_204_NO_CONTENT)


class guarded:
    """Counts wrong passwords of somebody who is signed in like failed sign-ins: a stolen token guesses no password."""

    def __init__(self, user: Any) -> None:
        self._key = f"pk:{user.pk}"

    def __enter__(self) -> None:
        _sign_ins.check(self._key)

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        wrong = getattr(exc_value, "error_dict", {})
        if "old_password" in wrong or any(
            error.code == "invalid" for error in getattr(exc_value, "error_dict", {}).get("password", ())
        ):
            _sign_ins.count(self._key)


def _registered(user: Any, client: services.Client) -> Response:
    tokens = services.sign_in(user, client)
    body = {"user": user_body(services.identity_person(user)), **tokens_body(tokens)}
    return Response(body, status=status.HTTP_201_CREATED)
