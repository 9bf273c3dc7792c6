"""Which layer of which track a subscriber gets, so that all of it fits into what the path takes.

Sound goes first and is never cut. Pictures are served in the order of their priority: everybody gets the lowest layer
before anybody gets a better one, except that screen shares and pinned tracks get their best layer before others get
more than their lowest. What does not fit is paused, the last first; the very first picture never is, since an estimate
may err and a call without any picture is worse than one that is late.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

#: How much more than it needs must fit before a better layer is begun, so that it need not end at once.
HEADROOM = 1.15
#: Share of the estimate that is given out.
USABLE = 0.95

#: Priorities of pictures, the most important first.
SCREEN, PINNED, SPEAKER, OTHER = range(4)


@dataclass(slots=True)
class Candidate:
    """A track that a subscriber could get.

    ``bitrates`` are those of its layers, the lowest first, in bits per second; a layer that is not sent is ``None``.
    ``limit`` is the best layer that the subscriber has use for, -1 for none. ``current`` is what it gets now.
    """

    track: str
    kind: str
    priority: int
    bitrates: Sequence[float | None]
    limit: int
    current: int = -1
    layer: int = field(default=-1, init=False)

    def rate(self, index: int) -> float:
        """What a layer needs, nothing for -1."""
        return (self.bitrates[index] or 0.0) if index >= 0 else 0.0

    def next_layer(self, above: int) -> int:
        """The next better layer that is sent and of use, or -1."""
        for index in range(above + 1, min(self.limit, len(self.bitrates) - 1) + 1):
            if self.bitrates[index] is not None:
                return index
        return -1


@dataclass(slots=True)
class Allocation:
    """``layers``: the layer for each track, -1 where it is paused. ``wanted``: the rate at which one more step fits."""

    layers: dict[str, int]
    used: float
    wanted: float


def allocate(candidates: Sequence[Candidate], estimate: float, last_n: int = 0) -> Allocation:
    """Decides for one subscriber. ``last_n`` bounds the pictures beside screens and pinned ones; 0 is no bound."""
    budget = estimate * USABLE
    used = 0.0
    wanted = 0.0
    videos: list[Candidate] = []
    for one in candidates:
        if one.kind == "video":
            videos.append(one)
            continue
        one.layer = one.next_layer(-1)
        used += one.rate(one.layer)
    videos.sort(key=lambda one: one.priority)  # stable: the caller's order decides among equals
    videos = _last_n(videos, last_n)

    def step(one: Candidate) -> bool:
        """Takes the next better layer if it fits."""
        nonlocal used, wanted
        better = one.next_layer(one.layer)
        if better < 0:
            return False
        cost = one.rate(better) - one.rate(one.layer)
        # What is sent already needs no headroom to go on.
        headroom = 1.0 if better <= one.current else HEADROOM
        if used + cost * headroom > budget:
            wanted = wanted or (used + cost * headroom) / USABLE
            return False
        used += cost
        one.layer = better
        return True

    for one in videos:
        if not step(one) and one is videos[0] and (lowest := one.next_layer(-1)) >= 0:
            one.layer = lowest
            used += one.rate(lowest)
    for one in videos:
        if one.priority <= PINNED and one.layer >= 0:
            while step(one):
                pass
    progress = True
    while progress:
        progress = False
        for one in videos:
            if one.layer >= 0 and step(one):
                progress = True
    return Allocation({one.track: one.layer for one in candidates}, used, wanted)


def _last_n(videos: list[Candidate], last_n: int) -> list[Candidate]:
    if not last_n:
        return videos
    kept = []
    for one in videos:
        if one.priority <= PINNED:
            kept.append(one)
        elif last_n:
            last_n -= 1
            kept.append(one)
    return kept
