"""Hours of nothing special, or minutes: people talk, go and come back, and the nodes stay as they are."""

from __future__ import annotations

import asyncio
import itertools
import time
from statistics import fmean

from tests.faults import measures
from tests.faults.community import Community, community, site
from tests.support.server import Server

#: How much memory and descriptors may grow, as a share of what they were.
FLAT = 0.05
#: The share of the time that is not looked at: caches and pools fill.
WARM_UP = 0.3
#: Seconds between two looks at the nodes, and between two people who leave and come back.
LOOK, LEAVE = 2.0, 0.5


async def soak(seconds: float, clients: int, pause: float) -> list[str]:
    """Talks for so many seconds over PostgreSQL and Redis and prints what the nodes had; what was wrong."""
    with site("postgres", layer="redis", own_database=True, nodes=2) as running:
        looks: list[dict[int, tuple[int, int]]] = []
        async with community(running, clients=clients, pause=pause) as (people, report):
            restless = asyncio.create_task(_leave_and_come_back(people))
            ends = time.monotonic() + seconds
            while time.monotonic() < ends:
                await asyncio.sleep(LOOK)
                looks.append({node.port: (measures.memory(node), measures.descriptors(node)) for node in running.nodes})
            restless.cancel()
            await asyncio.gather(restless, return_exceptions=True)
        print(
            f"{seconds / 60:.1f} minutes, {clients} clients: {report.acked} acked ({report.acked / seconds:.0f}/s),"
            f" {report.lost} lost, {report.doubled} doubled, {sum(client.connections for client in report.clients)}"
            " connections"
        )
        wrong = report.problems
        for node in running.nodes:
            wrong += _judge(node, looks)
            if "Traceback" in node.log:
                wrong.append("a traceback in the log of a node")
    return wrong


def _judge(node: Server, looks: list[dict[int, tuple[int, int]]]) -> list[str]:
    """Compares the first tenth after the warm-up with the last tenth."""
    own = [look[node.port] for look in looks][int(len(looks) * WARM_UP) :]
    tenth = max(1, len(own) // 10)
    wrong = []
    for name, position, unit in (("memory, MiB", 0, measures.MIB), ("descriptors", 1, 1)):
        early, late = (fmean(look[position] for look in part) / unit for part in (own[:tenth], own[-tenth:]))
        growth = late / early - 1
        print(f"node {node.port}, {name}: {early:.1f} after the warm-up, {late:.1f} at the end ({growth:+.1%})")
        if growth > FLAT:
            wrong.append(f"{name} of a node grew by {growth:.1%}")
    return wrong


async def _leave_and_come_back(people: Community) -> None:
    for client in itertools.cycle(people.clients):
        await asyncio.sleep(LEAVE)
        client.disconnect()
