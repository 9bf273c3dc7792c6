"""What a receiver keeps of one stream: which packets came, the statistics of RFC 3550, and what to ask for again."""

from __future__ import annotations

from collections.abc import Iterator

from mana_rtc.media.rtcp import ReportBlock
from mana_rtc.media.rtp import RtpPacket
from mana_rtc.media.serial import Unwrapper

#: Packets behind the newest that are still taken, each once, and kept for a switch that needs them again.
WINDOW = 512
#: Packets in a row from outside of the window after which the sender is taken to have begun anew.
RESTART_AFTER = 50
#: A gap longer than this is not asked for again packet by packet; a keyframe is.
MAX_MISSING = 256
MAX_TRIES = 10
#: Seconds after which a missing packet is of no use any more.
MAX_AGE = 1.0
#: Seconds between two requests for the same packet, if the round trip is shorter.
MIN_INTERVAL = 0.02
#: Bytes are counted in slots of a tenth of a second; the bitrate is over the last ten.
RATE_SLOT = 0.1
RATE_SLOTS = 10


class ReceiveWindow:
    """The last ``WINDOW`` packets of a stream, in a ring, so that each is taken at most once.

    That no sequence number is forwarded twice matters beyond tidiness: the sender's SRTP key must never encrypt two
    different packets of one number.
    """

    __slots__ = ("_outside", "_ring", "_unwrapper")

    def __init__(self) -> None:
        self._ring: list[RtpPacket | None] = [None] * WINDOW
        self._unwrapper = Unwrapper()
        self._outside = 0

    @property
    def highest(self) -> int:
        """The highest extended sequence number, -1 before the first packet."""
        return self._unwrapper.highest

    def extend(self, sequence: int) -> int:
        """The extended number of a sequence number."""
        return self._unwrapper.extend(sequence)

    def add(self, packet: RtpPacket) -> bool:
        """Takes a packet and sets its ``extended``. False for duplicates and for those too old or too far ahead."""
        unwrapper = self._unwrapper
        extended = unwrapper.extend(packet.sequence)
        highest = unwrapper.highest
        if highest >= 0 and (extended <= highest - WINDOW or extended < 0):
            self._outside += 1
            return False
        position = extended % WINDOW
        before = self._ring[position]
        if before is not None and before.extended == extended:
            return False
        packet.extended = extended
        self._ring[position] = packet
        self._outside = 0
        unwrapper.advance(extended)
        return True

    @property
    def restarted(self) -> bool:
        """Whether so many packets in a row were outside of the window that the sender must have begun anew."""
        return self._outside > RESTART_AFTER

    def since(self, extended: int) -> Iterator[RtpPacket]:
        """The packets after ``extended`` that are here, in order."""
        for number in range(max(extended + 1, self.highest - WINDOW + 1), self.highest + 1):
            packet = self._ring[number % WINDOW]
            if packet is not None and packet.extended == number:
                yield packet


class MissingPackets:
    """Which packets to ask for (RFC 4585 NACK): each again per round trip, until it is too old."""

    __slots__ = ("_missing", "gave_up", "overflowed")

    def __init__(self) -> None:
        self._missing: dict[int, list[float]] = {}  # number -> [since, last asked, tries]
        #: Packets that were never recovered.
        self.gave_up = 0
        #: A gap was too long to ask for: only a keyframe helps. Whoever reads it resets it.
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._missing)

    def received(self, extended: int, highest_before: int, now: float) -> bool:
        """A packet came; ``highest_before`` was the newest before it. Whether it was one that was missing."""
        if highest_before < 0:
            return False
        if extended <= highest_before:
            return self._missing.pop(extended, None) is not None
        gap = extended - highest_before - 1
        if gap:
            if gap > MAX_MISSING or len(self._missing) + gap > MAX_MISSING:
                self.gave_up += len(self._missing) + gap
                self._missing.clear()
                self.overflowed = True
            else:
                for number in range(highest_before + 1, extended):
                    self._missing[number] = [now, 0.0, 0]
        return False

    def due(self, now: float, round_trip: float) -> list[int]:
        """The sequence numbers, 16 bits and in order, to ask for now. Forgets those that are too old."""
        if not self._missing:
            return []
        interval = max(round_trip, MIN_INTERVAL)
        asked = []
        for number, state in list(self._missing.items()):
            since, last, tries = state
            if tries >= MAX_TRIES or now - since > MAX_AGE:
                del self._missing[number]
                self.gave_up += 1
                self.overflowed = True
            elif not tries or now - last >= interval:
                state[1] = now
                state[2] = tries + 1
                asked.append(number & 0xFFFF)
        return asked


