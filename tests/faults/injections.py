"""What is done to a community while it talks. Each returns when the fault is over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tests.faults import measures
from tests.faults.community import Community, Site

Fault = Callable[[Community], Awaitable[None]]

#: Seconds that a fault lasts.
PAUSE = 2.0
#: Acks of each client between the parts of a fault that has several.
BETWEEN = 10


# The layer


async def restart_layer(people: Community) -> None:
    """kill -9, and a new process that knows nothing of the old one."""
    await asyncio.to_thread(people.site.layer.kill)
    await asyncio.sleep(PAUSE)
    await asyncio.to_thread(people.site.layer.start)


async def freeze_layer(people: Community) -> None:
    """SIGSTOP: connections stay, and nothing comes of them."""
    people.site.layer.freeze()
    await asyncio.sleep(PAUSE)
    people.site.layer.thaw()


async def cut_the_link(people: Community) -> None:
    """The nodes' way to the layer is gone, and the layer runs on."""
    assert people.site.link is not None
    await asyncio.to_thread(people.site.link.cut)
    await asyncio.sleep(PAUSE)
    people.site.link.mend()


async def empty_redis(people: Community) -> None:
    """FLUSHALL: the groups are gone, and nobody says so."""
    await asyncio.to_thread(people.site.layer.cli, "FLUSHALL")


# The database


async def restart_database(people: Community) -> None:
    """What a power cut leaves, and a start from it."""
    await asyncio.to_thread(people.site.database.kill)
    await asyncio.sleep(PAUSE)
    await asyncio.to_thread(people.site.database.start)


async def kill_connections(people: Community) -> None:
    """All connections of all clients are killed, five times."""
    for _ in range(5):
        await asyncio.to_thread(people.site.database.kill_connections)
        await asyncio.sleep(0.2)


async def freeze_database(people: Community) -> None:
    """SIGSTOP: connections stay, and nothing is answered."""
    people.site.database.freeze()
    await asyncio.sleep(PAUSE)
    people.site.database.thaw()


# The nodes


async def kill_a_node(people: Community) -> None:
    """kill -9."""
    people.site.nodes[0].kill()
    await asyncio.sleep(PAUSE)
    await asyncio.to_thread(people.site.nodes[0].start)


async def freeze_a_node(people: Community) -> None:
    """SIGSTOP for longer than its lease."""
    node = people.site.nodes[0]
    node.freeze()
    await asyncio.sleep(3 * PAUSE)
    node.thaw()


async def restart_one_after_the_other(people: Community) -> None:
    """SIGTERM, and a new process, node after node."""
    for node in people.site.nodes:
        code = await asyncio.to_thread(node.terminate)
        assert code in {0, -15}, node.log
        await asyncio.to_thread(node.start)
        await people.go_on(BETWEEN)


# The clients


async def stop_reading(people: Community) -> None:
    """A client takes nothing from its socket any more, until the server finds that it is too slow."""
    client = people.clients[-1]
    before = slow_closes(people.site)
    client.pause_reading()
    async with asyncio.timeout(60):
        while await asyncio.to_thread(slow_closes, people.site) == before:
            await asyncio.sleep(0.02)
    client.resume_reading()


def slow_closes(site: Site) -> float:
    """Sessions that the nodes have closed because they read too slowly."""
    return sum(measures.figures(node)["mana_slow_closes_total"] for node in site.nodes)
