"""What a community lives through without losing, doubling or reordering a message: each fault under load."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.faults.community import Community, Report, Site, community, site

pytestmark = pytest.mark.slow

#: Seconds that a fault lasts.
PAUSE = 2.0
#: Seconds that a message may take to a client that is connected, whatever happens to the layer.
REPAIRED = 5.0
ACKS = 15

Fault = Callable[[Site], Awaitable[None]]


async def lives_through(running: Site, fault: Fault, *, clients: int = 6) -> tuple[Community, Report]:
    """Talks, has the fault happen, talks on; nothing may be lost, doubled, out of order, or without a place."""
    async with community(running, clients=clients) as (people, report):
        await people.go_on(ACKS)
        await fault(running)
        await people.go_on(ACKS)
    assert report.problems == []
    for node in running.nodes:
        assert "Traceback" not in node.log, node.log
    return people, report


# The layer


async def restart_layer(running: Site) -> None:
    await asyncio.to_thread(running.layer.kill)
    await asyncio.sleep(PAUSE)
    await asyncio.to_thread(running.layer.start)


async def freeze_layer(running: Site) -> None:
    running.layer.freeze()
    await asyncio.sleep(PAUSE)
    running.layer.thaw()


async def cut_the_link(running: Site) -> None:
    assert running.link is not None
    await asyncio.to_thread(running.link.cut)
    await asyncio.sleep(PAUSE)
    running.link.mend()


async def empty_redis(running: Site) -> None:
    await asyncio.to_thread(running.layer.cli, "FLUSHALL")


@pytest.mark.parametrize(
    ("layer", "fault"),
    [
        ("redis", restart_layer),
        ("redis", freeze_layer),
        ("redis", cut_the_link),
        ("redis", empty_redis),
        ("nats", restart_layer),
        ("nats", freeze_layer),
        ("nats", cut_the_link),
    ],
)
async def test_a_layer_in_trouble_delays_and_loses_nothing(layer: str, fault: Fault) -> None:
    with site("sqlite", layer=layer, linked=fault is cut_the_link) as running:
        _, report = await lives_through(running, fault)
    assert report.slowest < REPAIRED
    assert not report.closes, "the sockets had no reason to close"


# The database


async def restart_database(running: Site) -> None:
    await asyncio.to_thread(running.database.kill)
    await asyncio.sleep(PAUSE)
    await asyncio.to_thread(running.database.start)


async def kill_connections(running: Site) -> None:
    for _ in range(5):
        await asyncio.to_thread(running.database.kill_connections)
        await asyncio.sleep(0.2)


async def freeze_database(running: Site) -> None:
    running.database.freeze()
    await asyncio.sleep(PAUSE)
    running.database.thaw()


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.parametrize("fault", [restart_database, kill_connections, freeze_database])
async def test_a_database_in_trouble_refuses_for_a_while_and_loses_nothing(kind: str, fault: Fault) -> None:
    with site(kind, own_database=True, layer="redis") as running:
        _, report = await lives_through(running, fault)
    assert not report.closes, "sockets stay while the database is away"
    assert set(report.reasons) <= {"unavailable"}
    if fault is restart_database:
        assert report.reasons["unavailable"], "what can't be stored is refused, not kept waiting"


# The nodes


async def kill_a_node(running: Site) -> None:
    running.nodes[0].kill()
    await asyncio.sleep(PAUSE)
    await asyncio.to_thread(running.nodes[0].start)


@pytest.mark.parametrize("layer", ["redis", "nats"])
async def test_the_clients_of_a_killed_node_go_on_at_another(layer: str) -> None:
    with site("sqlite", layer=layer, nodes=3) as running:
        await lives_through(running, kill_a_node)


async def freeze_a_node(running: Site) -> None:
    node = running.nodes[0]
    node.freeze()
    await asyncio.sleep(3 * PAUSE)  # longer than its lease
    node.thaw()


async def test_a_node_that_was_frozen_for_longer_than_its_lease_catches_up() -> None:
    with site("sqlite", layer="redis") as running:
        await lives_through(running, freeze_a_node)
