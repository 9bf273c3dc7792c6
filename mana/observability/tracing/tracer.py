"""Tells what the realtime core does in spans.

Spans:

- ``mana.connection``: a handshake, from the connect to the welcome or the refusal. A trace of its own.
- ``mana.frame``: a client's frame, from its arrival to its answer; a trace of its own, linked to its connection.
- ``mana.commit``: a transaction of the writer. A trace of its own, linked to its frames, as they are to it.
- ``mana.deliver``: a node hands an event to its sessions; a child of the frame that caused it, on whichever node.

No span has a payload, a name or a credential. Ids are hashed or left out.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from functools import cached_property
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace as otel
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mana import __version__
from mana.conf import settings
from mana.observability.tracing.identifiers import hashed
from mana.observability.tracing.memory import TraceMemory
from mana.observability.tracing.provider import make_provider
from mana.protocol.codec import frame_type
from mana.realtime import hub as hubs

if TYPE_CHECKING:
    from mana.protocol import ClientFrame
    from mana.realtime.announcements import Announcement
    from mana.realtime.session import Session

logger = logging.getLogger("mana.observability")

#: Frames that a commit's span is linked to.
LINKS = 100
#: No parent: a trace of its own.
NEW_TRACE = Context()

_propagator = TraceContextTextMapPropagator()


class FrameSpan:
    """The span of a frame. Whoever answers it ends it."""

    __slots__ = ("header", "span", "taken")

    def __init__(self, span: Span) -> None:
        self.span = span
        self.taken = False
        self.header = header_of(span)

    def end(self, error: str | None = None) -> None:
        """The frame is answered."""
        if error is not None:
            fail(self.span, error)
        self.span.end()


_frame: ContextVar[FrameSpan | None] = ContextVar("mana_frame_span", default=None)


class SpanTracer:
    """``mana.realtime.tracing.Tracer`` over OpenTelemetry."""

    def __init__(self, memory: TraceMemory) -> None:
        self._memory = memory
        self._ratio = settings.TRACE_SAMPLE_RATIO
        self._ids = settings.TRACE_IDS
        self._deliveries: list[Span] = []

    @cached_property
    def spans(self) -> otel.Tracer:
        """Made with the first span: an exporter brings a thread, which only a process that serves shall have."""
        self._provider = make_provider(self._memory)
        return self._provider.get_tracer("mana", __version__)

    def close(self) -> None:
        """Sends what waits to be sent."""
        if "spans" in self.__dict__:
            self._provider.shutdown()

    def is_sampled(self) -> bool:
        """Whether the next connection or frame is traced."""
        return random.random() < self._ratio

    def identify(self, span: Span, **ids: str | None) -> None:
        """Adds hashed ids, where they are wanted."""
        if self._ids:
            for name, value in ids.items():
                if value:
                    span.set_attribute(f"mana.{name}", hashed(value))

    # -- mana.realtime.tracing.Tracer --------------------------------------------------------------------------------

    def connecting(self) -> ConnectionSpan:
        """A handshake begins."""
        return ConnectionSpan(self)

    def taken_over(self) -> FrameSpan | None:
        """The span of the frame that is being handled, to be ended by the caller."""
        frame = _frame.get()
        if frame is not None:
            frame.taken = True
        return frame

    def refusing(self, code: str) -> None:
        """The frame that is being handled fails."""
        frame = _frame.get()
        if frame is not None:
            fail(frame.span, code)

    def committing(self, frames: Sequence[FrameSpan | None]) -> CommitSpan | None:
        """A transaction begins."""
        if not any(frames):
            return None
        return CommitSpan(self, frames)

    def stamp(self, announcements: Sequence[Announcement]) -> None:
        """Marks announcements with the span that is current here, a frame's or one of the project's own."""
        span = otel.get_current_span()
        context = span.get_span_context()
        if not context.is_valid or not context.trace_flags.sampled:
            return
        header = header_of(span)
        for announcement in announcements:
            if not announcement.trace:
                announcement.trace = header

    def delivering(self, announcement: Announcement, receivers: int) -> None:
        """An event is queued for the sessions of this node."""
        parent = _propagator.extract({"traceparent": announcement.trace}, context=NEW_TRACE)
        span = self.spans.start_span("mana.deliver", context=parent, kind=SpanKind.CONSUMER)
        span.set_attribute("mana.receivers", receivers)
        span.set_attribute("mana.sequence", announcement.sequence)
        span.set_attribute("mana.node", hubs.current().node_id)
        self.identify(span, room=announcement.room)
        self._deliveries.append(span)

    def delivered(self) -> None:
        """They have it."""
        if self._deliveries:
            deliveries, self._deliveries = self._deliveries, []
            for span in deliveries:
                span.end()


class ConnectionSpan:
    """A socket: its handshake's span, and the spans of its frames."""

    __slots__ = ("_begun", "_context", "_ended", "_ids", "_refused", "_tracer", "_wanted")

    def __init__(self, tracer: SpanTracer) -> None:
        self._tracer = tracer
        self._wanted = tracer.is_sampled()
        self._begun = time.time_ns()
        self._ended = 0
        self._refused: str | None = None
        self._ids: dict[str, str] = {}
        self._context: SpanContext | None = None

    def opened(self, session: Session) -> None:
        """The session was let in."""
        self._ids = {"session": session.id, "user": session.user_id}
        self._over()

    def refused(self, code: str) -> None:
        """The client was turned away."""
        self._refused = code
        self._over()

    def _over(self) -> None:
        self._ended = time.time_ns()
        if self._wanted:
            self.context()

    def context(self) -> SpanContext:
        """The handshake's span. One that was not sampled is told after all when a frame is that must link to it."""
        if self._context is None:
            spans = self._tracer.spans
            span = spans.start_span("mana.connection", NEW_TRACE, SpanKind.SERVER, start_time=self._begun)
            self._tracer.identify(span, **self._ids)
            if self._refused is not None:
                fail(span, self._refused)
            span.end(self._ended)
            self._context = span.get_span_context()
        return self._context

    async def handle(
        self, dispatch: Callable[[Session, ClientFrame], Awaitable[None]], session: Session, frame: ClientFrame
    ) -> None:
        """Has a frame handled, in its span if it is sampled."""
        if not self._tracer.is_sampled():
            await dispatch(session, frame)
            return
        kind = frame_type(frame)
        span = self._tracer.spans.start_span("mana.frame", NEW_TRACE, SpanKind.SERVER, links=[Link(self.context())])
        span.set_attribute("mana.frame.type", kind)
        self._tracer.identify(span, **self._ids, room=getattr(frame, "room_id", None))
        traced = FrameSpan(span)
        current = otel_context.attach(otel.set_span_in_context(span))
        token = _frame.set(traced)
        try:
            await dispatch(session, frame)
        finally:
            _frame.reset(token)
            otel_context.detach(current)
            if not traced.taken:
                traced.end()


