"""Calls in Prometheus' terms; no label names a room or a user."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics_core import Metric

from mana_rtc.counters import counters
from mana_rtc.models import Call


def collect() -> Iterator[Metric]:
    """The numbers of this process; the sum over all processes counts each call once."""
    yield CounterMetricFamily("mana_calls_started", "Calls that began here.", value=counters.begun)
    ended = CounterMetricFamily("mana_calls_ended", "Calls that this process ended, by reason.", labels=["reason"])
    for reason in Call.Reason.values:
        ended.add_metric([str(reason)], counters.by_reason.get(str(reason), 0))
    yield ended
