"""The demo's Content-Security-Policy."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

POLICY = "; ".join(
    (
        "default-src 'self'",
        # The page's own host by name: 'self' did not cover WebSockets in every browser for long.
        "connect-src 'self' {sockets}",
        "img-src 'self' data: blob:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
        "object-src 'none'",
    )
)


class ContentSecurityPolicyMiddleware(MiddlewareMixin):
    """Scripts, styles and connections of this site only, and nothing inline. Works sync and async."""

    def process_response(self, request: HttpRequest, response: HttpResponseBase) -> HttpResponseBase:
        """Adds the header."""
        host = request.get_host()
        response.headers.setdefault("Content-Security-Policy", POLICY.format(sockets=f"ws://{host} wss://{host}"))
        return response
