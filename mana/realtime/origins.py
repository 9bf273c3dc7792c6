"""Which pages may open a socket.

Browsers send cookies with every WebSocket handshake, from whatever page, and no preflight: the ``Origin`` header is the
defence against cross-site WebSocket hijacking. A missing Origin comes from clients that are no browsers; those must
prove themselves with something that no browser adds by itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from django.http.request import split_domain_port, validate_host

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def is_allowed(origin: str, host: str, allowed: Sequence[str]) -> bool:
    """Whether a page of ``origin`` may open a socket at ``host`` (the Host header).

    ``allowed`` holds origins such as ``https://example.com``, ``https://*.example.com`` or ``*``; empty means the same
    host and port only.
    """
    if "*" in allowed:
        return True
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return False
    if not allowed:
        own_host, own_port = split_domain_port(host)
        own_host = own_host.strip("[]")
        return parts.hostname == own_host.lower() and str(port) == (own_port or str(_DEFAULT_PORTS[parts.scheme]))
    return any(_matches(parts.scheme, parts.hostname, port, pattern) for pattern in allowed)


def _matches(scheme: str, hostname: str, port: int | None, pattern: str) -> bool:
    wanted_scheme, separator, rest = pattern.partition("://")
    if not separator:
        wanted_scheme, rest = "", pattern
    # Django's split_domain_port takes no "*" in a host.
    wildcard = rest.startswith("*.")
    wanted_host, wanted_port = split_domain_port(rest.rstrip("/").removeprefix("*."))
    if wanted_scheme and wanted_scheme != scheme:
        return False
    expected = int(wanted_port) if wanted_port else _DEFAULT_PORTS.get(scheme)
    if port != expected:
        return False
    if not wanted_host:
        return False
    return hostname.endswith(f".{wanted_host}") if wildcard else validate_host(hostname, [wanted_host])
