"""Answers that a client need not read again (RFC 9110 section 8.8.3)."""

from __future__ import annotations

import hashlib
from typing import Any

from django.http import HttpResponse
from django.utils.cache import get_conditional_response
from rest_framework.request import Request
from rest_framework.response import Response

from mana.rest import ExactJSONRenderer


def tagged(request: Request, data: Any) -> Response | HttpResponse:
    """A successful answer with an ``ETag``, or 304 when the client has it already."""
    digest = hashlib.sha256(ExactJSONRenderer().render(data)).hexdigest()[:32]
    etag = f'W/"{digest}"'
    cached = get_conditional_response(request._request, etag=etag)
    if cached is not None and cached.status_code == 304:
        return cached
    return Response(data, headers={"ETag": etag, "Cache-Control": "private, no-cache", "Vary": "Authorization, Cookie"})
