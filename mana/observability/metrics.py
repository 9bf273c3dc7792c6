"""Metrics in Prometheus' terms, made from the plain numbers of ``mana.realtime.counters`` when somebody asks.

No metric has a label that names a room, a user or a session: their number would grow with the site.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from mana import __version__
from mana.observability.figures import figures
from mana.protocol.codec import frame_type
from mana.realtime.counters import OTHER_CODE, Histogram, counters

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

CONTENT_TYPE = CONTENT_TYPE_LATEST


class ManaCollector(Collector):
    """Reads the numbers of this process."""

    def describe(self) -> Iterable[Metric]:
        """Nothing: so that registering collects nothing."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, as docs/operations.md lists them."""
        yield from _connections()
        yield from _frames()
        yield from _commits()
        yield from _nodes()
        for collect in _contributions:
            yield from collect()


_contributions: list[Callable[[], Iterable[Metric]]] = []


def contribute(collect: Callable[[], Iterable[Metric]]) -> None:
    """Adds the metrics of another app, which ``collect`` gives each time that somebody asks."""
    if collect not in _contributions:
        _contributions.append(collect)


def _connections() -> Iterator[Metric]:
    now = figures()
    yield _gauge("mana_connections_open", "Open WebSocket sessions.", now.sessions)
    yield _gauge("mana_users_online", "Different users behind them.", now.users)
    yield _gauge("mana_rooms_live", "Rooms with at least one of them.", now.rooms)
    yield _counter("mana_connections_opened", "Sessions that were let in.", counters.opened)
    yield _counter("mana_connections_refused", "Handshakes that were turned away.", counters.refused)
    closed = {str(code) if code != OTHER_CODE else "other": count for code, count in list(counters.closed.items())}
    yield _counters("mana_connections_closed", "Sessions that ended, by close code.", "code", closed)
    yield _counter("mana_slow_closes", "Sessions closed because they read too slowly.", now.slow_closes)
    yield _counter("mana_revocations", "Sessions closed because their credentials ended.", now.revocations)
    yield _gauge("mana_queue_bytes", "Bytes that clients have not taken yet.", now.queue_bytes)


def _frames() -> Iterator[Metric]:
    frames_in = {frame_type(frame): count for frame, count in list(counters.frames_in.items())}
    yield _counters("mana_frames_in", "Frames from clients that could be decoded.", "type", frames_in)
    frames_out = dict(list(counters.frames_fanned_out.items()))
    for frame, count in list(counters.frames_out.items()):
        frames_out[frame_type(frame)] = frames_out.get(frame_type(frame), 0) + count
    yield _counters("mana_frames_out", "Frames to clients, each receiver counted.", "type", frames_out)
    yield _counter("mana_bytes_in", "Characters of all frames from clients.", counters.bytes_in)
    yield _counter("mana_bytes_out", "Bytes of the frames to clients, each receiver counted.", counters.bytes_out)
    errors = {str(code): count for code, count in list(counters.errors.items())}
    yield _counters("mana_errors", "Error frames to clients, by code.", "code", errors)
    yield _counter("mana_rate_limited", "Error frames with the code rate_limited.", errors.get("rate_limited", 0))


def _commits() -> Iterator[Metric]:
    now = figures()
    yield _counter("mana_messages_stored", "Messages that the writer committed.", counters.messages)
    yield _histogram("mana_ack_seconds", "From taking a message to its answer.", counters.acks)
    yield _histogram("mana_commit_batch_size", "Messages per transaction of the writer.", counters.batches)
    yield _gauge("mana_writer_queue_length", "Messages and changes that wait for the writer.", now.writer_queue)
    yield _gauge("mana_writer_busy_seconds", "How long the writer has been at one transaction.", now.writer_busy)
    yield _counter("mana_database_retries", "Transactions that were tried again.", counters.retries)


def _nodes() -> Iterator[Metric]:
    now = figures()
    yield _counter("mana_bus_published", "Announcements given to the channel layer.", counters.published)
    yield _counter("mana_bus_received", "Announcements taken from it.", counters.received)
    yield _counter("mana_bus_dropped", "Announcements that could not be published.", now.drops)
    yield _gauge("mana_bus_backlog", "Announcements that wait to be published.", now.bus_backlog)
    if now.bus_connected is not None:
        yield _gauge("mana_bus_connected", "1 if this node is in the group of nodes.", now.bus_connected)
    yield _counter("mana_gaps", "Times that an event stayed away for longer than GAP_TIMEOUT.", counters.gaps)
    yield _counter("mana_repaired_events", "Events read from the database because nobody announced them.", now.repairs)
    yield _counter("mana_hub_flushes", "Turns of the event loop that sent something.", counters.flushes)
    yield _counter("mana_hub_flush_seconds", "Seconds spent on them.", counters.flush_seconds)
    yield _gauge("mana_draining", "1 if this node takes no new sockets.", now.draining)
    info = GaugeMetricFamily("mana_node_info", "This process; always 1.", labels=["node", "version"])
    info.add_metric([now.node or "", __version__], 1)
    yield info


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value=float(value))


def _counter(name: str, text: str, value: float) -> Metric:
    return CounterMetricFamily(name, text, value=float(value))


def _counters(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for key, value in sorted(values.items()):
        family.add_metric([key], value)
    return family


def _histogram(name: str, text: str, values: Histogram) -> Metric:
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip((*values.bounds, float("inf")), list(values.counts), strict=True):
        total += count
        buckets.append(("+Inf" if bound == float("inf") else str(float(bound)), total))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=values.total)


_collector = ManaCollector()
_registered = False


def register() -> None:
    """Adds mana's metrics to the registry of the process, once."""
    global _registered
    if not _registered:
        REGISTRY.register(_collector)
        _registered = True


def page() -> bytes:
    """Everything that this process has registered; django-prometheus' figures are among it where it is installed.

    With ``PROMETHEUS_MULTIPROC_DIR`` the figures that prometheus_client keeps in files come from all processes that
    share the directory, and mana's, as ever, from this one.
    """
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return generate_latest(REGISTRY)
    from prometheus_client.multiprocess import MultiProcessCollector

    shared, own = CollectorRegistry(), CollectorRegistry()
    MultiProcessCollector(shared)  # type: ignore[no-untyped-call]
    own.register(_collector)
    return generate_latest(shared) + generate_latest(own)
