"""Counts over the whole cluster."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from mana.messaging.models import Room
from mana.realtime.models import Session
from mana.realtime.stores import living_nodes


@dataclass(frozen=True, slots=True)
class Counts:
    """Living nodes, their open sockets, the different users behind those, and the rooms that are stored."""

    nodes: int
    sessions: int
    users: int
    rooms: int

    def as_json(self) -> dict[str, int]:
        """For ``/health/ready``."""
        return asdict(self)


def counts() -> Counts:
    """What the database knows."""
    sessions = Session.objects.filter(node__in=living_nodes())
    return Counts(
        nodes=living_nodes().count(),
        sessions=sessions.count(),
        users=sessions.values("user_id").distinct().count(),
        rooms=Room.objects.count(),
    )


def other_nodes() -> bool:
    """Whether there are nodes that serve."""
    return living_nodes().exists()
