"""What can go wrong for a client, with the server's stable codes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mana.protocol import ErrorCode

#: Refusals that pass by themselves: the same request may be made again.
TEMPORARY = frozenset(
    {
        ErrorCode.RATE_LIMITED,
        ErrorCode.UNAVAILABLE,
        ErrorCode.INTERNAL,
        ErrorCode.GOING_AWAY,
        ErrorCode.TOKEN_EXPIRED,
    }
)


class ClientError(Exception):
    """The base of what this client raises."""


class Refused(ClientError):
    """The server said no. ``code`` is stable, ``detail`` for people, ``retry_after`` in seconds.

    ``details`` are the server's values for programs, ``status`` that of HTTP where it was a REST call.
    """

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        retry_after: float | None = None,
        details: Any = None,
        status: int | None = None,
    ) -> None:
        self.code = code
        self.detail = detail or code
        self.retry_after = retry_after
        self.details = details
        self.status = status
        super().__init__(f"{code}: {self.detail}")

    @classmethod
    def from_frame(cls, frame: Mapping[str, Any]) -> Refused:
        """Of an ``error`` frame."""
        return cls(
            str(frame.get("code", "internal")),
            str(frame.get("error", "")),
            retry_after=frame.get("retry_after"),
            details=frame.get("details"),
        )

    @property
    def is_temporary(self) -> bool:
        """Whether the same request, made again later, may succeed."""
        return self.retry_after is not None or self.code in TEMPORARY


class Unauthenticated(ClientError):
    """The server does not take the credentials (any more): sign in anew."""


class Disconnected(ClientError):
    """There is no connection, or it broke before the answer came."""
