"""``python -m tests.rtc.fuzz --seconds N [--seed N]``: feeds mutated input to everything that reads what others send.

A target may refuse with its own error and nothing else, and must answer at once. What breaks that is written to
``tests/rtc/cases/<target>-<hash>``, prints its traceback, and is replayed by ``test_fuzz.py`` for ever after.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import time
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import google_crc32c

from mana_rtc.media import negotiation, rtcp, rtp, sdp, twcc
from mana_rtc.media.negotiation import TransportParameters
from mana_rtc.media.payloads import INSPECTORS, PictureMunger
from mana_rtc.media.rtp import MAX_DATAGRAM, RtpPacket
from mana_rtc.media.twcc import FeedbackRecorder
from mana_rtc.sfu.backend import ParticipantInfo
from mana_rtc.sfu.config import SfuConfig
from mana_rtc.sfu.publisher import Publisher
from mana_rtc.sfu.room import Room
from mana_rtc.transport import stun
from mana_rtc.transport.aiortc_parts import Association, Dtls, Identity
from mana_rtc.transport.config import TransportConfig
from mana_rtc.transport.mux import Mux
from mana_rtc.transport.tcp import TcpPath
from tests.rtc.media.sdps import CHROMIUM_OFFER
from tests.rtc.media.test_payloads import vp8

CASES = Path(__file__).parent / "cases"
#: Seconds of processor time that one input may take: by the clock, a busy machine would be found guilty.
PATIENCE = 1.0
#: Finds after which it stops: they are likely to be one.
MAX_BROKEN = 20
OURS = TransportParameters("ufrag123", "p" * 24, "AB", ())


def _parse_sdp(data: bytes) -> None:
    try:
        negotiation.answer(
            sdp.parse(data.decode("utf-8", "replace")), OURS, video_codecs=("VP8",), max_message_size=1, version=1
        )
    except sdp.SdpError:
        return


def _parse_stun(data: bytes) -> None:
    try:
        stun.parse(data).verify("password")
    except ValueError:
        return


def _parse_rtp(data: bytes) -> None:
    try:
        packet = rtp.parse(data)
    except ValueError:
        return
    munger = PictureMunger()
    for inspect in INSPECTORS.values():
        frame = inspect(packet.payload)
        munger.switch(frame)
        munger.rewrite(packet.payload, frame)


def _parse_rtcp(data: bytes) -> None:
    try:
        for packet in rtcp.parse(data):
            if isinstance(packet, rtcp.TransportFeedback):
                twcc.parse(packet.body)
    except ValueError:
        return


class _Deaf:
    """A mux and its peers, for a room without a network."""

    def __init__(self) -> None:
        self.identity = Identity()
        self.is_connected = True
        self.is_closed = False
        self.round_trip = 0.05

    def new_peer(self, handler: Any, *, max_channels: int = 0) -> Any:
        return self

    def send_rtcp(self, data: bytes) -> None:
        """Into the void."""

    def send_rtp(self, header: bytes, payload: bytes, ssrc: int, sequence: int) -> int:
        return len(header) + len(payload)

    def tick(self, now: float, timeout: float) -> None:
        """There is no ICE to keep alive."""

    def close(self, reason: str = "") -> None:
        """The next input begins with a fresh room."""


class _Pipeline:
    """A publisher and a subscriber of one room, behind decryption."""

    def __init__(self) -> None:
        self._mux = _Deaf()
        self._now = 1000.0
        self._count = 0
        self._renew()

    def _renew(self) -> None:
        room = self._room = Room(
            "room",
            self._mux,  # type: ignore[arg-type]
            SfuConfig(),
            listener=lambda event: None,
            clock=lambda: self._now,
            call_soon=lambda work: None,
            interval=0.015,
        )
        ann, ben = (room.join(ParticipantInfo(id=name, user_id=name, username=name)) for name in ("ann", "ben"))
        self._publisher = ann.publisher = Publisher(ann)
        offer = sdp.parse(CHROMIUM_OFFER)
        answer = negotiation.answer(offer, OURS, video_codecs=("VP8",), max_message_size=1, version=1)
        self._publisher._apply(answer, {})
        ben.ready()
        assert ben.subscriber is not None
        self._subscriber = ben.subscriber
        self._subscriber._extension = negotiation.TRANSPORT_CC_ID
        for slot in self._subscriber.slots:
            slot.answered = True

    def __call__(self, data: bytes) -> None:
        self._now += 0.004
        self._count += 1
        if self._count % 20_000 == 0:
            self._renew()
        for receive in (
            self._publisher.rtp_received,
            self._publisher.rtcp_received,
            self._subscriber.rtcp_received,
        ):
            try:
                receive(data, self._now)
            except ValueError:
                continue
        if self._count % 5 == 0:
            self._room.tick(self._now)


class _Handshake:
    """A DTLS server that has not finished its handshake."""

    def __init__(self) -> None:
        self._identity = Identity()
        self._count = 0

    def __call__(self, data: bytes) -> None:
        if self._count % 500 == 0:
            self._dtls = Dtls(self._identity, [("sha-256", "AB")], lambda sent: None)
        self._count += 1
        self._dtls.receive(data)
        assert not self._dtls.connected


class _Sctp:
    """A server's association, which has no peer that answers sensibly."""

    def __init__(self) -> None:
        self._identity = Identity()
        self._count = 0
        self._loop = asyncio.new_event_loop()
        weakref.finalize(self, self._loop.close)

    def _renew(self) -> None:
        dtls = Dtls(self._identity, [("sha-256", "AB")], lambda sent: None)
        self._association = Association(
            dtls,
            remote_port=5000,
            remote_max_message_size=65536,
            max_channels=8,
            on_channel=lambda channel: None,
            on_message=lambda channel, message: None,
        )

    def __call__(self, data: bytes) -> None:
        # Most mutated packets have a wrong checksum, and would go no further.
        if len(data) >= 12:
            data = data[:8] + bytes(4) + data[12:]
            data = data[:8] + google_crc32c.value(data).to_bytes(4, "little") + data[12:]
        self._loop.run_until_complete(self._feed(data))

    async def _feed(self, data: bytes) -> None:
        if self._count % 200 == 0 or self._association.failed:
            if self._count:
                self._association.abort()
            self._renew()
        self._count += 1
        self._association.receive(data)


