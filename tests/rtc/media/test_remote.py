"""REMB for publishers without transport-cc: what their times of sending and our times of arrival tell."""

from __future__ import annotations

from itertools import pairwise

from mana_rtc.media.remote import MAX_GATHERED, RemoteEstimator


def run(
    remote: RemoteEstimator, link: float, rate: float, seconds: float, start: float = 60.0
) -> list[tuple[float, int]]:
    """Packets of 1,000 bytes at a rate through a link with a long queue; what is told, and when."""
    told = []
    sent = free = start
    while sent < start + seconds:
        sent += 8000 / rate
        free = max(free, sent) + 8000 / link
        # The clock of the sender begins anew every 64 seconds.
        remote.received((int(sent * (1 << 18)) & 0xFFFFFF).to_bytes(3), 1000, free)
        if bitrate := remote.due(free):
            told.append((free, bitrate))
    return told


def estimator() -> RemoteEstimator:
    return RemoteEstimator(start=1_000_000, minimum=100_000, maximum=5_000_000)


def test_a_wide_path_lets_it_grow_over_the_wrap_of_the_clock() -> None:
    told = run(estimator(), 50_000_000, 2_000_000, 10)
    assert told[0][1] <= 1_100_000
    assert told[-1][1] > 1_800_000
    assert all(0.9 < after - before < 1.3 for (before, _), (after, _) in pairwise(told))


def test_a_narrow_path_is_told_at_once() -> None:
    remote = estimator()
    run(remote, 50_000_000, 800_000, 5)
    told = run(remote, 400_000, 800_000, 3, start=65.0)
    assert told[0][0] < 66.5
    assert told[-1][1] < 500_000


def test_nonsense_and_floods_are_bounded() -> None:
    remote = estimator()
    for stamp in (b"", b"\1", b"\1\2\3\4"):
        remote.received(stamp, 1000, 1.0)
    assert remote.due(2.0) == 0
    for number in range(MAX_GATHERED + 500):
        remote.received((number * 7919 & 0xFFFFFF).to_bytes(3), 1000, 3.0)
    assert len(remote._arrivals) == MAX_GATHERED
    assert 100_000 <= remote.due(4.0) <= 5_000_000
