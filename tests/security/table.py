"""Matrices as Markdown tables: a file that people read, and that a test holds the product to."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Row = dict[str, str]


def read(path: Path) -> dict[str, Row]:
    """The one table of a file: by the first cell of each line, what stands below each heading."""
    lines = [_cells(line) for line in path.read_text().splitlines() if line.startswith("|")]
    headings, _, *rows = lines
    table: dict[str, Row] = {}
    for name, *cells in rows:
        assert name not in table, f"{path.name} has two lines for {name!r}."
        assert len(cells) == len(headings) - 1, f"{path.name}: the line of {name!r} has {len(cells)} outcomes."
        table[name] = dict(zip(headings[1:], cells, strict=True))
    return table


def differences(expected: Mapping[str, Row], seen: Mapping[str, Row]) -> str:
    """What is not as the table says, one line for each line of the table; with the line as it would have to read."""
    found = []
    for name, row in seen.items():
        wrong = {kind: cell for kind, cell in row.items() if expected[name].get(kind) != cell}
        if wrong:
            was = ", ".join(f"{kind}: {cell} instead of {expected[name].get(kind)}" for kind, cell in wrong.items())
            found.append(f"{name}: {was}\n| {name} | {' | '.join(row.values())} |")
    return "\n".join(found)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]
