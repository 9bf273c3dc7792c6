"""One peer's transport: ICE, DTLS, SRTP and SCTP put together. Datagrams of any kind come in from the mux."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mana_rtc.media.rtp import is_rtcp
from mana_rtc.media.sdp import Section
from mana_rtc.transport import stun
from mana_rtc.transport.aiortc_parts import Association, DataChannel, Dtls, Identity
from mana_rtc.transport.ice import Generation, IceLite, Path
from mana_rtc.transport.srtp import MAX_PLAIN, Srtp, SrtpError

logger = logging.getLogger("mana.rtc")

#: DTLS datagrams that wait for the peer's description, which may come by a slower way.
EARLY_DATAGRAMS = 4
#: SSRCs that a peer may have sent from in its life, in RTP and RTCP: libsrtp remembers every one and looks for them one
#: after the other.
MAX_SSRCS = 1024


class PeerHandler(Protocol):
    """What a transport tells. Nothing of it may raise."""

    def connected(self) -> None:
        """Media can be sent."""

    def rtp_received(self, data: bytes, now: float) -> None:
        """An RTP packet, decrypted and authentic."""

    def rtcp_received(self, data: bytes, now: float) -> None:
        """An RTCP packet, decrypted and authentic."""

    def channel_opened(self, channel: DataChannel) -> None:
        """The peer opened a data channel."""

    def channel_message(self, channel: DataChannel, message: bytes | str) -> None:
        """A message came in a data channel."""

    def closed(self, reason: str) -> None:
        """The transport is over."""


@dataclass(slots=True)
class Counters:
    """What a transport carried, in packets and bytes of SRTP; ``refused`` were not authentic, replayed or malformed."""

    packets_in: int = 0
    bytes_in: int = 0
    packets_out: int = 0
    bytes_out: int = 0
    refused: int = 0


class PeerTransport:
    """A transport between us and one peer connection of a client."""

    def __init__(
        self,
        identity: Identity,
        handler: PeerHandler,
        *,
        accelerated: bool,
        register: Callable[[PeerTransport, Generation], None],
        max_channels: int = 0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._identity = identity
        self._handler = handler
        self._accelerated = accelerated
        self._register = register
        self._max_channels = max_channels
        self._clock = clock
        now = clock()
        self.ice = IceLite(now)
        self.counters = Counters()
        self.is_closed = False
        self.is_connected = False
        #: How often DTLS shook hands: a restart of ICE must not add to it.
        self.handshakes = 0
        self._dtls: Dtls | None = None
        self._srtp: Srtp | None = None
        self._early: list[bytes] = []
        self._ssrcs: set[bytes] = set()
        self._sctp: Section | None = None
        self.association: Association | None = None
        register(self, self.ice.current)

    # -- Negotiation -------------------------------------------------------------------------------------------------

    def restart(self) -> None:
        """New ICE credentials for the next description; DTLS stays as it is."""
        self._register(self, self.ice.restart())

    def set_remote(self, section: Section, sctp: Section | None = None) -> None:
        """Takes the peer's credentials and fingerprints from its description."""
        generation = self.ice.current
        generation.remote_ufrag, generation.remote_pwd = section.ice_ufrag, section.ice_pwd
        self._sctp = sctp or self._sctp
        if self._dtls is None:
            self.ice.last_heard = self.ice.last_consent = self._clock()
            self._dtls = Dtls(self._identity, section.fingerprints, self._send)
            early, self._early = self._early, []
            for datagram in early:
                self._receive_dtls(datagram)
        elif self.is_connected:
            self._open_association()

    def is_restart(self, section: Section) -> bool:
        """Whether a description of the peer has other credentials than those in use (RFC 8839 section 4.4.1.1.1)."""
        remote = self.ice.current.remote_ufrag
        return bool(remote) and remote != section.ice_ufrag

    @property
    def round_trip(self) -> float:
        """Seconds, as measured by our checks; 0 until then."""
        return self.ice.round_trip

    @property
    def srtp_profile(self) -> str:
        """What SRTP is encrypted with, empty before DTLS is done."""
        return self._srtp.profile if self._srtp is not None else ""

    # -- Receiving ---------------------------------------------------------------------------------------------------

    def receive(self, path: Path, data: bytes, now: float) -> None:
        """A datagram that is not STUN came from a known address; ``data`` is not empty."""
        first = data[0]
        if 127 < first < 192:
            srtp = self._srtp
            if srtp is None:
                return
            counters = self.counters
            try:
                if is_rtcp(data):
                    plain, ssrc, received = srtp.unprotect_rtcp(data), data[4:8], self._handler.rtcp_received
                else:
                    plain, ssrc, received = srtp.unprotect(data), data[8:12], self._handler.rtp_received
                if ssrc not in self._ssrcs and not self._admit(ssrc):
                    return
                received(plain, now)
            except (SrtpError, ValueError):
                counters.refused += 1
                return
            path.last_seen = now
            counters.packets_in += 1
            counters.bytes_in += len(data)
        elif 19 < first < 64:
            if self._dtls is None:
                if len(self._early) < EARLY_DATAGRAMS:
                    self._early.append(data)
                return
            self._receive_dtls(data)

    def _admit(self, ssrc: bytes) -> bool:
        """An SSRC was authentic for the first time; whether the peer may have one more."""
        self._ssrcs.add(ssrc)
        if len(self._ssrcs) > MAX_SSRCS:
            self.close("too_many_streams")
            return False
        return True

    def receive_request(self, path: Path, message: stun.Message, now: float) -> bool:
        """A binding request with a user name of ours; whether it was authentic."""
        return not self.is_closed and self.ice.request(message, path, now)

    def receive_response(self, path: Path, message: stun.Message, now: float) -> None:
        """A binding response from a known address."""
        if not self.ice.response(message, path, now):
            self.counters.refused += 1

    def _receive_dtls(self, data: bytes) -> None:
        dtls = self._dtls
        assert dtls is not None
        messages = dtls.receive(data)
        if dtls.connected and not self.is_connected:
            self._connected(dtls)
        for message in messages:
            if self.association is not None:
                self.association.receive(message)
        if dtls.failed:
            self.close("dtls_failed")
        elif dtls.closed:
            self.close("closed_by_peer")

    def _connected(self, dtls: Dtls) -> None:
        assert dtls.keys is not None
        self._srtp = Srtp(dtls.keys, accelerated=self._accelerated)
        self.is_connected = True
        self.ice.established = True
        self.handshakes += 1
        self._open_association()
        self._handler.connected()

    def _open_association(self) -> None:
        if self._sctp is not None and self.association is None and self._max_channels and self._dtls is not None:
            self.association = Association(
                self._dtls,
                remote_port=self._sctp.sctp_port,
                remote_max_message_size=self._sctp.max_message_size or 65536,
                max_channels=self._max_channels,
                on_channel=self._handler.channel_opened,
                on_message=self._handler.channel_message,
            )

    # -- Sending -----------------------------------------------------------------------------------------------------

    def _send(self, data: bytes) -> None:
        path = self.ice.selected or (self.ice.paths[-1] if self.ice.paths else None)
        if path is not None:
            path.send(data)

    def send_rtp(self, header: bytes, payload: bytes, ssrc: int, index: int) -> int:
        """Encrypts and sends an RTP packet (see ``srtp.Protect``); the bytes sent, 0 if it could not be."""
        srtp, path = self._srtp, self.ice.selected
        if srtp is None or path is None or len(header) + len(payload) > MAX_PLAIN:
            return 0
        try:
            data = srtp.protect(header, payload, ssrc, index)
        except SrtpError:
            return 0  # too far behind what was sent already
        path.send(data)
        size = len(data)
        counters = self.counters
        counters.packets_out += 1
        counters.bytes_out += size
        return size

    def send_rtcp(self, data: bytes) -> None:
        """Encrypts and sends an RTCP packet."""
        srtp, path = self._srtp, self.ice.selected
        if srtp is not None and path is not None and data:
            path.send(srtp.protect_rtcp(data))

    def tick(self, now: float, timeout: float) -> None:
        """Checks consent, repeats lost handshake flights, and closes when nothing was heard for ``timeout`` seconds."""
        if self.is_closed or self._dtls is None:
            return  # nobody is expected yet: there may be nothing to be offered for a long time
        self.ice.tick(now)
        if not self.is_connected:
            self._dtls.tick()
        if now - self.ice.last_heard > timeout:
            self.close("timeout")
        elif self.is_connected and not self.ice.may_send(now):
            self.close("consent_expired")

    def close(self, reason: str = "closed") -> None:
        """Ends it. The handler is told once."""
        if self.is_closed:
            return
        self.is_closed = True
        if self.association is not None:
            self.association.abort()
        if self._dtls is not None:
            self._dtls.shutdown()
        self.ice.close()
        self._handler.closed(reason)
