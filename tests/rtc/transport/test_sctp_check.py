"""SCTP packets that would have aiortc loop for ever, or work for seconds, are refused before it sees them."""

from __future__ import annotations

import struct
import time

import google_crc32c
import pytest

from mana_rtc.transport import sctp_check
from mana_rtc.transport.aiortc_parts import MAX_MISORDERED, Association, Dtls, Identity


def packet(*chunks: bytes, tag: int = 0) -> bytes:
    """Chunks with the header in front and a right checksum."""
    head, body = struct.pack("!HHI", 5000, 5000, tag), b"".join(chunks)
    return head + google_crc32c.value(head + bytes(4) + body).to_bytes(4, "little") + body


def chunk(kind: int, body: bytes, flags: int = 0) -> bytes:
    return struct.pack("!BBH", kind, flags, len(body) + 4) + body + bytes(-len(body) % 4)


def sack(*gaps: tuple[int, int]) -> bytes:
    return chunk(3, struct.pack("!IIHH", 1, 2, len(gaps), 0) + b"".join(struct.pack("!HH", *gap) for gap in gaps))


INIT = struct.pack("!IIHHI", 5, 1 << 20, 10, 10, 1)

GOOD = [
    packet(chunk(1, INIT)),
    packet(chunk(1, INIT + b"\xc0\0\0\4" + b"\x80\x08\0\6\xc0\x82\0\0")),
    packet(chunk(4, b"\0\1\0\x08beat"), sack((2, 2), (5, 9))),
    packet(chunk(0, bytes(12) + b"x"), chunk(192, bytes(8))),
    packet(chunk(77, b"unknown")),
]
BAD = {
    "a parameter of length 0": packet(chunk(1, INIT + bytes(8))),
    "a heartbeat of nothing": packet(chunk(4, bytes(4))),
    "a parameter that is cut off": packet(chunk(130, b"\0\x0d\0\x20" + bytes(12))),
    "gaps over everything": packet(sack(*[(1, 65535)] * 200)),
    "a gap that ends before it begins": packet(sack((5, 4))),
    "gaps that are not there": packet(chunk(3, struct.pack("!IIHH", 1, 2, 9, 0))),
    "a short SACK": packet(chunk(3, b"\0\0")),
    "a chunk longer than the packet": packet(b"\0\3\xff\xff"),
    "a chunk of no length": packet(b"\0\3\0\0"),
    "data without data": packet(chunk(0, bytes(12))),
    "half a stream": packet(chunk(192, bytes(6))),
    "a short INIT": packet(chunk(1, bytes(8))),
    "too many chunks": packet(*[chunk(11, b"")] * 300),
}


@pytest.mark.parametrize("data", GOOD)
def test_what_peers_send_passes(data: bytes) -> None:
    sctp_check.check(data)


IDENTITY = Identity()


def association() -> Association:
    return Association(
        Dtls(IDENTITY, [], lambda data: None),
        remote_port=5000,
        remote_max_message_size=65536,
        max_channels=2,
        on_channel=lambda channel: None,
        on_message=lambda channel, message: None,
    )


@pytest.mark.parametrize("what", BAD)
async def test_what_would_hurt_ends_the_association_at_once(what: str) -> None:
    with pytest.raises(ValueError, match="SCTP"):
        sctp_check.check(BAD[what])
    made = association()
    began = time.thread_time()
    made.receive(BAD[what])
    assert time.thread_time() - began < 0.5
    assert made.failed


@pytest.mark.parametrize("step", [1, 2])
async def test_fragments_without_end_are_bounded(step: int) -> None:
    """The first fragment of a message of one byte each, in order and with gaps."""
    made = association()
    made.receive(packet(chunk(1, INIT)))
    tag = made._sctp._local_verification_tag
    for number in range(MAX_MISORDERED + 10):
        body = struct.pack("!IHHI", 1 + number * step, 0, 0, 51) + b"x"
        made.receive(packet(chunk(0, body, flags=0 if number else 2), tag=tag))
    assert made.failed
    assert sum(len(one.reassembly) for one in made._sctp._inbound_streams.values()) <= MAX_MISORDERED + 1
