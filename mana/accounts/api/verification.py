"""REST: showing that an address or a number is one's own."""

from __future__ import annotations

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import status
from rest_framework.request import Request
from rest_framework.response import Response

from mana.accounts import services
from mana.accounts.api.views import OpenView, me_body
from mana.accounts.serializers import EmailConfirmSerializer, MeSerializer, PhoneCodeSerializer
from mana.protocol import ErrorCode, ManaError
from mana.rest import ManaAPIView
from mana.throttles import Throttle, address_of

_requests = Throttle("VERIFICATION_RATE")
_codes = Throttle("VERIFICATION_CODE_RATE")
_addresses = Throttle("PASSWORD_RESET_ADDRESS_RATE")


class EmailVerificationView(ManaAPIView):
    """A mail to the user's address."""

    @extend_schema(request=None, responses={202: None})
    def post(self, request: Request) -> Response:
        """Mails a token to the user's address, which `auth/email/confirm` takes."""
        _requests.take(str(request.user.pk))
        services.request_email_verification(request.user)
        return Response(status=status.HTTP_202_ACCEPTED)


class EmailConfirmView(OpenView):
    """What the mail said."""

    @extend_schema(request=EmailConfirmSerializer, responses={204: None})
    def post(self, request: Request) -> Response:
        """Verifies an address with what the mail to it said, once. No sign-in is needed: mails are read anywhere."""
        given = self.validated(EmailConfirmSerializer)
        _addresses.check(address_of(request))
        try:
            services.verify_email(given["uid"], given["token"])
        except ManaError:
            _addresses.count(address_of(request))
            raise
        return Response(status=status.HTTP_204_NO_CONTENT)


class PhoneVerificationView(ManaAPIView):
    """A code to the user's phone, where the project sends any."""

    @extend_schema(request=None, responses={202: None})
    def post(self, request: Request) -> Response:
        """Sends a code to the user's phone number."""
        _requests.take(str(request.user.pk))
        services.request_phone_verification(request.user)
        return Response(status=status.HTTP_202_ACCEPTED)

    @extend_schema(
        request=PhoneCodeSerializer,
        responses=MeSerializer,
        examples=[OpenApiExample("A code", {"code": "260117"}, request_only=True)],
    )
    def put(self, request: Request) -> Response:
        """Verifies the number with the code."""
        key = str(request.user.pk)
        code = self.validated(PhoneCodeSerializer)["code"]
        _codes.check(key)
        try:
            services.verify_phone(request.user, code)
        except ManaError as error:
            if error.code is ErrorCode.FORBIDDEN:
                _codes.count(key)
            raise
        return Response(me_body(request.user))
