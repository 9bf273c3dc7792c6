"""STUN and TURN servers for clients, with credentials that hold for a while.

The credentials are those of the "TURN REST API" (draft-uberti-behave-turn-rest-00 section 2.2), which coturn calls
``use-auth-secret``: the name is the time of their end and the user, the password a keyed hash of the name.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

from mana.conf import settings
from mana.protocol.server import IceServer, IceServers


def ice_servers(user_id: str, *, now: float | None = None) -> IceServers:
    """What a user's ``RTCPeerConnection`` is made with. ``now`` is in seconds since the epoch."""
    servers = [IceServer(urls=list(settings.STUN_SERVERS))] if settings.STUN_SERVERS else []
    expires_in: int | None = None
    if settings.TURN_SERVERS:
        urls = list(settings.TURN_SERVERS)
        if settings.TURN_SECRET:
            expires_in = settings.TURN_CREDENTIALS_LIFETIME
            name, password = credentials(
                user_id, settings.TURN_SECRET, (time.time() if now is None else now) + expires_in
            )
        else:
            name, password = settings.TURN_USERNAME, settings.TURN_PASSWORD
        servers.append(IceServer(urls=urls, username=name, credential=password))
    policy = "relay" if settings.ICE_TRANSPORT_POLICY == "relay" else "all"
    return IceServers(
        ice_servers=servers,
        ice_transport_policy=policy,  # type: ignore[arg-type]
        expires_in=expires_in,
    )


def credentials(user_id: str, secret: str, expires_at: float) -> tuple[str, str]:
    """The name and password that coturn takes until ``expires_at``, in seconds since the epoch."""
    name = f"{int(expires_at)}:{user_id}"
    digest = hmac.new(secret.encode(), name.encode(), hashlib.sha1).digest()
    return name, base64.b64encode(digest).decode()
