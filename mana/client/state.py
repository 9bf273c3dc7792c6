"""What a client remembers over restarts: how far it has come, and what it has not got an ack for."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Protocol


class State(Protocol):
    """Small, and written often."""

    cursor: int | None
    unsent: dict[str, dict[str, Any]]

    def save(self) -> None:
        """Called after every change of ``cursor`` or ``unsent`` (frames by their ``ack_id``, in order)."""


class MemoryState:
    """Forgets with the process: the next one begins with what comes from then on."""

    def __init__(self) -> None:
        self.cursor: int | None = None
        self.unsent: dict[str, dict[str, Any]] = {}

    def save(self) -> None:
        """Nothing to do."""


class FileState(MemoryState):
    """A JSON file of mode 600, replaced as a whole. It holds messages that were not acked yet, in the clear."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        super().__init__()
        self._path = Path(path)
        if self._path.exists():
            stored = json.loads(self._path.read_text())
            self.cursor = stored["cursor"]
            self.unsent = stored["unsent"]

    def save(self) -> None:
        """Writes beside the file, and renames."""
        beside = self._path.with_name(self._path.name + ".new")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump({"cursor": self.cursor, "unsent": self.unsent}, file)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self._path)
