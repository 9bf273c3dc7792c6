"""What a publisher's layer keeps: each packet once, what is missing, statistics, keyframe requests."""

from __future__ import annotations

from mana_rtc.media import rtcp
from mana_rtc.media.receive import (
    MAX_AGE,
    MAX_MISSING,
    MAX_TRIES,
    WINDOW,
    MissingPackets,
    ReceiveWindow,
    StreamStatistics,
)
from mana_rtc.media.rtcp import Nack, PictureLoss, ReportBlock, SenderReport
from mana_rtc.media.rtp import RtpPacket
from mana_rtc.media.uptrack import KEYFRAME_INTERVAL, Layer
from tests.rtc.media.packets import Camera


class Watch:
    """Notes what it is handed."""

    def __init__(self) -> None:
        self.sequences: list[int] = []
        self.restarts = 0

    def receive(self, layer: Layer, packet: RtpPacket, now: float) -> None:
        self.sequences.append(packet.sequence)

    def restarted(self, layer: Layer) -> None:
        self.restarts += 1


def packet(sequence: int, timestamp: int = 0) -> RtpPacket:
    return RtpPacket(96, sequence & 0xFFFF, timestamp, 1, b"x" * 100)


def test_each_packet_is_taken_once() -> None:
    window = ReceiveWindow()
    assert window.add(packet(65535))
    assert window.add(packet(1))
    assert window.add(packet(0))
    assert not window.add(packet(0))
    assert not window.add(packet(65535))
    assert [one.sequence for one in window.since(window.highest - 2)] == [0, 1]


def test_what_is_behind_the_window_is_not_taken() -> None:
    """Also not if its place in the ring is free: it may have been forwarded long ago."""
    window = ReceiveWindow()
    window.add(packet(1000))
    assert not window.add(packet(1000 - WINDOW))
    assert window.add(packet(1001 - WINDOW))


def test_a_sender_that_begins_anew_is_noticed() -> None:
    camera, watch = Camera(), Watch()
    layer = camera.layer(0)
    layer.watch(watch)
    layer.receive(packet(30_000), 1.0)
    for number in range(60):
        layer.receive(packet(5000 + number), 1.0)
    assert watch.restarts == 1
    assert watch.sequences[-1] == 5059


def test_missing_packets_are_asked_for_across_the_wrap() -> None:
    layer = Camera().layer(0)
    for sequence in (65533, 65534, 1, 2):
        layer.receive(packet(sequence), 10.0)
    assert rtcp.parse(layer.feedback(10.0, 0.05, 7)) == [Nack(7, 1000, (65535, 0))]
    assert layer.feedback(10.01, 0.05, 7) == b""  # a round trip has not passed
    layer.receive(packet(0), 10.04)
    assert rtcp.parse(layer.feedback(10.06, 0.05, 7)) == [Nack(7, 1000, (65535,))]
    layer.receive(packet(65535), 10.07)
    assert layer.feedback(10.2, 0.05, 7) == b""
    assert layer.statistics.lost(layer.window.highest) == 0


def test_asking_ends() -> None:
    missing = MissingPackets()
    missing.received(10, 8, 0.0)
    asked = sum(bool(missing.due(step * 0.05, 0.02)) for step in range(100))
    assert asked == MAX_TRIES
    assert missing.gave_up == 1
    assert missing.overflowed
    late = MissingPackets()
    late.received(10, 8, 0.0)
    assert late.due(MAX_AGE + 0.1, 0.02) == []
    assert len(late) == 0


def test_a_long_gap_asks_for_a_keyframe_instead() -> None:
    camera, watch = Camera(), Watch()
    layer = camera.layer(0)
    layer.watch(watch)
    layer.receive(packet(0), 1.0)
    layer.receive(packet(MAX_MISSING + 2), 1.0)
    assert rtcp.parse(layer.feedback(1.0, 0.05, 7)) == [PictureLoss(7, 1000)]


def test_keyframe_requests_are_throttled_until_one_comes() -> None:
    camera = Camera()
    layer = camera.layer(1)
    asked = 0
    for step in range(100):
        layer.want_keyframe()
        asked += bool(layer.feedback(step * 0.01, 0.02, 7))
    assert asked == 3
    assert asked <= 1.0 / KEYFRAME_INTERVAL + 1
    camera.frame(keys=True)
    assert not layer.keyframe_wanted


def test_a_retransmission_is_the_original() -> None:
    camera, watch = Camera(), Watch()
    layer = camera.layer(0)
    layer.watch(watch)
    first, second = camera.packets(0)
    layer.receive(first, 1.0)
    wrapped = RtpPacket(97, 9, second.timestamp, 5, second.sequence.to_bytes(2) + second.payload, marker=True)
    assert layer.receive_rtx(wrapped, 1.1)
    assert not layer.receive_rtx(wrapped, 1.1)
    assert not layer.receive_rtx(RtpPacket(97, 10, 0, 5, b""), 1.1)  # padding
    assert watch.sequences == [first.sequence, second.sequence]
    assert layer.statistics.recovered == 1


def test_the_receiver_report() -> None:
    """Ten expected, one lost; half a second since the SR; jitter from packets 10 ms too late."""
    statistics = StreamStatistics(8000)
    now = 50.0
    for number in range(10):
        if number != 4:
            one = packet(100 + number, 160 * number)
            one.extended = 0x10000 + 100 + number
            statistics.received(one, now + number * 0.02 + (0.01 if number % 2 else 0), recovered=False)
    statistics.sender_report(0xABCD1234, now)
    block = statistics.block(7, 0x10000 + 109, now + 0.5)
    assert block == ReportBlock(7, 25, 1, 109, int(statistics.jitter), 0xABCD1234, 32768)
    assert 20 < statistics.jitter < 80
    later = statistics.block(7, 0x10000 + 109, now + 0.6)
    assert (later.fraction_lost, later.packets_lost) == (0, 1)


def test_the_bitrate_is_that_of_the_last_second() -> None:
    statistics = StreamStatistics(90_000)
    for number in range(200):
        one = packet(number)
        one.extended = number
        statistics.received(one, 10 + number * 0.01, recovered=False)
    assert abs(statistics.bitrate(12.0) - 112 * 8 * 100) < 10_000
    assert statistics.bitrate(13.5) == 0


def test_layers_by_what_is_sent() -> None:
    camera = Camera()
    layer = camera.layer(2)
    assert not layer.is_available(camera.now)
    layer.asked_at = camera.now
    assert layer.is_available(camera.now)
    camera.frame()
    assert layer.is_live(camera.now)
    layer.paused = True
    assert layer.is_available(camera.now + 100)
    assert not layer.is_live(camera.now + 100)


def test_a_layer_that_was_never_sent_is_guessed_by_the_one_below() -> None:
    camera = Camera()
    for _ in range(40):
        camera.now += 1 / 15
        for one in camera.packets(0):
            camera.layer(0).receive(one, camera.now)
    low = camera.layer(0).bitrate(camera.now)
    for _ in range(20):
        low = camera.layer(0).bitrate(camera.now)
    assert low < 10_000
    assert camera.layer(1).bitrate(camera.now) == 3 * low
    assert camera.layer(2).bitrate(camera.now) == 150_000 * 2.8**2  # nothing is known of the one below


def test_sender_reports_are_kept() -> None:
    layer = Camera().layer(0)
    layer.sender_report(SenderReport(1000, 5 << 32, 99, 0, 0, ()), 3.0)
    assert layer.report == (5 << 32, 99, 3.0)
