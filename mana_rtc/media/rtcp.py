"""RTCP packets: RFC 3550 section 6 (SR, RR, SDES, BYE), RFC 4585 (NACK, PLI), RFC 5104 (FIR), REMB, transport-cc.

``parse`` takes a compound or reduced-size packet (RFC 5506) apart. Unknown types are skipped, as RFC 3550 asks; a
packet whose lengths do not add up is refused whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct
from typing import NamedTuple

from mana_rtc.media.serial import newer16

SENDER_REPORT, RECEIVER_REPORT, SOURCE_DESCRIPTION, GOODBYE = 200, 201, 202, 203
TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK = 205, 206
NACK_FORMAT, TRANSPORT_CC_FORMAT = 1, 15
PLI_FORMAT, FIR_FORMAT, APPLICATION_FORMAT = 1, 4, 15
#: Packets in a compound packet, and sequence numbers in all of its NACKs, that are looked at.
MAX_PACKETS = 64
MAX_NACKED = 1024

_HEAD = Struct("!BBH")
_SENDER = Struct("!IQIII")
_BLOCK = Struct("!IIIIII")
_TWO_SSRCS = Struct("!II")
_NACK = Struct("!HH")
#: Seconds between 1900 and 1970 (RFC 5905).
NTP_EPOCH = 2_208_988_800


class ReportBlock(NamedTuple):
    """What a receiver tells about one stream (RFC 3550 section 6.4.1).

    ``fraction_lost`` is in 1/256, ``jitter`` in timestamp units, ``last_report`` the middle 32 bits of an SR's NTP time
    and ``delay`` the time since it came, in 1/65536 s.
    """

    ssrc: int
    fraction_lost: int
    packets_lost: int
    highest_sequence: int
    jitter: int
    last_report: int
    delay: int


class SenderReport(NamedTuple):
    """SR: ``ntp`` is a 64-bit NTP time, ``rtp`` the timestamp of the same moment."""

    ssrc: int
    ntp: int
    rtp: int
    packets: int
    octets: int
    blocks: tuple[ReportBlock, ...]


class ReceiverReport(NamedTuple):
    """RR."""

    ssrc: int
    blocks: tuple[ReportBlock, ...]


class Goodbye(NamedTuple):
    """BYE."""

    ssrcs: tuple[int, ...]


class Nack(NamedTuple):
    """Generic NACK (RFC 4585 section 6.2.1): the sequence numbers that are missing."""

    sender: int
    ssrc: int
    sequences: tuple[int, ...]


class PictureLoss(NamedTuple):
    """PLI (RFC 4585 section 6.3.1): a keyframe is needed."""

    sender: int
    ssrc: int


class FullIntraRequest(NamedTuple):
    """FIR (RFC 5104 section 4.3.1): the streams that need a keyframe."""

    sender: int
    ssrcs: tuple[int, ...]


class Remb(NamedTuple):
    """Receiver's estimate of the bandwidth, in bits per second (draft-alvestrand-rmcat-remb-03)."""

    sender: int
    bitrate: int
    ssrcs: tuple[int, ...]


class TransportFeedback(NamedTuple):
    """Transport-wide congestion control feedback, still packed; ``mana_rtc.media.twcc`` reads it."""

    sender: int
    ssrc: int
    body: bytes


Packet = SenderReport | ReceiverReport | Goodbye | Nack | PictureLoss | FullIntraRequest | Remb | TransportFeedback


def parse(data: bytes) -> list[Packet]:
    """The packets of a datagram that are of use here. Raises ``ValueError`` if it is malformed."""
    packets: list[Packet] = []
    offset, total = 0, len(data)
    if not total:
        raise ValueError("empty RTCP packet")
    for _ in range(MAX_PACKETS):
        if total - offset < 4:
            raise ValueError("RTCP header is cut off")
        first, packet_type, words = _HEAD.unpack_from(data, offset)
        if first >> 6 != 2:
            raise ValueError("not RTCP version 2")
        end = offset + 4 + 4 * words
        if end > total:
            raise ValueError("RTCP packet is cut off")
        body_end = end
        if first & 0x20:
            # Only the last packet should be padded; others' padding does no harm and is taken off as well.
            if not words or not data[end - 1] or data[end - 1] % 4 or data[end - 1] > 4 * words:
                raise ValueError("RTCP padding is wrong")
            body_end = end - data[end - 1]
        packet = _parse_one(packet_type, first & 0x1F, data[offset + 4 : body_end])
        if packet is not None:
            packets.append(packet)
        offset = end
        if offset == total:
            return packets
    raise ValueError("too many packets in one RTCP packet")


