"""Where spans go."""

from __future__ import annotations

from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import ALWAYS_ON

from mana import __version__
from mana.conf import settings
from mana.observability.tracing.memory import TraceMemory
from mana.realtime.node import new_node_id


def make_provider(memory: TraceMemory) -> TracerProvider:
    """A provider of our own, so that a project's keeps its settings. What is sampled is decided before a span begins.

    The environment variables of OpenTelemetry, as ``OTEL_EXPORTER_OTLP_HEADERS``, hold as well.
    """
    resource = Resource.create(
        {
            SERVICE_NAME: settings.SERVICE_NAME,
            SERVICE_VERSION: settings.SERVICE_VERSION or __version__,
            SERVICE_INSTANCE_ID: settings.NODE_ID or new_node_id(),
        }
    )
    provider = TracerProvider(sampler=ALWAYS_ON, resource=resource)
    provider.add_span_processor(memory)
    if settings.TRACE_EXPORT:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.TRACE_EXPORT)))
    return provider
