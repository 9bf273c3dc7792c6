"""How much a path takes, from the arrival times of what was sent (draft-ietf-rmcat-gcc-02, as libwebrtc does it).

A rising one-way delay tells of a queue that fills: the trend of the delay over the last groups of packets is compared
with a threshold that adapts to the path's jitter; the rate then follows additive-increase, multiplicative-decrease. The
trend needs half a second to be sure, in which a short queue overflows; so a delay that stays well above the lowest one
seen lately counts as well. Loss above a tenth lowers the rate too. A receiver without transport-cc tells its own
estimate (REMB), which is taken instead.

aiortc's estimator was made for the receiving side: it starts at 30 Mbit/s, waits three seconds for its first estimate
and has no notion of a sender that sends less than it could, which is a forwarder's usual state. So it is not used here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from enum import Enum

from mana_rtc.media.serial import difference16

#: Packets sent within this many seconds count as one group: the path delivers a burst as it likes.
BURST = 0.005
#: Groups in the regression, smoothing of the delay, gain of the trend.
TREND_WINDOW = 20
SMOOTHING = 0.9
GAIN = 4.0
MAX_GROUPS = 60
#: Milliseconds: first threshold of the trend, its bounds and how quickly it follows.
THRESHOLD, MIN_THRESHOLD, MAX_THRESHOLD = 12.5, 6.0, 600.0
THRESHOLD_UP, THRESHOLD_DOWN = 0.0087, 0.039
#: Seconds above the lowest delay that every one of the last packets must have been late, for a queue to be standing;
#: how many packets; and the seconds after which a lowest delay is forgotten (clocks drift, routes change).
STANDING_DELAY, STANDING_PACKETS = 0.08, 8
BASE_LIFETIME = 10.0
#: Seconds for which the trend must be above it.
OVERUSE_TIME = 0.010
#: Seconds over which the acknowledged rate is measured.
ACKED_WINDOW = 0.5
#: The same by the sender's clock: a queue that fills takes this many times longer.
OWN_WINDOWS = 4
DECREASE, GENTLE_DECREASE, MOST_DECREASE = 0.85, 0.95, 0.5
#: See ``BandwidthEstimator._decreased``.
STRETCHED, NEARLY_ALL, LASTING = 1.15, 0.7, 0.25
INCREASE = 1.08
#: Share of lost packets that lowers the rate, and the seconds and packets over which it is measured.
LOSS_LIMIT = 0.10
LOSS_WINDOW, LOSS_PACKETS = 1.0, 20
#: Packets sent whose fate may still be told.
SENT = 4096


class Usage(Enum):
    """What the delay tells."""

    NORMAL = "normal"
    OVER = "over"
    UNDER = "under"


class TrendDetector:
    """Whether a queue on the path fills (section 4 of the draft; libwebrtc's trendline filter)."""

    def __init__(self) -> None:
        self.usage = Usage.NORMAL
        self._group: tuple[float, float, float] | None = None  # first sent, last sent, last arrival
        self._previous: tuple[float, float] | None = None  # last sent, last arrival of the group before
        self._first_arrival = 0.0
        self._delay = 0.0
        self._smoothed = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=TREND_WINDOW)
        self._groups = 0
        self._threshold = THRESHOLD
        self._threshold_at = 0.0
        self._over_since = -1.0
        self._over_count = 0
        self._trend_before = 0.0

    def packet(self, sent: float, arrival: float) -> None:
        """A packet arrived; both times in seconds, each on its own clock."""
        group = self._group
        if group is None:
            self._group = (sent, sent, arrival)
            self._first_arrival = arrival
            return
        first, last, last_arrival = group
        if sent < first:
            return  # out of order
        if sent - first <= BURST or (arrival - last_arrival <= BURST and arrival - last_arrival < sent - last):
            self._group = (first, max(sent, last), max(arrival, last_arrival))
            return
        if self._previous is not None:
            self._delta(last - self._previous[0], last_arrival - self._previous[1], last_arrival)
        self._previous = (last, last_arrival)
        self._group = (sent, sent, arrival)

    def _delta(self, sent: float, arrived: float, arrival: float) -> None:
        self._groups = min(self._groups + 1, 1000)
        self._delay += (arrived - sent) * 1000
        self._smoothed = SMOOTHING * self._smoothed + (1 - SMOOTHING) * self._delay
        self._points.append(((arrival - self._first_arrival) * 1000, self._smoothed))
        trend = self._slope() if len(self._points) == TREND_WINDOW else self._trend_before
        self._detect(trend, sent, arrival)

    def _slope(self) -> float:
        count = len(self._points)
        mean_x = sum(x for x, _ in self._points) / count
        mean_y = sum(y for _, y in self._points) / count
        below = sum((x - mean_x) ** 2 for x, _ in self._points)
        if not below:
            return self._trend_before
        return sum((x - mean_x) * (y - mean_y) for x, y in self._points) / below

    def _detect(self, trend: float, sent: float, now: float) -> None:
        modified = min(self._groups, MAX_GROUPS) * trend * GAIN
        if modified > self._threshold:
            self._over_since = sent / 2 if self._over_since < 0 else self._over_since + sent
            self._over_count += 1
            if self._over_since > OVERUSE_TIME and self._over_count > 1 and trend >= self._trend_before:
                self._over_since, self._over_count = 0.0, 0
                self.usage = Usage.OVER
        else:
            self._over_since, self._over_count = -1.0, 0
            self.usage = Usage.UNDER if modified < -self._threshold else Usage.NORMAL
        self._trend_before = trend
        size = abs(modified)
        if size <= self._threshold + 15:
            gain = THRESHOLD_DOWN if size < self._threshold else THRESHOLD_UP
            passed = min((now - self._threshold_at) * 1000, 100.0) if self._threshold_at else 0.0
            self._threshold += gain * (size - self._threshold) * passed
            self._threshold = min(max(self._threshold, MIN_THRESHOLD), MAX_THRESHOLD)
        self._threshold_at = now


