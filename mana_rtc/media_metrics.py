"""An engine's numbers in Prometheus' terms; no label names a room or a user. Nothing here needs aiortc."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from mana_rtc.sfu.meter import Meter

#: People in a call, the bounds of the histogram.
SIZES = (1, 2, 3, 4, 6, 8, 12, 16, 32, 64)


def engine_metrics(meter: Meter) -> Iterator[Metric]:
    """What the media server of this process does. The rates are means since the last time that somebody asked."""
    load = meter.read()
    yield GaugeMetricFamily("mana_media_rooms", "Calls whose media is here.", value=load.rooms)
    yield GaugeMetricFamily("mana_media_participants", "People in them.", value=load.participants)
    yield GaugeMetricFamily("mana_media_tracks", "Tracks that they publish.", value=load.tracks)
    yield GaugeMetricFamily("mana_media_processor_share", "Share of one processor that is used.", value=load.busy)
    packets = GaugeMetricFamily("mana_media_packets_per_second", "Packets of media.", labels=["direction"])
    packets.add_metric(["in"], load.packets_in)
    packets.add_metric(["out"], load.packets_out)
    yield packets
    size = GaugeMetricFamily("mana_media_bytes_per_second", "Bytes of media.", labels=["direction"])
    size.add_metric(["in"], load.bytes_in)
    size.add_metric(["out"], load.bytes_out)
    yield size
    sizes = meter.sizes()
    buckets = [(str(float(bound)), float(sum(one <= bound for one in sizes))) for bound in SIZES]
    yield HistogramMetricFamily(
        "mana_media_room_participants",
        "Calls that go on now, by the number of people in them.",
        buckets=[*buckets, ("+Inf", float(len(sizes)))],
        sum_value=sum(sizes),
    )


class WorkerCollector(Collector):
    """For the registry of a worker process."""

    def __init__(self, meter: Meter) -> None:
        self._meter = meter

    def collect(self) -> Iterator[Metric]:
        """The numbers of its engine."""
        yield from engine_metrics(self._meter)