class _Stream:
    """A TCP connection whose peer has proved nothing, behind the listening socket."""

    def __init__(self) -> None:
        loop = asyncio.new_event_loop()
        self._mux = Mux(TransportConfig(addresses=("127.0.0.1",)), loop)
        self._mux.new_peer(_Silent())
        weakref.finalize(self, loop.close)

    def __call__(self, data: bytes) -> None:
        endpoint = self._mux._tcp
        path = TcpPath(endpoint)
        for start in range(0, len(data), 37):
            path.data_received(data[start : start + 37])
            assert len(path._buffer) <= MAX_DATAGRAM + 2 + 37
        assert path.peer is None


class _Silent:
    """Whoever has a transport and is told nothing."""

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: None


def _camera_packet(number: int, layer: int) -> bytes:
    extensions = {3: bytes((0, number)), 4: b"1", 10: b"qhf"[layer : layer + 1]}
    payload = vp8(number, number, key=number % 3 == 0)
    packet = RtpPacket(96, number, number * 3000, 2000 + layer, payload, marker=True, extensions=extensions)
    return rtp.build(packet)


def _seeds() -> dict[str, list[bytes]]:
    recorder = FeedbackRecorder()
    for number in (65530, 65531, 1, 2, 9):
        recorder.received(number, number * 0.001)
    feedback = rtcp.transport_feedback(1, 1111, recorder.feedback()[0])
    block = rtcp.ReportBlock(1111, 1, 2, 3, 4, 5, 6)
    control = [
        feedback,
        rtcp.nack(1, 1111, [65535, 0, 5]),
        rtcp.picture_loss(1, 2),
        rtcp.remb(1, 500_000, [1111]),
        rtcp.sender_report(1111, 1 << 40, 5, 6, 7) + rtcp.source_description(1, "x"),
        rtcp.receiver_report(1, [block]) + rtcp.goodbye([5]),
    ]
    media = [_camera_packet(number, layer) for number in range(6) for layer in range(3)]
    media += [
        rtp.build(RtpPacket(111, 5, 960, 1111, b"opus", extensions={1: b"\x8a", 3: b"\0\1", 4: b"0"})),
        rtp.build(RtpPacket(97, 5, 960, 3000, b"\0\1" + vp8(1), extensions={4: b"1", 11: b"q"})),
    ]
    hello = (
        bytes.fromhex("16feff0000000000000000002a0100001e000000000000001efefd") + bytes(32) + b"\0\0\0\2\xc0\x2b\1\0"
    )
    longer = rtp.build(
        RtpPacket(96, 9, 9, 2000, vp8(9, key=True), extensions={4: b"1", 10: b"q", 20: bytes(40), 3: b"\0\7"})
    )
    media += [longer, bytes((longer[0] | 0x22, *longer[1:12])) + bytes(8) + longer[12:] + b"\0\0\3"]
    control += [
        b"\xa0" + rtcp.picture_loss(1, 2)[1:3] + b"\3" + rtcp.picture_loss(1, 2)[4:] + b"\0\0\0\4",
        rtcp.receiver_report(1, [block] * 31) + rtcp.nack(1, 1111, range(0, 600, 7)) + rtcp.remb(1, 1, [1, 2, 3]),
    ]
    chunk = b"\1\0\0\x14" + bytes((0, 0, 0, 5, 0, 1, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)) + bytes(4)
    datum = b"\0\3\0\x1c" + bytes((0, 0, 0, 1, 0, 1, 0, 0, 0, 0, 0, 50)) + b"\3\0\0\0\0\0\0\0\0\4\0\0chat"
    sack = b"\3\0\0\x14" + bytes((0, 0, 0, 9, 0, 0, 0xFF, 0xFF, 0, 1, 0, 0, 0, 2, 0, 3))
    sctp = [
        b"\x13\x88\x13\x88" + bytes(8) + one for one in (chunk, datum, sack, datum + sack, b"\x82\0\0\x14" + bytes(16))
    ]
    checks = [stun.binding_request("a:b", "password")[0], stun.binding_response(b"x" * 12, ("::1", 5), "password")]
    return {
        "sdp": [
            CHROMIUM_OFFER.encode(),
            CHROMIUM_OFFER.replace("\n", "\r\n").replace(sdp.TRANSPORT_CC_URI, sdp.ABS_SEND_TIME_URI).encode(),
        ],
        "sctp": sctp,
        "tcp": [b"".join(len(one).to_bytes(2) + one for one in (checks[0], hello, *media[:2]))],
        "stun": checks,
        "rtp": media,
        "rtcp": control,
        "pipeline": [*media, *control],
        "dtls": [hello, b"\x14\xfe\xfd" + bytes(8) + b"\0\1\1"],
    }


