"""The part of a load that counts: after the warm-up, for a fixed time."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has used, all its threads together."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class Window:
    """Counts from ``warm_up`` seconds after now for ``seconds``."""

    pids: list[int]
    warm_up: float
    seconds: float
    count: int = 0
    _begin: float = 0.0
    _began: tuple[float, int, float, float] = (0.0, 0, 0.0, 0.0)
    result: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._begin = time.perf_counter() + self.warm_up

    def over(self) -> bool:
        """Whether the time is up; takes the readings when it begins and when it ends."""
        now = time.perf_counter()
        if now < self._begin:
            return False
        if not self._began[0]:
            self._began = (now, self.count, self._server_seconds(), time.process_time())
            return False
        if now < self._begin + self.seconds:
            return False
        began, count, server, own = self._began
        elapsed = now - began
        used = max(self._server_seconds() - server, 1 / _TICKS)
        done = self.count - count
        self.result = {
            "per_second": done / elapsed,
            "per_cpu_second": done / used,
            "server_cpu": used / elapsed,
            "load_cpu": (time.process_time() - own) / elapsed,
        }
        return True

    def _server_seconds(self) -> float:
        return sum(cpu_seconds(pid) for pid in self.pids)

    @property
    def counting(self) -> bool:
        """Whether the warm-up is over."""
        return bool(self._began[0])
