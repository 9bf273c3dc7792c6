"""ETags for answers that clients ask for again and again (RFC 9110 section 8.8.3)."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
from rest_framework.request import Request
from rest_framework.response import Response


def answer(request: Request, body: Any) -> Response:
    """The body with its ETag, or 304 without a body for a client that has just that."""
    digest = hashlib.sha256(msgspec.json.encode(body, order="deterministic", enc_hook=str)).hexdigest()[:32]
    etag = f'"{digest}"'
    headers = {"ETag": etag, "Cache-Control": "private, no-cache"}
    given = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if etag in given or "*" in given:
        return Response(status=304, headers=headers)
    return Response(body, headers=headers)
