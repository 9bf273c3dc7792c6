"""Who gets which layer."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mana_rtc.media.allocator import OTHER, PINNED, SCREEN, SPEAKER, USABLE, Candidate, allocate

LAYERS = (100_000.0, 400_000.0, 1_500_000.0)


def video(name: str, priority: int = OTHER, current: int = -1, limit: int = 2) -> Candidate:
    return Candidate(name, "video", priority, LAYERS, limit, current)


def layers(candidates: list[Candidate], estimate: float, last_n: int = 0) -> dict[str, int]:
    return allocate(candidates, estimate, last_n).layers


def test_everybody_gets_something_before_anybody_gets_more() -> None:
    assert layers([video("a"), video("b"), video("c")], 600_000) == {"a": 0, "b": 0, "c": 0}
    assert layers([video("a"), video("b")], 800_000) == {"a": 1, "b": 0}
    assert layers([video("a"), video("b")], 10_000_000) == {"a": 2, "b": 2}


def test_screens_and_pinned_ones_come_first() -> None:
    people = [video("a", SPEAKER), video("b"), video("pinned", PINNED), video("screen", SCREEN)]
    assert layers(people, 2_400_000) == {"screen": 2, "pinned": 1, "a": 0, "b": 0}


def test_what_does_not_fit_is_paused_but_for_the_first() -> None:
    assert layers([video("a"), video("b", SPEAKER), video("c")], 260_000) == {"b": 0, "a": 0, "c": -1}
    assert layers([video("a"), video("b")], 50_000) == {"a": 0, "b": -1}


def test_sound_is_never_cut() -> None:
    sound = Candidate("sound", "audio", OTHER, (40_000.0,), 0)
    found = allocate([sound, video("a"), video("b")], 100_000)
    assert found.layers == {"sound": 0, "a": 0, "b": -1}


def test_last_n_counts_neither_screens_nor_pinned_ones() -> None:
    people = [video("screen", SCREEN), video("pinned", PINNED), video("a"), video("b"), video("c")]
    assert layers(people, 1e9, last_n=2) == {"screen": 2, "pinned": 2, "a": 2, "b": 2, "c": -1}


def test_wishes_bound_the_layer() -> None:
    assert layers([video("a", limit=1), video("b", limit=-1)], 1e9) == {"a": 1, "b": -1}


def test_a_layer_that_is_not_sent_is_passed_over() -> None:
    candidate = Candidate("a", "video", OTHER, (None, 400_000.0, None), 2)
    assert layers([candidate], 1e9) == {"a": 1}


def test_going_on_needs_less_than_beginning() -> None:
    estimate = 1_540_000 / USABLE
    assert layers([video("a", current=2)], estimate) == {"a": 2}
    assert layers([video("a", current=1)], estimate) == {"a": 1}


def test_the_next_step_is_named() -> None:
    found = allocate([video("a")], 450_000)
    assert found.layers == {"a": 0}
    assert allocate([video("a")], found.wanted * 1.001).layers == {"a": 1}
    assert allocate([video("a")], 1e9).wanted == 0


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3), st.lists(st.none() | st.floats(1e4, 3e6), min_size=1, max_size=3), st.integers(-1, 2)
        ),
        max_size=12,
    ),
    st.floats(5e4, 2e7),
    st.integers(0, 5),
)
def test_it_fits(people: list[tuple[int, list[float | None], int]], estimate: float, last_n: int) -> None:
    candidates = [
        Candidate(str(name), "video", priority, sorted(rates, key=lambda rate: rate or 0), 2, current)
        for name, (priority, rates, current) in enumerate(people)
    ]
    found = allocate(candidates, estimate, last_n)
    used = [one.rate(found.layers[one.track]) for one in candidates]
    assert abs(sum(used) - found.used) < 1
    # All of it fits, or it is the one picture that is sent in any case.
    assert sum(used) <= estimate * USABLE + 1 or sum(rate > 0 for rate in used) == 1
