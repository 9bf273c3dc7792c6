"""The order of events: once each, in order, whatever repeats, overtakes or is missing."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mana.client import timeline
from mana.client.timeline import Gap, Timeline


def event(sequence: int, index: int | None = None, room: str = "r") -> dict[str, Any]:
    """An event; without another index that of one room that has them all."""
    return {"id": f"e{sequence}", "sequence": sequence, "index": sequence if index is None else index, "room_id": room}


def started() -> tuple[Timeline, list[int]]:
    """A timeline after the sync, and what it tells."""
    told: list[int] = []
    one = Timeline(lambda event: told.append(event["sequence"]))
    one.start(0)
    return one, told


def test_what_comes_live_while_a_sync_runs_waits_for_it_and_comes_once() -> None:
    one, told = started()
    one.hold()
    one.push(event(3))
    one.push(event(4))
    one.batch([event(1), event(2), event(3)], 3)
    assert told == [1, 2, 3]
    assert one.release()
    assert told == [1, 2, 3, 4]
    assert one.cursor == 4


def test_what_lies_before_the_cursor_is_not_told_again() -> None:
    one, told = started()
    one.start(5)
    one.batch([event(4), event(5), event(6)])
    assert told == [6]


def test_an_event_waits_for_the_one_before_it() -> None:
    one, told = started()
    assert one.push(event(1)) is None
    assert one.push(event(3)) == Gap("r", 1, 3)
    assert one.push(event(4)) == Gap("r", 1, 3)
    assert told == [1]
    one.batch([event(2)])
    assert one.gap() is None
    assert told == [1, 2, 3, 4]


def test_an_ack_of_ones_own_fills_its_place() -> None:
    one, told = started()
    one.push(event(1))
    assert one.push(event(3)) is not None
    one.own("mine", "r", 2)
    assert told == [1, 3]
    one.own("mine-too", "r", 4)
    assert one.push(event(5)) is None


def test_what_cannot_be_had_is_given_up() -> None:
    one, told = started()
    one.push(event(1))
    gap = one.push(event(4))
    assert gap is not None
    one.give_up(gap)
    assert told == [1, 4]


def test_more_than_can_be_held_is_left_for_the_next_sync() -> None:
    one, told = started()
    one.hold()
    for sequence in range(1, timeline.HELD_AT_MOST + 2):
        one.push(event(sequence))
    assert not one.release()
    assert told == []
    one.batch([event(1)], 1)
    assert one.release()
    assert told == [1]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 12), max_size=60), st.integers(0, 12))
def test_whatever_comes_is_told_once_and_in_order(arrivals: list[int], own: int) -> None:
    one, told = started()
    one.batch([event(1)])
    if own > 1:
        one.own(f"e{own}", "r", own)
    for sequence in arrivals:
        if sequence != own:
            gap = one.push(event(sequence))
            if gap is not None:
                one.batch([event(n) for n in range(gap.after + 1, gap.before)])
    assert told == sorted(set(told))
    assert one.gap() is None
