"""Events in order over a layer that loses, repeats and reorders: numbered batches, kept until the node has seen them.

Pure: what is to be sent goes to a function, time is an argument.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from mana_rtc.workers.messages import Batch, SfuEvent

#: Batches that are kept for a node that has not seen them, and that wait at a node for an earlier one.
KEPT = 512
#: Seconds that a batch may be on its way before it counts as lost.
IN_FLIGHT = 0.3


class Outbox:
    """A worker's events for one node."""

    def __init__(self, worker: str, stream: str, send: Callable[[Batch], None]) -> None:
        self.worker = worker
        self.stream = stream
        self.newest = 0
        self._send = send
        self._waiting: list[SfuEvent] = []
        self._kept: OrderedDict[int, tuple[float, Batch]] = OrderedDict()

    @property
    def oldest(self) -> int:
        """The number of the oldest batch that can be sent again."""
        return next(iter(self._kept), self.newest + 1)

    def add(self, event: SfuEvent) -> bool:
        """Takes an event for the next batch; whether it is the first in it."""
        self._waiting.append(event)
        return len(self._waiting) == 1

    def flush(self, now: float) -> None:
        """Sends what waits."""
        if not self._waiting:
            return
        self.newest += 1
        batch = Batch(worker=self.worker, stream=self.stream, number=self.newest, events=self._waiting)
        self._waiting = []
        self._kept[batch.number] = (now, batch)
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        self._send(batch)

    def seen(self, number: int, now: float) -> None:
        """The node has everything up to ``number``: what came later, and should have arrived, is sent again."""
        for one in [one for one in self._kept if one <= number]:
            del self._kept[one]
        for one, (sent_at, batch) in list(self._kept.items()):
            if now - sent_at >= IN_FLIGHT:
                self._kept[one] = (now, batch)
                self._send(batch)


class Inbox:
    """A node's view of one worker's events."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.seen = 0
        self._early: dict[int, list[SfuEvent]] = {}

    @property
    def has_gap(self) -> bool:
        """Whether a later batch has come than the one that is waited for."""
        return bool(self._early)

    def take(self, batch: Batch) -> list[SfuEvent]:
        """The events that may be delivered now."""
        if batch.stream != self.stream or batch.number <= self.seen or len(self._early) >= KEPT:
            return []
        self._early[batch.number] = batch.events
        ready: list[SfuEvent] = []
        while (events := self._early.pop(self.seen + 1, None)) is not None:
            self.seen += 1
            ready += events
        return ready
