"""A publisher's track as packets, for tests of what is done with them."""

from __future__ import annotations

from mana_rtc.media.rtp import RtpPacket
from mana_rtc.media.uptrack import Layer, UpTrack
from tests.rtc.media.test_payloads import vp8


class Camera:
    """A VP8 track of three layers, each with a numbering of its own, 15 frames a second of two packets each."""

    def __init__(self) -> None:
        self.track = UpTrack("camera", "video", "VP8", payload_type=96, clock_rate=90_000, rids=("q", "h", "f"))
        self.sequences = [65_530, 100, 40_000]
        self.timestamps = [1000, 0xFFFFFF00, 77_777]
        self.pictures = [10, 0x7FFE, 500]
        self.now = 100.0
        for index, layer in enumerate(self.track.layers):
            layer.ssrc = 1000 + index

    def layer(self, index: int) -> Layer:
        """One of the layers."""
        return self.track.layers[index]

    def packets(self, index: int, *, key: bool = False) -> list[RtpPacket]:
        """The two packets of the next frame of a layer."""
        made = []
        for part in range(2):
            payload = vp8(self.pictures[index], self.pictures[index] & 0xFF, key=key, start=part == 0)
            made.append(
                RtpPacket(
                    96,
                    self.sequences[index],
                    self.timestamps[index],
                    1000 + index,
                    payload + bytes((index, part)),
                    marker=part == 1,
                )
            )
            self.sequences[index] = (self.sequences[index] + 1) & 0xFFFF
        self.timestamps[index] = (self.timestamps[index] + 6000) & 0xFFFFFFFF
        self.pictures[index] = (self.pictures[index] + 1) & 0x7FFF
        return made

    def frame(self, *, keys: bool = False) -> None:
        """A frame of all layers, 1/15 s after the last."""
        self.now += 1 / 15
        for index, layer in enumerate(self.track.layers):
            for packet in self.packets(index, key=keys):
                layer.receive(packet, self.now)
