"""What one participant receives: the sections that it was offered, its downtracks, and how much its path takes."""

from __future__ import annotations

import logging
import secrets
import time
from dataclasses import dataclass
from struct import Struct
from typing import TYPE_CHECKING, Any

from mana_rtc.media import negotiation, rtcp, sdp, twcc
from mana_rtc.media.allocator import OTHER, PINNED, SCREEN, SPEAKER, Candidate, allocate
from mana_rtc.media.downtrack import DownTrack
from mana_rtc.media.estimator import BandwidthEstimator, Prober, Usage
from mana_rtc.media.negotiation import ABS_SEND_TIME_ID, TRANSPORT_CC_ID, OfferedTrack, TransportParameters
from mana_rtc.sfu.backend import Offer, SfuError, Wish
from mana_rtc.transport.aiortc_parts import DataChannel

if TYPE_CHECKING:
    from mana_rtc.sfu.participant import Participant
    from mana_rtc.sfu.publisher import PublishedTrack
    from mana_rtc.transport.peer import PeerTransport

logger = logging.getLogger("mana.rtc")

REPORT_INTERVAL = 1.0
ALLOCATION_INTERVAL = 0.2
#: Share of the bandwidth that may go into sending again, bits per second that may in any case, and bytes at once.
RESEND_SHARE, RESEND_MINIMUM, RESEND_BURST = 0.3, 100_000, 32_768
#: Sections that one subscriber may have been offered in its life: tracks come and go in those that are free.
MAX_SECTIONS = 120

#: A header with the transport-wide number: two bytes, sequence number, timestamp; SSRC and what never changes of the
#: extension; the number and padding.
_TRANSPORT_CC_HEADER = Struct("!HHI9sHx")
_TRANSPORT_CC_REST = Struct("!IHHB")
_ABS_SEND_TIME_HEADER = Struct("!BBHIIHHI")
_PLAIN_HEADER = Struct("!BBHII")


@dataclass
class Slot:
    """A section of the description, and what is sent in it at the moment."""

    mid: str
    kind: str
    codec: str
    parameters: str
    clock_rate: int
    channels: int
    track: PublishedTrack | None = None
    down: DownTrack | None = None
    answered: bool = False


