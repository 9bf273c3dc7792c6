"""How often a node of a cluster sends: at once after a silence, and under load with a rest between its turns.

What a turn of the event loop brings is one publish to the channel layer and one write to each socket, however much it
is; so the cost of a message is that of a turn divided by the messages in it. Two nodes that answer each other's every
message make turns of one message each. A node that rests as long as it has just worked takes in what comes meanwhile,
and sends it as one. A process alone has nobody to wait for, and sends at the end of each turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

#: Seconds of rest after a turn, in seconds that the turn took.
REST = 2.0
#: Seconds that a message waits for the end of a rest, at the most.
LONGEST_REST = 0.002


class Pace:
    """Calls ``flush`` soon after it was asked for, as ``rests`` allows."""

    __slots__ = ("_asked", "_flush", "_loop", "_next", "_rests")

    def __init__(self, loop: asyncio.AbstractEventLoop, flush: Callable[[], None], *, rests: bool) -> None:
        self._loop = loop
        self._flush = flush
        self._rests = rests
        self._asked = False
        self._next = 0.0

    def ask(self) -> None:
        """Has ``flush`` called: at the end of this turn of the event loop, or of the rest. Repeated calls are one."""
        if self._asked:
            return
        self._asked = True
        if self._rests and self._loop.time() < self._next:
            self._loop.call_at(self._next, self._flush)
        else:
            self._loop.call_soon(self._flush)

    def hold(self) -> None:
        """``flush`` runs: what is asked for meanwhile, it does."""
        self._asked = True

    def done(self, seconds: float) -> None:
        """``flush`` has run, for so long."""
        self._asked = False
        self._next = self._loop.time() + min(seconds * REST, LONGEST_REST)
