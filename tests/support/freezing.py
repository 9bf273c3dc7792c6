"""Stopping a process with SIGSTOP, and being sure of it: the signal comes to its threads later than it is sent."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

#: The states in /proc of a thread that does nothing any more: stopped, traced, and ended.
STILL = frozenset("TtZX")


def freeze(pid: int, seconds: float = 10.0) -> None:
    """Returns when the process has stopped."""
    os.kill(pid, signal.SIGSTOP)
    deadline = time.monotonic() + seconds
    while not _is_still(pid):
        assert time.monotonic() < deadline, f"process {pid} does not stop"
        time.sleep(0.001)


def thaw(pid: int) -> None:
    """SIGCONT, if it is still there."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGCONT)


def _is_still(pid: int) -> bool:
    try:
        threads = [status.read_text() for status in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread has just ended: look again
    # The name before the state may hold anything but ends with the last parenthesis.
    return all(thread.rpartition(")")[2].split()[0] in STILL for thread in threads)