def _parse_one(packet_type: int, count: int, body: bytes) -> Packet | None:
    if packet_type == SENDER_REPORT:
        if len(body) < 24 + 24 * count:
            raise ValueError("RTCP SR is cut off")
        ssrc, ntp, rtp, packets, octets = _SENDER.unpack_from(body)
        return SenderReport(ssrc, ntp, rtp, packets, octets, _blocks(body, 24, count))
    if packet_type == RECEIVER_REPORT:
        if len(body) < 4 + 24 * count:
            raise ValueError("RTCP RR is cut off")
        return ReceiverReport(int.from_bytes(body[:4]), _blocks(body, 4, count))
    if packet_type == GOODBYE:
        if len(body) < 4 * count:
            raise ValueError("RTCP BYE is cut off")
        return Goodbye(tuple(int.from_bytes(body[4 * i : 4 * i + 4]) for i in range(count)))
    if packet_type in (TRANSPORT_FEEDBACK, PAYLOAD_FEEDBACK):
        if len(body) < 8:
            raise ValueError("RTCP feedback is cut off")
        sender, ssrc = _TWO_SSRCS.unpack_from(body)
        if packet_type == TRANSPORT_FEEDBACK:
            return _parse_transport(count, sender, ssrc, body[8:])
        return _parse_payload(count, sender, ssrc, body[8:])
    return None


def _blocks(body: bytes, offset: int, count: int) -> tuple[ReportBlock, ...]:
    blocks = []
    for position in range(offset, offset + 24 * count, 24):
        ssrc, loss, highest, jitter, last_report, delay = _BLOCK.unpack_from(body, position)
        lost = loss & 0xFFFFFF
        blocks.append(
            ReportBlock(
                ssrc, loss >> 24, lost - 0x1000000 if lost & 0x800000 else lost, highest, jitter, last_report, delay
            )
        )
    return tuple(blocks)


def _parse_transport(fmt: int, sender: int, ssrc: int, body: bytes) -> Packet | None:
    if fmt == TRANSPORT_CC_FORMAT:
        return TransportFeedback(sender, ssrc, body)
    if fmt != NACK_FORMAT:
        return None
    sequences: list[int] = []
    for offset in range(0, len(body) - 3, 4):
        first, mask = _NACK.unpack_from(body, offset)
        sequences.append(first)
        sequences += [(first + bit + 1) & 0xFFFF for bit in range(16) if mask >> bit & 1]
        if len(sequences) > MAX_NACKED:
            raise ValueError("RTCP NACK asks for too much")
    return Nack(sender, ssrc, tuple(sequences))


def _parse_payload(fmt: int, sender: int, ssrc: int, body: bytes) -> Packet | None:
    if fmt == PLI_FORMAT:
        return PictureLoss(sender, ssrc)
    if fmt == FIR_FORMAT:
        return FullIntraRequest(sender, tuple(int.from_bytes(body[i : i + 4]) for i in range(0, len(body) - 7, 8)))
    if fmt == APPLICATION_FORMAT and body[:4] == b"REMB":
        if len(body) < 8 or len(body) < 8 + 4 * body[4]:
            raise ValueError("REMB is cut off")
        mantissa = int.from_bytes(body[5:8])
        bitrate = (mantissa & 0x3FFFF) << (mantissa >> 18)
        return Remb(sender, bitrate, tuple(int.from_bytes(body[8 + 4 * i : 12 + 4 * i]) for i in range(body[4])))
    return None


# -- Building ----------------------------------------------------------------------------------------------------------


