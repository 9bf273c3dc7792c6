"""The app's figures on ``/metrics``, where ``mana.observability`` is installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from django.apps import apps

from mana_e2ee.counters import counters

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

FIGURES = {
    "uploads": "Uploads of keys that were stored.",
    "lists": "Device lists that were stored.",
    "claims": "Claims of prekey bundles that were answered, repeated ones not counted.",
    "one_time": "One-time prekeys that were handed out.",
    "without_one_time": "Bundles that were handed out without a one-time prekey.",
    "fanouts": "Encrypted messages that were stored.",
    "envelopes": "Ciphertexts that were stored for devices.",
    "acked": "Ciphertexts that devices have acked.",
    "stale": "Encrypted messages that were refused because devices had changed.",
    "dropped": "Ciphertexts that full queues had to give up.",
}


def collect() -> Iterator[Metric]:
    """All figures of this process."""
    from prometheus_client.core import CounterMetricFamily

    for name, text in FIGURES.items():
        yield CounterMetricFamily(f"mana_e2ee_{name}", text, value=float(getattr(counters, name)))


if apps.is_installed("mana.observability"):
    from mana.observability.metrics import collect_from

    collect_from(collect)
