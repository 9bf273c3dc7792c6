"""RTP packets: what is read is what was written, and nonsense is refused with ValueError and nothing else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media import rtp
from mana_rtc.media.rtp import RtpPacket

EXTENSIONS = st.one_of(
    st.dictionaries(st.integers(1, 14), st.binary(min_size=1, max_size=16), max_size=4),
    st.dictionaries(st.integers(1, 255), st.binary(max_size=40), max_size=4),
)


@given(
    st.builds(
        RtpPacket,
        st.integers(0, 127),
        st.integers(0, 0xFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.integers(0, 0xFFFFFFFF),
        st.binary(max_size=200),
        marker=st.booleans(),
        extensions=EXTENSIONS,
    )
)
def test_a_packet_survives_the_wire(packet: RtpPacket) -> None:
    read = rtp.parse(rtp.build(packet))
    for name in ("payload_type", "sequence", "timestamp", "ssrc", "payload", "marker"):
        assert getattr(read, name) == getattr(packet, name)
    assert dict(read.extensions) == dict(packet.extensions)


def test_padding_and_contributing_sources_are_no_payload() -> None:
    header = bytes((0xA1, 96)) + b"\0\1" + bytes(8) + b"csrc"
    assert rtp.parse(header + b"data" + b"\0\0\3").payload == b"data"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x80",
        bytes(12),  # version 0
        b"\x90" + bytes(11),  # an extension that is not there
        b"\x90" + bytes(11) + b"\xbe\xde\x00\x09",  # and one that is cut off
        b"\x90" + bytes(11) + b"\xbe\xde\x00\x01\x1f\x00\x00\x00",  # an element longer than its block
        b"\x8f" + bytes(11),  # contributing sources that are not there
        b"\xa0" + bytes(11) + b"\x09",  # more padding than packet
        b"\xa0" + bytes(11) + b"\x00",  # padding of no length
        b"\x80" + bytes(1500),
    ],
)
def test_malformed_packets_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        rtp.parse(data)


@given(st.binary(max_size=120).map(lambda data: b"\x90" + data))
def test_nothing_but_value_errors(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        rtp.parse(data)


def test_audio_levels() -> None:
    assert rtp.audio_level(b"\x8a") == 10  # with the bit that tells of voice
    assert rtp.audio_level(b"\x7f") == 127
    assert rtp.audio_level(b"") is None
