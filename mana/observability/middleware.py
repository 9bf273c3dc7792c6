"""An id for every HTTP request: in the logs, and in the answer for whoever reports a problem."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from inspect import iscoroutinefunction
from typing import Any

from django.http import HttpRequest, HttpResponseBase
from django.utils.decorators import sync_and_async_middleware

from mana.realtime.context import request_id

HEADER = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:-]{1,64}")


@sync_and_async_middleware
def request_id_middleware(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Takes ``X-Request-ID`` from the proxy, or makes one. Put it first in ``MIDDLEWARE``."""
    # The id stays set: Django logs refusals and errors after all middleware. A request has a context of its own, or a
    # thread whose next request sets the next id.
    if iscoroutinefunction(get_response):
        respond: Callable[[HttpRequest], Awaitable[HttpResponseBase]] = get_response

        async def asynchronous(request: HttpRequest) -> HttpResponseBase:
            request_id.set(choose(request))
            response = await respond(request)
            response.headers[HEADER] = request_id.get()
            return response

        return asynchronous

    def synchronous(request: HttpRequest) -> HttpResponseBase:
        request_id.set(choose(request))
        response: HttpResponseBase = get_response(request)
        response.headers[HEADER] = request_id.get()
        return response

    return synchronous


def choose(request: HttpRequest) -> str:
    """The id that the request came with, if it is one, or a new one."""
    given = request.headers.get(HEADER, "")
    return given if _ACCEPTABLE.fullmatch(given) else secrets.token_urlsafe(12)
