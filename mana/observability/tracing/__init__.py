"""OpenTelemetry tracing. Off by default; then none of it is imported.

``tracer`` tells of connections, frames, commits and deliveries in spans, ``provider`` sends those on and keeps the
newest, ``memory`` holds these for ``/debug/traces``.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from mana.conf import settings
from mana.realtime import tracing

if TYPE_CHECKING:
    from mana.observability.tracing.memory import Trace, TraceMemory

_memory: TraceMemory | None = None


def is_installed() -> bool:
    """Whether the extra ``[otel]`` is there."""
    return all(find_spec(name) is not None for name in ("opentelemetry", "opentelemetry.sdk"))


def set_up() -> None:
    """Begins to trace if the settings say so. Without the extra nothing is traced; the check ``mana.E022`` tells."""
    global _memory
    if not settings.ENABLE_TRACING or not is_installed():
        return
    from mana.observability.tracing.memory import TraceMemory
    from mana.observability.tracing.tracer import SpanTracer

    _memory = TraceMemory(settings.TRACE_BUFFER)
    tracing.tracer = SpanTracer(_memory)


def tear_down() -> None:
    """Sends what waits to be sent, and traces no more."""
    global _memory
    if tracing.tracer is not None and hasattr(tracing.tracer, "close"):
        tracing.tracer.close()
    tracing.tracer = _memory = None


def is_on() -> bool:
    """Whether this process traces."""
    return tracing.tracer is not None


def latest() -> list[Trace]:
    """The traces in memory, newest first."""
    return _memory.latest() if _memory is not None else []
