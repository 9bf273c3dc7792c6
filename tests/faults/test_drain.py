"""SIGTERM: what was sent is stored and acked, clients are told when to come back, and the process ends in time."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.community import community, site
from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("server", ["daphne", "uvicorn"])
async def test_a_rolling_restart_loses_nothing(server: str) -> None:
    with site("sqlite", server=server) as running:
        async with community(running) as (people, report):
            await people.go_on(20)
            for node in running.nodes:
                code = await asyncio.to_thread(node.terminate)
                assert code in {0, -15}, node.log
                assert "Traceback" not in node.log, node.log
                await asyncio.to_thread(node.start)
                await people.go_on(20)
    assert report.problems == []
    assert set(report.closes) <= {1000, 1005, 1012}
    assert report.closes[1012] >= len(people.clients)
    assert report.reasons["going_away"] == report.closes[1012]


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_a_socket_that_comes_too_late_is_told_when_to_come_back(kind: str) -> None:
    with databases.fresh("sqlite") as url, serving(url, kind=kind, MANA_RECONNECT_SPREAD="0.2") as server:
        alice = Account(server)
        async with alice.socket() as open_socket, alice.socket() as unanswering:
            # One that never answers the close holds the node up for a moment, in which another comes.
            unanswering.connection.transport.pause_reading()
            ending = asyncio.create_task(asyncio.to_thread(server.terminate))
            told = await open_socket.expect("error")
            assert told["code"] == "going_away"
            assert 0 < told["retry_after"] <= 1
            late = alice.socket()
            await late.connect()
            assert (await late.expect("error"))["code"] == "going_away"
            assert await late.closed() == 1012
            unanswering.connection.transport.resume_reading()
            assert await open_socket.closed() == 1012
            assert await ending in {0, -15}


async def test_a_client_that_does_not_answer_does_not_hold_the_process_up() -> None:
    with databases.fresh("sqlite") as url, serving(url, MANA_GRACEFUL_SHUTDOWN_TIMEOUT="1") as server:
        alice = Account(server)
        async with alice.socket() as frozen:
            frozen.connection.transport.pause_reading()
            assert await asyncio.to_thread(server.terminate) in {0, -15}
            frozen.connection.transport.abort()


async def test_a_second_sigterm_ends_the_process_at_once() -> None:
    with databases.fresh("sqlite") as url, serving(url, MANA_GRACEFUL_SHUTDOWN_TIMEOUT="60") as server:
        alice = Account(server)
        async with alice.socket() as frozen:
            frozen.connection.transport.pause_reading()
            assert server.process is not None
            server.process.terminate()
            await asyncio.to_thread(server.terminate)
            frozen.connection.transport.abort()
