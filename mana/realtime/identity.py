"""Who is on the other end of a socket, and what a handshake says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from mana.protocol import CloseCode, ErrorCode, ManaError

BEARER_PREFIX = "bearer."


class Refused(ManaError):
    """A connection that is turned away; ``close_code`` is what the socket is closed with."""

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        *,
        close_code: int = CloseCode.UNAUTHENTICATED,
        retry_after: float | None = None,
    ) -> None:
        self.close_code = close_code
        super().__init__(code, detail, retry_after=retry_after)


@dataclass(frozen=True, slots=True)
class Identity:
    """An authenticated user. ``user_id`` is the id on the wire, ``user_pk`` the primary key.

    ``expires_at`` is in seconds since the epoch, ``None`` for credentials that do not expire by themselves.
    ``sign_in_id`` names the sign-in that the credentials came from, ``session_key`` the Django session, so that their
    end can end the sockets; ``fingerprint`` tells whether the user's password is still the same.
    """

    user_pk: Any
    user_id: str
    username: str
    device_id: str | None = None
    expires_at: float | None = None
    sign_in_id: str | None = None
    session_key: str | None = field(default=None, repr=False)
    fingerprint: str = field(default="", repr=False)


@dataclass(frozen=True)
class Handshake:
    """The parts of an ASGI WebSocket scope that authentication and limits read. ``peer`` is the other end's address,
    ``None`` for a Unix socket."""

    headers: Mapping[str, str]
    query: Mapping[str, str]
    cookies: Mapping[str, str] = field(repr=False)
    subprotocols: tuple[str, ...] = field(repr=False)
    peer: str | None = None

    @classmethod
    def from_scope(cls, scope: Mapping[str, Any]) -> Handshake:
        """Reads a scope. Bytes that are no Latin-1 text can't occur; a repeated key counts as its last value."""
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True))
        return cls(
            headers=headers,
            query=query,
            cookies=_parse_cookies(headers.get("cookie", "")),
            subprotocols=tuple(scope.get("subprotocols") or ()),
            peer=(scope.get("client") or (None,))[0],
        )

    @property
    def bearer_subprotocol(self) -> str | None:
        """The JWT offered as the subprotocol ``bearer.<jwt>``."""
        for name in self.subprotocols:
            if name.startswith(BEARER_PREFIX):
                return name.removeprefix(BEARER_PREFIX)
        return None


def _parse_cookies(header: str) -> dict[str, str]:
    from django.http.cookie import parse_cookie

    return parse_cookie(header)
