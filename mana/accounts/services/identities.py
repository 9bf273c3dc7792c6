"""Whom a connection belongs to."""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings as jwt_settings
from rest_framework_simplejwt.tokens import AccessToken

from mana import signals
from mana.accounts import permissions, stores
from mana.accounts.fingerprint import fingerprint
from mana.accounts.live import send_signal
from mana.accounts.models import Profile, SignIn
from mana.accounts.services.sign_ins import DEVICE_CLAIM, SIGN_IN_CLAIM, holds_for
from mana.accounts.stores import Person, person, resolve
from mana.protocol import ErrorCode, ManaError
from mana.realtime.identity import Identity, Refused


def identity_of(
    user: Any,
    *,
    expires_at: float | None = None,
    sign_in_id: str | None = None,
    device_id: str | None = None,
    session_key: str | None = None,
) -> Identity:
    """The identity of an active user. Raises ``Refused`` for one who is disabled."""
    if not user.is_active:
        raise Refused(ErrorCode.UNAUTHENTICATED, "This account is disabled.")
    who = person(user.pk)
    if who is None:
        raise Refused(ErrorCode.UNAUTHENTICATED, "This account does not exist.")
    return Identity(
        who.pk,
        who.user_id,
        who.username,
        device_id=device_id,
        expires_at=expires_at,
        sign_in_id=sign_in_id,
        session_key=session_key,
        fingerprint=fingerprint(user),
    )


def identity_person(user: Any) -> Person:
    """A stored user as others see them."""
    found = person(user.pk)
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, "There is no such user.")
    return found


def identity_from_token(token: str) -> Identity:
    """The identity that an access token proves. Raises ``Refused``."""
    try:
        claims = AccessToken(token)  # type: ignore[arg-type]
        user_id, sign_in_id = claims[jwt_settings.USER_ID_CLAIM], claims.get(SIGN_IN_CLAIM)
        row = stores.accounts().sign_in(str(sign_in_id)) if sign_in_id is not None else None
        user = _owner(row, user_id)
    except TokenError as error:
        code = ErrorCode.TOKEN_EXPIRED if "expired" in str(error) else ErrorCode.UNAUTHENTICATED
        raise Refused(
            code, "The token has expired." if code is ErrorCode.TOKEN_EXPIRED else "The token is not valid."
        ) from None
    except (KeyError, ValueError, ValidationError, get_user_model().DoesNotExist):
        raise Refused(ErrorCode.UNAUTHENTICATED, "The token names no user.") from None
    if sign_in_id is not None and not holds_for(row, user):
        raise Refused(ErrorCode.REVOKED)
    return identity_of(user, expires_at=float(claims["exp"]), sign_in_id=sign_in_id, device_id=claims.get(DEVICE_CLAIM))


def _owner(row: SignIn | None, user_id: Any) -> Any:
    """The user whom a token names: its sign-in has brought them along, if it is theirs."""
    if row is not None and str(getattr(row.user, jwt_settings.USER_ID_FIELD)) == str(user_id):
        return row.user
    return get_user_model()._default_manager.get(**{jwt_settings.USER_ID_FIELD: user_id})


def guest_identity(guest_id: str, username: str) -> Identity:
    """The identity of a guest that names itself, for development without authentication. Raises ``Refused``."""
    if not guest_id.isprintable() or guest_id.strip() != guest_id or not 1 <= len(guest_id) <= 100:
        raise Refused(ErrorCode.INVALID, "user_id must be 1 to 100 printable characters.")
    store = stores.profiles()
    profile = store.guest(guest_id)
    if profile is None:
        if guest_id in resolve([guest_id]):
            raise Refused(ErrorCode.FORBIDDEN, "This user_id belongs to an account that must sign in.")
        profile = _new_guest(guest_id)
    if username and profile.display_name != username[:100]:
        profile.display_name = username[:100]
        store.save(profile, "display_name")
    return identity_of(profile.user)


def _new_guest(guest_id: str) -> Profile:
    user_model = get_user_model()
    user = user_model(**{user_model.USERNAME_FIELD: f"guest:{guest_id}"[:150]})
    user.set_unusable_password()
    store = stores.profiles()
    try:
        with transaction.atomic():
            profile = store.add_guest(user, guest_id)
            stores.accounts().identify(user, force=False)  # found by the name that it gave itself
            if hasattr(user, "groups"):
                # Where nobody signs in, guests are the people, and do what people do.
                permissions.grant(user, permissions.USER)
    except IntegrityError:
        profile = store.guest(guest_id)  # type: ignore[assignment]  # another connection of the same guest was first
        if profile is None:
            raise Refused(ErrorCode.CONFLICT, "This user_id can't be used.") from None
        return profile
    send_signal(signals.account_created, user_model, user=user)
    return profile
