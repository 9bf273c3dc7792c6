"""Signing in and out: tokens, Django's sessions, tickets."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module
from typing import Any

from django.conf import settings as django_settings
from django.contrib.auth import authenticate
from django.db import transaction
from django.utils import timezone
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.tokens import RefreshToken

from mana.accounts import stores
from mana.accounts.fingerprint import fingerprint, matches
from mana.accounts.live import close_sockets
from mana.accounts.models import Identifier, SignIn
from mana.accounts.names import checked_phone, email_key, username_key
from mana.accounts.permissions import role_of
from mana.accounts.services.verification import is_verified
from mana.conf import settings
from mana.protocol import ErrorCode, ManaError
from mana.text import is_presentable

#: The claims that name the sign-in a token comes from, the user's role, and the device that it was made for.
SIGN_IN_CLAIM = "sid"
ROLE_CLAIM = "role"
DEVICE_CLAIM = "did"
#: The longest session key that is remembered; a signed-cookie session is its own, much longer key.
SESSION_KEY_LENGTH = 64


@dataclass(frozen=True, slots=True)
class Tokens:
    """A pair of JWTs."""

    access: str
    refresh: str


@dataclass(frozen=True, slots=True)
class Client:
    """What is known of the client that signs in."""

    device_id: str = ""
    device_name: str = ""
    user_agent: str = ""
    address: str | None = None


def candidate(identifier: str) -> Any | None:
    """The user who signs in with a name, e-mail address or phone number."""
    store, kind = stores.accounts(), Identifier.Kind
    identifier = identifier[:320]
    if "\x00" in identifier:
        return None
    found = store.by_identifier(kind.USERNAME, username_key(identifier))
    if found is None and "@" in identifier and settings.UNIQUE_EMAIL:
        found = _verified(kind.EMAIL, store.by_identifier(kind.EMAIL, email_key(identifier)))
    if found is None and settings.UNIQUE_PHONE and any(character.isdigit() for character in identifier):
        try:
            found = _verified(kind.PHONE, store.by_identifier(kind.PHONE, checked_phone(identifier)))
        except Exception:  # no phone number
            return None
    return found


def _verified(kind: str, user: Any) -> Any | None:
    """The user, unless the address or number has to be verified and is not: it may be another's."""
    if user is None or not stores.must_be_verified(kind):
        return user
    return user if is_verified(user, kind) else None


def account_key(identifier: str) -> str:
    """What sign-ins of one account have in common, whatever of its identifiers is used."""
    user = candidate(identifier)
    return f"pk:{user.pk}" if user is not None else f"name:{username_key(identifier[:320])}"


def sign_in_with_password(username: str, password: str, request: Any = None, client: Client | None = None) -> Tokens:
    """Tokens for a user who knows their password. Raises ``ManaError`` with ``unauthenticated``.

    ``username`` is a name, an e-mail address or a phone number. Who does not exist costs as much time as who does.
    """
    known = candidate(username)
    user = authenticate(request, username=known.get_username() if known is not None else username, password=password)
    if user is None:
        raise ManaError(ErrorCode.UNAUTHENTICATED, "No active account has this name and password.")
    return sign_in(user, client)


def sign_in(user: Any, client: Client | None = None) -> Tokens:
    """Begins a sign-in of a user whose identity is already proven."""
    client = client or Client()
    refresh = RefreshToken.for_user(user)
    row = stores.accounts().add_sign_in(
        user,
        refresh_jti=refresh["jti"],
        expires_at=datetime.fromtimestamp(refresh["exp"], UTC),
        device_id=client.device_id,
        user_agent=client.user_agent[:200],
        address=client.address,
        fingerprint=fingerprint(user),
    )
    if client.device_id:
        stores.devices().describe(
            user.pk, client.device_id, name=client.device_name[:100], platform=platform_of(client.user_agent)
        )
    return _tokens(refresh, row, user, client.device_id)


def _tokens(refresh: RefreshToken, row: SignIn, user: Any, device_id: str) -> Tokens:
    refresh[SIGN_IN_CLAIM] = str(row.pk)
    refresh[ROLE_CLAIM] = role_of(user.pk)
    if device_id:
        refresh[DEVICE_CLAIM] = device_id
    return Tokens(access=str(refresh.access_token), refresh=str(refresh))