class CommitSpan:
    """A transaction of the writer."""

    __slots__ = ("_frames", "_span")

    def __init__(self, tracer: SpanTracer, frames: Sequence[FrameSpan | None]) -> None:
        self._frames = frames
        traced = [frame for frame in frames if frame is not None]
        links = [Link(frame.span.get_span_context()) for frame in traced[:LINKS]]
        self._span = tracer.spans.start_span("mana.commit", NEW_TRACE, links=links)
        self._span.set_attribute("mana.batch.size", len(frames))
        self._span.set_attribute("mana.batch.traced", len(traced))
        for frame in traced:
            frame.span.add_link(self._span.get_span_context())

    def done(self, results: Sequence[Any], announcements: Sequence[Announcement]) -> None:
        """The frames are answered, and their events go out with the frames' traces."""
        headers: dict[int, str] = {}
        for frame, result in zip(self._frames, results, strict=True):
            if frame is None:
                continue
            sequence = getattr(result, "sequence", None)
            if sequence is not None:
                headers[sequence] = frame.header
                frame.span.set_attribute("mana.sequence", sequence)
            frame.end(getattr(result, "code", None))
        for announcement in announcements:
            announcement.trace = headers.get(announcement.sequence, "")
        if all(hasattr(result, "code") for result in results):
            fail(self._span, results[0].code)
        self._span.end()


def header_of(span: Span) -> str:
    """A span's context as a W3C ``traceparent``."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, otel.set_span_in_context(span, NEW_TRACE))
    return carrier["traceparent"]


def fail(span: Span, code: str) -> None:
    """Marks a span as failed with an error code of the wire."""
    span.set_attribute("mana.error", str(code))
    span.set_status(Status(StatusCode.ERROR, str(code)))
