"""Notifications after the database was away."""

from __future__ import annotations

import asyncio

import pytest

from tests.faults.community import site
from tests.support.client import Account, Refused, Socket

pytestmark = pytest.mark.slow


async def mention(socket: Socket, room: str, whom: Account) -> None:
    """Sends a message that mentions somebody, again while the database is not back."""
    while True:
        try:
            await socket.request("message", room_id=room, payload={"text": "Hello"}, mentions=[whom.id])
        except Refused as refused:
            if refused.frame["code"] != "unavailable":
                raise
            await asyncio.sleep(refused.frame["retry_after"])
        else:
            return


@pytest.mark.parametrize("kind", ["postgres", "mariadb"])
async def test_mentions_go_on_to_notify_when_the_database_has_been_restarted(kind: str) -> None:
    with site(kind, own_database=True, nodes=1) as running:
        node, database = running.nodes[0], running.database
        assert database is not None
        alice, bob = Account(node), Account(node)
        room = alice.room(bob)
        async with alice.socket() as speaker, bob.socket() as listener:
            await mention(speaker, room, bob)
            assert (await listener.expect("notification"))["kind"] == "mention"
            await asyncio.to_thread(database.kill)
            await asyncio.to_thread(database.start)
            for _ in range(2):
                await mention(speaker, room, bob)
                assert (await listener.expect("notification"))["kind"] == "mention"
        assert "Traceback" not in node.log, node.log