def refresh(token: str) -> Tokens:
    """New tokens for a refresh token, which is used up by that.

    Raises ``ManaError``: ``unauthenticated`` for a token that is not valid, ``revoked`` if its sign-in ended.
    A token that was used before ends its sign-in (RFC 9700 section 4.14.2: reuse detection).
    """
    try:
        old = RefreshToken(token)  # type: ignore[arg-type]
        sign_in_id = old[SIGN_IN_CLAIM]
    except (TokenError, KeyError):
        raise ManaError(ErrorCode.UNAUTHENTICATED, "The refresh token is not valid.") from None
    store = stores.accounts()
    tokens = None
    with transaction.atomic():
        row = store.sign_in(sign_in_id, lock=True)
        if row is None or not holds(row) or not row.user.is_active:
            raise ManaError(ErrorCode.REVOKED)
        if row.refresh_jti == old["jti"]:
            new = RefreshToken.for_user(row.user)
            row.refresh_jti = new["jti"]
            row.refreshed_at = timezone.now()
            row.expires_at = datetime.fromtimestamp(new["exp"], UTC)
            store.save_sign_in(row, "refresh_jti", "refreshed_at", "expires_at")
            tokens = _tokens(new, row, row.user, old.get(DEVICE_CLAIM, ""))
    if tokens is None:
        revoke_sign_in(row)
        raise ManaError(ErrorCode.REVOKED, "This refresh token was used before; the sign-in has been ended.")
    return tokens


def holds(row: SignIn) -> bool:
    """Whether a sign-in has not ended, and was made with the password of today."""
    return row.revoked_at is None and matches(row.user, row.fingerprint)


def valid(user: Any, sign_in_id: str) -> bool:
    """Whether a sign-in is the user's and holds."""
    return holds_for(stores.accounts().sign_in(sign_in_id), user)


def holds_for(row: SignIn | None, user: Any) -> bool:
    """Whether there is such a sign-in, and it is the user's and holds."""
    return row is not None and row.user_id == user.pk and holds(row)


def keep_sign_in(user: Any, sign_in_id: str) -> None:
    """Has a sign-in outlive a change of the user's password."""
    store = stores.accounts()
    row = store.sign_in(sign_in_id)
    if row is not None and row.user_id == user.pk:
        row.fingerprint = fingerprint(user)
        store.save_sign_in(row, "fingerprint")


def sign_out(user: Any, sign_in_id: str | None, *, everywhere: bool = False) -> None:
    """Ends a sign-in, or all of the user's: its tokens are refused from now on and its sockets close."""
    if everywhere:
        end_sign_ins(user)
    elif sign_in_id:
        end_sign_ins(user, ids=[sign_in_id])


_endings: list[Callable[[Any], None]] = []


def ends_with_all_sign_ins(forget: Callable[[Any], None]) -> Callable[[Any], None]:
    """Has a function called with a user of whom everything ends that stands for a sign-in, also what names none."""
    if forget not in _endings:
        _endings.append(forget)
    return forget


def end_sign_ins(
    user: Any, *, ids: list[str] | None = None, keep: str | None = None, is_leaving: bool = False
) -> list[str]:
    """Ends sign-ins of a user, all or some, with their Django sessions and sockets. The ids of those that ended.

    ``is_leaving``: the user goes with them in the same transaction, and sockets close as those of nobody (4003).
    """
    store = stores.accounts()
    with transaction.atomic():
        ended = store.revoke_sign_ins(user.pk, ids=ids, keep=keep)
        session_keys = store.session_keys(ended)
        if ids is None and keep is None:
            for forget in _endings:
                forget(user)
    for key in session_keys:
        session_store()(key).delete()
    close_sockets(user, everything=ids is None and keep is None and not is_leaving)
    return ended


def revoke_sign_in(row: SignIn) -> None:
    """Ends one sign-in."""
    end_sign_ins(row.user, ids=[str(row.pk)])


def disconnect(user: Any) -> None:
    """Closes all sockets of a user; their sign-ins go on, so they may come back."""
    close_sockets(user, everything=True)


def disable(user: Any) -> None:
    """Keeps a user from signing in, and ends what they have open."""
    user.is_active = False
    user.save(update_fields=["is_active"])
    end_sign_ins(user)


def enable(user: Any) -> None:
    """Lets a user sign in again."""
    user.is_active = True
    user.save(update_fields=["is_active"])


def make_ticket(user: Any, sign_in_id: str | None = None) -> str:
    """A ticket that opens one WebSocket within ``TICKET_LIFETIME`` seconds."""
    token = secrets.token_urlsafe(32)
    stores.accounts().store_ticket(user, token, sign_in_id)
    return token


