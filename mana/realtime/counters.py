"""What this process has done, as plain numbers.

They are counted where it happens, at most once per frame, batch or turn of the event loop and never per receiver, and
made into metrics only when somebody asks (``mana.observability.metrics``). One process has one set of them: it is the
process that is scraped.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from mana.protocol import CloseCode

if TYPE_CHECKING:
    from mana.realtime.announcements import Announcement

#: Close codes that are counted by name. A client may send any code, so that the others share one.
KNOWN_CODES = frozenset(
    (1000, 1001, 1005, 1006, 1009, 1011, 1012, *(code for name, code in vars(CloseCode).items() if name.isupper()))
)
OTHER_CODE = 0

#: Every encoded frame begins so; the type follows.
_TYPE_AT = len('{"type":"')


class Histogram:
    """Counts of values per bucket; ``bounds`` are the buckets' upper ends, a last one takes what is above."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, *bounds: float) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Counts one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counters:
    """All numbers. Those that other threads than the event loop's change say so."""

    def __init__(self) -> None:
        self.opened = 0
        #: By WebSocket close code.
        self.closed: dict[int, int] = defaultdict(int)
        #: Error frames by code, those to connections that were turned away included.
        self.errors: dict[str, int] = defaultdict(int)
        self.refused = 0
        #: By the class of the frame.
        self.frames_in: dict[type, int] = defaultdict(int)
        self.frames_out: dict[type, int] = defaultdict(int)
        #: By the type on the wire: frames that were encoded once for many.
        self.frames_fanned_out: dict[str, int] = defaultdict(int)
        self.bytes_in = 0
        self.bytes_out = 0
        self.acks = Histogram(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
        self.batches = Histogram(1, 2, 5, 10, 25, 50, 100, 200, 500, 1000)
        self.messages = 0
        #: Transactions that were tried again (the writer's thread and others).
        self.retries = 0
        self.published = 0
        self.received = 0
        self.gaps = 0
        self.flushes = 0
        self.flush_seconds = 0.0

    def closed_with(self, code: int | None) -> None:
        """A connection is over."""
        self.closed[code if code is not None and code in KNOWN_CODES else OTHER_CODE] += 1

    def fanned_out(
        self, announcements: Iterable[Announcement], receivers: int, sessions: Collection[str] = frozenset()
    ) -> None:
        """Announcements go to ``receivers`` sessions, of which the sending one, if it is here, gets none of its own."""
        for announcement in announcements:
            frame = announcement.frame
            count = receivers - (announcement.origin in sessions) if announcement.origin else receivers
            self.frames_fanned_out[frame[_TYPE_AT : frame.find('"', _TYPE_AT)]] += count
            self.bytes_out += (len(frame) if frame.isascii() else len(frame.encode())) * count

    def committed(self, waited: Sequence[float], messages: int) -> None:
        """A batch was committed or refused: how long each of its messages waited, and how many were stored."""
        self.batches.observe(len(waited))
        self.messages += messages
        for seconds in waited:
            self.acks.observe(seconds)


counters = Counters()
