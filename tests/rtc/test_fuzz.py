"""A second of fuzzing, and everything that fuzzing ever found."""

from __future__ import annotations

from random import Random

import pytest

from tests.rtc.fuzz import CASES, _seeds, mutate, targets

SEEDS = _seeds()


@pytest.mark.parametrize("name", sorted(SEEDS))
def test_mutated_input_breaks_nothing(name: str) -> None:
    chance = Random(name)
    feed = targets()[name]
    for _ in range(400):
        feed(mutate(chance.choice(SEEDS[name]), chance, SEEDS[name]))


def test_what_was_found_stays_fixed() -> None:
    fed = targets()
    for case in sorted(CASES.glob("*-*")):
        fed[case.name.partition("-")[0]](case.read_bytes())
