"""The pages for whoever operates the site. They are asked often, in bad times, by machines: async, cheap, uncached."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.auth.decorators import login_not_required
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from mana.conf import settings
from mana.observability import metrics as prometheus
from mana.observability import tracing
from mana.observability.access import is_allowed
from mana.observability.figures import figures
from mana.observability.health import about, readiness

View = Callable[[HttpRequest], Awaitable[HttpResponse]]


def operations(view: View) -> Any:
    """A view that no cache keeps, no login page hides, and no transaction of ATOMIC_REQUESTS wraps."""

    @wraps(view)
    async def wrapped(request: HttpRequest) -> HttpResponse:
        response = await view(request)
        response.headers["Cache-Control"] = "no-store"
        return response

    made: Any = login_not_required(require_safe(wrapped))
    for alias in connections:
        made = transaction.non_atomic_requests(using=alias)(made)
    return made


@operations
async def live(request: HttpRequest) -> HttpResponse:
    """200: the process answers."""
    return JsonResponse({"status": "ok"})


@operations
async def health(request: HttpRequest) -> HttpResponse:
    """200: the process answers; and what it serves, for those who may know. No database is asked."""
    body: dict[str, Any] = {"status": "ok"}
    if await is_allowed(request, settings.HEALTH_ACCESS):
        body.update(about(figures()))
    return JsonResponse(body)


@operations
async def ready(request: HttpRequest) -> HttpResponse:
    """200 if people can be sent to this node, 503 and the reasons if not."""
    if not await is_allowed(request, settings.HEALTH_ACCESS):
        return refusal()
    report = await readiness()
    return JsonResponse(report.as_json(), status=200 if report.is_ready else 503)


@operations
async def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics of this process, for Prometheus."""
    if not await is_allowed(request, settings.METRICS_ACCESS):
        return refusal()
    return HttpResponse(await asyncio.to_thread(prometheus.page), content_type=prometheus.CONTENT_TYPE)


@operations
async def traces(request: HttpRequest) -> HttpResponse:
    """The newest traces of this process, for staff: a page, or JSON with ``?format=json``."""
    if not await is_allowed(request, ["staff"]):
        return refusal()
    found = tracing.latest()
    if request.GET.get("format") == "json":
        return JsonResponse({"enabled": tracing.is_on(), "traces": [trace.as_json() for trace in found]})
    context = {"traces": found, "enabled": tracing.is_on(), "export": settings.TRACE_EXPORT, "node": figures().node}
    return await sync_to_async(render)(request, "mana/observability/traces.html", context)


def refusal() -> JsonResponse:
    """403, and no more than that."""
    return JsonResponse({"code": "forbidden", "detail": "This page is not for everybody."}, status=403)
