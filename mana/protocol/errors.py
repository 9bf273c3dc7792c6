"""The error codes of the wire: stable names for programs, and a text for people."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class ErrorCode(StrEnum):
    """What went wrong. Codes never change; texts may."""

    INVALID_JSON = "invalid_json"
    INVALID = "invalid"
    UNKNOWN_TYPE = "unknown_type"
    NOT_SUPPORTED = "not_supported"
    TOO_LARGE = "too_large"
    TOO_DEEP = "too_deep"
    EMPTY_PAYLOAD = "empty_payload"
    UNAUTHENTICATED = "unauthenticated"
    TOKEN_EXPIRED = "token_expired"  # noqa: S105  a code, no secret
    REVOKED = "revoked"
    FORBIDDEN = "forbidden"
    ORIGIN_FORBIDDEN = "origin_forbidden"
    NOT_FOUND = "not_found"
    NOT_A_MEMBER = "not_a_member"
    CONFLICT = "conflict"
    STALE_DEVICE_LIST = "stale_device_list"
    RATE_LIMITED = "rate_limited"
    TOO_SLOW = "too_slow"
    UNAVAILABLE = "unavailable"
    GOING_AWAY = "going_away"
    INTERNAL = "internal"


#: What a person reads when the code that raises has nothing better to say.
TEXTS: dict[ErrorCode, str] = {
    ErrorCode.INVALID_JSON: "The frame is not valid JSON.",
    ErrorCode.INVALID: "A field is missing or wrong.",
    ErrorCode.UNKNOWN_TYPE: "The frame's type is unknown.",
    ErrorCode.NOT_SUPPORTED: "This server does not handle frames of this type.",
    ErrorCode.TOO_LARGE: "The frame is too large.",
    ErrorCode.TOO_DEEP: "The JSON is nested too deeply.",
    ErrorCode.EMPTY_PAYLOAD: "The payload is empty.",
    ErrorCode.UNAUTHENTICATED: "Authentication is required.",
    ErrorCode.TOKEN_EXPIRED: "The token has expired.",
    ErrorCode.REVOKED: "This session has been signed out.",
    ErrorCode.FORBIDDEN: "You may not do that.",
    ErrorCode.ORIGIN_FORBIDDEN: "This origin may not open a socket here.",
    ErrorCode.NOT_FOUND: "There is no such thing, or you may not know of it.",
    ErrorCode.NOT_A_MEMBER: "You are not a member of this room.",
    ErrorCode.CONFLICT: "This contradicts what is already there.",
    ErrorCode.STALE_DEVICE_LIST: "The devices of somebody have changed.",
    ErrorCode.RATE_LIMITED: "Too many requests: slow down.",
    ErrorCode.TOO_SLOW: "You read too slowly: reconnect and sync.",
    ErrorCode.UNAVAILABLE: "The server can't do that right now: try again.",
    ErrorCode.GOING_AWAY: "The server is going away: reconnect.",
    ErrorCode.INTERNAL: "Something went wrong on the server.",
}


class ManaError(Exception):
    """A refusal that a client is told of.

    ``retry_after`` is in seconds. ``ack_id`` names the request that failed, where it is known. ``details`` are JSON
    values for programs.
    """

    def __init__(
        self,
        code: ErrorCode,
        detail: str = "",
        *,
        retry_after: float | None = None,
        ack_id: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        self.code = code
        self.details = details
        self.detail = detail or TEXTS[code]
        self.retry_after = retry_after
        self.ack_id = ack_id
        super().__init__(f"{code}: {self.detail}")


class CloseCode:
    """WebSocket close codes (RFC 6455 section 7.4; 4000-4999 are private to the application)."""

    NORMAL = 1000
    TOO_BIG = 1009
    GOING_AWAY = 1012
    UNAUTHENTICATED = 4001
    FORBIDDEN = 4003
    TOO_SLOW = 4008
    SIGNED_OUT = 4009
    FLOOD = 4029