def targets() -> dict[str, Callable[[bytes], None]]:
    """What is fed, by name."""
    return {
        "sdp": _parse_sdp,
        "stun": _parse_stun,
        "rtp": _parse_rtp,
        "rtcp": _parse_rtcp,
        "pipeline": _Pipeline(),
        "dtls": _Handshake(),
        "sctp": _Sctp(),
        "tcp": _Stream(),
    }


def mutate(data: bytes, chance: Random, others: list[bytes]) -> bytes:
    """A few changes: bits, numbers at their limits, cuts, repeats, and parts of other inputs."""
    made = bytearray(data)
    for _ in range(chance.choice((0, 1, 1, 2, 3, 8))):
        position = chance.randrange(len(made) + 1)
        kind = chance.randrange(7)
        if kind == 0 and position < len(made):
            made[position] ^= 1 << chance.randrange(8)
        elif kind == 1 and position < len(made):
            made[position] = chance.choice((0, 1, 127, 128, 255, chance.randrange(256)))
        elif kind == 2:
            del made[position : position + chance.choice((1, 2, 4, 20))]
        elif kind == 3:
            made[position:position] = chance.randbytes(chance.choice((1, 2, 4, 16)))
        elif kind == 4:
            made[position:position] = made[position : position + 40] * chance.choice((1, 2, 30))
        elif kind == 5 and position + 2 <= len(made):
            made[position : position + 2] = chance.choice((b"\0\0", b"\xff\xff", b"\x7f\xff", b"\0\1"))
        else:
            other = chance.choice(others)
            cut = chance.randrange(len(other) + 1)
            made[position:] = other[cut:]
    return bytes(made[:70_000])


def main() -> int:
    """0 if nothing broke."""
    parser = argparse.ArgumentParser(prog="python -m tests.rtc.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    chance = Random(options.seed)
    print(f"seed {options.seed}")
    fed, seeds = targets(), _seeds()
    counts = dict.fromkeys(fed, 0)
    broken = 0
    deadline = time.monotonic() + options.seconds
    while time.monotonic() < deadline and broken < MAX_BROKEN:
        name = chance.choice(list(fed))
        for _ in range(200):
            data = mutate(chance.choice(seeds[name]), chance, seeds[name])
            counts[name] += 1
            began = time.thread_time()
            try:
                fed[name](data)
                assert time.thread_time() - began < PATIENCE, "that took too long"
            except Exception:
                broken += 1
                case = CASES / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}"
                case.write_bytes(data)
                print(f"{case}:\n{traceback.format_exc()}")
                fed = targets()
    print(", ".join(f"{name} {count:,}" for name, count in counts.items()), f"- {broken} broken")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
