"""A database that takes connections and answers nobody: who asks is told so, and nobody need start anything anew."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from mana.realtime.database import DatabaseThreads
from tests.support import databases
from tests.support.client import Account, Refused, Socket
from tests.support.instances import instance
from tests.support.server import serving

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kind", ["daphne", "uvicorn"])
async def test_reads_and_handshakes_are_refused_sockets_stay_and_all_goes_on_by_itself(kind: str) -> None:
    with (
        instance("postgres") as own,
        databases.fresh("postgres", own.url) as url,
        serving(url, kind=kind, MANA_DATABASE_TIMEOUT="1", MANA_DATABASE_THREADS="2") as server,
    ):
        alice = Account(server)
        room = alice.room()
        async with alice.socket() as socket:
            own.freeze()
            try:
                for _ in range(2):  # the second time the threads still wait for the first
                    refusal = await socket.refusal("sync_request", cursor=0)
                    assert refusal["code"] == "unavailable"
                    assert refusal["retry_after"] > 0
                await socket.request("ping")
                late = alice.socket()
                await late.connect()
                assert (await late.expect("error"))["code"] == "unavailable"
                assert await late.closed() == 1012
            finally:
                own.thaw()
            async with asyncio.timeout(30):
                while (answer := await _sync(socket))["type"] == "error":
                    assert answer["code"] == "unavailable"
                    await asyncio.sleep(answer["retry_after"] / 10)
            await socket.request("message", room_id=room, payload="after")
            async with alice.socket() as another:
                await another.request("ping")


async def _sync(socket: Socket) -> dict[str, Any]:
    try:
        return await socket.request("sync_request", cursor=0)
    except Refused as refused:
        return refused.frame


async def test_one_slow_call_keeps_no_other_from_being_made() -> None:
    threads = DatabaseThreads(2, "slow")
    threads._begun[0] = 0.0  # one has been at it since the machine was started
    try:
        assert not threads.is_stuck
        assert await threads.run(lambda: "made") == "made"
        threads._begun[1] = 0.0
        assert threads.is_stuck
    finally:
        threads.close()
