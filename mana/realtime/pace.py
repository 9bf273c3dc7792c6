"""How often a node of a cluster sends: at once after a silence, and under load with a rest between its turns.

What a turn of the event loop brings is one publish to the channel layer and one write to each socket, however much it
is; so the cost of a message is that of a turn divided by the messages in it. Two nodes that answer each other's every
message make turns of one message each. A node that rests after it has told the others something, for some times as long
as it has worked, takes in what comes meanwhile, and sends it as one. What others tell has been gathered there, and does
not wait for the end of a rest here, but as long as the last turn took: many nodes that tell at different moments don't
have this one do nothing else. A process alone has nobody to wait for, and sends at the end of each turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds of rest after a turn, in seconds that the turn took. With 4, what a sender has on its way comes back from the
#: other node within the rest, and goes on as one; with 2, half of it did (``python -m benchmarks --only cluster``).
REST = 4.0
#: Seconds of the longest rest. What comes at its end while others tell something waits as long once more.
LONGEST_REST = 0.008
#: Seconds of a rest that are none: uvloop's clock goes by whole milliseconds, and its timers come up to half of one
#: early.
GRAIN = 0.0005


class Pace:
    """Calls ``flush`` soon after it was asked for, as ``rests`` allows."""

    __slots__ = ("_flush", "_is_flushing", "_loop", "_next", "_rests", "_soonest", "_waiting")

    def __init__(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None], *, rests: bool) -> None:
        self._loop = loop
        self._flush = flush
        self._rests = rests
        self._is_flushing = False
        self._waiting: asyncio.Handle | None = None
        self._next = 0.0
        self._soonest = 0.0

    @property
    def is_resting(self) -> bool:
        """Whether the other nodes are not to be told anything yet."""
        return self._rests and self._next - self._loop.time() > GRAIN

    def ask(self) -> None:
        """Has ``flush`` called: at the end of this turn of the event loop, or of the rest. Repeated calls are one."""
        if self._waiting is not None or self._is_flushing:
            return
        when = max(self._next, self._soonest)
        if self._rests and when - self._loop.time() > GRAIN:
            self._waiting = self._loop.call_at(when, self._flush)
        else:
            self._waiting = self._loop.call_soon(self._flush)

    def hurry(self) -> None:
        """Another node has told something: whoever waits here for the end of a rest waits no longer."""
        if self._waiting is not None and self.is_resting and self._soonest < self._next:
            self._waiting.cancel()
            self._waiting = self._loop.call_at(self._soonest, self._flush)

    def hold(self) -> None:
        """``flush`` runs: what is asked for meanwhile, it does."""
        self._is_flushing = True
        if self._waiting is not None:
            self._waiting.cancel()
            self._waiting = None

    def done(self, seconds: float, *, told: bool) -> None:
        """``flush`` has run, for so long; whether it ``told`` the other nodes anything."""
        self._is_flushing = False
        now = self._loop.time()
        self._soonest = max(self._soonest, now + min(seconds, LONGEST_REST))
        if told:
            self._next = now + min(seconds * REST, LONGEST_REST)