class Subscriber:
    """One participant's receiving peer connection (see ``mana_rtc.transport.peer.PeerHandler``)."""

    def __init__(self, participant: Participant) -> None:
        self.participant = participant
        room = participant.room
        self.transport: PeerTransport = room.mux.new_peer(self)
        config = room.config
        self.estimator = BandwidthEstimator(
            start=config.start_bitrate, minimum=config.min_bitrate, maximum=config.max_bitrate
        )
        self.prober = Prober()
        self.slots: list[Slot] = []
        self.wanted = 0.0
        self._clock = room.clock
        self._by_ssrc: dict[int, DownTrack] = {}
        self._rests: dict[int, bytes] = {}
        self._last_ssrc = secrets.randbits(32)
        self._arrivals = twcc.ArrivalClock()
        self._version = 0
        self._unanswered: int | None = None
        self._dirty = False
        self._extension = 0
        self._number = secrets.randbits(16)
        self._ssrc = secrets.randbits(32)
        self._next_report = 0.0
        self._next_allocation = 0.0
        self._resend_budget = float(RESEND_BURST)
        self._resend_at = self._clock()

    # -- Which tracks ------------------------------------------------------------------------------------------------

    def add(self, track: PublishedTrack) -> None:
        """Offers a track, in a section that is free or a new one."""
        up, codec = track.up, track.accepted.codec
        parameters = negotiation.offered_parameters(up.codec, codec)
        key = (up.kind, up.codec, parameters)
        slot = next(
            (one for one in self.slots if one.track is None and (one.kind, one.codec, one.parameters) == key), None
        )
        if slot is None:
            if len(self.slots) >= MAX_SECTIONS:
                logger.warning("A subscriber has no section left for another track.")
                return
            slot = Slot(str(len(self.slots)), up.kind, up.codec, parameters, codec.clock_rate, codec.channels)
            self.slots.append(slot)
        payload_type, rtx_type = negotiation.SUBSCRIBE_TYPES[up.codec]
        rtx_ssrc = self._new_ssrc() if rtx_type >= 0 else 0
        slot.track = track
        slot.answered = False
        slot.down = DownTrack(
            up,
            self._send,
            ssrc=self._new_ssrc(),
            payload_type=payload_type,
            rtx_ssrc=rtx_ssrc,
            rtx_payload_type=rtx_type,
        )
        self._by_ssrc[slot.down.ssrc] = slot.down
        self.negotiate()

    def remove(self, track: PublishedTrack) -> None:
        """A track is gone."""
        for slot in self.slots:
            if slot.track is track and slot.down is not None:
                slot.down.close()
                self._by_ssrc.pop(slot.down.ssrc, None)
                leaving = [slot.down.ssrc, slot.down.rtx_ssrc] if slot.down.rtx_ssrc else [slot.down.ssrc]
                self.transport.send_rtcp(rtcp.receiver_report(self._ssrc, ()) + rtcp.goodbye(leaving))
                for ssrc in leaving:
                    self._rests.pop(ssrc, None)
                slot.track = slot.down = None
                slot.answered = False
                self.negotiate()

    def _new_ssrc(self) -> int:
        # One after the other: none comes twice under one key, without a memory of all that there were.
        ssrc = self._last_ssrc = (self._last_ssrc + 1) & 0xFFFFFFFF or 1
        self._rests[ssrc] = _TRANSPORT_CC_REST.pack(ssrc, 0xBEDE, 1, TRANSPORT_CC_ID << 4 | 1)
        return ssrc

    # -- Negotiation -------------------------------------------------------------------------------------------------

    def negotiate(self) -> None:
        """Makes a new offer at the next turn of the room, so that what changes together is offered together."""
        self._dirty = True
        self.participant.room.settle(self)

    def offer(self) -> None:
        """Sends the offer, unless one is unanswered: then when its answer came."""
        if not self._dirty or self._unanswered is not None or not self.slots or self.transport.is_closed:
            return
        self._dirty = False
        self._version += 1
        self._unanswered = self._version
        room = self.participant.room
        generation = self.transport.ice.current
        transport = TransportParameters(
            generation.ufrag, generation.pwd, room.mux.identity.fingerprint, room.mux.candidates()
        )
        text = negotiation.offer([_offered(slot) for slot in self.slots], transport, version=self._version)
        tracks = {slot.mid: slot.track.info.id for slot in self.slots if slot.track is not None}
        room.emit(Offer(room=room.id, to=[self.participant.id], sdp=text, number=self._version, tracks=tracks))

    def answer(self, text: str, number: int) -> None:
        """Takes the answer; one to an offer that was replaced is ignored. Raises ``SdpError`` or ``SfuError``."""
        if number != self._unanswered:
            if 0 < number < self._version:
                return
            raise SfuError("This answers an offer that is not open.")
        description = sdp.parse(text)
        section = negotiation.check_transport(description, offer=False)
        by_mid = {one.mid: one for one in description.sections}
        offered = [slot for slot in self.slots if slot.mid in by_mid]
        self.transport.set_remote(section)
        self._unanswered = None
        extensions = [by_mid[slot.mid].extensions for slot in offered if by_mid[slot.mid].port]
        if extensions and all(sdp.TRANSPORT_CC_URI in one for one in extensions):
            self._extension = TRANSPORT_CC_ID
        elif extensions and all(sdp.ABS_SEND_TIME_URI in one for one in extensions):
            self._extension = ABS_SEND_TIME_ID
        else:
            self._extension = 0
        for slot in offered:
            slot.answered = slot.track is not None and negotiation.takes(by_mid[slot.mid], slot.codec)
        self._next_allocation = 0.0
        if self._dirty:
            self.participant.room.settle(self)

    def restart(self) -> None:
        """Offers new ICE credentials."""
        self.transport.restart()
        self._unanswered = None  # an answer to an older offer would bring older credentials
        self.negotiate()

    # -- Sending -----------------------------------------------------------------------------------------------------

    def _send(self, marker_type: int, index: int, timestamp: int, ssrc: int, payload: bytes) -> None:
        sequence = index & 0xFFFF
        if self._extension == TRANSPORT_CC_ID:
            number = self._number = (self._number + 1) & 0xFFFF
            header = _TRANSPORT_CC_HEADER.pack(0x9000 | marker_type, sequence, timestamp, self._rests[ssrc], number)
            size = self.transport.send_rtp(header, payload, ssrc, index)
            if size:
                self.estimator.sent(number, size, self._clock())
                if self.prober.active:
                    self.prober.sent(number, size)
        elif self._extension == ABS_SEND_TIME_ID:
            # Seconds in 6.18 fixed point (http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time).
            moment = int(self._clock() * (1 << 18)) & 0xFFFFFF
            header = _ABS_SEND_TIME_HEADER.pack(
                0x90, marker_type, sequence, timestamp, ssrc, 0xBEDE, 1, (ABS_SEND_TIME_ID << 4 | 2) << 24 | moment
            )
            self.transport.send_rtp(header, payload, ssrc, index)
        else:
            header = _PLAIN_HEADER.pack(0x80, marker_type, sequence, timestamp, ssrc)
            self.transport.send_rtp(header, payload, ssrc, index)

    def _resend(self, down: DownTrack, sequences: tuple[int, ...], now: float) -> None:
        """Sends again what is missed, within a share of the bandwidth: repeats into a full queue lose more still."""
        rate = max(RESEND_SHARE * self.estimator.estimate, RESEND_MINIMUM) / 8
        self._resend_budget = min(RESEND_BURST, self._resend_budget + (now - self._resend_at) * rate)
        self._resend_at = now
        if self._resend_budget > 0:
            self._resend_budget -= down.nack(sequences, now)

    def tick(self, now: float) -> None:
        """Sends reports and probes that are due, and decides about layers."""
        transport = self.transport
        if not transport.is_connected or transport.is_closed:
            return
        if now >= self._next_allocation:
            self._next_allocation = now + ALLOCATION_INTERVAL
            self.allocate(now)
        if self._extension == TRANSPORT_CC_ID:
            self._probe(now)
        if now >= self._next_report:
            self._next_report = now + REPORT_INTERVAL
            self._report(now)

    def _report(self, now: float) -> None:
        wall = time.time()
        for slot in self.slots:
            if slot.down is not None and now - slot.down.last_sent < 5:
                report = slot.down.sender_report(now, wall)
                self.transport.send_rtcp(
                    report + rtcp.source_description(slot.down.ssrc, _cname(slot)) if report else b""
                )

    def _probe(self, now: float) -> None:
        calm = self.estimator.usage is not Usage.OVER and self.estimator.loss < 0.1
        prober = self.prober
        prober.begin(self.estimator.estimate, self.wanted, now, calm=calm)
        missing = prober.missing(now, self.participant.room.interval)
        if not missing:
            return
        sent = 0
        for slot in self.slots:
            if sent < missing and slot.kind == "video" and slot.down is not None:
                sent += slot.down.probe(missing - sent)
        if not sent:
            prober.stop()

    # -- Which layers ------------------------------------------------------------------------------------------------

    def allocate(self, now: float) -> None:
        """Chooses the layer of every track."""
        room = self.participant.room
        slots = {slot.track.info.id: slot for slot in self.slots if slot.track is not None and slot.answered}
        order = room.speaking_order()
        candidates = [
            self._candidate(slot, now)
            for slot in sorted(
                slots.values(), key=lambda slot: order.get(slot.track.info.participant, 1 << 30) if slot.track else 0
            )
        ]
        allocation = allocate(candidates, self.estimator.estimate, room.config.last_n)
        self.wanted = allocation.wanted
        for track_id, index in allocation.layers.items():
            slot = slots[track_id]
            if slot.down is not None and slot.track is not None:
                slot.down.set_target(slot.track.up.layers[index] if index >= 0 else None)

    def _candidate(self, slot: Slot, now: float) -> Candidate:
        assert slot.track is not None
        assert slot.down is not None
        up, info = slot.track.up, slot.track.info
        wish = self.participant.wishes.get(info.id, _DEFAULT_WISH)
        priority = OTHER
        if info.source == "screen":
            priority = SCREEN
        elif wish.pinned:
            priority = PINNED
        elif info.participant == self.participant.room.speaker.dominant:
            priority = SPEAKER
        bitrates = [layer.bitrate(now) if layer.is_available(now) else None for layer in up.layers]
        current = slot.down.current.index if slot.down.current is not None else -1
        limit = min(wish.max_layer, len(up.layers) - 1) if wish.enabled else -1
        live = [layer.index for layer in up.layers if layer.is_live(now)]
        if current < 0 and live:
            # The first picture comes from what is sent. A better layer may have to begin first, or never does: browsers
            # leave out those that a small camera or a narrow path has no use for.
            limit = min(limit, live[-1])
        return Candidate(info.id, up.kind, priority, bitrates, limit, current)

    # -- The transport's events --------------------------------------------------------------------------------------

    def connected(self) -> None:
        """Media can go."""
        logger.info("Subscriber %s is connected, %s.", self.participant.id, self.transport.srtp_profile)

    def rtp_received(self, data: bytes, now: float) -> None:
        """A subscriber sends no media."""

    def rtcp_received(self, data: bytes, now: float) -> None:
        """Takes feedback. Raises ``ValueError`` for malformed packets."""
        for packet in rtcp.parse(data):
            match packet:
                case rtcp.TransportFeedback():
                    self._feedback(packet.body, now)
                case rtcp.Nack() if (down := self._by_ssrc.get(packet.ssrc)) is not None:
                    self._resend(down, packet.sequences, now)
                case rtcp.PictureLoss():
                    self._keyframes((packet.ssrc,))
                case rtcp.FullIntraRequest():
                    self._keyframes(packet.ssrcs)
                case rtcp.Remb() if self._extension != TRANSPORT_CC_ID:
                    self.estimator.remb(packet.bitrate)
                case rtcp.ReceiverReport() | rtcp.SenderReport():
                    for block in packet.blocks:
                        if (down := self._by_ssrc.get(block.ssrc)) is not None:
                            down.report_block(block, now)

    def _feedback(self, body: bytes, now: float) -> None:
        arrived = self.estimator.feedback(self._arrivals.unwrap(twcc.parse(body).arrivals), now)
        if rate := self.prober.feedback(arrived):
            if rate > self.estimator.estimate:
                self.prober.succeeded()
            self.estimator.probed(rate)

    def _keyframes(self, ssrcs: tuple[int, ...]) -> None:
        for ssrc in ssrcs:
            if (down := self._by_ssrc.get(ssrc)) is not None:
                down.keyframe()

    def channel_opened(self, channel: DataChannel) -> None:
        """Data channels are part of publishing; none can be opened here."""

    def channel_message(self, channel: DataChannel, message: bytes | str) -> None:
        """See ``channel_opened``."""

    def closed(self, reason: str) -> None:
        """The transport is over."""
        for slot in self.slots:
            if slot.down is not None:
                slot.down.close()
        self.slots.clear()
        self._by_ssrc.clear()
        self.participant.subscriber_closed(self, reason)

    def close(self, reason: str = "closed") -> None:
        """Ends it."""
        self.transport.close(reason)

    def statistics(self) -> dict[str, Any]:
        """Numbers of every track that is sent, and of the path."""
        return {
            "estimate": round(self.estimator.estimate),
            "usage": self.estimator.usage.value,
            "loss": self.estimator.loss,
            "tracks": {
                slot.track.info.id: {
                    "layer": slot.down.current.rid or "only" if slot.down.current is not None else None,
                    "packets": slot.down.packets,
                    "octets": slot.down.octets,
                    "nacked": slot.down.nacked,
                    "resent": slot.down.resent,
                    "switches": slot.down.switches,
                    "keyframe_requests": slot.down.keyframe_requests,
                    "fraction_lost": slot.down.fraction_lost,
                    "round_trip": slot.down.round_trip,
                }
                for slot in self.slots
                if slot.track is not None and slot.down is not None
            },
        }


_DEFAULT_WISH = Wish()


def _cname(slot: Slot) -> str:
    # One for all tracks of a participant: it tells which sound and picture belong together.
    return slot.track.info.participant if slot.track is not None else "mana"


def _offered(slot: Slot) -> OfferedTrack:
    made = OfferedTrack(
        slot.mid, slot.kind, slot.codec, slot.parameters, slot.channels, slot.clock_rate, active=slot.track is not None
    )
    if slot.track is not None and slot.down is not None:
        info = slot.track.info
        made.ssrc, made.rtx_ssrc = slot.down.ssrc, slot.down.rtx_ssrc
        made.stream = info.participant + ("-screen" if info.source.startswith("screen") else "")
        made.track = info.id
        made.cname = _cname(slot)
    return made
