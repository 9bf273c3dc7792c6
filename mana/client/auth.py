"""Who a client is: a token, or an account whose tokens are renewed by themselves."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from typing import Any, Protocol

import httpx

from mana.client.errors import ClientError, Refused, Unauthenticated
from mana.protocol import ErrorCode

#: Seconds before its expiry that a token counts as expired.
EARLY = 30.0


class Credentials(Protocol):
    """Where access tokens come from."""

    async def token(self, http: httpx.AsyncClient, *, fresh: bool = False) -> str:
        """An access token; with ``fresh`` the one before was refused. Raises ``Unauthenticated``."""


class StaticToken:
    """A token that somebody else has made, and that can't be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, http: httpx.AsyncClient, *, fresh: bool = False) -> str:
        """The token."""
        if fresh:
            raise Unauthenticated("the token was refused")
        return self._token


class Account:
    """A user name and a password. Tokens are renewed with the refresh token, and if need be by signing in again.

    With ``register`` the account is made where there is none.
    """

    def __init__(self, username: str, password: str, *, register: bool = False) -> None:
        self.username = username
        self._password = password
        self._register = register
        self._access: str | None = None
        self._refresh: str | None = None
        self._lock = asyncio.Lock()

    def __repr__(self) -> str:
        return f"Account({self.username!r})"

    async def token(self, http: httpx.AsyncClient, *, fresh: bool = False) -> str:
        """An access token that holds for a while."""
        async with self._lock:
            if self._access is None or fresh or time.time() > expiry(self._access) - EARLY:
                await self._renew(http)
            assert self._access is not None
            return self._access

    async def _renew(self, http: httpx.AsyncClient) -> None:
        if self._refresh is not None:
            answer = await http.post("auth/token/refresh", json={"refresh": self._refresh})
            if answer.is_success:
                self._take(answer.json())
                return
        body = {"username": self.username, "password": self._password}
        if self._register:
            answer = await http.post("auth/register", json=body)
            self._register = False
            if answer.is_success:
                self._take(answer.json())
                return
        answer = await http.post("auth/token", json=body)
        if answer.status_code in (400, 401, 403):
            raise Unauthenticated(f"the server does not take the password of {self.username!r}")
        if not answer.is_success:
            raise refusal(answer)
        self._take(answer.json())

    def _take(self, body: dict[str, Any]) -> None:
        self._access = body["access"]
        self._refresh = body.get("refresh", self._refresh)


def expiry(token: str) -> float:
    """When a JWT expires, in unix seconds; of anything else never."""
    try:
        body = token.split(".")[1]
        return float(json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))["exp"])
    except (IndexError, KeyError, TypeError, ValueError):
        return float("inf")


#: Of what answers before mana does: a proxy, or Django for a path that is none.
_CODES = {
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    413: ErrorCode.TOO_LARGE,
    429: ErrorCode.RATE_LIMITED,
}


def refusal(answer: httpx.Response) -> ClientError:
    """The error that a REST answer tells."""
    try:
        body = answer.json()
    except ValueError:
        body = {}
    body = body if isinstance(body, dict) else {}
    if answer.status_code == 401:
        return Unauthenticated(str(body.get("detail", "the credentials were refused")))
    retry = answer.headers.get("Retry-After", "")
    after = body.get("retry_after")
    if after is None and retry.replace(".", "", 1).isdigit():
        after = float(retry)
    return Refused(
        str(body.get("code") or _CODES.get(answer.status_code, ErrorCode.INTERNAL)),
        str(body.get("detail", "")),
        retry_after=after,
        details=body.get("details"),
        status=answer.status_code,
    )
