"""How far somebody may read in a room."""

from __future__ import annotations

from typing import NamedTuple


class Interval(NamedTuple):
    """The indexes of a room that a person may read; ``last`` is ``None`` while they are in it."""

    first: int
    last: int | None
