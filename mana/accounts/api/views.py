"""What the views of accounts share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import AllowAny
from rest_framework.request import Request

from mana.accounts import permissions, services, stores
from mana.accounts.live import status_of
from mana.accounts.models import Profile
from mana.accounts.stores import Person
from mana.conf import settings
from mana.protocol.server import PersonStatus
from mana.rest import ManaAPIView
from mana.throttles import address_of


class OpenView(ManaAPIView):
    """A view for people who have not signed in."""

    permission_classes = [AllowAny]

    def get_authenticators(self) -> list[BaseAuthentication]:
        """None: a stale token or cookie must not keep anybody from signing in."""
        return []


def client_of(request: Request, given: dict[str, Any]) -> services.Client:
    """What a request says of the client that signs in; takes it out of ``given``."""
    return services.Client(
        device_id=given.pop("device_id", ""),
        device_name=given.pop("device_name", ""),
        user_agent=request.META.get("HTTP_USER_AGENT", ""),
        address=_ip_or_none(address_of(request)),
    )


def _ip_or_none(address: str) -> str | None:
    import ipaddress

    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return None


def user_body(person: Person) -> dict[str, Any]:
    """A user in lists."""
    return {
        "id": person.user_id,
        "username": person.username,
        "display_name": person.display_name,
        "avatar_url": person.avatar_url,
    }


def users_body(users: Sequence[Any]) -> list[dict[str, Any]]:
    """Several users in lists, with one query."""
    people = stores.people([user.pk for user in users])
    return [user_body(people[user.pk]) for user in users if user.pk in people]


def status_body(profile: Profile | None) -> dict[str, Any] | None:
    """What somebody is up to."""
    status: PersonStatus | None = status_of(profile)
    if status is None:
        return None
    return {"text": status.text, "emoji": status.emoji, "expires_at": status.expires_at}


def me_body(user: Any) -> dict[str, Any]:
    """The user themselves."""
    profile = stores.profiles().get(user)
    return {
        **user_body(services.identity_person(user)),
        "about": profile.about,
        "status": status_body(profile),
        "email": getattr(user, user.get_email_field_name(), "") or "",
        "email_verified": services.is_verified(user, "email"),
        "phone": profile.phone,
        "phone_verified": services.is_verified(user, "phone"),
        "has_password": user.has_usable_password(),
        "role": permissions.role_of(user.pk),
        "permissions": sorted(permissions.permissions_of(user.pk)),
        "last_seen_to": profile.last_seen_to or settings.LAST_SEEN_TO,
        "direct_messages_from": profile.direct_messages_from or settings.DIRECT_MESSAGES_FROM,
        "find_by_email": profile.find_by_email,
        "find_by_phone": profile.find_by_phone,
    }


def tokens_body(tokens: services.Tokens) -> dict[str, str]:
    """A pair of JWTs."""
    return {"access": tokens.access, "refresh": tokens.refresh}
