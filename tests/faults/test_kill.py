"""kill -9 of the server under load: what was acked is there, once, and everybody catches up by themselves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from itertools import count

import pytest

from tests.faults import audit, history
from tests.faults.clients import PersistentClient
from tests.faults.processes import scripts
from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving

pytestmark = pytest.mark.slow

CLIENTS = 5
KILLS = 5
ACKS = 40  # of one client between two kills


@pytest.mark.parametrize("kind", databases.KINDS)
async def test_nothing_acked_is_lost_or_doubled_by_five_kills(kind: str) -> None:
    limits = {"MANA_RATE_LIMIT_PER_SECOND": "10000", "MANA_RATE_LIMIT_BURST": "10000"}
    with databases.fresh(kind) as url, serving(url, **limits) as server, scripts(url) as process:
        accounts = [Account(server) for _ in range(CLIENTS)]
        room = accounts[0].room(*accounts[1:])
        async with asyncio.timeout(150), AsyncExitStack() as stack:
            clients = [PersistentClient(one, [room], arrays=bool(n % 2)) for n, one in enumerate(accounts)]
            for client in clients:
                stack.push_async_callback(client.stop)
            talking = [asyncio.create_task(talk(client)) for client in clients]
            for number in range(KILLS):
                await clients[number].until_acked(ACKS)
                server.kill()
                await asyncio.to_thread(server.start)
            for client in clients:
                await client.until_acked(ACKS)
            for task in talking:
                task.cancel()
            await asyncio.gather(*talking, return_exceptions=True)
            for client in clients:
                await client.until(lambda client=client: client.is_all_acked)
            last = say_goodbye(accounts[0], clients[0].history, room)
            for client in clients:
                await client.until_at(last)
        problems, stored = process.run(audit.problems), process.run(audit.events)
        for one in accounts:
            one.http.close()
    assert problems == []
    assert history.problems([client.history for client in clients], stored) == []
    assert all(client.connections > KILLS for client in clients)


async def talk(client: PersistentClient) -> None:
    """Writes as fast as it is acked."""
    for number in count():
        await client.send(f"{client.history.user_id} {number}")


def say_goodbye(account: Account, known: history.ClientHistory, room: str) -> int:
    """One message by REST, so that it reaches all sockets; its sequence."""
    known.sent["goodbye"] = "goodbye"
    message = account.post(f"rooms/{room}/messages", payload="goodbye", ack_id="goodbye")
    known.acked["goodbye"] = [message]
    return int(message["sequence"])
