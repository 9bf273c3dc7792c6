"""The order of events: each is told once, in order, whatever repeats or overtakes on the way. No I/O.

Live events wait while a sync runs, and when the index of a room jumps: what is missing is often one's own message,
whose ack is on its way, else it has to be fetched.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Event = dict[str, Any]

REMEMBERED = 5_000  # ids of the latest events, to recognise them when they come again
HELD_AT_MOST = 5_000  # live events that wait; more are left for a sync to bring


@dataclass
class _Room:
    """``last`` is the highest index without a hole before it, ``ahead`` are those known after a hole."""

    last: int | None = None
    ahead: set[int] = field(default_factory=set)

    def add(self, index: int) -> None:
        self.ahead.add(index)
        if self.last is None:
            return
        while self.last + 1 in self.ahead:
            self.last += 1
        self.ahead = {one for one in self.ahead if one > self.last}

    def reach(self, index: int) -> None:
        """Everything up to ``index`` is known, or will not come any more."""
        if self.last is None or index > self.last:
            self.last = index
        self.add(index)


@dataclass(frozen=True, slots=True)
class Gap:
    """Indexes of a room between ``after`` and ``before``, both excluded, that have not come."""

    room_id: str
    after: int
    before: int


class Timeline:
    """``tell`` gets the events; ``cursor`` is the highest sequence told."""

    def __init__(self, tell: Callable[[Event], None]) -> None:
        self.cursor: int | None = None
        self._tell_event = tell
        self._floor = 0
        self._seen: OrderedDict[str, None] = OrderedDict()
        self._rooms: dict[str, _Room] = {}
        self._held: list[Event] = []
        self._holding = False
        self._overflowed = False

    def start(self, cursor: int) -> None:
        """Begins after a sequence; what lies at or below it was told before."""
        self.cursor = self._floor = cursor

    def hold(self) -> None:
        """Keeps live events back until ``release``."""
        self._holding, self._overflowed, self._held = True, False, []

    def release(self) -> bool:
        """Tells what was held, gaps or not; False when more came than could be held: sync again."""
        if self._overflowed:
            self.hold()
            return False
        self._holding = False
        held, self._held = self._held, []
        for event in held:
            self._tell(event)
        return True

    def push(self, event: Event) -> Gap | None:
        """A live event; a gap that should be filled before it is told."""
        if self._holding:
            if len(self._held) < HELD_AT_MOST:
                self._held.append(event)
            else:
                self._overflowed = True
            return None
        if self._held or self._gap_before(event) is not None:
            self._held.append(event)
            return self.gap()
        self._tell(event)
        return None

    def batch(self, events: list[Event], cursor: int | None = None) -> None:
        """What a sync or the repair of a gap has brought."""
        for event in events:
            self._tell(event)
        if cursor is not None:
            self._raise(cursor)

    def own(self, event_id: str, room_id: str, index: int) -> None:
        """An own message was stored: it fills its index, and does not come live."""
        self._remember(event_id)
        self._room(room_id).add(index)
        self._tell_held()

    def gap(self) -> Gap | None:
        """What the first of the waiting events waits for."""
        self._tell_held()
        if self._holding or not self._held:
            return None
        first = self._held[0]
        after = self._gap_before(first)
        assert after is not None
        return Gap(first["room_id"], after, first["index"])

    def give_up(self, gap: Gap) -> None:
        """What is missing there does not come: the sender has deleted it, or may not show it."""
        self._room(gap.room_id).reach(gap.before - 1)
        self._tell_held()

    def _tell_held(self) -> None:
        while not self._holding and self._held and self._gap_before(self._held[0]) is None:
            self._tell(self._held.pop(0))

    def _tell(self, event: Event) -> None:
        is_new = event["id"] not in self._seen and event["sequence"] > self._floor
        self._remember(event["id"])
        if event.get("index") is not None:
            self._room(event["room_id"]).reach(event["index"])
        if is_new:
            self._tell_event(event)
        self._raise(event["sequence"])

    def _raise(self, sequence: int) -> None:
        if self.cursor is None or sequence > self.cursor:
            self.cursor = sequence

    def _remember(self, event_id: str) -> None:
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED:
            self._seen.popitem(last=False)

    def _gap_before(self, event: Event) -> int | None:
        """The last index before a hole that is in front of the event; ``None`` when it follows on what is known."""
        index = event.get("index")
        room = self._rooms.get(event.get("room_id", ""))
        if index is None or room is None or room.last is None or index <= room.last + 1:
            return None
        known = room.last
        while known + 1 in room.ahead:
            known += 1
        return known if known + 1 < index else None

    def _room(self, room_id: str) -> _Room:
        return self._rooms.setdefault(room_id, _Room())
