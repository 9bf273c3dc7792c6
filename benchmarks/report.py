"""Results as a table, with ratios against the baseline measured beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median


@dataclass
class Row:
    """One thing measured on one server, over several rounds."""

    what: str
    server: str
    unit: str
    rounds: list[dict[str, float]] = field(default_factory=list)
    #: The row that this one is compared with, and the ratio that the project wants to reach.
    baseline: Row | None = None
    goal: str = ""
    #: The key of what is compared in the rounds' results, and of the same per processor second of the server.
    key: str = "per_second"
    cpu_key: str | None = "per_cpu_second"

    def value(self, key: str) -> float:
        """The median over the rounds."""
        return median(one[key] for one in self.rounds)

    def cells(self) -> list[str]:
        """The row as it is printed."""
        per_cpu = self.value(self.cpu_key) if self.cpu_key else None
        ratio = cpu_ratio = ""
        if self.baseline is not None:
            ratio = _ratio(self.value(self.key) / self.baseline.value(self.baseline.key))
            if per_cpu is not None and self.baseline.cpu_key:
                cpu_ratio = _ratio(per_cpu / self.baseline.value(self.baseline.cpu_key))
        return [
            self.what,
            self.server,
            f"{_number(self.value(self.key))} {self.unit}",
            ratio,
            _number(per_cpu) if per_cpu is not None else "",
            cpu_ratio,
            f"{self.value('server_cpu'):.0%} / {self.value('load_cpu'):.0%}" if "server_cpu" in self.rounds[0] else "",
            self.goal,
        ]


HEADINGS = ("what", "server", "result", "ratio", "per server CPU s", "ratio", "CPU server / load", "goal")


def table(rows: Sequence[Row]) -> str:
    """A table in Markdown, padded so that it reads as well in a terminal."""
    lines = [list(HEADINGS), *(row.cells() for row in rows if row.rounds)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    printed = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([printed[0], rule, *printed[1:]])


def _ratio(value: float) -> str:
    return f"{value:.1f}x" if value >= 2 else f"{value:.2f}x"


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"
