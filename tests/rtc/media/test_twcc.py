"""Transport-cc: what the recorder tells is what the parser reads."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media import twcc
from mana_rtc.media.twcc import FeedbackRecorder


@given(
    st.integers(0, 0xFFFF),
    st.lists(st.tuples(st.integers(1, 20), st.floats(-0.05, 0.5)), min_size=1, max_size=200),
)
def test_every_arrival_is_told_once_and_in_order(start: int, steps: list[tuple[int, float]]) -> None:
    recorder = FeedbackRecorder()
    arrivals: dict[int, float] = {}
    sequence, now = start, 1000.0
    told: list[tuple[int, float | None]] = []
    count = 0
    for position, (ahead, later) in enumerate(steps):
        now = max(1000.0, now + later)
        recorder.received(sequence & 0xFFFF, now)
        arrivals[sequence] = now
        sequence += ahead
        if position % 40 == 39 or position == len(steps) - 1:
            for body in recorder.feedback():
                assert len(body) % 4 == 0
                feedback = twcc.parse(body)
                assert feedback.number == count & 0xFF
                count += 1
                told += feedback.arrivals
    received = [(number, moment) for number, moment in told if moment is not None]
    assert [number for number, _ in received] == [number & 0xFFFF for number in arrivals]
    for (_, moment), expected in zip(received, arrivals.values(), strict=True):
        assert moment == pytest.approx(expected, abs=twcc.TICK)


def test_losses_are_told() -> None:
    recorder = FeedbackRecorder()
    for sequence in (65534, 65535, 2, 3):
        recorder.received(sequence, 5.0)
    (body,) = recorder.feedback()
    assert [(number, moment is None) for number, moment in twcc.parse(body).arrivals] == [
        (65534, False),
        (65535, False),
        (0, True),
        (1, True),
        (2, False),
        (3, False),
    ]
    assert recorder.feedback() == []


def test_the_recorder_is_bounded() -> None:
    recorder = FeedbackRecorder()
    for number in range(5000):
        recorder.received(number & 0xFFFF, 1.0)
    assert sum(len(twcc.parse(body).arrivals) for body in recorder.feedback()) <= twcc.MAX_STATUSES


def test_a_jump_begins_anew() -> None:
    recorder = FeedbackRecorder()
    recorder.received(1, 1.0)
    recorder.received(20000, 1.1)
    (body,) = recorder.feedback()
    assert [number for number, _ in twcc.parse(body).arrivals] == [20000]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        bytes(8),  # about nothing
        b"\0\0\0\1\0\0\0\0",  # no chunk
        b"\0\0\0\1\0\0\0\0\x20\x01",  # no delta
        b"\0\0\0\1\0\0\0\0\x60\x01",  # status 3
        b"\0\0\0\1\0\0\0\0\x20\x00",  # a run of none
        b"\0\0\xff\xff\0\0\0\0" + b"\x3f\xff" * 6,
    ],
)
def test_malformed_feedback_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        twcc.parse(body)


@given(st.binary(max_size=60))
def test_nothing_but_value_errors(body: bytes) -> None:
    with contextlib.suppress(ValueError):
        twcc.parse(body)


def test_arrivals_go_on_where_the_reference_time_begins_anew() -> None:
    clock, period = twcc.ArrivalClock(), (1 << 24) * 0.064
    true = [period / 2 - 1 + step * 0.5 for step in range(6)] + [period / 2 - 0.2, period / 2 + 9]
    wrapped = [(at + period / 2) % period - period / 2 for at in true]
    assert min(wrapped) < 0 < max(wrapped)
    found = [clock.unwrap([(1, None), (2, at), (3, at + 0.1)]) for at in wrapped]
    assert [round(at or 0, 6) for (_, at, *_rest) in (one[1] for one in found)] == [round(at, 6) for at in true]
    assert clock.unwrap([(9, None)]) == [(9, None)]
