"""One unbroken stream out of three: switches at keyframes, renumbering, sending again, reports."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media import rtcp
from mana_rtc.media.downtrack import HISTORY, MAX_RESENDS, DownTrack
from mana_rtc.media.payloads import inspect_vp8
from mana_rtc.media.rtcp import ReportBlock, SenderReport
from mana_rtc.media.rtp import RtpPacket
from mana_rtc.media.serial import difference16, difference32
from mana_rtc.media.uptrack import UpTrack
from tests.rtc.media.packets import Camera

RTX = 97
Out = tuple[int, int, int, int, bytes]


class Viewer:
    """A downtrack and what it sent."""

    def __init__(self, camera: Camera) -> None:
        self.sent: list[Out] = []
        self.down = DownTrack(
            camera.track,
            lambda *packet: self.sent.append(packet),
            ssrc=5,
            payload_type=96,
            rtx_ssrc=6,
            rtx_payload_type=RTX,
        )

    @property
    def media(self) -> list[Out]:
        return [packet for packet in self.sent if packet[3] == 5]

    @property
    def layers(self) -> list[int]:
        """Which layer each packet came from."""
        return [packet[4][-2] for packet in self.media]


def check_unbroken(viewer: Viewer) -> None:
    """Sequence numbers, picture ids and TL0PICIDX without gaps; timestamps and markers that make sense."""
    media = viewer.media
    assert media[0][1] < 0x8000
    for before, after in pairwise(media):
        assert difference16(after[1], before[1]) == 1
        one, other = inspect_vp8(before[4]), inspect_vp8(after[4])
        new_frame = before[0] > 127
        assert (other.picture_id - one.picture_id) & 0x7FFF == new_frame
        assert (other.tl0 - one.tl0) & 0xFF == new_frame
        ahead = difference32(after[2], before[2])
        assert 0 < ahead < 90_000 if new_frame else ahead == 0


def test_switches_happen_at_keyframes_and_leave_no_trace() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    camera.frame()
    assert viewer.sent == []  # nobody can begin in the middle
    camera.frame(keys=True)
    for target in (1, 2, 0, 2):
        camera.frame()
        viewer.down.set_target(camera.layer(target))
        assert camera.layer(target).keyframe_wanted
        before = viewer.layers[-1]
        camera.frame()
        if target > before:
            assert viewer.layers[-1] == before  # the old layer goes on until then
        camera.frame(keys=True)
        assert viewer.layers[-1] == target
    camera.frame()
    check_unbroken(viewer)
    assert viewer.down.switches >= 3
    assert [len(layer.watchers) for layer in camera.track.layers] == [0, 0, 1]


def test_a_smaller_layer_does_not_wait_for_the_large_keyframe() -> None:
    """Keyframes come in all layers at once; that of the layer which is being left is not sent any more."""
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(2))
    camera.frame(keys=True)
    viewer.down.set_target(camera.layer(0))
    for packet in camera.packets(2, key=True):
        camera.layer(2).receive(packet, camera.now)
    assert len(viewer.media) == 2
    for packet in camera.packets(0, key=True):
        camera.layer(0).receive(packet, camera.now)
    assert viewer.layers == [2, 2, 0, 0]
    check_unbroken(viewer)


def test_the_clocks_of_layers_are_related_by_sender_reports() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    for index, layer in enumerate(camera.track.layers):
        layer.sender_report(SenderReport(0, 7 << 32, camera.timestamps[index], 0, 0, ()), camera.now)
    camera.now += 0.03  # the next frame is late; its timestamp is not
    viewer.down.set_target(camera.layer(1))
    camera.frame(keys=True)
    first, second = viewer.media[1], viewer.media[2]
    assert difference32(second[2], first[2]) == 6000


def test_timestamps_go_on_through_a_pause() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    viewer.down.set_target(None)
    assert camera.layer(0).watchers == ()
    for _ in range(30):
        camera.frame()
    viewer.down.set_target(camera.layer(1))
    camera.frame(keys=True)
    before, after = viewer.media[1], viewer.media[2]
    assert difference16(after[1], before[1]) == 1
    assert abs(difference32(after[2], before[2]) - 31 * 6000) < 100


def test_packets_from_before_the_switch_are_ignored() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    late = camera.packets(0)
    camera.frame(keys=True)
    sent = len(viewer.sent)
    camera.layer(0).receive(late[0], camera.now)
    assert len(viewer.sent) == sent


def test_late_packets_of_the_current_layer_keep_their_place() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    layer = camera.layer(0)
    viewer.down.set_target(layer)
    camera.frame(keys=True)
    first, second = camera.packets(0)
    camera.frame()
    layer.receive(second, camera.now)
    layer.receive(first, camera.now)
    numbers = [packet[1] for packet in viewer.media]
    start = numbers[0]
    assert [number - start for number in numbers] == [0, 1, 4, 5, 3, 2]


def test_a_keyframe_whose_beginning_was_lost_is_begun_when_it_is_recovered() -> None:
    """What came behind it is still in the window and follows in order."""
    camera = Camera()
    viewer = Viewer(camera)
    layer = camera.layer(0)
    viewer.down.set_target(layer)
    camera.frame()
    start, rest = camera.packets(0, key=True)
    layer.receive(rest, camera.now)
    camera.frame()
    assert viewer.sent == []
    layer.receive_rtx(RtpPacket(97, 1, start.timestamp, 9, start.sequence.to_bytes(2) + start.payload), camera.now)
    assert len(viewer.media) == 4
    check_unbroken(viewer)


def test_a_sender_that_begins_anew_is_followed() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    layer = camera.layer(0)
    viewer.down.set_target(layer)
    camera.frame(keys=True)
    camera.sequences[0] = (camera.sequences[0] - 5000) & 0xFFFF
    for _ in range(40):
        camera.frame()
    camera.frame(keys=True)
    camera.frame()
    numbers = [packet[1] for packet in viewer.media]
    assert [number - numbers[0] for number in numbers] == list(range(len(numbers)))
    assert len(numbers) == 6


def test_missed_packets_are_sent_again_in_their_own_stream() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    camera.frame()
    missed = viewer.media[1]
    assert viewer.down.nack([missed[1]], 10.0) == len(missed[4]) + 2
    again = viewer.sent[-1]
    assert again[3] == 6
    assert again[0] == RTX | 0x80
    assert again[2] == missed[2]
    assert again[4] == missed[1].to_bytes(2) + missed[4]
    assert viewer.down.nack([missed[1]], 10.001) == 0  # just sent
    assert viewer.down.nack([(missed[1] + 1000) & 0xFFFF], 11.0) == 0  # never sent
    for step in range(20):
        viewer.down.nack([missed[1]], 12.0 + step)
    assert viewer.down.resent == MAX_RESENDS
    rtx = [packet[1] for packet in viewer.sent if packet[3] == 6]
    assert rtx == list(range(rtx[0], rtx[0] + len(rtx)))


def test_nacks_reach_over_the_wrap_of_what_is_sent() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down._highest = 0x10000 + 0xFFFD
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    camera.frame()
    assert [packet[1] for packet in viewer.media] == [0x1FFFE, 0x1FFFF, 0x20000, 0x20001]
    viewer.down.nack([0xFFFF, 0], 10.0)
    assert [packet[4][:2] for packet in viewer.sent[-2:]] == [b"\xff\xff", b"\0\0"]


@given(
    st.lists(
        st.tuples(st.sampled_from((1, 1, 1, -1, 2, -300, 600, 32767, -32767, 32768, 20000)), st.booleans()),
        min_size=2,
        max_size=300,
    )
)
def test_no_number_is_used_twice_whatever_the_publisher_does(steps: list[tuple[int, bool]]) -> None:
    """With AES-GCM two packets of one SSRC and number would give the key away."""
    track = UpTrack("t", "audio", "opus", payload_type=111, clock_rate=48000)
    sent: list[Out] = []
    down = DownTrack(track, lambda *packet: sent.append(packet), ssrc=5, payload_type=111)
    (layer,) = track.layers
    sequence = 0
    down.set_target(layer)
    for number, (step, many) in enumerate(steps):
        sequence = (sequence + step) & 0xFFFF
        # So many in a row from elsewhere are taken for a sender that began anew.
        for _ in range(60 if many else 1):
            layer.receive(RtpPacket(111, sequence, number, 7, b"x"), number * 0.01)
            sequence = (sequence + many) & 0xFFFF
    numbers = [packet[1] for packet in sent]
    assert numbers
    assert min(numbers) >= 0
    assert numbers[0] < 0x8000
    assert len(set(numbers)) == len(numbers)


def test_history_is_bounded() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    for _ in range(HISTORY):
        camera.frame()
    assert viewer.down.nack([viewer.media[0][1]], 1.0) == 0
    assert viewer.down.nack([viewer.media[-1][1]], 1.0) > 0


def test_probes_repeat_the_newest_packets() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    assert viewer.down.probe(1000) == 0
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    size = len(viewer.media[-1][4]) + 2
    assert viewer.down.probe(size) == size
    assert viewer.sent[-1][4][:2] == viewer.media[-1][1].to_bytes(2)


def test_reports_measure_the_round_trip() -> None:
    camera = Camera()
    viewer = Viewer(camera)
    assert viewer.down.sender_report(1.0, 2.0) == b""
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    (report,) = rtcp.parse(viewer.down.sender_report(camera.now + 0.1, 1_700_000_000.0))
    assert isinstance(report, SenderReport)
    assert (report.ssrc, report.packets) == (5, 2)
    assert report.octets == sum(len(packet[4]) for packet in viewer.media)
    assert difference32(report.rtp, viewer.media[-1][2]) in range(8990, 9010)
    block = ReportBlock(5, 64, 1, 0, 0, rtcp.ntp_middle(report.ntp), 65536)
    viewer.down.report_block(block, camera.now + 0.1 + 1.25)
    assert abs(viewer.down.round_trip - 0.25) < 1e-6
    assert viewer.down.fraction_lost == 0.25


def test_reports_keep_the_publishers_clock() -> None:
    """So that a subscriber plays sound and picture of one publisher together."""
    camera = Camera()
    viewer = Viewer(camera)
    viewer.down.set_target(camera.layer(0))
    camera.frame(keys=True)
    camera.layer(0).sender_report(SenderReport(1000, 1 << 32, camera.timestamps[0], 0, 0, ()), camera.now)
    (report,) = rtcp.parse(viewer.down.sender_report(camera.now + 2.0, 0.0))
    assert isinstance(report, SenderReport)
    assert report.ntp == 3 << 32
    assert difference32(report.rtp, viewer.media[-1][2]) == 6000 + 180_000
