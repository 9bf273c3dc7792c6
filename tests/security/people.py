"""The twelve kinds of people that may knock, and one more whom they knock at.

Whose token is expired or revoked owns the room: nothing but the token keeps them out. The moderator and the admin of
the site are in no room: their roles open none. The guest is a member of the room.
"""

from __future__ import annotations

import time

import httpx
import jwt
from django.conf import settings

from tests.faults.processes import scripts
from tests.support.client import Account
from tests.support.server import Server

KINDS = (
    "anonymous",
    "guest",
    "stranger",
    "member",
    "room moderator",
    "room owner",
    "banned",
    "blocked",
    "moderator",
    "admin",
    "expired",
    "revoked",
)
#: Those of them whom the server does not know, and what it says to them.
NOBODY = {"anonymous": "unauthenticated", "expired": "token_expired", "revoked": "revoked"}
#: Those who may read what is written in the room.
INSIDE = ("guest", "member", "room moderator", "room owner")
#: Those who are, or were, in the room. The others never were.
CAME = (*INSIDE, "banned")
KNOWN = tuple(kind for kind in KINDS if kind not in NOBODY)

#: What people do here is not to be limited.
LIMITS = {
    "MANA_GUESTS": "true",
    "MANA_PRESENCE_GRACE": "3600",
    # Calls change by what people do, and not by the clock.
    "MANA_RING_TIMEOUT": "3600",
    "MANA_RTC_RESUME_TIMEOUT": "3600",
    **{
        f"MANA_{name}": "1000000"
        for name in (
            *("RATE_LIMIT_PER_SECOND", "RATE_LIMIT_BURST", "USER_RATE_LIMIT_PER_SECOND", "USER_RATE_LIMIT_BURST"),
            *("FLOOD_TOLERANCE", "HANDSHAKE_RATE", "HANDSHAKE_BURST", "MAX_CONNECTIONS_PER_USER"),
        )
    },
    **{
        f"MANA_{name}": "1000000/minute"
        for name in (
            *("SIGN_IN_RATE", "SIGN_IN_ADDRESS_RATE", "REGISTRATION_RATE", "SEARCH_RATE", "ROOM_CREATION_RATE"),
            *("PASSWORD_RESET_RATE", "PASSWORD_RESET_ADDRESS_RATE", "JOIN_RATE", "CONTACT_REQUEST_RATE"),
            *("UPLOAD_RATE", "REPORT_RATE", "VERIFICATION_RATE", "VERIFICATION_CODE_RATE", "CALL_RATE"),
            *("E2EE_UPLOAD_RATE", "E2EE_DEVICE_LIST_RATE", "E2EE_CLAIM_RATE", "E2EE_CLAIM_TARGET_RATE"),
        )
    },
}


class Guest(Account):
    """Somebody without a name and a password."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.http = httpx.Client(base_url=server.http, timeout=30)
        self.opened.append(self.http)
        made = self.http.post("/api/auth/guest", json={})
        assert made.status_code == 201, made.text
        body = made.json()
        self.id, self.username = body["user"]["id"], body["user"]["username"]
        self.access, self.refresh, self.password = body["access"], body["refresh"], "none"
        self.http.headers["Authorization"] = f"Bearer {self.access}"


class People:
    """All of them on one server. ``target`` is a plain member of rooms, and the other one in direct rooms."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.target = Account(server)
        self.accounts: dict[str, Account] = {
            kind: Guest(server) if kind == "guest" else Account(server) for kind in KNOWN
        }
        owner = self.accounts["room owner"]
        with scripts(server.database_url) as script:
            for role in ("moderator", "admin"):
                script.run(give_role, self.accounts[role].id, role)
        leaving = owner.sign_in_again()
        httpx.post(
            f"{server.http}/api/auth/logout", json={}, headers={"Authorization": f"Bearer {leaving}"}
        ).raise_for_status()
        self._tokens = {"expired": expired(owner.access), "revoked": leaving}

    def __getitem__(self, kind: str) -> Account:
        """The account of a kind; of those whom the server does not know, the one that they say they are."""
        return self.accounts.get(kind, self.accounts["room owner"])

    def headers(self, kind: str) -> dict[str, str]:
        """What somebody proves themselves with."""
        if kind == "anonymous":
            return {}
        token = self._tokens.get(kind) or self.accounts[kind].access
        return {"Authorization": f"Bearer {token}"}

    def block(self) -> None:
        """The target blocks whom it is going to block."""
        self.target.post("blocks", user_id=self.accounts["blocked"].id)


def give_role(user: str, role: str) -> None:
    """In a process of the project: gives a user a role of the site."""
    from django.contrib.auth.models import User

    from mana.accounts import permissions

    permissions.grant(User.objects.get(pk=user), role)


def expired(token: str) -> str:
    """The same token as it would be after its time."""
    claims = jwt.decode(token, settings.SECRET_KEY, algorithms=["HS256"])
    return jwt.encode({**claims, "exp": int(time.time()) - 60}, settings.SECRET_KEY, algorithm="HS256")
