"""The one module that touches aiortc's private parts. aiortc is pinned, and tests/rtc/transport/test_aiortc_parts.py
holds what is used of it to what is expected.

Used: how its certificates make OpenSSL contexts and which SRTP profiles libsrtp has (``RTCCertificate``,
``SRTP_PROFILES``), and its SCTP association over a DTLS transport of ours (``RTCSctpTransport``). Its peer connection
and its own DTLS transport are not used: an empty datagram from anybody ends their receive loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from aiortc import RTCCertificate, RTCDataChannel
from aiortc.rtcdtlstransport import SRTP_PROFILES, SRTPProtectionProfile, certificate_digest
from aiortc.rtcsctptransport import RTCSctpCapabilities, RTCSctpTransport
from OpenSSL import SSL

from mana_rtc.transport import sctp_check

logger = logging.getLogger("mana.rtc")

#: DTLS 1.2: record boundaries can be seen, which version 1.3 hides.
DTLS_1_2 = 0xFEFD
#: Bytes of a datagram that carries handshake records.
MAX_HANDSHAKE_DATAGRAM = 1200
#: Bytes that an association may hold of messages that are not complete, fragments out of order or without their rest,
#: which aiortc looks through again for every one that comes, and streams that were ever used. A peer that ignores the
#: receive window is cut off.
MAX_REASSEMBLY = 2 * 1024 * 1024
MAX_MISORDERED = 1024
MAX_STREAMS = 1024
DIGESTS = ("sha-256", "sha-384", "sha-512")
_ALERT = 21


@dataclass(frozen=True)
class SrtpKeys:
    """What DTLS agreed on: the profile's name and the master keys with their salts, for what we send and receive."""

    profile: str
    libsrtp_profile: int
    key_length: int
    send: bytes
    receive: bytes


class Identity:
    """The certificate of a worker, and the OpenSSL context made from it."""

    def __init__(self) -> None:
        self._certificate = RTCCertificate.generateCertificate()
        # The cheapest that both sides have: GCM needs no second pass for its tag.
        preferred = sorted(SRTP_PROFILES, key=lambda one: (b"GCM" not in one.openssl_profile, one.key_length))
        self._profiles: list[SRTPProtectionProfile] = preferred
        self._context = self._certificate._create_ssl_context(srtp_profiles=preferred)
        self._context.set_max_proto_version(DTLS_1_2)

    @property
    def fingerprint(self) -> str:
        """The certificate's SHA-256 fingerprint as SDP writes it."""
        return next(one.value for one in self._certificate.getFingerprints() if one.algorithm == "sha-256")

    def connection(self) -> SSL.Connection:
        """A DTLS connection without a socket, in the server's role."""
        connection = SSL.Connection(self._context)
        connection.set_accept_state()
        return connection

    def keys(self, connection: SSL.Connection) -> SrtpKeys | None:
        """The SRTP keys of a finished handshake, or ``None`` if no profile was agreed on (RFC 5764 section 4.2)."""
        name = connection.get_selected_srtp_profile()
        for profile in self._profiles:
            if profile.openssl_profile == name:
                material = connection.export_keying_material(
                    b"EXTRACTOR-dtls_srtp", 2 * (profile.key_length + profile.salt_length)
                )
                return SrtpKeys(
                    name.decode(),
                    profile.libsrtp_profile,
                    profile.key_length,
                    send=profile.get_key_and_salt(material, 1),
                    receive=profile.get_key_and_salt(material, 0),
                )
        return None


class Dtls:
    """A DTLS server without I/O: datagrams in, datagrams out, application data and keys when it is connected."""

    def __init__(
        self, identity: Identity, fingerprints: Iterable[tuple[str, str]], send: Callable[[bytes], None]
    ) -> None:
        self._identity = identity
        self._fingerprints = list(fingerprints)
        self._send = send
        self._connection = identity.connection()
        self.connected = False
        self.failed = False
        self.closed = False
        self.keys: SrtpKeys | None = None

    def receive(self, datagram: bytes) -> list[bytes]:
        """Takes a datagram; the application data in it."""
        if self.failed or self.closed:
            return []
        if len(datagram) < 13 or (datagram[0] == _ALERT and datagram[3:5] == b"\0\0"):
            # An alert that is not encrypted may be anybody's: it must not end a handshake.
            return []
        try:
            self._connection.bio_write(datagram)
            if not self.connected:
                self._handshake()
            return self._read() if self.connected else []
        except SSL.Error as error:
            logger.debug("A DTLS datagram was refused: %s", type(error).__name__)
            if not self.connected:
                # Whoever sent it had to prove ICE's password first. The handshake begins anew.
                self._connection = self._identity.connection()
            return []

    def _handshake(self) -> None:
        try:
            self._connection.do_handshake()
        except SSL.WantReadError:
            self._flush()
            return
        self._flush()
        if self._peer_is_right() and (keys := self._identity.keys(self._connection)) is not None:
            self.keys = keys
            self.connected = True
        else:
            self.failed = True

    def _peer_is_right(self) -> bool:
        """RFC 8122 section 6.2: the certificate has every fingerprint of a kind that is known, and there is one."""
        certificate = self._connection.get_peer_certificate(as_cryptography=True)
        known = [(algorithm, digest) for algorithm, digest in self._fingerprints if algorithm in DIGESTS]
        return (
            certificate is not None
            and bool(known)
            and all(certificate_digest(certificate, algorithm) == digest for algorithm, digest in known)
        )

    def _read(self) -> list[bytes]:
        found = []
        while True:
            try:
                found.append(self._connection.recv(16384))
            except SSL.ZeroReturnError:
                self.closed = True
                break
            except SSL.Error:
                break
        self._flush()
        return found

    def send(self, data: bytes) -> None:
        """Sends application data in a datagram of its own."""
        if self.connected and not self.closed:
            try:
                self._connection.send(data)
            except SSL.Error:
                return
            self._flush()

    def tick(self) -> None:
        """Sends a flight of the handshake again if its time has come (RFC 6347 section 4.2.4)."""
        if not self.failed and not self.closed and self._connection.DTLSv1_get_timeout() == 0:
            try:
                self._connection.DTLSv1_handle_timeout()
            except SSL.Error:
                return
            self._flush()

    def shutdown(self) -> None:
        """Tells the peer that it is over."""
        if self.connected and not self.closed:
            try:
                self._connection.shutdown()
            except SSL.Error:
                return
            self._flush()
            self.closed = True

    def _flush(self) -> None:
        data = b""
        while True:
            try:
                part = self._connection.bio_read(65536)
            except SSL.Error:
                break
            if not part:
                break
            data += part
        for datagram in datagrams(data):
            self._send(datagram)