class StreamStatistics:
    """Loss, jitter and rate of one incoming stream (RFC 3550 sections 6.4.1 and A.8)."""

    __slots__ = (
        "_base",
        "_expected_before",
        "_last_arrival",
        "_last_timestamp",
        "_received_before",
        "_slot",
        "_slots",
        "clock_rate",
        "jitter",
        "last_packet",
        "octets",
        "packets",
        "recovered",
        "report_arrival",
        "report_ntp",
    )

    def __init__(self, clock_rate: int) -> None:
        self.clock_rate = clock_rate
        self.packets = 0
        self.octets = 0
        self.recovered = 0
        #: In timestamp units.
        self.jitter = 0.0
        #: When the last packet came.
        self.last_packet = float("-inf")
        #: The middle bits of the last SR's NTP time, and when it came.
        self.report_ntp = 0
        self.report_arrival = 0.0
        self._base = -1
        self._expected_before = 0
        self._received_before = 0
        self._last_arrival = 0.0
        self._last_timestamp = -1
        self._slot = 0
        self._slots = [0] * RATE_SLOTS

    def received(self, packet: RtpPacket, now: float, *, recovered: bool) -> None:
        """A packet came for the first time; one that was ``recovered`` tells nothing of jitter."""
        size = len(packet.payload)
        self.packets += 1
        self.octets += size
        self.last_packet = now
        if self._base < 0:
            self._base = packet.extended
        self._roll(now)
        self._slots[self._slot % RATE_SLOTS] += size + 12
        if recovered:
            self.recovered += 1
            return
        timestamp = packet.timestamp
        if timestamp != self._last_timestamp:
            if self._last_timestamp >= 0:
                ahead = ((timestamp - self._last_timestamp + 0x80000000) & 0xFFFFFFFF) - 0x80000000
                transit = (now - self._last_arrival) * self.clock_rate - ahead
                if abs(transit) < self.clock_rate * 5:
                    self.jitter += (abs(transit) - self.jitter) / 16
            self._last_timestamp = timestamp
            self._last_arrival = now

    def _roll(self, now: float) -> None:
        slot = int(now / RATE_SLOT)
        if slot != self._slot:
            for passed in range(max(self._slot + 1, slot - RATE_SLOTS + 1), slot + 1):
                self._slots[passed % RATE_SLOTS] = 0
            self._slot = slot

    def bitrate(self, now: float) -> float:
        """Bits per second over the last second, headers included."""
        self._roll(now)
        return sum(self._slots) * 8 / (RATE_SLOT * RATE_SLOTS)

    def sender_report(self, ntp_middle: int, now: float) -> None:
        """An SR came."""
        self.report_ntp = ntp_middle
        self.report_arrival = now

    def lost(self, highest: int) -> int:
        """Packets lost since the beginning; negative where duplicates came."""
        return highest - self._base + 1 - self.packets if self._base >= 0 else 0

    def block(self, ssrc: int, highest: int, now: float) -> ReportBlock:
        """The report block since the last one (RFC 3550 appendix A.3)."""
        expected = highest - self._base + 1 if self._base >= 0 else 0
        expected_interval = expected - self._expected_before
        lost_interval = expected_interval - (self.packets - self._received_before)
        self._expected_before, self._received_before = expected, self.packets
        fraction = 0
        if expected_interval > 0 and lost_interval > 0:
            fraction = min(255, (lost_interval << 8) // expected_interval)
        delay = int((now - self.report_arrival) * 65536) if self.report_ntp else 0
        return ReportBlock(
            ssrc, fraction, self.lost(highest), max(0, highest - 0x10000), int(self.jitter), self.report_ntp, delay
        )
