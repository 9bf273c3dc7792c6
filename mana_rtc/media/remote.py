"""How much the path from a publisher takes, for publishers that do not number their packets for transport-cc.

They tell when they sent each packet (abs-send-time, http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time), we
know when it came; the same estimator as for subscribers makes a bitrate of it, which is told back in a REMB
(draft-alvestrand-rmcat-remb-03).
"""

from __future__ import annotations

from mana_rtc.media.estimator import BandwidthEstimator

#: Ticks of a second in abs-send-time, which has 24 bits, and seconds after which it begins anew.
TICKS = 1 << 18
#: Seconds over which arrivals are gathered, and between two REMBs when nothing gets worse.
GATHER, INTERVAL = 0.1, 1.0
#: Packets that are gathered at most; what comes beyond tells nothing new.
MAX_GATHERED = 1024
#: What an estimate must have fallen to for its REMB not to wait.
WORSE = 0.97


class RemoteEstimator:
    """One publisher's path. Feed it with ``received`` and ask ``due`` now and then."""

    def __init__(self, *, start: float, minimum: float, maximum: float) -> None:
        self.estimator = BandwidthEstimator(start=start, minimum=minimum, maximum=maximum)
        self._arrivals: list[tuple[int, float | None]] = []
        self._count = 0
        self._last_stamp = -1
        self._sent = 0  # in ticks, without wraps
        self._next_gathering = 0.0
        self._next_report = 0.0
        self._reported = float("inf")

    def received(self, stamp: bytes, size: int, now: float) -> None:
        """A packet of ``size`` bytes came; ``stamp`` is its abs-send-time: 3 bytes, or it tells nothing."""
        if len(stamp) != 3 or len(self._arrivals) >= MAX_GATHERED:
            return
        ticks = int.from_bytes(stamp)
        if self._last_stamp >= 0:
            self._sent += ((ticks - self._last_stamp + 0x800000) & 0xFFFFFF) - 0x800000
        self._last_stamp = ticks
        self._count += 1
        self.estimator.sent(self._count, size, self._sent / TICKS)
        self._arrivals.append((self._count, now))

    def due(self, now: float) -> int:
        """The bitrate to be told now, in bits per second; 0 for nothing."""
        if not self._arrivals or now < self._next_gathering:
            return 0
        self._next_gathering = now + GATHER
        arrivals, self._arrivals = self._arrivals, []
        self.estimator.feedback(arrivals, now)
        estimate = self.estimator.estimate
        if now < self._next_report and estimate > WORSE * self._reported:
            return 0
        self._next_report = now + INTERVAL
        self._reported = estimate
        return round(estimate)