def _packet(packet_type: int, count: int, body: bytes) -> bytes:
    return _HEAD.pack(0x80 | count, packet_type, len(body) // 4) + body


def _packed_blocks(blocks: Iterable[ReportBlock]) -> bytes:
    return b"".join(
        _BLOCK.pack(
            block.ssrc,
            block.fraction_lost << 24 | max(-0x800000, min(block.packets_lost, 0x7FFFFF)) & 0xFFFFFF,
            block.highest_sequence & 0xFFFFFFFF,
            min(block.jitter, 0xFFFFFFFF),
            block.last_report,
            min(block.delay, 0xFFFFFFFF),
        )
        for block in blocks
    )


def sender_report(ssrc: int, ntp: int, rtp: int, packets: int, octets: int) -> bytes:
    """An SR without blocks."""
    return _packet(
        SENDER_REPORT,
        0,
        _SENDER.pack(ssrc, ntp & (1 << 64) - 1, rtp & 0xFFFFFFFF, packets & 0xFFFFFFFF, octets & 0xFFFFFFFF),
    )


def receiver_report(ssrc: int, blocks: Sequence[ReportBlock]) -> bytes:
    """RRs with all blocks, 31 in each."""
    parts = [blocks[i : i + 31] for i in range(0, len(blocks), 31)] or [()]
    return b"".join(_packet(RECEIVER_REPORT, len(part), ssrc.to_bytes(4) + _packed_blocks(part)) for part in parts)


def source_description(ssrc: int, cname: str) -> bytes:
    """An SDES with a CNAME, which compound packets need (RFC 3550 section 6.1)."""
    name = cname.encode()[:255]
    chunk = ssrc.to_bytes(4) + bytes((1, len(name))) + name + b"\0"
    return _packet(SOURCE_DESCRIPTION, 1, chunk + bytes(-len(chunk) % 4))


def goodbye(ssrcs: Sequence[int]) -> bytes:
    """A BYE of at most 31 streams."""
    return _packet(GOODBYE, len(ssrcs), b"".join(ssrc.to_bytes(4) for ssrc in ssrcs))


def nack(sender: int, ssrc: int, sequences: Iterable[int]) -> bytes:
    """A generic NACK. ``sequences`` come in the order in which they were sent, also across the wrap (65535, 0)."""
    pairs: list[list[int]] = []
    for sequence in sequences:
        if pairs and newer16(sequence, pairs[-1][0]):
            bit = (sequence - pairs[-1][0] - 1) & 0xFFFF
            if bit < 16:
                pairs[-1][1] |= 1 << bit
                continue
        pairs.append([sequence, 0])
    body = _TWO_SSRCS.pack(sender, ssrc) + b"".join(_NACK.pack(first, mask) for first, mask in pairs)
    return _packet(TRANSPORT_FEEDBACK, NACK_FORMAT, body)


def picture_loss(sender: int, ssrc: int) -> bytes:
    """A PLI."""
    return _packet(PAYLOAD_FEEDBACK, PLI_FORMAT, _TWO_SSRCS.pack(sender, ssrc))


def remb(sender: int, bitrate: int, ssrcs: Sequence[int]) -> bytes:
    """A REMB; ``bitrate`` in bits per second loses what does not fit into 18 bits of mantissa."""
    exponent = max(0, bitrate.bit_length() - 18)
    mantissa = min(exponent, 63) << 18 | bitrate >> exponent
    body = b"REMB" + bytes((len(ssrcs),)) + mantissa.to_bytes(3) + b"".join(ssrc.to_bytes(4) for ssrc in ssrcs)
    return _packet(PAYLOAD_FEEDBACK, APPLICATION_FORMAT, _TWO_SSRCS.pack(sender, 0) + body)


def transport_feedback(sender: int, ssrc: int, body: bytes) -> bytes:
    """Transport-cc feedback around a body of ``mana_rtc.media.twcc``, whose length is a multiple of 4."""
    return _packet(TRANSPORT_FEEDBACK, TRANSPORT_CC_FORMAT, _TWO_SSRCS.pack(sender, ssrc) + body)


def ntp_time(unix_seconds: float) -> int:
    """A 64-bit NTP time."""
    return int((unix_seconds + NTP_EPOCH) * (1 << 32)) & (1 << 64) - 1


def ntp_middle(ntp: int) -> int:
    """The middle 32 bits of an NTP time, as report blocks carry it."""
    return ntp >> 16 & 0xFFFFFFFF
