"""What the doctor found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class Result(StrEnum):
    """How a look turned out. Only ``FAILED`` makes the whole examination fail."""

    OK = "ok"
    NOTE = "note"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Entry:
    """One look: what was found, and what to do about it."""

    section: str
    name: str
    result: Result
    detail: str
    advice: str = ""


@dataclass(slots=True)
class Report:
    """All looks, in order. ``tell`` hears of each as it is made."""

    tell: Callable[[Entry], None] = lambda entry: None
    entries: list[Entry] = field(default_factory=list)
    section: str = ""

    def add(self, result: Result, name: str, detail: str, advice: str = "") -> None:
        """Notes a look in the current section."""
        entry = Entry(self.section, name, result, detail, advice)
        self.entries.append(entry)
        self.tell(entry)

    def ok(self, name: str, detail: str = "") -> None:
        """All is well."""
        self.add(Result.OK, name, detail)

    def note(self, name: str, detail: str, advice: str = "") -> None:
        """Worth knowing."""
        self.add(Result.NOTE, name, detail, advice)

    def warn(self, name: str, detail: str, advice: str) -> None:
        """It works, but not as it should."""
        self.add(Result.WARNING, name, detail, advice)

    def fail(self, name: str, detail: str, advice: str) -> None:
        """It does not work."""
        self.add(Result.FAILED, name, detail, advice)

    @property
    def failed(self) -> bool:
        """Whether something does not work."""
        return any(entry.result is Result.FAILED for entry in self.entries)

    def count(self, result: Result) -> int:
        """How many looks turned out so."""
        return sum(entry.result is result for entry in self.entries)

    def as_json(self) -> dict[str, Any]:
        """For ``--json``."""
        return {
            "status": "failed" if self.failed else "ok",
            "counts": {str(result): self.count(result) for result in Result},
            "entries": [asdict(entry) for entry in self.entries],
        }


def reason(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
