"""The contract with aiortc's private parts: what is used of it is there and does what is expected of it."""

from __future__ import annotations

import asyncio
import inspect
import re
from importlib.metadata import version
from typing import Any

from aiortc import RTCCertificate, RTCDataChannelParameters, rtcdtlstransport, rtcsctptransport
from aiortc.rtcdatachannel import RTCDataChannel
from aiortc.rtcdtlstransport import RTCDtlsFingerprint, RTCDtlsParameters, RTCDtlsTransport
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport

from mana_rtc.transport import aiortc_parts
from mana_rtc.transport.aiortc_parts import Association, DataChannel, Dtls, Identity, datagrams


def test_the_version_is_the_one_that_was_read() -> None:
    assert version("aiortc").startswith("1.16.")


def test_signatures() -> None:
    assert list(inspect.signature(RTCCertificate._create_ssl_context).parameters) == ["self", "srtp_profiles"]
    assert list(inspect.signature(RTCSctpTransport.__init__).parameters) == ["self", "transport", "port"]
    assert list(inspect.signature(RTCSctpTransport.start).parameters) == ["self", "remoteCaps", "remotePort"]
    assert list(inspect.signature(RTCSctpTransport._handle_data).parameters) == ["self", "data"]
    assert list(inspect.signature(rtcdtlstransport.certificate_digest).parameters) == ["certificate", "algorithm"]
    for name in aiortc_parts.DIGESTS:
        assert name in rtcdtlstransport.X509_DIGEST_ALGORITHMS


def test_sctp_touches_of_its_transport_what_ours_has() -> None:
    """Whatever aiortc's association reads of its DTLS transport is on the stand-in."""
    source = inspect.getsource(rtcsctptransport.RTCSctpTransport)
    used = set(re.findall(r"self\.(?:__)?transport\.(\w+)", source))
    assert used >= {"_role", "_send_data", "_register_data_receiver"}
    stand_in = aiortc_parts._DtlsForSctp(Dtls(Identity(), [], lambda data: None))
    missing = {name for name in used if not hasattr(stand_in, name)}
    assert missing == set()


class Loopback:
    """What aiortc's DTLS transport wants of ICE, connected to ours."""

    role = "controlling"

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[bytes] = asyncio.Queue()
        self.outbox: list[bytes] = []
        self.deliver: Any = None

    async def _recv(self) -> bytes:
        return await self.inbox.get()

    async def _send(self, data: bytes) -> None:
        self.outbox.append(data)
        if self.deliver is not None:
            self.deliver(data)


class Pair:
    """Our DTLS server and aiortc's client."""

    def __init__(self, *, right: bool = True) -> None:
        self.identity = Identity()
        certificate = RTCCertificate.generateCertificate()
        fingerprints = [(one.algorithm, one.value) for one in certificate.getFingerprints()]
        if not right:
            fingerprints = [("sha-256", ":".join(["AB"] * 32))]
        self.ice = Loopback()
        self.client = RTCDtlsTransport(self.ice, [certificate])  # type: ignore[arg-type]
        self.client._set_role("client")
        self.received: list[bytes] = []
        self.on_data: Any = self.received.append
        self.server = Dtls(self.identity, fingerprints, self.ice.inbox.put_nowait)
        self.ice.deliver = self.deliver

    def deliver(self, data: bytes) -> None:
        for message in self.server.receive(data):
            self.on_data(message)

    async def connect(self) -> None:
        async with asyncio.timeout(10):
            await self.client.start(
                RTCDtlsParameters([RTCDtlsFingerprint("sha-256", self.identity.fingerprint)], "server")
            )


async def test_handshake_and_keys() -> None:
    pair = Pair()
    await pair.connect()
    assert pair.client.state == "connected"
    assert pair.server.connected
    keys = pair.server.keys
    assert keys is not None
    assert keys.profile == "SRTP_AEAD_AES_128_GCM"
    await pair.client._send_rtp(b"\x80\x60" + bytes(20))
    from mana_rtc.transport.srtp import Srtp

    assert Srtp(keys, accelerated=False).unprotect(pair.ice.outbox[-1]) == b"\x80\x60" + bytes(20)
    await pair.client.stop()
    assert pair.server.closed


async def test_another_certificate_is_refused() -> None:
    pair = Pair(right=False)
    await pair.connect()
    assert pair.server.failed
    assert not pair.server.connected
    assert pair.server.keys is None
    await pair.client.stop()


