"""How much a session may send."""

from __future__ import annotations


class TokenBucket:
    """A token bucket: ``burst`` tokens at most, refilled with ``rate`` tokens per second.

    Times are in seconds of any monotonic clock, given by the caller.
    """

    __slots__ = ("_burst", "_level", "_rate", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = float(burst)
        self._level = float(burst)
        self._updated = now

    def take(self, now: float) -> float:
        """Takes a token. Returns 0.0, or the seconds until there is one (and takes none)."""
        self._level = min(self._burst, self._level + (now - self._updated) * self._rate)
        self._updated = now
        if self._level >= 1.0:
            self._level -= 1.0
            return 0.0
        return (1.0 - self._level) / self._rate
