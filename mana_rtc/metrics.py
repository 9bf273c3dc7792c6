"""Calls in Prometheus' terms; no label names a room or a user."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from mana.realtime import hub as hubs
from mana_rtc.counters import counters
from mana_rtc.media_metrics import engine_metrics
from mana_rtc.models import Call
from mana_rtc.seats import Seats


def collect() -> Iterator[Metric]:
    """The numbers of this process; the sum over all processes counts each call once."""
    yield CounterMetricFamily("mana_calls_started", "Calls that began here.", value=counters.begun)
    ended = CounterMetricFamily("mana_calls_ended", "Calls that this process ended, by reason.", labels=["reason"])
    for reason in Call.Reason.values:
        ended.add_metric([str(reason)], counters.by_reason.get(str(reason), 0))
    yield ended
    seats = [made for hub in hubs.running() if (made := hub.extension_if_made(Seats)) is not None]
    yield GaugeMetricFamily("mana_media_seats", "Sessions of this process in media.", value=sum(map(len, seats)))
    for one in seats:
        meter = getattr(one.backend_if_made, "meter", None)
        if meter is not None:  # the engine is in this process
            yield from engine_metrics(meter)
            break
