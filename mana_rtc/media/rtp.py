"""RTP packets (RFC 3550 section 5.1) and their header extensions (RFC 8285): strict, bounded, one pass."""

from __future__ import annotations

from collections.abc import Mapping
from struct import Struct
from types import MappingProxyType
from typing import Any

HEADER_LENGTH = 12
#: Bytes of the largest datagram that is looked at. Ethernet's MTU; WebRTC sends less.
MAX_DATAGRAM = 1500
#: Profiles of RFC 8285: one-byte, and two-byte with its four application bits.
ONE_BYTE = 0xBEDE
TWO_BYTE = 0x1000

_HEADER = Struct("!BBHII")
_EXTENSION = Struct("!HH")
_NONE: Mapping[int, bytes] = MappingProxyType({})


class RtpPacket:
    """A parsed packet. ``extensions`` maps ids to values; ``payload`` is without padding.

    ``extended`` and ``frame`` are filled in on the packet's way: the sequence number without wraps, and what the codec
    says of the payload.
    """

    __slots__ = (
        "extended",
        "extensions",
        "frame",
        "marker",
        "payload",
        "payload_type",
        "sequence",
        "ssrc",
        "timestamp",
    )

    def __init__(
        self,
        payload_type: int,
        sequence: int,
        timestamp: int,
        ssrc: int,
        payload: bytes,
        *,
        marker: bool = False,
        extensions: Mapping[int, bytes] = _NONE,
    ) -> None:
        self.payload_type = payload_type
        self.marker = marker
        self.sequence = sequence
        self.timestamp = timestamp
        self.ssrc = ssrc
        self.payload = payload
        self.extensions = extensions
        self.extended = -1
        self.frame: Any = None

    def __repr__(self) -> str:
        return (
            f"RtpPacket(pt={self.payload_type}, seq={self.sequence}, ts={self.timestamp}, ssrc={self.ssrc}, "
            f"{len(self.payload)} bytes{', marker' if self.marker else ''})"
        )


def parse(data: bytes) -> RtpPacket:
    """The packet in a datagram. Raises ``ValueError`` for anything that is not exactly one RTP packet."""
    length = len(data)
    if length < HEADER_LENGTH or length > MAX_DATAGRAM:
        raise ValueError("RTP packet of a wrong size")
    first, second, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if first >> 6 != 2:
        raise ValueError("not RTP version 2")
    offset = HEADER_LENGTH + 4 * (first & 0x0F)
    extensions = _NONE
    if first & 0x10:
        if length < offset + 4:
            raise ValueError("RTP extension is cut off")
        profile, words = _EXTENSION.unpack_from(data, offset)
        offset += 4
        end = offset + 4 * words
        if length < end:
            raise ValueError("RTP extension is cut off")
        extensions = _extensions(data, profile, offset, end)
        offset = end
    end = length
    if first & 0x20:
        padding = data[-1]
        if not padding or offset + padding > length:
            raise ValueError("RTP padding is too long")
        end = length - padding
    if offset > end:
        raise ValueError("RTP header is cut off")
    packet = RtpPacket(second & 0x7F, sequence, timestamp, ssrc, data[offset:end], extensions=extensions)
    packet.marker = second > 0x7F
    return packet


def _extensions(data: bytes, profile: int, offset: int, end: int) -> Mapping[int, bytes]:
    if profile == ONE_BYTE:
        return _one_byte(data, offset, end)
    if profile & 0xFFF0 == TWO_BYTE:
        return _two_byte(data, offset, end)
    return _NONE  # a profile of somebody else's: RFC 3550 has it ignored


def _one_byte(data: bytes, offset: int, end: int) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    while offset < end:
        head = data[offset]
        offset += 1
        if not head:
            continue  # padding
        identifier = head >> 4
        if identifier == 15:
            break  # RFC 8285 section 4.2: stop here
        after = offset + (head & 0x0F) + 1
        if after > end:
            raise ValueError("RTP extension element is cut off")
        if identifier:
            found[identifier] = data[offset:after]
        offset = after
    return found


def _two_byte(data: bytes, offset: int, end: int) -> Mapping[int, bytes]:
    found: dict[int, bytes] = {}
    while offset < end:
        identifier = data[offset]
        offset += 1
        if not identifier:
            continue
        if offset >= end:
            raise ValueError("RTP extension element is cut off")
        after = offset + 1 + data[offset]
        if after > end:
            raise ValueError("RTP extension element is cut off")
        found[identifier] = data[offset + 1 : after]
        offset = after
    return found


def build(packet: RtpPacket) -> bytes:
    """The bytes of a packet. Extensions are written one-byte where they fit, else two-byte."""
    extensions = packet.extensions
    head = _HEADER.pack(
        0x90 if extensions else 0x80,
        packet.payload_type | (0x80 if packet.marker else 0),
        packet.sequence,
        packet.timestamp,
        packet.ssrc,
    )
    return head + (build_extensions(extensions) if extensions else b"") + packet.payload


def build_extensions(extensions: Mapping[int, bytes]) -> bytes:
    """The extension block: profile, length in words, elements, padding."""
    if all(1 <= identifier <= 14 and 1 <= len(value) <= 16 for identifier, value in extensions.items()):
        profile = ONE_BYTE
        block = b"".join(bytes((identifier << 4 | len(value) - 1,)) + value for identifier, value in extensions.items())
    else:
        profile = TWO_BYTE
        block = b"".join(bytes((identifier, len(value))) + value for identifier, value in extensions.items())
    block += bytes(-len(block) % 4)
    return _EXTENSION.pack(profile, len(block) // 4) + block


def is_rtcp(data: bytes) -> bool:
    """Whether a datagram of RTP's first byte is RTCP (RFC 5761 section 4): packet types 192 to 223."""
    return len(data) > 1 and 192 <= data[1] <= 223


def audio_level(value: bytes) -> int | None:
    """The level of RFC 6464 in -dBov, 0 (loud) to 127 (silent); ``None`` where there is none."""
    return value[0] & 0x7F if value else None
