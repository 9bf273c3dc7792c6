"""What this process serves right now.

Read from any thread while event loops go on: only lengths, plain numbers and copies made by one C call.
"""

from __future__ import annotations

from dataclasses import dataclass
from time import perf_counter

from mana.messaging.writer import Writer
from mana.realtime import hub as hubs
from mana.realtime.bus import LayerBus


@dataclass(frozen=True, slots=True)
class Figures:
    """The sum over the hubs of this process; a server has one, or none before the first socket."""

    node: str | None
    sessions: int = 0
    users: int = 0
    rooms: int = 0
    queue_bytes: int = 0
    repairs: int = 0
    slow_closes: int = 0
    revocations: int = 0
    drops: int = 0
    bus_backlog: int = 0
    #: ``None`` where no channel layer connects nodes.
    bus_connected: bool | None = None
    writer_queue: int = 0
    #: Seconds that the writer has been at one transaction.
    writer_busy: float = 0.0
    draining: bool = False


def figures() -> Figures:
    """How things stand."""
    running = hubs.running()
    buses = [hub.bus for hub in running if isinstance(hub.bus, LayerBus)]
    writers = [writer for hub in running if (writer := hub.extension_if_made(Writer)) is not None]
    now = perf_counter()
    return Figures(
        node=running[0].node_id if running else None,
        sessions=sum(len(hub.sessions) for hub in running),
        users=sum(len(hub.users) for hub in running),
        rooms=sum(len(hub.rooms) for hub in running),
        queue_bytes=sum(session.waiting_bytes for hub in running for session in list(hub.sessions.values())),
        repairs=sum(hub.repairs for hub in running),
        slow_closes=sum(hub.slow_closes for hub in running),
        revocations=sum(hub.revoker.closed for hub in running),
        drops=sum(bus.drops for bus in buses),
        bus_backlog=sum(bus.backlog for bus in buses),
        bus_connected=all(bus.connected for bus in buses) if buses else None,
        writer_queue=sum(writer.waiting for writer in writers),
        writer_busy=max((now - since for writer in writers if (since := writer.busy_since) is not None), default=0.0),
        draining=any(hub.draining for hub in running),
    )
