"""How much an engine has to do."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mana_rtc.sfu.engine import Engine


class Load(NamedTuple):
    """What a worker has to do: numbers now, and per second since it last told. ``busy`` is the processor's share."""

    rooms: int = 0
    participants: int = 0
    tracks: int = 0
    busy: float = 0.0
    packets_in: float = 0.0
    packets_out: float = 0.0
    bytes_in: float = 0.0
    bytes_out: float = 0.0


class Meter:
    """What an engine has to do, and did per second since the last reading. May be read in any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._at = time.monotonic()
        self._processor = time.process_time()
        self._traffic: dict[int, tuple[int, int, int, int]] = {}

    def read(self) -> Load:
        """The numbers."""
        now, processor = time.monotonic(), time.process_time()
        seconds = max(now - self._at, 1e-3)
        participants = [one for room in list(self._engine.rooms.values()) for one in list(room.participants.values())]
        halves = [half for one in participants for half in (one.publisher, one.subscriber) if half is not None]
        traffic = {}
        for half in halves:
            counters = half.transport.counters
            traffic[id(half)] = (counters.packets_in, counters.packets_out, counters.bytes_in, counters.bytes_out)
        none = (0, 0, 0, 0)
        sums = [0.0] * 4
        for key, values in traffic.items():
            before = self._traffic.get(key, none)
            for position in range(4):
                sums[position] += max(0, values[position] - before[position]) / seconds
        load = Load(
            rooms=len(self._engine.rooms),
            participants=len(participants),
            tracks=sum(len(one.publisher.tracks) for one in participants if one.publisher is not None),
            busy=min((processor - self._processor) / seconds, 99.0),
            packets_in=sums[0],
            packets_out=sums[1],
            bytes_in=sums[2],
            bytes_out=sums[3],
        )
        self._at, self._processor, self._traffic = now, processor, traffic
        return load

    def sizes(self) -> list[int]:
        """How many people are in each room."""
        return [len(room.participants) for room in list(self._engine.rooms.values())]
