from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from django.apps import AppConfig


class JournalConfig(AppConfig):
    name = "tests.rtc.calls.journal"
    label = "call_journal"

    def ready(self) -> None:
        """Listens."""
        from mana import signals

        signals.call_started.connect(_started, dispatch_uid="journal")
        signals.call_ended.connect(_ended, dispatch_uid="journal")
        signals.track_recorded.connect(_recorded, dispatch_uid="journal")


def _write(line: str) -> None:
    with Path(os.environ["TEST_CALL_JOURNAL"]).open("a") as journal:
        journal.write(f"{line}\n")


def _started(call: Any, **_: Any) -> None:
    _write(f"{call.key} started")


def _ended(call: Any, **_: Any) -> None:
    _write(f"{call.key} ended {call.reason}")


def _recorded(call: Any, path: Path, user_id: str, source: str, size: int, **_: Any) -> None:
    _write(f"{call.key} recorded {user_id} {source} {path.name} {size}")
