"""When a hub sends: at the end of a turn; in a cluster, under load, at the end of a rest; at once what others tell."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from mana.realtime import pace
from mana.realtime.pace import Pace


class Clock:
    """An event loop's clock and calls, as far as a pace needs them."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Call]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, function: Callable[[], None]) -> Call:
        call = Call(function)
        self.calls.append((when, call))
        return call

    def call_soon(self, function: Callable[[], None]) -> Call:
        return self.call_at(self.now, function)

    def go_on(self, seconds: float = 0.0) -> None:
        """Lets time pass, and runs what is due."""
        self.now += seconds
        due = [call for when, call in self.calls if when <= self.now]
        self.calls = [(when, call) for when, call in self.calls if when > self.now]
        for call in due:
            if not call.is_cancelled:
                call.function()


class Call:
    def __init__(self, function: Callable[[], None]) -> None:
        self.function = function
        self.is_cancelled = False

    def cancel(self) -> None:
        self.is_cancelled = True


class Node:
    """A hub that takes a millisecond for a flush, and tells others each time that it may, or never."""

    def __init__(self, *, rests: bool = True, tells: bool = True) -> None:
        self.tells = tells
        self.clock = Clock()
        self.flushes: list[float] = []
        self.tellings: list[float] = []
        loop: Any = self.clock
        self.pace = Pace(loop, self.flush, rests=rests)

    def turn(self) -> None:
        """A turn of the loop in which something comes, and its end."""
        self.pace.ask()
        self.clock.go_on()

    def flush(self) -> None:
        tells = self.tells and not self.pace.is_resting
        self.pace.hold()
        self.flushes.append(self.clock.now)
        if tells:
            self.tellings.append(self.clock.now)
        self.clock.now += 0.001
        self.pace.done(0.001, told=tells)
        if self.tells and not tells:
            self.pace.ask()  # as a hub does that still has something to tell


def test_what_is_asked_for_in_a_turn_is_done_once_at_its_end() -> None:
    node = Node()
    node.pace.ask()
    node.pace.ask()
    assert not node.flushes
    node.clock.go_on()
    assert node.flushes == [100.0]
    node.clock.go_on(1)
    assert len(node.flushes) == 1


def test_a_process_alone_does_not_rest() -> None:
    node = Node(rests=False)
    for _ in range(2):
        node.turn()
    assert len(node.flushes) == 2


def test_after_it_has_told_others_a_node_rests_some_times_as_long_as_it_worked() -> None:
    node = Node()
    node.turn()
    node.pace.ask()
    node.clock.go_on(0.9 * pace.REST * 0.001)
    assert len(node.flushes) == 1
    node.clock.go_on(0.2 * pace.REST * 0.001)
    node.clock.go_on()
    assert len(node.flushes) == 2


def test_what_comes_when_the_rest_is_over_is_gathered_until_a_turn_of_the_loop_brings_no_more() -> None:
    node = Node()
    node.turn()
    node.clock.go_on(1.1 * pace.REST * 0.001)
    for _ in range(5):
        node.turn()
    assert len(node.flushes) == 1
    node.clock.go_on()
    assert len(node.flushes) == 2


def test_what_never_ends_coming_is_sent_when_patience_is_over() -> None:
    node = Node()
    node.turn()
    told = node.clock.now
    while len(node.flushes) == 1:
        node.pace.ask()
        node.clock.go_on(0.0001)
    assert node.flushes[1] - told == pytest.approx(pace.LONGEST, abs=0.00015)
    for _ in range(5):
        node.pace.ask()
        node.clock.go_on(0.0001)
    assert len(node.flushes) == 2


def test_after_a_silence_what_comes_is_sent_at_the_end_of_its_turn() -> None:
    node = Node()
    node.turn()
    node.clock.go_on(1)
    node.turn()
    assert len(node.flushes) == 2


def test_a_rest_is_never_longer_than_the_longest() -> None:
    node = Node()
    node.pace.done(10.0, told=True)
    node.pace.ask()
    node.clock.go_on(1.01 * pace.LONGEST)
    assert len(node.flushes) == 1


def test_what_another_node_tells_does_not_wait_for_the_end_of_a_rest() -> None:
    node = Node()
    node.turn()
    node.pace.ask()
    node.pace.hurry()
    node.clock.go_on(0.001)  # as long as the last turn took
    assert len(node.flushes) == 2
    assert len(node.tellings) == 1, "what it has to tell itself waits on"
    node.clock.go_on(1)
    assert len(node.tellings) == 2
    node.clock.go_on(1)
    assert len(node.flushes) == 3, "the call at the end of the rest was for what is done"


def test_who_hurries_again_and_again_is_as_quick_as_who_does_once() -> None:
    """On a loop a due timer comes after what is ready; made anew at each turn it would never come."""
    node = Node()
    node.turn()
    node.pace.ask()
    node.pace.hurry()
    calls = list(node.clock.calls)
    node.clock.now += 0.001
    node.pace.hurry()
    assert node.clock.calls == calls
    node.clock.go_on()
    assert len(node.flushes) == 2


@pytest.mark.parametrize("tells", [True, False])
def test_many_that_tell_at_different_moments_leave_a_node_half_of_its_time(tells: bool) -> None:
    node = Node(tells=tells)
    began = node.clock.now
    for _ in range(200):
        node.pace.ask()
        node.pace.hurry()
        node.clock.go_on(0.0001)
    assert len(node.flushes) > 5
    assert 0.001 * len(node.flushes) <= 0.55 * (node.clock.now - began)


def test_a_clock_of_whole_milliseconds_does_not_make_it_spin() -> None:
    """uvloop's: a timer comes at the rounded time, up to half a millisecond before the end of a rest."""
    node = Node()
    node.pace.done(0.00116, told=True)  # 2.32 ms of rest
    node.pace.ask()
    node.clock.calls = [(round(when, 3), call) for when, call in node.clock.calls]
    node.clock.go_on(0.002)
    node.clock.go_on()
    assert node.tellings == [100.002]
    assert node.clock.calls == []


def test_a_small_turn_does_not_end_the_pause_after_a_large_one() -> None:
    node = Node(tells=False)
    node.pace.done(0.006, told=False)
    node.pace.done(0.0001, told=False)
    node.pace.ask()
    node.clock.go_on(0.005)
    assert not node.flushes
    node.clock.go_on(0.0011)
    assert len(node.flushes) == 1


def test_to_hurry_where_nothing_waits_does_nothing() -> None:
    node = Node()
    node.pace.hurry()
    node.clock.go_on(1)
    assert not node.flushes


@pytest.mark.parametrize("rests", [True, False])
async def test_it_does_as_much_in_a_real_loop(rests: bool) -> None:
    loop = asyncio.get_running_loop()
    flushed = asyncio.Event()
    made: list[Pace] = []

    def flush() -> None:
        made[0].hold()
        made[0].done(0.001, told=True)
        flushed.set()

    made.append(Pace(loop, flush, rests=rests))
    for _ in range(3):
        flushed.clear()
        made[0].ask()
        await asyncio.wait_for(flushed.wait(), 5)
