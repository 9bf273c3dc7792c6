"""JWT authentication for REST, with the same rules as the sockets."""

from __future__ import annotations

from typing import Any

from drf_spectacular.contrib.rest_framework_simplejwt import SimpleJWTScheme
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt import authentication
from rest_framework_simplejwt.models import TokenUser
from rest_framework_simplejwt.tokens import Token

from mana.accounts.services import SIGN_IN_CLAIM, sign_ins


class JWTAuthentication(authentication.JWTAuthentication):
    """simplejwt's, which also refuses the tokens of sign-ins that ended (simplejwt itself ignores that)."""

    def get_user(self, validated_token: Token) -> Any:
        """The active user whom the token names."""
        user: TokenUser | Any = super().get_user(validated_token)
        sign_in_id = validated_token.get(SIGN_IN_CLAIM)
        if sign_in_id is not None and not sign_ins.valid(user, str(sign_in_id)):
            raise AuthenticationFailed("This session has been signed out.", code="revoked")
        return user


class JWTScheme(SimpleJWTScheme):  # type: ignore[no-untyped-call]  # drf-spectacular registers it by being defined
    """How the OpenAPI document names this authentication."""

    target_class = "mana.accounts.authentication.JWTAuthentication"
    name = "jwtAuth"
