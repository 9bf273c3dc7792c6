"""How often a node of a cluster sends: at once after a silence, and under load with a rest between its turns.

What a turn of the event loop brings is one publish to the channel layer and one write to each socket, however much it
is; so the cost of a message is that of a turn divided by the messages in it. Two nodes that answer each other's every
message make turns of one message each. A node that has told the others something rests for some times as long as it
has worked, then takes in what comes until nothing more does, and sends it as one. What others tell has been gathered
there, and does not wait for the end of a rest here, but as long as the last turn took: many nodes that tell at
different moments don't have this one do nothing else. A process alone has nobody to wait for, and sends at the end of
each turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds of rest after a turn, in seconds that the turn took. Within so long another node as busy as this one has
#: passed on what it was told, and what answers that is about to come.
REST = 2.0
#: Seconds from a turn to the next, in seconds that the turn took, for as long as each turn of the event loop brings
#: more. With a fixed end, a turn was cut where the messages of one sender came in, and the other part of them made a
#: turn of its own: a message cost up to a third more, in some runs (``python -m benchmarks --only cluster``).
PATIENCE = 12.0
#: Seconds of the longest rest and of the longest patience. What comes at their end while others tell something waits
#: as long once more.
LONGEST = 0.008
#: Seconds of a rest that are none: uvloop's clock goes by whole milliseconds, and its timers come up to half of one
#: early.
GRAIN = 0.0005


class Pace:
    """Calls ``flush`` soon after it was asked for, as ``rests`` allows."""

    __slots__ = (
        "_asks",
        "_asks_seen",
        "_flush",
        "_is_flushing",
        "_is_hurried",
        "_latest",
        "_loop",
        "_rested",
        "_rests",
        "_soonest",
        "_waiting",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None], *, rests: bool) -> None:
        self._loop = loop
        self._flush = flush
        self._rests = rests
        self._is_flushing = False
        #: What waits does not wait for the end of the rest any more.
        self._is_hurried = False
        self._waiting: asyncio.Handle | None = None
        #: How often it was asked, and how often when that was last looked at.
        self._asks = self._asks_seen = 0
        #: When the rest is over, when patience is, and when what others tell may go, by the loop's clock.
        self._rested = self._latest = self._soonest = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether the other nodes are not to be told anything yet."""
        return self._rests and self._rested - self._loop.time() > GRAIN

    def ask(self) -> None:
        """Has ``flush`` called: at the end of this turn of the event loop, or when the rest is over and nothing more
        comes. Repeated calls are one."""
        self._asks += 1
        if self._waiting is not None or self._is_flushing:
            return
        if not self._rests:
            self._waiting = self._loop.call_soon(self._flush)
            return
        when = max(self._rested, self._soonest)
        if when - self._loop.time() > GRAIN:
            self._waiting = self._loop.call_at(when, self._flush_if_quiet)
        else:
            self._waiting = self._loop.call_soon(self._flush_if_quiet)

    def _flush_if_quiet(self) -> None:
        """Flushes if the last turn of the event loop has brought nothing more, or patience is over."""
        seen, self._asks_seen = self._asks_seen, self._asks
        if seen == self._asks or self._latest <= self._loop.time():
            self._flush()
        else:
            self._waiting = self._loop.call_soon(self._flush_if_quiet)

    def hurry(self) -> None:
        """Another node has told something: whoever waits here for the end of a rest waits no longer. When the rest is
        over already, it is gathered with what else comes."""
        if self._is_hurried or self._waiting is None:
            return
        if self.is_resting and self._soonest < self._rested:
            self._is_hurried = True
            self._waiting.cancel()
            self._waiting = self._loop.call_at(self._soonest, self._flush)

    def hold(self) -> None:
        """``flush`` runs: what is asked for meanwhile, it does."""
        self._is_flushing = True
        self._is_hurried = False
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def done(self, seconds: float, *, told: bool) -> None:
        """``flush`` has run, for so long; whether it ``told`` the other nodes anything."""
        self._is_flushing = False
        now = self._loop.time()
        self._soonest = max(self._soonest, now + min(seconds, LONGEST))
        if told:
            self._rested = now + min(seconds * REST, LONGEST)
            self._latest = now + min(seconds * PATIENCE, LONGEST)