async def test_garbage_does_not_end_a_handshake_or_a_session() -> None:
    """Nor do alerts that are not encrypted, which anybody may have sent."""
    garbage = [
        b"",
        b"\x16",
        bytes((22,)) * 50,
        b"\x15\xfe\xfd\0\0\0\0\0\0\0\0\0\2\2\x28",  # fatal alert, epoch 0
        b"\x17\xfe\xfd\0\1\0\0\0\0\0\1\0\5hello",
        b"\x16\xfe\xfd\0\0\0\0\0\0\0\0\xff\xff",
        b"\x14\xfe\xfd\0\0\0\0\0\0\0\0\0\1\1",
    ]
    pair = Pair()
    deliver = pair.deliver

    def with_garbage(data: bytes) -> None:
        for one in garbage:
            deliver(one)
        deliver(data)

    pair.ice.deliver = with_garbage
    await pair.connect()
    assert pair.server.connected
    await pair.client._send_data(b"still here")
    assert pair.received == [b"still here"]
    await pair.client.stop()


async def test_a_lost_flight_is_sent_again() -> None:
    pair = Pair()
    lost = 0

    def lossy(data: bytes) -> None:
        nonlocal lost
        if lost < 1:
            lost += 1
            return
        pair.ice.inbox.put_nowait(data)

    pair.server = Dtls(pair.identity, pair.server._fingerprints, lossy)
    task = asyncio.create_task(pair.connect())
    while not task.done():
        pair.server.tick()
        await asyncio.sleep(0.02)
    await task
    assert lost == 1
    assert pair.server.connected
    await pair.client.stop()


def test_records_become_datagrams() -> None:
    def record(size: int) -> bytes:
        return b"\x16\xfe\xfd" + bytes(8) + size.to_bytes(2) + bytes(size)

    made = datagrams(record(500) + record(500) + record(500) + record(10))
    assert [len(one) for one in made] == [1026, 536]
    assert datagrams(b"") == []
    assert datagrams(b"\x16\xfe") == []


async def test_data_channels_both_ways() -> None:
    pair = Pair()
    await pair.connect()
    opened: list[DataChannel] = []
    messages: list[bytes | str] = []
    association = Association(
        pair.server,
        remote_port=5000,
        remote_max_message_size=65536,
        max_channels=2,
        on_channel=opened.append,
        on_message=lambda channel, message: messages.append(message),
    )
    pair.on_data = association.receive
    sctp = RTCSctpTransport(pair.client)
    await sctp.start(RTCSctpCapabilities(65536), 5000)
    channels = [RTCDataChannel(sctp, RTCDataChannelParameters(label=f"channel {number}")) for number in range(3)]
    back: list[bytes] = []
    channels[0].on("message", back.append)
    async with asyncio.timeout(10):
        while len(opened) < 2 or channels[2].readyState != "closed":  # the third is one too many
            await asyncio.sleep(0.01)
        channels[0].send("a text")
        channels[0].send(b"x" * 20_000)
        opened[0].send(b"an answer")
        while len(messages) < 2 or not back:
            await asyncio.sleep(0.01)
    assert messages == ["a text", b"x" * 20_000]
    assert back == [b"an answer"]
    assert {channel.label for channel in opened} == {"channel 0", "channel 1"}
    await sctp.stop()
    await pair.client.stop()


async def test_what_a_peer_breaks_in_sctp_ends_its_association_only() -> None:
    pair = Pair()
    await pair.connect()
    association = Association(
        pair.server,
        remote_port=5000,
        remote_max_message_size=65536,
        max_channels=2,
        on_channel=lambda channel: None,
        on_message=lambda channel, message: None,
    )
    import google_crc32c

    def packet(body: bytes) -> bytes:
        head = (5000).to_bytes(2) + (5000).to_bytes(2) + (0).to_bytes(4)
        checksum = google_crc32c.value(head + bytes(4) + body).to_bytes(4, "little")
        return head + checksum + body

    for body in (b"", b"\0\0\0\4", b"\1\0\0\4", b"\1\0\0\x14" + bytes(16) + b"\1\0\0\x14" + bytes(16)):
        association.receive(packet(body))
    association.receive(b"")
    assert pair.server.connected
    association.abort()
    association.receive(packet(b""))
    await pair.client.stop()
