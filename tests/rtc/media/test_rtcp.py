"""RTCP: what is built is what is read, NACKs cross the wrap, compound packets are read whole or refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media import rtcp
from mana_rtc.media.rtcp import FullIntraRequest, Goodbye, Nack, PictureLoss, ReceiverReport, Remb, ReportBlock

SSRC = st.integers(0, 0xFFFFFFFF)
BLOCK = st.builds(
    ReportBlock,
    SSRC,
    st.integers(0, 255),
    st.integers(-0x800000, 0x7FFFFF),
    SSRC,
    SSRC,
    SSRC,
    SSRC,
)


def test_a_nack_across_the_wrap_is_one_pair() -> None:
    packet = rtcp.nack(1, 2, [65535, 0])
    assert len(packet) == 16
    assert rtcp.parse(packet) == [Nack(1, 2, (65535, 0))]


@given(st.integers(0, 0xFFFF), st.sets(st.integers(0, 300), min_size=1, max_size=60))
def test_nacks_name_what_is_missing_in_order(start: int, offsets: set[int]) -> None:
    missing = [(start + offset) & 0xFFFF for offset in sorted(offsets)]
    (packet,) = rtcp.parse(rtcp.nack(1, 2, missing))
    assert packet == Nack(1, 2, tuple(missing))


@given(SSRC, st.lists(BLOCK, max_size=40))
def test_receiver_reports(ssrc: int, blocks: list[ReportBlock]) -> None:
    packets = rtcp.parse(rtcp.receiver_report(ssrc, blocks))
    assert all(isinstance(packet, ReceiverReport) and packet.ssrc == ssrc for packet in packets)
    assert [block for packet in packets for block in packet.blocks] == blocks  # type: ignore[union-attr]


def test_a_compound_packet() -> None:
    data = (
        rtcp.sender_report(1, 2 << 32 | 3, 4, 5, 6)
        + rtcp.source_description(1, "somebody")
        + rtcp.picture_loss(7, 8)
        + rtcp.goodbye([1])
    )
    report, loss, goodbye = rtcp.parse(data)
    assert report == rtcp.SenderReport(1, 2 << 32 | 3, 4, 5, 6, ())
    assert loss == PictureLoss(7, 8)
    assert goodbye == Goodbye((1,))


def test_a_padded_compound_packet_is_read_whole() -> None:
    """aiortc's parser drops it."""
    padded = bytearray(rtcp.picture_loss(1, 2) + b"\0\0\0\4")
    padded[0] |= 0x20
    padded[3] += 1
    assert rtcp.parse(rtcp.receiver_report(1, []) + bytes(padded)) == [ReceiverReport(1, ()), PictureLoss(1, 2)]


@given(st.integers(0, 2**60), st.lists(SSRC, max_size=5))
def test_remb(bitrate: int, ssrcs: list[int]) -> None:
    (packet,) = rtcp.parse(rtcp.remb(1, bitrate, ssrcs))
    assert isinstance(packet, Remb)
    assert packet.ssrcs == tuple(ssrcs)
    assert packet.bitrate <= bitrate <= packet.bitrate + bitrate / 2**16 + 1


def test_full_intra_requests() -> None:
    body = (1).to_bytes(4) + (0).to_bytes(4) + (5).to_bytes(4) + b"\1\0\0\0" + (6).to_bytes(4) + b"\1\0\0\0"
    data = bytes((0x84, 206)) + (len(body) // 4).to_bytes(2) + body
    assert rtcp.parse(data) == [FullIntraRequest(1, (5, 6))]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80\xc8\x00",
        b"\x40\xc8\x00\x00",  # version 1
        b"\x80\xc8\x00\x01" + bytes(4),  # an SR that is none
        b"\x81\xc9\x00\x01" + bytes(4),  # an RR without its block
        b"\x80\xcd\x00\x09" + bytes(4),  # longer than the datagram
        b"\xa0\xcd\x00\x01\x00\x00\x00\x09",  # padding longer than the packet
        b"\x80\xc9\x00\x01\x00\x00\x00\x00\x80",  # something behind
        b"\x82\xcb\x00\x01" + bytes(4),  # a BYE of two that names one
        b"\x80\xca\x00\x00" * 65,
        rtcp.nack(1, 2, range(0, 60000, 20)),
    ],
)
def test_malformed_packets_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        rtcp.parse(data)


@given(st.binary(max_size=80), st.sampled_from([200, 201, 202, 203, 204, 205, 206, 207]), st.integers(0, 63))
def test_nothing_but_value_errors(body: bytes, packet_type: int, bits: int) -> None:
    with contextlib.suppress(ValueError):
        rtcp.parse(bytes((0x80 | bits, packet_type)) + (len(body) // 4).to_bytes(2) + body)


def test_times() -> None:
    assert rtcp.ntp_time(0.5) == rtcp.NTP_EPOCH << 32 | 1 << 31
    assert rtcp.ntp_middle(0x11112222_33334444) == 0x22223333
