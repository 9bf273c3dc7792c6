"""How many calls this process began and ended; a call is counted once in the whole cluster."""

from __future__ import annotations

import threading
from collections import defaultdict


class CallCounters:
    """Numbers that database threads change."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.begun = 0
        #: By the reason of their end.
        self.by_reason: dict[str, int] = defaultdict(int)

    def started(self) -> None:
        """A call began here."""
        with self._lock:
            self.begun += 1

    def ended(self, reason: str) -> None:
        """This process ended a call."""
        with self._lock:
            self.by_reason[reason] += 1


counters = CallCounters()
