"""``/health``: whether a process lives, and whether people can be sent to it."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from django.test import AsyncClient, override_settings

from mana.observability import probes
from mana.observability.figures import Figures
from mana.observability.health import Readiness
from mana.observability.probes import Finding
from mana.realtime import hub as hubs
from tests.observability.support import Link, staff, until
from tests.support import databases
from tests.support.client import Account
from tests.support.instances import instance
from tests.support.server import Server, serving
from tests.support.services import URLS, require

OUTSIDE = {"X-Forwarded-For": "203.0.113.9"}
TOKEN = "operations-token-0123456789"


def ready(server: Server) -> tuple[int, dict[str, Any]]:
    """What ``/health/ready`` says."""
    answer = httpx.get(f"{server.http}/health/ready", timeout=30)
    return answer.status_code, answer.json()


@pytest.fixture(scope="module")
def node() -> Iterator[Server]:
    """A node that says at once what has changed."""
    now = {"MANA_HEALTH_CACHE": "0", "MANA_HEALTH_COUNTS_INTERVAL": "0", "MANA_OPERATIONS_TOKEN": TOKEN}
    with databases.fresh("sqlite") as url, serving(url, **now) as server:
        yield server


@pytest.mark.slow
def test_a_process_without_a_hub_lives_and_is_ready() -> None:
    require("nats")
    # ATOMIC_REQUESTS wraps views in transactions, and refuses to wrap async ones.
    environment = {"CHANNEL_LAYER_URL": URLS["nats"], "TEST_ATOMIC_REQUESTS": "true"}
    with databases.fresh("sqlite") as url, serving(url, **environment) as server:
        alive = httpx.get(f"{server.http}/health")
        status, body = ready(server)
    assert alive.status_code == 200
    assert alive.json()["status"] == "ok"
    assert alive.json()["node"] is None
    assert (status, body["status"], body["reasons"]) == (200, "ready", [])
    assert body["here"] == {"sessions": 0, "users": 0, "rooms": 0}
    assert body["cluster"] == {"nodes": 0, "sessions": 0, "users": 0, "rooms": 0}
    assert set(body["checks"]) == {"database", "layer", "bus", "writer", "drain"}
    assert body["checks"]["layer"]["detail"] == "NatsChannelLayer"


@pytest.mark.slow
async def test_rooms_people_and_sockets_are_counted(node: Server) -> None:
    alice, bob = Account(node), Account(node)
    room = alice.room(bob)
    async with alice.socket(), alice.socket() as socket, bob.socket():
        await socket.request("message", room_id=room, payload="hello")
        here = httpx.get(f"{node.http}/health").json()["here"]
        await asyncio.to_thread(until, lambda: ready(node)[1]["cluster"]["sessions"] == 3)
        status, body = ready(node)
    assert here == {"sessions": 3, "users": 2, "rooms": 1}
    assert status == 200
    assert body["here"] == here
    assert body["cluster"]["nodes"] == 1
    assert body["cluster"]["users"] == 2
    assert body["cluster"]["rooms"] >= 1
    assert body["node"]


@pytest.mark.slow
def test_a_database_without_tables_is_a_reason(tmp_path: Any) -> None:
    with serving(f"sqlite:///{tmp_path}/empty.sqlite3", kind="uvicorn") as server:
        status, body = ready(server)
        assert httpx.get(f"{server.http}/health/live").json() == {"status": "ok"}
    assert status == 503
    assert body["status"] == "unavailable"
    assert any("not migrated" in reason for reason in body["reasons"])
    assert body["cluster"] is None


@pytest.mark.slow
async def test_a_database_that_hangs_and_a_writer_that_is_stuck_are_reasons_and_hold_nobody_up() -> None:
    require("postgres")
    patience = {"MANA_HEALTH_CACHE": "0", "MANA_HEALTH_TIMEOUT": "0.5", "MANA_WRITER_STUCK_AFTER": "0.3"}
    with (
        databases.fresh("postgres") as url,
        contextlib.closing(Link(url)) as link,
        serving(link.url, **patience) as server,
    ):
        await writer_is_stuck(server, url)
        await asyncio.to_thread(database_hangs, server, link)


#: How the reason begins that a stuck writer is.
STUCK = "writer: at one transaction for "


async def writer_is_stuck(server: Server, url: str) -> None:
    import psycopg

    alice = Account(server)
    room = alice.room()
    async with alice.socket() as socket:
        await socket.request("message", room_id=room, payload="goes through")
        with psycopg.connect(url) as other:
            other.execute("SELECT * FROM mana_stream FOR UPDATE")
            await socket.send("message", room_id=room, payload="waits", ack_id="w")
            await asyncio.to_thread(
                until, lambda: any(one.startswith(STUCK) for one in ready(server)[1].get("reasons", []))
            )
            other.rollback()
        await socket.expect("ack", ack_id="w")
        await asyncio.to_thread(until, lambda: ready(server)[0] == 200)


def database_hangs(server: Server, link: Link) -> None:
    link.hold()
    began = time.monotonic()
    status, body = ready(server)
    took = time.monotonic() - began
    assert httpx.get(f"{server.http}/health/live", timeout=2).status_code == 200
    _, again = ready(server)
    link.release()
    until(lambda: ready(server)[0] == 200)
    assert status == 503
    assert "database: no answer within 0.5 s" in body["reasons"]
    assert took < 5
    # No second look piles up behind the one that hangs.
    assert "database: an earlier look has not come back yet" in again["reasons"]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "name"), [("redis", "RedisChannelLayer"), ("nats", "NatsChannelLayer")])
async def test_a_layer_that_died_is_a_reason_until_it_is_back(kind: str, name: str) -> None:
    with instance(kind) as layer, databases.fresh("sqlite") as url:
        environment = {"CHANNEL_LAYER_URL": layer.url, "MANA_HEALTH_CACHE": "0", "MANA_HEALTH_TIMEOUT": "1"}
        with serving(url, **environment) as server:
            async with Account(server).socket():
                await asyncio.to_thread(until, lambda: ready(server)[0] == 200)
                assert ready(server)[1]["checks"]["layer"]["detail"] == name
                await asyncio.to_thread(layer.kill)
                await asyncio.to_thread(until, lambda: ready(server)[0] == 503)
                await asyncio.to_thread(until, lambda: "bus" in " ".join(ready(server)[1]["reasons"]))
                reasons = ready(server)[1]["reasons"]
                await asyncio.to_thread(layer.start)
                await asyncio.to_thread(until, lambda: ready(server)[0] == 200)
                server.kill()
    assert any(reason.startswith("layer: ") for reason in reasons)


def test_a_node_that_is_going_away_or_alone_is_not_ready() -> None:
    assert probes.drain(Figures(node="x", draining=True)) == Finding(False, "this node is going away")
    assert not probes.bus(Figures(node="x", bus_connected=False)).ok
    assert probes.bus(Figures(node="x", bus_connected=True)).ok


@pytest.mark.django_db(transaction=True)
async def test_the_hub_says_that_it_drains() -> None:
    hub = hubs.current()
    try:
        with override_settings(MANA={"HEALTH_CACHE": 0}):
            assert (await AsyncClient().get("/health/ready")).status_code == 200
            hub.draining = True
            answer = await AsyncClient().get("/health/ready")
    finally:
        await hub.stop()
    assert answer.status_code == 503
    assert answer.json()["reasons"] == ["drain: this node is going away"]


async def test_however_many_ask_it_is_looked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = 0

    async def database() -> str:
        nonlocal looks
        looks += 1
        await asyncio.sleep(0)
        return ""

    monkeypatch.setattr("mana.observability.probes.database", database)
    monkeypatch.setattr("mana.observability.stores.counts", lambda: None)
    readiness = Readiness()
    reports = await asyncio.gather(*(readiness.report() for _ in range(100)))
    assert len({id(report) for report in reports}) == 1
    await readiness.report()
    assert looks == 1


@pytest.mark.slow
def test_outside_one_learns_that_it_lives_and_no_more(node: Server) -> None:
    with httpx.Client(base_url=node.http, headers=OUTSIDE) as outside:
        assert outside.get("/health").json() == {"status": "ok"}
        assert outside.get("/health/live").json() == {"status": "ok"}
        for path in ("/health/ready", "/metrics", "/debug/traces"):
            assert outside.get(path).status_code == 403, path
            assert outside.get(path).json()["code"] == "forbidden"


@pytest.mark.slow
def test_the_token_and_the_staff_open_the_pages(node: Server) -> None:
    with httpx.Client(base_url=node.http, headers=OUTSIDE) as outside:
        right = {"Authorization": f"Bearer {TOKEN}"}
        for path in ("/health/ready", "/metrics"):
            assert outside.get(path, headers=right).status_code == 200
            assert outside.get(path, headers={"Authorization": f"Bearer {TOKEN}x"}).status_code == 403
        assert outside.get("/debug/traces", headers=right).status_code == 403
    with staff(node) as operator:
        operator.headers.update(OUTSIDE)
        for path in ("/health/ready", "/metrics", "/debug/traces"):
            assert operator.get(path).status_code == 200, path
    account = Account(node)
    assert account.http.get("/metrics", headers=OUTSIDE).status_code == 403


@pytest.mark.parametrize(
    ("mana", "status"),
    [
        ({"HEALTH_ACCESS": []}, 403),
        ({"HEALTH_ACCESS": ["open"]}, 200),
        ({"HEALTH_ACCESS": ["addresses"], "OPERATIONS_ADDRESSES": ["10.0.0.0/8"]}, 403),
        ({"HEALTH_ACCESS": ["addresses"], "OPERATIONS_ADDRESSES": ["127.0.0.1"]}, 200),
        ({"HEALTH_ACCESS": ["token"]}, 403),
    ],
)
async def test_who_may_ask_is_a_setting(mana: dict[str, Any], status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fine() -> str:
        return ""

    monkeypatch.setattr("mana.observability.probes.database", fine)
    monkeypatch.setattr("mana.observability.stores.counts", lambda: None)
    with override_settings(MANA=mana):
        assert (await AsyncClient().get("/health/ready")).status_code == status
        assert (await AsyncClient().get("/health/live")).status_code == 200
        assert (await AsyncClient().post("/health/live")).status_code == 405
