"""So many sockets per address and per user, and no more; each refusal says when to try again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tests.support import databases
from tests.support.client import Account, Socket
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    with databases.fresh("sqlite") as url:
        yield url


@pytest.fixture(scope="module")
def guarded(database: str) -> Iterator[Server]:
    """A node that lets few in, behind a proxy on loopback."""
    limits = {
        "MANA_HANDSHAKE_RATE": "0.05",
        "MANA_HANDSHAKE_BURST": "20",
        "MANA_MAX_CONNECTIONS_PER_ADDRESS": "4",
        "MANA_MAX_CONNECTIONS_PER_USER": "3",
        "MANA_TRUSTED_PROXIES": "127.0.0.0/8",
    }
    with serving(database, **limits) as server:
        yield server


def at(server: Server, account: Account, address: str) -> Socket:
    return Socket(server, headers={"Authorization": f"Bearer {account.access}", "X-Forwarded-For": address})


async def refused(socket: Socket) -> float:
    """That it is turned away for its limits; when it may come again."""
    await socket.connect()
    frame = await socket.expect("error")
    assert frame["code"] == "rate_limited"
    assert await socket.closed() == 4029
    return float(frame["retry_after"])


async def test_a_user_has_so_many_connections_and_more_when_one_ends(guarded: Server) -> None:
    alice, bob = Account(guarded), Account(guarded)
    async with AsyncExitStack() as stack:
        sockets = [await stack.enter_async_context(at(guarded, alice, f"198.51.100.{n}")) for n in range(3)]
        assert await refused(at(guarded, alice, "198.51.100.9")) > 0
        async with at(guarded, bob, "198.51.100.1") as other:
            await other.request("ping")
        await sockets[0].connection.close()
        async with at(guarded, alice, "198.51.100.0") as again:
            await again.request("ping")


async def test_an_address_has_so_many_connections_whoever_comes_from_it(guarded: Server) -> None:
    people = [Account(guarded) for _ in range(5)]
    async with AsyncExitStack() as stack:
        for one in people[:4]:
            await stack.enter_async_context(at(guarded, one, "203.0.113.1"))
        assert await refused(at(guarded, people[4], "203.0.113.1")) > 0
        async with at(guarded, people[4], "203.0.113.2") as elsewhere:
            await elsewhere.request("ping")


async def test_handshakes_from_an_address_are_limited_also_those_that_fail(guarded: Server) -> None:
    alice = Account(guarded)
    for _ in range(20):
        socket = Socket(guarded, headers={"Authorization": "Bearer nonsense", "X-Forwarded-For": "192.0.2.1"})
        await socket.connect()
        assert await socket.closed() == 4001
    assert 0 < await refused(at(guarded, alice, "192.0.2.1")) <= 20
    async with at(guarded, alice, "192.0.2.2") as elsewhere:
        await elsewhere.request("ping")


async def test_nobody_names_an_address_for_themselves(database: str) -> None:
    with serving(database, MANA_MAX_CONNECTIONS_PER_ADDRESS="1") as server:
        alice = Account(server)
        async with at(server, alice, "198.51.100.1"):
            assert await refused(at(server, alice, "198.51.100.2")) > 0
        assert "TRUSTED_PROXIES" in server.log


async def test_all_sessions_of_a_user_share_a_rate(database: str) -> None:
    limits = {"MANA_USER_RATE_LIMIT_PER_SECOND": "0.1", "MANA_USER_RATE_LIMIT_BURST": "10"}
    with serving(database, **limits) as server:
        alice, bob = Account(server), Account(server)
        async with alice.socket() as one, alice.socket() as other, bob.socket() as untouched:
            for _ in range(10):
                await one.request("ping")
            refusal = await other.refusal("ping")
            assert refusal["code"] == "rate_limited"
            assert 0 < refusal["retry_after"] <= 10
            await untouched.request("ping")