class QueueDetector:
    """Whether a queue stands on the path: the least delay of the last packets against the least of the last seconds."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=STANDING_PACKETS)
        self._base = float("inf")
        self._base_next = float("inf")
        self._base_at = 0.0

    def packet(self, sent: float, arrival: float) -> None:
        """A packet arrived. The clocks differ by an amount that does not matter."""
        delay = arrival - sent
        self._recent.append(delay)
        self._base_next = min(self._base_next, delay)
        self._base = min(self._base, delay)
        if sent - self._base_at > BASE_LIFETIME:
            self._base, self._base_next, self._base_at = self._base_next, delay, sent

    @property
    def standing(self) -> bool:
        """Whether all of the last packets were late."""
        return len(self._recent) == STANDING_PACKETS and min(self._recent) - self._base > STANDING_DELAY


class BandwidthEstimator:
    """What one subscriber's path takes, in bits per second."""

    def __init__(self, *, start: float, minimum: float, maximum: float) -> None:
        self.estimate = start
        self.minimum = minimum
        self.maximum = maximum
        self.usage = Usage.NORMAL
        #: Share of the packets lost in the last window.
        self.loss = 0.0
        self._detector = TrendDetector()
        self._queue = QueueDetector()
        self._sent: list[tuple[int, float, int] | None] = [None] * SENT
        self._acked: deque[tuple[float, int, float]] = deque()  # arrival, bytes, sent
        self._acked_bytes = 0
        self._over_since = 0.0
        self._over_for = 0.0
        self._changed_at = -1.0
        self._decreased_at = -1.0
        self._near_maximum = -1.0
        self._window = [0, 0]
        self._window_at = -1.0

    # -- What was sent and what came of it ---------------------------------------------------------------------------

    def sent(self, sequence: int, size: int, now: float) -> None:
        """A packet with this transport-wide number was sent; ``size`` in bytes."""
        self._sent[sequence % SENT] = (sequence, now, size)

    def feedback(self, arrivals: Iterable[tuple[int, float | None]], now: float) -> list[tuple[int, int, float]]:
        """The receiver told of packets: (sequence, arrival in seconds on its clock, or ``None``).

        Returns those that are now known to have arrived, each told once: (sequence, bytes, arrival).
        """
        overused = False
        arrived: list[tuple[int, int, float]] = []
        for sequence, arrival in arrivals:
            sent = self._sent[sequence % SENT]
            if sent is None or sent[0] != sequence:
                continue
            self._window[1] += 1
            if arrival is None:
                self._window[0] += 1
                continue
            self._sent[sequence % SENT] = None
            arrived.append((sequence, sent[2], arrival))
            self._acked.append((arrival, sent[2], sent[1]))
            self._acked_bytes += sent[2]
            self._detector.packet(sent[1], arrival)
            self._queue.packet(sent[1], arrival)
            overused = overused or self._detector.usage is Usage.OVER
        overused = overused or (bool(arrived) and self._queue.standing)
        # By our own clock as well: a receiver whose clock stands still or jumps must not fill the memory.
        while self._acked and (
            self._acked[-1][0] - self._acked[0][0] > ACKED_WINDOW
            or self._acked[-1][2] - self._acked[0][2] > OWN_WINDOWS * ACKED_WINDOW
        ):
            self._acked_bytes -= self._acked.popleft()[1]
        self.usage = Usage.OVER if overused else self._detector.usage
        if self.usage is not Usage.OVER:
            self._over_since = now
        self._over_for = now - self._over_since
        self._control(now)
        self._weigh_loss(now)
        return arrived

    @property
    def acked_rate(self) -> float:
        """Bits per second that arrived over the last half second."""
        if len(self._acked) < 2:
            return 0.0
        span = max(self._acked[-1][0] - self._acked[0][0], ACKED_WINDOW / 2)
        return self._acked_bytes * 8 / span

    @property
    def stretch(self) -> float:
        """How much longer what was sent lately took to arrive than to be sent: above 1 while a queue fills."""
        if len(self._acked) < 2:
            return 1.0
        sent = self._acked[-1][2] - self._acked[0][2]
        return (self._acked[-1][0] - self._acked[0][0]) / sent if sent > 0 else 1.0

    def remb(self, bitrate: float) -> None:
        """The receiver told its own estimate."""
        self.estimate = self._bounded(bitrate)

    def probed(self, rate: float) -> None:
        """A probe arrived at this rate, so the path takes it."""
        if rate > self.estimate and self.usage is not Usage.OVER:
            self.estimate = self._bounded(rate)

    # -- The rate ----------------------------------------------------------------------------------------------------

    def _control(self, now: float) -> None:
        acked = self.acked_rate
        passed = min(now - self._changed_at, 1.0) if self._changed_at >= 0 else 0.0
        if self.usage is Usage.OVER:
            if now - self._decreased_at >= 0.2 and acked:  # once per queue, not once per packet in it
                self.estimate = self._bounded(min(self.estimate, self._decreased(acked)))
                self._near_maximum = acked
                self._decreased_at = now
            self._changed_at = now
            return
        if self.usage is Usage.UNDER or not passed:
            self._changed_at = now
            return
        limit = 1.5 * acked + 10_000
        if self.estimate < limit:
            if self._near_maximum > 0 and abs(acked - self._near_maximum) < 0.2 * self._near_maximum:
                grown = self.estimate + 8 * 1200 * passed / 0.3  # about one packet per response time
            else:
                grown = self.estimate * INCREASE**passed
                if acked > 1.2 * self._near_maximum:
                    self._near_maximum = -1.0
            self.estimate = self._bounded(min(grown, limit))
        self._changed_at = now

    def _decreased(self, acked: float) -> float:
        """A forwarder often sends much less than the path takes: what arrives then tells nothing of how much it does.

        It does if it arrives slower than it was sent, if about as much was sent as was thought to be possible, or if
        the queue lasts: then the path is busy all the time.
        """
        if self.stretch > STRETCHED or acked > NEARLY_ALL * self.estimate or self._over_for > LASTING:
            # Not at once by more than half: a receiver that was busy elsewhere for a moment looks like a slow path.
            return max(DECREASE * acked, MOST_DECREASE * self.estimate)
        return GENTLE_DECREASE * self.estimate

    def _weigh_loss(self, now: float) -> None:
        if self._window_at < 0:
            self._window_at = now
        lost, total = self._window
        if now - self._window_at < LOSS_WINDOW or total < LOSS_PACKETS:
            return
        self.loss = lost / total
        if self.loss > LOSS_LIMIT:
            # What arrives in spite of it is what the path takes.
            lowered = max(self.estimate * (1 - 0.5 * self.loss), DECREASE * self.acked_rate)
            self.estimate = self._bounded(min(self.estimate, lowered))
        self._window, self._window_at = [0, 0], now

    def _bounded(self, rate: float) -> float:
        return min(max(rate, self.minimum), self.maximum)


