"""A publisher's track: its layers, each with the packets that came, what is missing of them, and who watches.

Two streams may carry a layer: its own, and a retransmission stream (RFC 4588) whose packets are unwrapped and taken as
if they had come late.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from mana_rtc.media import rtcp
from mana_rtc.media.payloads import INSPECTORS
from mana_rtc.media.receive import MissingPackets, ReceiveWindow, StreamStatistics
from mana_rtc.media.rtp import RtpPacket

#: Seconds without a packet after which a layer counts as not sent.
LAYER_TIMEOUT = 1.5
#: Seconds that a layer has to begin after somebody asked for it, before it counts as one that is not sent.
START_TIMEOUT = 3.0
#: Packets after which a layer's bitrate is believed, and how much more the next layer needs until it was measured.
MEASURED_AFTER, NEXT_LAYER = 50, 3.0
#: Seconds between two keyframe requests for one layer, whoever asks how often.
KEYFRAME_INTERVAL = 0.4


class Watcher(Protocol):
    """Whoever is handed a layer's packets: a downtrack."""

    def receive(self, layer: Layer, packet: RtpPacket, now: float) -> None:
        """A packet of a layer that it watches."""

    def restarted(self, layer: Layer) -> None:
        """The sender of the layer began anew with other numbers."""


class Layer:
    """One encoding of a track. ``rid`` is empty where the track has only one; layers are in order of quality."""

    def __init__(self, track: UpTrack, rid: str, index: int, nominal_bitrate: float) -> None:
        self.track = track
        self.rid = rid
        self.index = index
        self.ssrc = 0
        self.rtx_ssrc = 0
        self.window = ReceiveWindow()
        self.missing = MissingPackets()
        self.statistics = StreamStatistics(track.clock_rate)
        #: Where it was last: NTP seconds of the publisher and the timestamp of the same moment, when that was told.
        self.report: tuple[int, int, float] | None = None
        self.watchers: tuple[Watcher, ...] = ()
        self.keyframe_asked = float("-inf")
        self.keyframe_wanted = False
        self.keyframes = 0
        #: Whether the publisher was asked not to send it, as nobody watches; and when it was last asked to begin.
        self.paused = False
        self.asked_at = float("-inf")
        self._known_bitrate = nominal_bitrate
        self._is_measured = False

    def __repr__(self) -> str:
        return f"<Layer {self.rid or 'only'} of {self.track.id}>"

    def watch(self, watcher: Watcher) -> None:
        """Hands the layer's packets to one more."""
        if watcher not in self.watchers:
            self.watchers = (*self.watchers, watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Hands it nothing any more."""
        self.watchers = tuple(one for one in self.watchers if one is not watcher)

    def is_live(self, now: float) -> bool:
        """Whether packets come."""
        return now - self.statistics.last_packet < LAYER_TIMEOUT

    def is_available(self, now: float) -> bool:
        """Whether packets come, or would if somebody watched."""
        return self.is_live(now) or self.paused or now - self.asked_at < START_TIMEOUT

    def bitrate(self, now: float) -> float:
        """Bits per second: as measured while packets come, else as they last were or as promised."""
        if self.is_live(now):
            measured = self.statistics.bitrate(now)
            # A stream that is just starting does not tell yet what it will need.
            if self.statistics.packets > MEASURED_AFTER:
                self._known_bitrate = max(measured, 0.7 * self._known_bitrate)
                self._is_measured = True
        if not self._is_measured and self.index and (below := self.track.layers[self.index - 1])._is_measured:
            # Layers that were never sent are guessed by those that were: a dull picture is dull in all sizes.
            return min(self._known_bitrate, NEXT_LAYER * below.bitrate(now))
        return self._known_bitrate

    def receive(self, packet: RtpPacket, now: float, *, recovered: bool = False) -> bool:
        """Takes a packet of the layer and hands it to whoever watches. Whether it was new."""
        window = self.window
        highest = window.highest
        if not window.add(packet):
            if window.restarted:
                self._restart()
            return False
        was_missing = self.missing.received(packet.extended, highest, now)
        self.statistics.received(packet, now, recovered=recovered or was_missing)
        frame = packet.frame = self.track.inspect(packet.payload)
        if frame.keyframe:
            self.keyframe_wanted = False
            self.keyframes += 1
        for watcher in self.watchers:
            watcher.receive(self, packet, now)
        return True

    def _restart(self) -> None:
        self.window = ReceiveWindow()
        self.missing = MissingPackets()
        self.statistics = StreamStatistics(self.track.clock_rate)
        self.report = None
        for watcher in self.watchers:
            watcher.restarted(self)

    def receive_rtx(self, packet: RtpPacket, now: float) -> bool:
        """Takes a packet of the retransmission stream (RFC 4588 section 4)."""
        if len(packet.payload) < 3:
            return False  # padding: what a sender probes its bandwidth with
        original = RtpPacket(
            self.track.payload_type,
            packet.payload[0] << 8 | packet.payload[1],
            packet.timestamp,
            self.ssrc,
            packet.payload[2:],
            marker=packet.marker,
            extensions=packet.extensions,
        )
        return self.receive(original, now, recovered=True)

    def want_keyframe(self) -> None:
        """Asks the publisher for a keyframe at the next opportunity."""
        self.keyframe_wanted = True

    def sender_report(self, report: rtcp.SenderReport, now: float) -> None:
        """An SR of the publisher came."""
        self.report = (report.ntp, report.rtp, now)
        self.statistics.sender_report(rtcp.ntp_middle(report.ntp), now)

    def feedback(self, now: float, round_trip: float, sender: int) -> bytes:
        """The NACK and PLI that are due, as RTCP; empty if there is none."""
        asked = self.missing.due(now, round_trip)
        answer = rtcp.nack(sender, self.ssrc, asked) if asked else b""
        if self.missing.overflowed:
            self.missing.overflowed = False
            self.keyframe_wanted = self.keyframe_wanted or bool(self.watchers)
        asks = self.keyframe_wanted and self.track.kind == "video" and bool(self.ssrc)
        if asks and now - self.keyframe_asked >= max(KEYFRAME_INTERVAL, round_trip):
            self.keyframe_asked = now
            answer += rtcp.picture_loss(sender, self.ssrc)
        return answer


class UpTrack:
    """A track as it comes from its publisher."""

    def __init__(
        self,
        track_id: str,
        kind: str,
        codec: str,
        *,
        payload_type: int,
        clock_rate: int,
        rids: Iterable[str] = ("",),
        nominal_bitrates: Iterable[float] = (),
        on_watched: Callable[[UpTrack], None] = lambda track: None,
    ) -> None:
        self.id = track_id
        self.kind = kind
        self.codec = codec
        self.payload_type = payload_type
        self.clock_rate = clock_rate
        self.inspect = INSPECTORS[codec]
        rids = list(rids)
        bitrates = list(nominal_bitrates) or default_bitrates(kind, len(rids))
        self.layers = [Layer(self, rid, index, bitrates[index]) for index, rid in enumerate(rids)]
        self._on_watched = on_watched

    def layer_of(self, rid: str) -> Layer | None:
        """The layer with this rid."""
        return next((layer for layer in self.layers if layer.rid == rid), None)

    def watched_changed(self) -> None:
        """Tells whoever pauses unwatched layers that someone began or ceased to watch one."""
        self._on_watched(self)


def default_bitrates(kind: str, layers: int) -> list[float]:
    """What layers are taken to need until it is measured, in bits per second."""
    if kind == "audio":
        return [40_000.0] * layers
    return {1: [1_000_000.0], 2: [200_000.0, 800_000.0]}.get(layers) or [
        min(150_000.0 * 2.8**index, 2_500_000.0) for index in range(layers)
    ]
