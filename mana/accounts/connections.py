"""The ways in which a WebSocket handshake proves who it is: ``MANA["AUTHENTICATORS"]``, in their order.

Each function gives an identity, or ``None`` where it does not apply, or raises ``Refused``. They run in a database
thread.
"""

from __future__ import annotations

import re

from django.conf import settings as django_settings

from mana.accounts import services, stores
from mana.accounts.services.sign_ins import SESSION_KEY_LENGTH, holds
from mana.accounts.sessions import load_session, user_of_session
from mana.conf import settings
from mana.protocol import ErrorCode
from mana.realtime.identity import Handshake, Identity, Refused

#: What a client may call its device.
DEVICE_ID = re.compile(r"[\x21-\x7e]{1,64}")


def authenticate_token(token: str) -> Identity:
    """The identity that a JWT proves."""
    return services.identity_from_token(token)


def bearer_header(handshake: Handshake) -> Identity | None:
    """``Authorization: Bearer <jwt>``."""
    scheme, _, token = handshake.headers.get("authorization", "").partition(" ")
    return _noted(handshake, services.identity_from_token(token.strip())) if scheme.lower() == "bearer" else None


def bearer_subprotocol(handshake: Handshake) -> Identity | None:
    """The subprotocol ``bearer.<jwt>``, for browsers, which can't set headers."""
    token = handshake.bearer_subprotocol
    return _noted(handshake, services.identity_from_token(token)) if token is not None else None


def ticket(handshake: Handshake) -> Identity | None:
    """``?ticket=``, good for one use."""
    token = handshake.query.get("ticket")
    if token is None:
        return None
    found = stores.accounts().take_ticket(token)
    if found is None:
        raise Refused(ErrorCode.UNAUTHENTICATED, "The ticket is unknown, used or expired.")
    if found.sign_in is not None and not holds(found.sign_in):
        raise Refused(ErrorCode.REVOKED)
    return _noted(
        handshake,
        services.identity_of(
            found.user,
            expires_at=found.sign_in.expires_at.timestamp() if found.sign_in else None,
            sign_in_id=str(found.sign_in_id) if found.sign_in_id else None,
        ),
    )


def query_token(handshake: Handshake) -> Identity | None:
    """``?token=<jwt>``, where the project allows it."""
    token = handshake.query.get("token")
    if token is None:
        return None
    if not settings.ALLOW_QUERY_TOKEN:
        raise Refused(ErrorCode.UNAUTHENTICATED, "Tokens in the URL are not accepted here; use a ticket.")
    return _noted(handshake, services.identity_from_token(token))


def session_cookie(handshake: Handshake) -> Identity | None:
    """Django's session cookie."""
    key = handshake.cookies.get(django_settings.SESSION_COOKIE_NAME)
    if not key:
        return None
    user = user_of_session(key)
    if user is None:
        return None
    row = stores.accounts().sign_in_of_session(key) if len(key) <= SESSION_KEY_LENGTH else None
    if row is not None and row.revoked_at is not None:
        raise Refused(ErrorCode.REVOKED)
    return _noted(
        handshake,
        services.identity_of(
            user,
            expires_at=load_session(key).get_expiry_date().timestamp(),
            sign_in_id=str(row.pk) if row is not None else None,
            session_key=key,
        ),
    )


def named_guest(handshake: Handshake) -> Identity | None:
    """``?user_id=&username=``, only where authentication is switched off."""
    if settings.ENABLE_AUTH or "user_id" not in handshake.query:
        return None
    return services.guest_identity(handshake.query["user_id"], handshake.query.get("username", ""))


def _noted(handshake: Handshake, identity: Identity) -> Identity:
    """Remembers what the client runs on, and binds its sign-in to the device that it names."""
    device_id = identity.device_id or handshake.query.get("device_id", "")
    if DEVICE_ID.fullmatch(device_id):
        bound = identity.sign_in_id if identity.device_id is None else None
        services.note_connection(identity.user_pk, bound, device_id, handshake.headers.get("user-agent", ""))
    return identity
