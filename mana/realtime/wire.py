"""How Python values are written on the wire."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """A moment as ISO 8601 in UTC with microseconds, ending in Z."""
    # isoformat() takes a third of the time of strftime(), and each message needs two of these.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"
