"""Who may look: the ways in of ``HEALTH_ACCESS`` and ``METRICS_ACCESS``."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from django.http import HttpRequest

from mana.conf import settings

logger = logging.getLogger("mana.observability")

WAYS = ("open", "addresses", "token", "staff")
#: A proxy on this machine would otherwise lend its address to everybody who comes through it.
FORWARDED = ("HTTP_X_FORWARDED_FOR", "HTTP_X_REAL_IP", "HTTP_FORWARDED")
BEARER = "Bearer "


async def is_allowed(request: HttpRequest, ways: Collection[str]) -> bool:
    """Whether one of the ways lets a request in. The database is asked last, and only for ``staff``."""
    if "open" in ways:
        return True
    if "addresses" in ways and comes_from(request, settings.OPERATIONS_ADDRESSES):
        return True
    if "token" in ways and has_token(request):
        return True
    return "staff" in ways and await is_staff(request)


def comes_from(request: HttpRequest, networks: Collection[str]) -> bool:
    """Whether the connection was opened from one of the networks, and not by a proxy for somebody else."""
    if any(header in request.META for header in FORWARDED):
        return False
    try:
        address = ip_address(request.META.get("REMOTE_ADDR", ""))
    except ValueError:
        return False  # a Unix socket
    address = getattr(address, "ipv4_mapped", None) or address
    return any(address in network for network in _networks(tuple(networks)))


@lru_cache(maxsize=8)
def _networks(texts: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text, strict=False) for text in texts)


def has_token(request: HttpRequest) -> bool:
    """Whether the request carries ``OPERATIONS_TOKEN``."""
    given = request.headers.get("Authorization", "")
    if not settings.OPERATIONS_TOKEN or not given.startswith(BEARER):
        return False
    return hmac.compare_digest(given.removeprefix(BEARER).encode(), settings.OPERATIONS_TOKEN.encode())


async def is_staff(request: HttpRequest) -> bool:
    """Whether somebody of the staff is signed in. ``False`` while the database does not answer."""
    if not hasattr(request, "auser"):
        return False  # no AuthenticationMiddleware
    try:
        user = await request.auser()
    except Exception as error:
        logger.warning("It could not be found out who asks: %s", error)
        return False
    return bool(user.is_active and getattr(user, "is_staff", False))
