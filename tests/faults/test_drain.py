"""SIGTERM: what was sent is stored and acked, clients are told when to come back, and the process ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import pytest
import websockets

from mana.conf import settings
from mana.realtime.drain import going_away
from tests.faults import audit
from tests.faults.processes import scripts
from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.instances import instance
from tests.support.server import serving

pytestmark = pytest.mark.slow


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
            assert [frame["type"] for frame in late.received] == ["error"], "it was never let in"
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


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_a_database_that_does_not_answer_does_not_hold_the_process_up(kind: str) -> None:
    with (
        instance(kind) as own,
        databases.fresh(kind, own.url) as url,
        serving(url, MANA_GRACEFUL_SHUTDOWN_TIMEOUT="1") as server,
    ):
        alice = Account(server)
        room = alice.room()
        async with alice.socket() as socket:
            own.freeze()
            try:
                # Threads of the process now wait for an answer, and would go on waiting.
                await socket.send("message", room_id=room, payload="nobody stores it", ack_id="1")
                await asyncio.to_thread(server.terminate)
            finally:
                own.thaw()
            assert (await socket.expect("error"))["code"] == "going_away"


async def test_everything_that_was_taken_is_stored_and_acked_before_the_close() -> None:
    limits = {"MANA_RATE_LIMIT_PER_SECOND": "100000", "MANA_RATE_LIMIT_BURST": "100000"}
    with databases.fresh("sqlite") as url:
        with serving(url, **limits, MANA_USER_RATE_LIMIT_BURST="100000") as server:
            alice = Account(server)
            room = alice.room()
            async with alice.socket() as socket:
                writing = asyncio.create_task(_write_on_and_on(socket, room))
                await socket.expect("ack")
                ending = asyncio.create_task(asyncio.to_thread(server.terminate))
                assert await socket.closed() == 1012
                await writing
                assert await ending in {0, -15}
        with scripts(url) as process:
            stored = process.run(audit.events)
    acked = [frame["ack_id"] for frame in socket.received if frame["type"] == "ack"]
    assert acked == [event["ack_id"] for event in stored if event["kind"] == "message"]
    assert len(acked) > 1


async def _write_on_and_on(socket: Socket, room: str) -> None:
    with contextlib.suppress(websockets.ConnectionClosed):
        for number in itertools.count():
            await socket.send("message", room_id=room, payload=number, ack_id=str(number))


def test_people_do_not_all_come_back_at_once() -> None:
    thousand = SimpleNamespace(sessions=range(1000))
    delays = [going_away(thousand) for _ in range(200)]  # type: ignore[arg-type]
    assert len(set(delays)) > 50
    assert min(delays) >= 0.1
    assert max(delays) <= 0.1 + settings.RECONNECT_SPREAD
