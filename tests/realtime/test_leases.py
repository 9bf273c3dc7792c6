"""A node's lease is renewed as long as it lives."""

from __future__ import annotations

import asyncio

import pytest

from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving

pytestmark = pytest.mark.slow

LEASE = 2.0


async def test_who_stays_connected_stays_online() -> None:
    environment = {"MANA_PRESENCE_LEASE": str(LEASE), "MANA_PRESENCE_GRACE": "0.1"}
    with databases.fresh("sqlite") as url, serving(url, **environment) as server:
        alice, bob = Account(server), Account(server)
        alice.room(bob)
        async with alice.socket() as a:
            async with bob.socket():
                await a.expect("presence", user_id=bob.id, online=True)
                await asyncio.sleep(2.5 * LEASE)  # nothing is to happen meanwhile
                presences = [frame for frame in await a.silence() if frame["type"] == "presence"]
                assert [frame for frame in presences if not frame["online"]] == []
            await a.expect("presence", user_id=bob.id, online=False)
