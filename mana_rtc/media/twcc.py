"""Transport-wide congestion control feedback (draft-holmer-rmcat-transport-wide-cc-extensions-01, section 3.1).

The sender numbers all packets of a transport; the receiver answers with their arrival times. ``FeedbackRecorder`` is
the receiver's half (towards publishers), ``parse`` reads what subscribers answer.
"""

from __future__ import annotations

from struct import Struct
from typing import NamedTuple

from mana_rtc.media.serial import Unwrapper

#: Seconds of one tick of a delta, and of the reference time.
TICK = 0.00025
REFERENCE_TICK = 0.064
#: Packets that one feedback may tell of, and that the recorder remembers.
MAX_STATUSES = 512
#: How far the sequence numbers may jump before the recorder begins anew.
MAX_JUMP = 3000
NOT_RECEIVED, SMALL_DELTA, LARGE_DELTA = 0, 1, 2

_HEAD = Struct("!HHI")


class Feedback(NamedTuple):
    """Which packets arrived when; ``number`` counts feedback packets in 8 bits.

    ``arrivals`` are (sequence, seconds on the receiver's clock or ``None`` if lost).
    """

    number: int
    arrivals: list[tuple[int, float | None]]


#: Seconds after which the 24 bits of a reference time begin anew.
PERIOD = (1 << 24) * REFERENCE_TICK


class ArrivalClock:
    """Arrival times of one receiver, which go on where its reference time begins anew, every 12.4 days of its clock."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._last: float | None = None

    def unwrap(self, arrivals: list[tuple[int, float | None]]) -> list[tuple[int, float | None]]:
        """Arrivals as ``parse`` gives them, on a clock without jumps."""
        first = next((at for _, at in arrivals if at is not None), None)
        if first is None:
            return arrivals
        if self._last is not None:
            self._offset += round((self._last - first - self._offset) / PERIOD) * PERIOD
        self._last = first + self._offset
        if not self._offset:
            return arrivals
        return [(number, at if at is None else at + self._offset) for number, at in arrivals]


def parse(body: bytes) -> Feedback:
    """What a feedback packet says. Raises ``ValueError`` if it is malformed."""
    if len(body) < 8:
        raise ValueError("transport-cc feedback is cut off")
    base, statuses, reference_and_count = _HEAD.unpack_from(body)
    if not 0 < statuses <= MAX_STATUSES * 8:
        raise ValueError("transport-cc feedback about too many packets")
    reference = reference_and_count >> 8
    symbols, offset = _symbols(body, statuses)
    ticks = (reference - 0x1000000 if reference & 0x800000 else reference) * round(REFERENCE_TICK / TICK)
    arrivals: list[tuple[int, float | None]] = []
    for position, symbol in enumerate(symbols):
        sequence = (base + position) & 0xFFFF
        if symbol == NOT_RECEIVED:
            arrivals.append((sequence, None))
            continue
        width = symbol
        if offset + width > len(body):
            raise ValueError("transport-cc deltas are cut off")
        ticks += int.from_bytes(body[offset : offset + width], signed=symbol == LARGE_DELTA)
        offset += width
        arrivals.append((sequence, ticks * TICK))
    return Feedback(reference_and_count & 0xFF, arrivals)


def _symbols(body: bytes, statuses: int) -> tuple[list[int], int]:
    symbols: list[int] = []
    offset = 8
    while len(symbols) < statuses:
        if offset + 2 > len(body):
            raise ValueError("transport-cc status chunks are cut off")
        chunk = body[offset] << 8 | body[offset + 1]
        offset += 2
        if not chunk & 0x8000:
            symbols += [chunk >> 13 & 3] * min(chunk & 0x1FFF, statuses - len(symbols))
            if not chunk & 0x1FFF:
                raise ValueError("transport-cc run of no length")
        elif chunk & 0x4000:
            symbols += [chunk >> shift & 3 for shift in range(12, -1, -2)]
        else:
            symbols += [chunk >> shift & 1 for shift in range(13, -1, -1)]
    del symbols[statuses:]
    if 3 in symbols:
        raise ValueError("transport-cc status 3 is reserved")
    return symbols, offset


class FeedbackRecorder:
    """Remembers the arrivals of one transport until they are told."""

    def __init__(self) -> None:
        self._unwrapper = Unwrapper()
        self._arrivals: dict[int, float] = {}
        self._next = -1  # the first number that has not been told
        self._count = 0

    def received(self, sequence: int, now: float) -> None:
        """A packet with this transport-wide number came."""
        unwrapper = self._unwrapper
        extended = unwrapper.extend(sequence)
        if unwrapper.highest >= 0 and extended - unwrapper.highest > MAX_JUMP:
            self._arrivals.clear()
            self._next = extended
        unwrapper.advance(extended)
        if self._next < 0:
            self._next = extended
        if extended < self._next or len(self._arrivals) >= MAX_STATUSES:
            return  # told as lost already, or nobody asks for feedback
        self._arrivals[extended] = now

    def feedback(self) -> list[bytes]:
        """Bodies for ``rtcp.transport_feedback`` about everything that came since the last call."""
        bodies = []
        while self._arrivals:
            bodies.append(self._one_body())
        return bodies

    def _one_body(self) -> bytes:
        first = self._next
        last = min(max(self._arrivals), first + MAX_STATUSES - 1)
        if not any(number in self._arrivals for number in range(first, last + 1)):
            # Nothing but losses for a whole packet: begin where something arrived.
            first = self._next = min(self._arrivals)
            last = min(max(self._arrivals), first + MAX_STATUSES - 1)
        start = next(self._arrivals[number] for number in range(first, last + 1) if number in self._arrivals)
        reference = int(start / REFERENCE_TICK)
        ticks = reference * round(REFERENCE_TICK / TICK)
        symbols: list[int] = []
        deltas: list[bytes] = []
        for number in range(first, last + 1):
            arrival = self._arrivals.get(number)
            if arrival is None:
                symbols.append(NOT_RECEIVED)
                continue
            delta = round(arrival / TICK) - ticks
            if not -0x8000 <= delta <= 0x7FFF:
                break  # the rest in a packet with its own reference time
            del self._arrivals[number]
            ticks += delta
            small = 0 <= delta <= 0xFF
            symbols.append(SMALL_DELTA if small else LARGE_DELTA)
            deltas.append(delta.to_bytes(1) if small else delta.to_bytes(2, signed=True))
        while symbols and symbols[-1] == NOT_RECEIVED:
            symbols.pop()  # they belong to the packet that begins behind them
        self._next = first + len(symbols)
        head = _HEAD.pack(first & 0xFFFF, len(symbols), (reference & 0xFFFFFF) << 8 | self._count)
        self._count = (self._count + 1) & 0xFF
        body = head + b"".join(_chunks(symbols)) + b"".join(deltas)
        return body + bytes(-len(body) % 4)


def _chunks(symbols: list[int]) -> list[bytes]:
    chunks = []
    position = 0
    while position < len(symbols):
        symbol = symbols[position]
        end = position
        while end < len(symbols) and symbols[end] == symbol:
            end += 1
        run = end - position
        if run >= 7 or end == len(symbols):
            chunks.append((symbol << 13 | run).to_bytes(2))
            position = end
            continue
        part = symbols[position : position + 7]
        value = 0xC000
        for index, one in enumerate(part):
            value |= one << 12 - 2 * index
        chunks.append(value.to_bytes(2))
        position += len(part)
    return chunks
