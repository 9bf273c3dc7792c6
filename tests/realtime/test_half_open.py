"""A client that vanished without a word (its battery, its tunnel) is noticed by the server's own pings."""

from __future__ import annotations

import pytest

from tests.support import databases
from tests.support.client import Account
from tests.support.server import serving

pytestmark = pytest.mark.slow

OPTIONS = {
    "uvicorn": ["--ws-ping-interval", "1", "--ws-ping-timeout", "4"],
}


@pytest.mark.parametrize("kind", list(OPTIONS))
async def test_who_answers_no_ping_goes_offline(kind: str) -> None:
    with (
        databases.fresh("sqlite") as url,
        serving(url, kind=kind, options=OPTIONS[kind], MANA_PRESENCE_GRACE="0.1") as server,
    ):
        alice, bob = Account(server), Account(server)
        alice.room(bob)
        async with alice.socket() as a:
            async with bob.socket() as b:
                await a.expect("presence", user_id=bob.id, online=True)
                b.connection.transport.pause_reading()  # the connection stays, and nothing answers
                await a.expect("presence", user_id=bob.id, online=False)
                b.connection.transport.abort()
            await a.request("ping")  # who answers stays
