"""Clients that read slowly, or not at all: what they get is whole and in order, and what they cost is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest
import websockets

from mana.realtime import transport
from tests.support import databases
from tests.support.client import Account
from tests.support.server import Server, serving

pytestmark = pytest.mark.slow

LARGE = "x" * 60_000
MANY = 150  # together more than the kernel's buffers take from a server


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A node that lets 400 kB wait for one session."""
    with (
        databases.fresh("sqlite") as url,
        serving(url, kind=request.param, MANA_SESSION_BUFFER_BYTES="400000") as running,
    ):
        yield running


async def _reluctant(account: Account) -> websockets.ClientConnection:
    """A socket with small buffers whose client reads nothing until it is asked to."""
    raw = socket.create_connection(("127.0.0.1", account.server.port))
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 131072)
    connection = await websockets.connect(
        account.server.ws,
        sock=raw,
        additional_headers={"Authorization": f"Bearer {account.access}"},
        max_size=2**22,
        max_queue=1,
        compression=None,  # uvicorn would make next to nothing of what is sent here
        ping_interval=None,
    )
    assert json.loads(await connection.recv())["type"] == "welcome"
    return connection


async def _until_closed(connection: websockets.ClientConnection) -> list[dict[str, Any]]:
    """Everything that comes before the server closes."""
    received = []
    with contextlib.suppress(websockets.ConnectionClosed):
        async with asyncio.timeout(20):
            while True:
                received.append(json.loads(await connection.recv()))
    return received


async def test_who_reads_late_gets_everything_in_order(alice: Account, bob: Account) -> None:
    room = alice.room(bob)
    late = await _reluctant(bob)
    async with alice.socket() as a:
        for number in range(6):
            await a.request("message", room_id=room, payload=f"{number}{LARGE}")
        await a.request("typing", room_id=room)
        received = []
        while len(received) < 7:
            frame = json.loads(await asyncio.wait_for(late.recv(), 10))
            if frame["type"] in ("message", "typing"):
                received.append(frame["payload"])
        await late.close()
    assert received == [*(f"{number}{LARGE}" for number in range(6)), True]


async def test_who_does_not_read_is_closed_and_comes_back_by_sync(alice: Account, bob: Account, carol: Account) -> None:
    room = alice.room(bob, carol)
    stuck = await _reluctant(bob)
    async with alice.socket() as a, carol.socket() as c:
        for number in range(MANY):
            await a.request("message", room_id=room, payload=f"{number}{LARGE}")
            assert (await c.expect("message"))["payload"].startswith(str(number))
        received = []
        try:
            while True:
                received.append(json.loads(await asyncio.wait_for(stuck.recv(), 10)))
        except websockets.ConnectionClosed as closed:
            close = closed.rcvd
        await a.request("ping")
    got = [frame["payload"].rstrip("x") for frame in received if frame["type"] == "message"]
    assert got == [str(number) for number in range(len(got))], "a gap, or out of order"
    assert len(got) < MANY
    if close is not None:  # the server may have had to cut off a client that does not even read the close
        assert close.code == 4008
        assert received[-1]["code"] == "too_slow"
    async with bob.socket() as b:
        cursor, more, synced = 0, True, []
        while more:
            batch = await b.request("sync_request", cursor=cursor)
            synced += [event["payload"].rstrip("x") for event in batch["messages"] if event["type"] == "message"]
            cursor, more = batch["cursor"], batch["has_more"]
    assert synced == [str(number) for number in range(MANY)]
    assert "Traceback" not in alice.server.log


async def test_of_many_slow_readers_those_who_wait_for_the_most_are_closed() -> None:
    limits = {
        "MANA_SESSION_BUFFER_BYTES": "64000000",
        "MANA_PROCESS_BUFFER_BYTES": "1048576",
        "MANA_PRESENCE_GRACE": "0.1",
    }
    with databases.fresh("sqlite") as url, serving(url, **limits) as server:
        alice, bob, carol = (Account(server) for _ in range(3))
        room = alice.room(bob, carol)
        stuck = await _reluctant(bob)
        async with alice.socket() as a, carol.socket() as c:
            for number in range(MANY):
                await a.request("message", room_id=room, payload=f"{number}{LARGE}")
                await c.expect("message")
            await c.expect("presence", user_id=bob.id, online=False)
            received = await _until_closed(stuck)
            assert len(received) < MANY
            await c.request("ping")


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_a_prebuilt_frame_is_what_rfc_6455_says(size: int) -> None:
    from websockets.frames import Frame, Opcode

    text = "é" * (size // 2) + "a" * (size % 2)
    expected = Frame(Opcode.TEXT, text.encode(), fin=True).serialize(mask=False)
    assert transport.text_frame(text) == expected


def test_other_servers_are_used_through_asgi_alone() -> None:
    async def send(message: dict[str, object]) -> None:
        raise NotImplementedError

    assert transport.direct(send) is None
    assert transport.backlog(send) is None
