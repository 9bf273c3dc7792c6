"""A track on its way to one subscriber: one unbroken stream made of whichever layer is sent at the moment.

On a switch the sequence numbers, timestamps and picture ids of the new layer are moved so that they follow those that
were sent; the switch happens at the first packet of a keyframe, and packets from before it are ignored. What was sent
is kept for a while, to be sent again in a retransmission stream (RFC 4588) when the subscriber misses it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable

from mana_rtc.media import rtcp
from mana_rtc.media.payloads import PictureMunger
from mana_rtc.media.rtp import RtpPacket
from mana_rtc.media.serial import difference16, difference32
from mana_rtc.media.uptrack import Layer, UpTrack

#: Packets that can be sent again, a power of two. At 2.5 Mbit/s a bit more than two seconds.
HISTORY = 512
#: How often, and after how many seconds at the earliest, one packet is sent again.
MAX_RESENDS = 8
RESEND_INTERVAL = 0.015
#: Seconds that the clock of a new layer may be off from where arrival times put it before arrival times are believed.
CLOCK_TOLERANCE = 1.0
#: SRs whose time is remembered, to measure the round trip when they are answered.
REPORTS = 8

#: Sends a packet: payload type with marker bit, sequence number without wraps, timestamp, SSRC, payload. No number is
#: given twice for an SSRC, whatever the publisher does: with SRTP's key it must never encrypt two packets.
Send = Callable[[int, int, int, int, bytes], None]


#: A packet as it was sent: extended sequence number, timestamp, marker, payload. A bare tuple, as one is made for every
#: packet that is forwarded.
Sent = tuple[int, int, bool, bytes]


class DownTrack:
    """One subscriber's copy of a track. ``target`` is the layer to be sent, ``current`` the one that is."""

    def __init__(
        self,
        track: UpTrack,
        send: Send,
        *,
        ssrc: int,
        payload_type: int,
        rtx_ssrc: int = 0,
        rtx_payload_type: int = -1,
    ) -> None:
        self.track = track
        self.ssrc = ssrc
        self.rtx_ssrc = rtx_ssrc
        self.payload_type = payload_type
        self.rtx_payload_type = rtx_payload_type
        self.current: Layer | None = None
        self.target: Layer | None = None
        self.packets = self.octets = self.resent = self.nacked = self.switches = self.keyframe_requests = 0
        #: What the subscriber last reported: the share of packets lost, and the seconds of a round trip.
        self.fraction_lost = 0.0
        self.round_trip = 0.0
        self.last_sent = float("-inf")
        self._send = send
        self._munger = PictureMunger()
        self._previous: Layer | None = None
        # Below 32768, so that a receiver that misses the first packets does not take the rest for a wrap.
        self._highest = secrets.randbelow(0x7FFF)
        self._first = 0
        self._offset = 0
        self._timestamp_offset = 0
        self._last_timestamp = 0
        self._history: list[Sent | None] = [None] * (HISTORY if rtx_payload_type >= 0 else 0)
        self._resends: dict[int, tuple[int, float]] = {}
        self._rtx_number = secrets.randbelow(0x7FFF)
        self._reports: dict[int, float] = {}

    # -- Which layer -------------------------------------------------------------------------------------------------

    def set_target(self, layer: Layer | None) -> None:
        """Has ``layer`` be sent from its next keyframe on, or nothing at all."""
        if layer is self.target:
            return
        before, self.target = self.target, layer
        if before is not None and before is not self.current:
            before.unwatch(self)
        if layer is None:
            self._stop()
        elif layer is not self.current:
            layer.watch(self)
            layer.want_keyframe()
        self.track.watched_changed()

    def _stop(self) -> None:
        if self.current is not None:
            self.current.unwatch(self)
            self.current = None

    def restarted(self, layer: Layer) -> None:
        """The layer's sender began anew: as if it were another layer."""
        if layer is self.current:
            self.current = None
            self._previous = None
            self.target = layer
            layer.want_keyframe()

    def close(self) -> None:
        """Watches nothing any more."""
        self.set_target(None)

    # -- Forwarding --------------------------------------------------------------------------------------------------

    def receive(self, layer: Layer, packet: RtpPacket, now: float) -> None:
        """Forwards a packet of a layer that this track watches, if it is its turn.

        This runs for every packet and every subscriber, so it calls little and makes few objects.
        """
        frame = packet.frame
        if layer is not self.current:
            if layer is self.target and frame.keyframe:
                self._enter(layer, packet, now)
            return
        extended = packet.extended
        if extended < self._first:
            return
        if frame.keyframe and self.target is not layer and self._leave(layer):
            return
        number = extended + self._offset
        payload = packet.payload
        if frame.picture_id >= 0 or frame.tl0 >= 0:
            payload = self._munger.rewrite(payload, frame)
        timestamp = (packet.timestamp + self._timestamp_offset) & 0xFFFFFFFF
        marker = packet.marker
        if number > self._highest:
            self._highest = number
            self._last_timestamp = timestamp
            self.last_sent = now
        if self._history:
            self._history[number & HISTORY - 1] = (number, timestamp, marker, payload)
        self.packets += 1
        self.octets += len(payload)
        self._send(self.payload_type | 0x80 if marker else self.payload_type, number, timestamp, self.ssrc, payload)

    def _leave(self, layer: Layer) -> bool:
        """A keyframe of the current layer begins, which is not the target: whether not to send it.

        Encoders make keyframes of all layers at once: the smaller one is here in a moment, and the large one is the
        last thing that a path needs that has become too narrow for its layer.
        """
        if self.target is None or self.target.index >= layer.index:
            return False
        self._previous = layer
        self._stop()
        return True

    def _enter(self, layer: Layer, packet: RtpPacket, now: float) -> None:
        self._switch(layer, packet, now)
        self.receive(layer, packet, now)
        # The keyframe's beginning may have been missing until now: what came behind it is already here.
        for later in layer.window.since(packet.extended):
            self.receive(layer, later, now)

    def _switch(self, layer: Layer, packet: RtpPacket, now: float) -> None:
        before, self.current = self.current, layer
        if before is not None:
            before.unwatch(self)
            self.switches += 1
        self._first = packet.extended
        self._offset = self._highest + 1 - packet.extended
        previous = before or self._previous
        if previous is not layer:
            if self.packets:
                expected = self._timestamp_at(previous, layer, packet, now)
                self._timestamp_offset = expected - packet.timestamp
            self._munger.switch(packet.frame)
        elif self.packets:
            self._munger.switch(packet.frame)
        self._previous = layer
        if before is not None:
            self.track.watched_changed()

    def _timestamp_at(self, before: Layer | None, layer: Layer, packet: RtpPacket, now: float) -> int:
        """Where the packet's timestamp belongs in the stream that is sent.

        The publisher's SRs tell how the layers' clocks relate; without them the time of arrival must do.
        """
        rate = self.track.clock_rate
        guess = self._last_timestamp + max(1, int((now - self.last_sent) * rate))
        if before is not None and before.report is not None and layer.report is not None:
            ntp, rtp, _ = layer.report
            ntp_before, rtp_before, _ = before.report
            ahead = difference32(packet.timestamp, rtp)
            apart = (ntp - ntp_before) / (1 << 32)
            exact = rtp_before + self._timestamp_offset + ahead + round(apart * rate)
            if abs(difference32(exact & 0xFFFFFFFF, guess & 0xFFFFFFFF)) < CLOCK_TOLERANCE * rate:
                guess = exact
        if difference32(guess & 0xFFFFFFFF, self._last_timestamp & 0xFFFFFFFF) <= 0:
            guess = self._last_timestamp + 1
        return guess

    # -- Sending again -----------------------------------------------------------------------------------------------

    def nack(self, sequences: Iterable[int], now: float) -> int:
        """Sends again what the subscriber misses; how many bytes that were."""
        if not self._history:
            return 0
        size = 0
        interval = max(RESEND_INTERVAL, self.round_trip * 0.8)
        for sequence in sequences:
            self.nacked += 1
            number = self._highest + difference16(sequence, self._highest & 0xFFFF)
            sent = self._history[number % HISTORY]
            if sent is None or sent[0] != number:
                continue
            times, last = self._resends.get(number, (0, float("-inf")))
            if times >= MAX_RESENDS or now - last < interval:
                continue
            if len(self._resends) >= HISTORY:
                self._resends = {n: state for n, state in self._resends.items() if n > self._highest - HISTORY}
            self._resends[number] = (times + 1, now)
            size += self._resend(sent)
            self.resent += 1
        return size

    def _resend(self, sent: Sent) -> int:
        number, timestamp, marker, original = sent
        self._rtx_number += 1
        payload = (number & 0xFFFF).to_bytes(2) + original
        payload_type = self.rtx_payload_type | 0x80 if marker else self.rtx_payload_type
        self._send(payload_type, self._rtx_number, timestamp, self.rtx_ssrc, payload)
        return len(payload)

    def probe(self, size: int) -> int:
        """Sends about ``size`` bytes of what was sent last once more, to see what the path takes; the bytes sent.

        The subscriber drops packets that it has, so this costs bandwidth only, as padding would, and repairs a loss by
        chance.
        """
        done = 0
        number = self._highest
        while done < size and self._history and number > self._highest - 32:
            sent = self._history[number % HISTORY]
            if sent is None or sent[0] != number:
                break
            done += self._resend(sent)
            number -= 1
        return done

    def keyframe(self) -> None:
        """The subscriber asks for a keyframe (PLI, FIR)."""
        self.keyframe_requests += 1
        layer = self.current or self.target
        if layer is not None:
            layer.want_keyframe()

    # -- Reports -----------------------------------------------------------------------------------------------------

    def sender_report(self, now: float, wall: float) -> bytes:
        """An SR; empty before the first packet. ``wall`` is Unix time.

        The NTP times are the publisher's where known: they tell the subscriber which sound belongs to which picture.
        """
        if not self.packets:
            return b""
        rate = self.track.clock_rate
        layer = self.current
        if layer is not None and layer.report is not None:
            ntp, rtp, at = layer.report
            ntp += int((now - at) * (1 << 32))
            timestamp = rtp + self._timestamp_offset + int((now - at) * rate)
        else:
            ntp = rtcp.ntp_time(wall)
            timestamp = self._last_timestamp + int((now - self.last_sent) * rate)
        if len(self._reports) >= REPORTS:
            self._reports.pop(next(iter(self._reports)))
        self._reports[rtcp.ntp_middle(ntp)] = now
        return rtcp.sender_report(self.ssrc, ntp, timestamp, self.packets, self.octets)

    def report_block(self, block: rtcp.ReportBlock, now: float) -> None:
        """The subscriber's report about this stream (round trip: RFC 3550 section 6.4.1)."""
        self.fraction_lost = block.fraction_lost / 256
        sent_at = self._reports.get(block.last_report)
        if block.last_report and sent_at is not None:
            round_trip = now - sent_at - block.delay / 65536
            if 0 <= round_trip < 10:
                self.round_trip += (round_trip - self.round_trip) * (0.25 if self.round_trip else 1)
