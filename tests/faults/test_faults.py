"""What a community lives through without losing, doubling or reordering a message: each fault under load."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.community import Report, Site, community, site
from tests.faults.injections import (
    Fault,
    cut_the_link,
    empty_redis,
    freeze_a_node,
    freeze_database,
    freeze_layer,
    kill_a_node,
    kill_connections,
    restart_database,
    restart_layer,
    restart_one_after_the_other,
    stop_reading,
)
from tests.faults.measures import MIB, TOLERANCE
from tests.faults.storm import allow_descriptors, storm

pytestmark = pytest.mark.slow

#: Seconds that a message may take to a client that is connected, whatever happens to the layer.
REPAIRED = 5.0
ACKS = 15
STORM = 2000


async def lives_through(running: Site, fault: Fault, **load: Any) -> Report:
    """Talks, has the fault happen, talks on.

    Nothing may be lost, doubled, out of order, or without a place; nodes keep nothing for anybody, and no memory.
    """
    async with community(running, **load) as (people, report):
        await people.go_on(ACKS)
        people.begin_to_measure()
        await fault(people)
        await people.go_on(ACKS)
    assert report.problems == []
    assert (report.lost, report.doubled) == (0, 0)
    for node in running.nodes:
        assert "Traceback" not in node.log, node.log
    for before, after in report.memory:
        assert after < before + TOLERANCE, grown(before, after)
    return report


def grown(before: int, after: int) -> str:
    return f"{before / MIB:.0f} MiB became {after / MIB:.0f} MiB"


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
        report = await lives_through(running, fault)
    assert report.slowest < REPAIRED
    assert not report.closes, "the sockets had no reason to close"


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
@pytest.mark.parametrize("fault", [restart_database, kill_connections, freeze_database])
async def test_a_database_in_trouble_refuses_for_a_while_and_loses_nothing(kind: str, fault: Fault) -> None:
    with site(kind, own_database=True, layer="redis") as running:
        report = await lives_through(running, fault)
    if fault is kill_connections:
        assert report.slowest < REPAIRED
    assert not report.closes, "sockets stay while the database is away"
    assert set(report.reasons) <= {"unavailable"}
    if fault is restart_database:
        assert report.reasons["unavailable"], "what can't be stored is refused, not kept waiting"


@pytest.mark.parametrize("layer", ["redis", "nats"])
async def test_the_clients_of_a_killed_node_go_on_at_another(layer: str) -> None:
    with site("sqlite", layer=layer, nodes=3) as running:
        report = await lives_through(running, kill_a_node)
    assert report.slowest < REPAIRED


async def test_a_node_that_was_frozen_for_longer_than_its_lease_catches_up() -> None:
    with site("sqlite", layer="redis") as running:
        await lives_through(running, freeze_a_node)


@pytest.mark.parametrize(("layer", "server"), [("redis", "daphne"), ("nats", "uvicorn")])
async def test_a_rolling_restart_loses_nothing(layer: str, server: str) -> None:
    with site("sqlite", layer=layer, server=server) as running:
        report = await lives_through(running, restart_one_after_the_other)
    assert report.slowest < REPAIRED
    assert set(report.closes) <= {1000, 1005, 1012}
    assert report.closes[1012] >= len(report.clients)
    assert report.reasons["going_away"] == report.closes[1012]


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_who_stops_reading_is_closed_with_4008_costs_little_and_comes_back_by_sync(server: str) -> None:
    budget = {"MANA_SESSION_BUFFER_BYTES": "1000000"}
    with site("sqlite", layer="redis", server=server, **budget) as running:
        report = await lives_through(running, stop_reading, padding=20_000, pause=0.02)
    assert report.slowest < REPAIRED, "nobody else has to wait"
    slow = report.clients[-1]
    # Who does not even take the close is cut off.
    assert report.closes == slow.closes
    assert set(slow.closes) <= {4008, 1006}
    assert slow.connections == 2


@pytest.mark.alone
async def test_two_thousand_clients_come_back_at_once_and_miss_nothing() -> None:
    allow_descriptors(2 * STORM)
    with site("postgres", layer="redis") as running:
        report = await storm(running, STORM)
        logs = [node.log for node in running.nodes]
    assert report.problems == []
    assert (report.lost, report.doubled) == (0, 0)
    assert report.falls >= STORM
    assert not [log for log in logs if "Traceback" in log]
    # Together: who was at one node may be at another now.
    before, after = (sum(sizes) for sizes in zip(*report.memory, strict=True))
    assert after < before + TOLERANCE, grown(before, after)
