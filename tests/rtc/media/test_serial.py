"""Sequence numbers across their wrap."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media.serial import Unwrapper, difference16, difference32, newer16


def test_zero_comes_after_65535() -> None:
    assert newer16(0, 65535)
    assert not newer16(65535, 0)
    assert not newer16(7, 7)
    assert difference16(2, 65534) == 4
    assert difference32(1, 0xFFFFFFFF) == 2


@given(st.integers(0, 0xFFFF), st.lists(st.integers(-3000, 3000), max_size=50))
def test_extended_numbers_keep_distances(start: int, steps: list[int]) -> None:
    unwrapper = Unwrapper()
    unwrapper.advance(unwrapper.extend(start))
    position = unwrapper.highest
    for step in steps:
        position = unwrapper.highest + step
        extended = unwrapper.extend(position & 0xFFFF)
        assert extended == position
        unwrapper.advance(extended)
