"""The newest traces of this process, in bounded memory."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

#: Spans of one trace that are kept; a message to a busy room has one per node, and few more.
SPANS = 100
#: Links of one span that are kept: the frames of a batch.
LINKS = 50


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """A finished span. Times are in nanoseconds since the epoch."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str | None
    start: int
    end: int
    attributes: Mapping[str, Any]
    links: tuple[str, ...]
    failed: bool

    @property
    def milliseconds(self) -> float:
        """How long it took."""
        return (self.end - self.start) / 1e6

    def as_json(self) -> dict[str, Any]:
        """For ``/debug/traces?format=json``."""
        return {
            "name": self.name,
            "span_id": self.span_id,
            "parent_id": self.parent_id,
            "start": _iso(self.start),
            "milliseconds": round(self.milliseconds, 3),
            "attributes": dict(self.attributes),
            "links": list(self.links),
            "failed": self.failed,
        }


@dataclass(slots=True)
class Trace:
    """Spans of one trace, in the order in which they began."""

    trace_id: str
    spans: list[SpanRecord] = field(default_factory=list)
    dropped: int = 0

    @property
    def start(self) -> int:
        """When the first span began."""
        return min(span.start for span in self.spans)

    @property
    def milliseconds(self) -> float:
        """From the first beginning to the last end."""
        return (max(span.end for span in self.spans) - self.start) / 1e6

    @property
    def began(self) -> datetime:
        """``start`` as a time."""
        return datetime.fromtimestamp(self.start / 1e9, UTC)

    @property
    def name(self) -> str:
        """The name of its first span, and the type of the frame."""
        first = self.spans[0]
        return " ".join(filter(None, (first.name.removeprefix("mana."), first.attributes.get("mana.frame.type"))))

    @property
    def failed(self) -> bool:
        """Whether something in it went wrong."""
        return any(span.failed for span in self.spans)

    def bars(self) -> list[dict[str, Any]]:
        """The spans with their places on a line of 1000 units, for drawing."""
        length = max(self.milliseconds, 0.001)
        return [
            {
                "span": span,
                "x": round((span.start - self.start) / 1e6 / length * 1000, 1),
                "width": max(3.0, round(span.milliseconds / length * 1000, 1)),
            }
            for span in self.spans
        ]

    def as_json(self) -> dict[str, Any]:
        """For ``/debug/traces?format=json``."""
        return {
            "trace_id": self.trace_id,
            "name": self.name,
            "start": _iso(self.start),
            "milliseconds": round(self.milliseconds, 3),
            "failed": self.failed,
            "dropped_spans": self.dropped,
            "spans": [span.as_json() for span in self.spans],
        }


class TraceMemory(SpanProcessor):
    """Keeps the ``limit`` traces that had a span last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._traces: OrderedDict[str, Trace] = OrderedDict()
        self._lock = threading.Lock()

    def on_end(self, span: ReadableSpan) -> None:
        """A span is finished."""
        if self._limit == 0 or span.context is None:
            return
        record = _record(span)
        with self._lock:
            trace = self._traces.setdefault(record.trace_id, Trace(record.trace_id))
            if len(trace.spans) < SPANS:
                trace.spans.append(record)
            else:
                trace.dropped += 1
            self._traces.move_to_end(record.trace_id)
            if len(self._traces) > self._limit:
                self._traces.popitem(last=False)

    def latest(self) -> list[Trace]:
        """What is kept, newest first; copies."""
        with self._lock:
            return [
                Trace(trace.trace_id, sorted(trace.spans, key=lambda span: span.start), trace.dropped)
                for trace in reversed(self._traces.values())
            ]


def _record(span: ReadableSpan) -> SpanRecord:
    assert span.context is not None
    return SpanRecord(
        name=span.name,
        trace_id=f"{span.context.trace_id:032x}",
        span_id=f"{span.context.span_id:016x}",
        parent_id=f"{span.parent.span_id:016x}" if span.parent is not None else None,
        start=span.start_time or 0,
        end=span.end_time or 0,
        attributes=dict(span.attributes or {}),
        links=tuple(f"{link.context.trace_id:032x}" for link in span.links[:LINKS]),
        failed=span.status is not None and not span.status.is_ok,
    )


def _iso(nanoseconds: int) -> str:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC).isoformat(timespec="microseconds")
