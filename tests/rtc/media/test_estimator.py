"""Bandwidth estimation against a simulated link: a bottleneck with a queue."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from mana_rtc.media.estimator import BandwidthEstimator, Prober, Usage


class LinkSimulation:
    """Sends video and sound at a rate over a link, and feeds the estimator every 100 ms, as Chromium answers."""

    def __init__(self, link: Callable[[float], float], *, start: float = 1e6, queue: float = 0.5) -> None:
        self.estimator = BandwidthEstimator(start=start, minimum=1e5, maximum=2e7)
        self.prober = Prober()
        self.now = 0.0
        self.lost = 0
        self.loss = 0.0
        self.jitter = 0.0
        self.wanted = 0.0
        self._link = link
        self._queue = queue
        self._busy = 0.0
        self._sequence = 0
        self._arrivals: list[tuple[int, float | None]] = []
        self._chance = Random(3)
        self._next_audio = self._next_video = self._next_feedback = 0.0

    def run(self, seconds: float, rate: Callable[[BandwidthEstimator], float]) -> BandwidthEstimator:
        end = self.now + seconds
        while self.now < end:
            self.now += 0.005
            if self.now >= self._next_audio:
                self._next_audio += 0.02
                self._send(100)
            if self.now >= self._next_video:
                self._next_video += 1 / 15
                rest = rate(self.estimator) / 8 / 15
                while rest > 0:
                    self._send(int(min(rest, 1150)) + 40)
                    rest -= 1150
            self.prober.begin(self.estimator.estimate, self.wanted, self.now, calm=self.estimator.usage is Usage.NORMAL)
            while self.prober.missing(self.now, 0.005) > 0:
                self._send(1190, probe=True)
            if self.now >= self._next_feedback:
                self._next_feedback += 0.1
                self._feedback()
        return self.estimator

    def _send(self, size: int, *, probe: bool = False) -> None:
        sequence = self._sequence & 0xFFFF
        self._sequence += 1
        self.estimator.sent(sequence, size, self.now)
        if self.prober.active:
            self.prober.sent(sequence, size)
        start = max(self.now, self._busy)
        if start - self.now > self._queue or self._chance.random() < self.loss:
            self.lost += 1
            self._arrivals.append((sequence, None))
            return
        self._busy = start + size * 8 / self._link(self.now)
        self._arrivals.append((sequence, self._busy + 5000 + self._chance.random() * self.jitter))

    def _feedback(self) -> None:
        told = [one for one in self._arrivals if one[1] is None or one[1] - 5000 <= self.now]
        self._arrivals = [one for one in self._arrivals if one not in told]
        arrived = self.estimator.feedback(told, self.now)
        if (found := self.prober.feedback(arrived)) > self.estimator.estimate:
            self.prober.succeeded()
            self.estimator.probed(found)


def test_a_link_that_becomes_too_narrow_is_noticed_before_its_queue_overflows() -> None:
    link = LinkSimulation(lambda now: 450_000 if now > 2 else 2e6)
    link.run(2, lambda _: 700_000)
    assert link.estimator.estimate > 900_000
    link.run(0.6, lambda estimator: min(700_000, 0.8 * estimator.estimate))
    assert link.estimator.estimate < 550_000
    assert link.lost == 0


def test_the_estimate_settles_near_the_link() -> None:
    link = LinkSimulation(lambda now: 800_000, start=2e6)
    estimates = []
    for _ in range(20):
        estimates.append(link.run(1, lambda estimator: estimator.estimate * 0.9).estimate)
    assert all(450_000 < one < 1_000_000 for one in estimates[5:]), estimates


def test_random_loss_is_no_congestion() -> None:
    """Five of a hundred: the rate stays, NACKs repair it."""
    link = LinkSimulation(lambda now: 3e6)
    link.loss = 0.05
    assert link.run(10, lambda _: 700_000).estimate >= 950_000


def test_heavy_loss_is_answered() -> None:
    link = LinkSimulation(lambda now: 5e6, start=2e6)
    link.loss = 0.3
    assert link.run(10, lambda _: 1_500_000).estimate < 1_500_000


def test_jitter_alone_is_no_queue() -> None:
    link = LinkSimulation(lambda now: 3e6)
    link.jitter = 0.02
    assert link.run(10, lambda _: 700_000).estimate > 600_000


def test_sending_little_tells_nothing_bad() -> None:
    """Only sound for a while, with hiccups of the receiver: what the path takes is not thought to be as little."""
    link = LinkSimulation(lambda now: 3e6 if int(now * 5) % 5 else 60_000)
    assert link.run(5, lambda _: 0).estimate > 300_000


def test_probes_find_what_the_link_takes() -> None:
    link = LinkSimulation(lambda now: 3e6, start=3e5)
    link.wanted = 2_000_000
    link.run(8, lambda _: 150_000)
    assert link.estimator.estimate >= 2_000_000


def test_probes_do_not_find_what_it_does_not_take() -> None:
    link = LinkSimulation(lambda now: 400_000, start=2e5)
    link.wanted = 2_000_000
    link.run(10, lambda _: 150_000)
    assert link.estimator.estimate < 480_000


def test_a_receivers_own_estimate_is_taken() -> None:
    estimator = BandwidthEstimator(start=1e6, minimum=1e5, maximum=2e6)
    estimator.remb(345_678)
    assert estimator.estimate == 345_678
    estimator.remb(1e12)
    assert estimator.estimate == 2e6
    estimator.remb(0)
    assert estimator.estimate == 1e5


def test_feedback_about_what_was_never_sent_changes_nothing() -> None:
    estimator = BandwidthEstimator(start=1e6, minimum=1e5, maximum=2e6)
    assert estimator.feedback([(number, 1e9) for number in range(3000)], 1.0) == []
    assert estimator.estimate == 1e6


@pytest.mark.parametrize("late", [0.001, 0.3])
def test_a_probe_is_complete_however_late_the_loop_is(late: float) -> None:
    prober = Prober()
    prober.begin(300_000, 1_000_000, 10.0, calm=True)
    sent = 0
    for moment in (10.0, 10.1, 10.2 + late):
        while (missing := prober.missing(moment, 0.015)) > 0:
            prober.sent(sent, min(missing, 1200))
            sent += 1
    assert not prober.active
    assert sent * 1200 >= 600_000 / 8 * Prober.LENGTH


@pytest.mark.parametrize("arrival", [lambda now: 0.0, lambda now: now if now < 5 else now - 1_073_741.824])
def test_a_receivers_clock_that_stands_still_or_jumps_neither_fills_the_memory_nor_lifts_the_estimate(
    arrival: Callable[[float], float],
) -> None:
    estimator = BandwidthEstimator(start=1e6, minimum=1e5, maximum=2e7)
    now = 0.0
    for number in range(20_000):
        now += 0.005
        estimator.sent(number & 0xFFFF, 500, now)
        estimator.feedback([(number & 0xFFFF, arrival(now))], now + 0.02)
    assert len(estimator._acked) < 1_000
    assert estimator.acked_rate < 20e6
