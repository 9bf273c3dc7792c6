"""When a node sends: at once after a silence, together under load, and never later than it says."""

from __future__ import annotations

import asyncio
from typing import Any

from mana.realtime import pace
from mana.realtime.announcements import Announcement
from mana.realtime.hub import Hub
from mana.realtime.pace import Pace


class Clock:
    """A loop whose time the test sets."""

    def __init__(self) -> None:
        self.now = 100.0
        self.due: list[float] = []

    def time(self) -> float:
        return self.now

    def call_soon(self, call: Any) -> None:
        self.due.append(self.now)

    def call_at(self, when: float, call: Any) -> None:
        self.due.append(when)


def paced(*, rests: bool = True) -> tuple[Clock, Pace]:
    clock = Clock()
    return clock, Pace(clock, lambda: None, rests=rests)  # type: ignore[arg-type]


def test_after_a_silence_what_comes_leaves_at_once() -> None:
    clock, made = paced()
    made.ask()
    assert clock.due == [100.0]
    made.done(0.0005)
    clock.now += 0.01
    made.ask()
    assert clock.due == [100.0, 100.01]


def test_what_comes_while_a_node_rests_leaves_together_after_it() -> None:
    clock, made = paced()
    made.done(0.0005)
    for _ in range(3):
        clock.now += 0.0001
        made.ask()
    assert clock.due == [100.0 + 0.0005 * pace.REST]


def test_nobody_waits_longer_for_a_slow_turn() -> None:
    clock, made = paced()
    made.done(1.0)
    made.ask()
    assert clock.due == [100.0 + pace.LONGEST_REST]


def test_a_process_alone_does_not_rest() -> None:
    clock, made = paced(rests=False)
    made.done(1.0)
    made.ask()
    assert clock.due == [100.0]


async def test_what_a_tick_brings_is_one_publish(monkeypatch: Any) -> None:
    published: list[list[Announcement]] = []
    hub = Hub()
    monkeypatch.setattr(hub.bus, "publish", published.append)
    try:
        for number in range(3):
            hub.announce([Announcement(0, f"room-{number}", "{}")])
        await asyncio.sleep(0)
        assert [len(batch) for batch in published] == [3]
    finally:
        hub.database.close()