# -- Django's sessions -----------------------------------------------------------------------------------------------


def session_store() -> Any:
    """The class of the project's session store."""
    return import_module(django_settings.SESSION_ENGINE).SessionStore


def session_sign_in(request: Any) -> str | None:
    """The id of the sign-in that a request's Django session is."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    row = stores.accounts().sign_in_of_session(key) if key and len(key) <= SESSION_KEY_LENGTH else None
    return str(row.pk) if row is not None and row.revoked_at is None else None


def session_began(sender: Any, request: Any, user: Any, **_: Any) -> None:
    """Remembers a Django session as a sign-in, so that it is listed and can be ended like one. After ``login()``."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    if not key or len(key) > SESSION_KEY_LENGTH:
        return
    store = stores.accounts()
    if (row := store.sign_in_of_session(key)) is not None and row.user_id == user.pk:
        return
    store.add_sign_in(
        user,
        refresh_jti="",
        session_key=key,
        expires_at=request.session.get_expiry_date(),
        user_agent=request.META.get("HTTP_USER_AGENT", "")[:200],
    )


def session_ended(sender: Any, request: Any, user: Any, **_: Any) -> None:
    """Ends the sign-in that a Django session is, and its sockets. At ``logout()``."""
    key = getattr(getattr(request, "session", None), "session_key", None)
    row = stores.accounts().sign_in_of_session(key) if key else None
    if row is not None:
        end_sign_ins(row.user, ids=[str(row.pk)])


def session_renamed(old_key: str | None, new_key: str | None) -> None:
    """Follows a Django session that got a new key, as after a change of the password."""
    store = stores.accounts()
    row = store.sign_in_of_session(old_key) if old_key else None
    if row is not None and new_key and len(new_key) <= SESSION_KEY_LENGTH:
        row.session_key = new_key
        store.save_sign_in(row, "session_key")


# -- Devices ---------------------------------------------------------------------------------------------------------


def platform_of(user_agent: str) -> str:
    """What a client runs on, as far as its ``User-Agent`` tells, in a word or two."""
    systems = {
        "iPhone": "iPhone",
        "iPad": "iPad",
        "Android": "Android",
        "Windows": "Windows",
        "CrOS": "ChromeOS",
        "Mac OS X": "macOS",
        "Linux": "Linux",
    }
    browsers = {"Edg/": "Edge", "OPR/": "Opera", "Firefox/": "Firefox", "Chrome/": "Chrome", "Safari/": "Safari"}
    system = next((name for mark, name in systems.items() if mark in user_agent), "")
    browser = next((name for mark, name in browsers.items() if mark in user_agent), "")
    return f"{browser} on {system}" if browser and system else browser or system


def devices(user: Any) -> Any:
    """The devices that a user has connected with."""
    return stores.devices().devices(user.pk)


def rename_device(user: Any, device_id: str, name: str) -> Any:
    """Gives a device a name. Raises ``ManaError``: ``not_found``, ``invalid`` for control characters."""
    if not is_presentable(name):
        raise ManaError(ErrorCode.INVALID, "Enter a name without control characters.")
    store = stores.devices()
    store.rename(user.pk, device_id, name.strip())
    return device(user, device_id)


def device(user: Any, device_id: str) -> Any:
    """One of a user's devices. Raises ``ManaError`` with ``not_found``."""
    found = stores.devices().get(user.pk, device_id) if "\x00" not in device_id else None
    if found is None:
        raise ManaError(ErrorCode.NOT_FOUND, "You have no such device.")
    return found


def remove_device(user: Any, device_id: str, *, keep: str | None = None) -> None:
    """Forgets a device and its cursor, ends its sign-ins and closes its sockets. Raises ``ManaError``.

    The sign-in ``keep`` goes on: the one that asks for it, where it only happened to connect with that device.
    """
    store = stores.devices()
    with transaction.atomic():
        device(user, device_id)
        sign_ins = store.sign_ins(user.pk, device_id)
        store.remove(user.pk, device_id)
        end_sign_ins(user, ids=[one for one in sign_ins if one != keep])
        close_sockets(user)


def note_connection(user_pk: Any, sign_in_id: str | None, device_id: str, user_agent: str) -> None:
    """A client connects with a device: its sign-in, if it has none yet, is that device's from now on."""
    stores.devices().describe(user_pk, device_id, platform=platform_of(user_agent))
    if sign_in_id is not None:
        stores.accounts().bind_sign_in(sign_in_id, device_id, user_agent)