def datagrams(data: bytes) -> list[bytes]:
    """DTLS 1.2 records, which OpenSSL's memory buffer runs together, as datagrams."""
    made: list[bytes] = []
    current = b""
    offset = 0
    while offset + 13 <= len(data):
        end = offset + 13 + int.from_bytes(data[offset + 11 : offset + 13])
        record = data[offset:end]
        if current and len(current) + len(record) > MAX_HANDSHAKE_DATAGRAM:
            made.append(current)
            current = b""
        current += record
        offset = end
    if current:
        made.append(current)
    return made


class DataChannel(Protocol):
    """What is used of a data channel."""

    @property
    def label(self) -> str:
        """Its name, chosen by whoever opened it."""

    @property
    def readyState(self) -> str:
        """``open`` while messages can be sent."""

    @property
    def bufferedAmount(self) -> int:
        """Bytes that wait."""

    def send(self, data: bytes | str) -> None:
        """Sends a message."""


class _DtlsForSctp:
    """What aiortc's association wants of a DTLS transport."""

    def __init__(self, dtls: Dtls) -> None:
        self._dtls = dtls
        self._role = "server"
        self.receiver: Any = None

    @property
    def state(self) -> str:
        return "closed" if self._dtls.closed else "connected"

    def _register_data_receiver(self, receiver: Any) -> None:
        self.receiver = receiver

    def _unregister_data_receiver(self, receiver: Any) -> None:
        self.receiver = None

    async def _send_data(self, data: bytes) -> None:
        if self._dtls.closed:
            raise ConnectionError("the peer is gone")
        self._dtls.send(data)


class Association:
    """The data channels of a peer: aiortc's SCTP (RFC 8831) over a ``Dtls``. Lives in the running event loop.

    ``on_channel`` is called with every channel that the peer opens, ``on_message`` with what comes in it.
    """

    def __init__(
        self,
        dtls: Dtls,
        *,
        remote_port: int,
        remote_max_message_size: int,
        max_channels: int,
        on_channel: Callable[[DataChannel], None],
        on_message: Callable[[DataChannel, bytes | str], None],
    ) -> None:
        self._transport = _DtlsForSctp(dtls)
        self._sctp = RTCSctpTransport(self._transport, port=5000)  # type: ignore[arg-type]  # what it uses is there
        self._max_channels = max_channels
        self._on_channel = on_channel
        self._on_message = on_message
        self.failed = False
        self._sctp.on("datachannel", self._opened)
        run(self._sctp.start(RTCSctpCapabilities(maxMessageSize=remote_max_message_size), remote_port))

    def _opened(self, channel: RTCDataChannel) -> None:
        if len(self._sctp._data_channels) > self._max_channels:
            channel.close()
            return
        channel.on("message", lambda message: self._on_message(channel, message))
        self._on_channel(channel)

    def receive(self, data: bytes) -> None:
        """Takes a packet from the peer. What it breaks ends the association, nothing else."""
        if self.failed:
            return
        try:
            sctp_check.check(data)
            run(self._sctp._handle_data(data))
        except Exception as error:  # the parser of a whole protocol, fed by a peer
            logger.info("A peer's SCTP packet was refused: %s", type(error).__name__)
            self.abort()
            return
        waiting = 1024 * 1024 - self._sctp._advertised_rwnd
        streams = self._sctp._inbound_streams
        if (
            waiting > MAX_REASSEMBLY
            or len(self._sctp._sack_misordered) > MAX_MISORDERED
            or len(streams) > MAX_STREAMS
            or sum(len(one.reassembly) for one in streams.values()) > MAX_MISORDERED
        ):
            logger.info("A peer sent more fragments than the window allows.")
            self.abort()

    def abort(self) -> None:
        """Ends the association."""
        if not self.failed:
            self.failed = True
            run(self._sctp.stop())


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs a coroutine of aiortc's SCTP to its end at once: over our DTLS it has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration:
        return
    coroutine.close()
    raise RuntimeError("aiortc's SCTP waited for something")