class Prober:
    """Finds out whether the path takes more than is sent, by sending more for a moment.

    ``begin`` says whether to probe now, ``missing`` how many bytes are still to be sent for it, ``feedback`` what came
    of it.
    """

    #: Seconds that a probe lasts, and between two of them at first and at most.
    LENGTH = 0.2
    INTERVAL, MAX_INTERVAL = 0.6, 5.0
    #: How far above what is known to work, as a factor and at least in bits per second: a few packets tell nothing.
    STEP, LEAST_STEP = 2.0, 200_000
    #: Packets that must have arrived to judge.
    PACKETS = 5

    def __init__(self) -> None:
        self.rate = 0.0
        #: Whether what is sent now belongs to a probe.
        self.active = False
        self._began = 0.0
        self._bytes = 0
        self._next = 0.0
        self._interval = self.INTERVAL
        self._first = -1
        self._last = -1
        self._arrived: list[tuple[float, int]] = []

    def begin(self, estimate: float, desired: float, now: float, *, calm: bool) -> None:
        """Begins a probe if it is time to, and if more is desired than is known to be possible."""
        if self.active or not calm or desired <= estimate or now < self._next:
            return
        self.active = True
        self.rate = max(min(desired * 1.1, estimate * self.STEP), estimate + self.LEAST_STEP)
        self._began = now
        self._bytes = 0
        self._interval = min(self._interval * 1.5, self.MAX_INTERVAL)
        self._next = now + self._interval
        self._first = self._last = -1
        self._arrived = []

    def missing(self, now: float, ahead: float) -> int:
        """Bytes to send now, to keep to the rate for the next ``ahead`` seconds. Ends the probe when it is complete.

        It counts what should have been sent by now: a loop that was late for a turn sends the rest at its end.
        """
        if not self.active:
            return 0
        elapsed = now - self._began
        if elapsed >= self.LENGTH and self._bytes >= self.rate / 8 * self.LENGTH:
            self.active = False
            return 0
        return max(0, int(self.rate / 8 * min(elapsed + ahead, self.LENGTH)) - self._bytes)

    def stop(self) -> None:
        """There is nothing more to send for it."""
        self.active = False

    def sent(self, sequence: int, size: int) -> None:
        """A packet was sent while the probe is active."""
        if self._first < 0:
            self._first = sequence
        self._last = sequence
        self._bytes += size

    def feedback(self, arrived: Iterable[tuple[int, int, float]]) -> float:
        """The rate at which the probe arrived once enough of it did; 0 until then. Takes the estimator's answer."""
        if self._first < 0:
            return 0.0
        news = False
        for sequence, size, arrival in arrived:
            if difference16(sequence, self._first) >= 0 >= difference16(sequence, self._last):
                self._arrived.append((arrival, size))
                news = True
        if not news or len(self._arrived) < self.PACKETS:
            return 0.0
        span = self._arrived[-1][0] - self._arrived[0][0]
        if span < self.LENGTH / 2:
            return 0.0
        rate = sum(size for _, size in self._arrived[1:]) * 8 / span
        return min(rate, self.rate)

    def succeeded(self) -> None:
        """The path took it: the next probe may follow soon."""
        self._interval = self.INTERVAL
        self._next = min(self._next, self._began + self.LENGTH + self.INTERVAL)
