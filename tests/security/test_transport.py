"""Attacks below the frames of the protocol: they cost little, they are closed, and others are served meanwhile.

Both servers run as ``docs/deployment.md`` says. Memory is that of the server's process, at its peak.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import sqlite3
import subprocess
import time
import zlib
from collections.abc import AsyncIterator, Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.security.watched import Memory
from tests.security.wire import BINARY, CONTINUATION, TEXT, Wire, frame, header
from tests.support import databases
from tests.support.client import TIMEOUT, Account, Socket
from tests.support.server import COMMANDS, Server, free_port, serving
from tests.support.services import require

pytestmark = pytest.mark.slow

DEPLOY = databases.ROOT / "docs" / "deploy"
MEGABYTE = 1024 * 1024
#: What an attack may cost the process, beside what it had.
BOUND = 48 * MEGABYTE
#: Descriptors that come and go: of database threads, and of who was just served.
SOME = 40
PING = b'{"type":"ping","ack_id":"in pieces"}'

LIMITS = {
    "MANA_HANDSHAKE_RATE": "1",
    "MANA_HANDSHAKE_BURST": "400",
    "MANA_AUTH_TIMEOUT": "1",
    "MANA_TRUSTED_PROXIES": "127.0.0.0/8",
}

#: uvicorn as it comes: with compression. What a message may inflate to is bounded all the same.
COMMANDS["uvicorn compressing"] = [
    *(part for part in COMMANDS["uvicorn"] if part not in ("--ws-per-message-deflate", "false")),
]
numbers = count()


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A node behind a proxy on loopback, which tells it addresses."""
    with databases.fresh("sqlite") as url, serving(url, kind=request.param, **LIMITS) as running:
        yield running
        # uvicorn logs where it met text that is no UTF-8.
        met = running.log.count("Invalid UTF-8 sequence received from client")
        assert running.log.count("Traceback (most recent") == met, running.log[-4000:]


class Others:
    """Two people in a room, who have nothing to do with it."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._alice, bob = Account(server), Account(server)
        self._room = self._alice.room(bob)
        self._sockets = [self._socket(self._alice), self._socket(bob)]

    def _socket(self, account: Account) -> Socket:
        headers = {"Authorization": f"Bearer {account.access}", "X-Forwarded-For": f"198.51.100.{next(numbers)}"}
        return Socket(self._server, headers=headers)

    async def connect(self) -> None:
        """Both open their sockets."""
        for one in self._sockets:
            await one.__aenter__()

    async def are_served(self) -> None:
        """What one of them writes reaches the other."""
        alice, bob = self._sockets
        text = f"number {next(numbers)}"
        await alice.request("message", room_id=self._room, payload=text)
        await bob.expect("message", payload=text)
        async with self._socket(self._alice) as newcomer:
            await newcomer.request("ping")

    async def disconnect(self) -> None:
        """Both close."""
        for one in self._sockets:
            await one.connection.close()


@pytest.fixture
async def others(server: Server) -> AsyncIterator[Others]:
    people = Others(server)
    await people.connect()
    await people.are_served()  # and the process has what it needs for that
    yield people
    await people.disconnect()


@pytest.fixture
def mallory(server: Server) -> Account:
    return Account(server)


@pytest.fixture
def memory(server: Server, others: Others) -> Iterator[Memory]:
    """The process's memory, whose peak is looked at in the end."""
    watched = Memory(server)
    watched.forget_peak()
    before = watched.now
    yield watched
    cost = watched.peak - before
    print(f"{server.kind}: {cost / MEGABYTE:.1f} MB on top of {before / MEGABYTE:.0f} MB")
    assert cost < BOUND, f"It cost {cost / MEGABYTE:.0f} MB."


@pytest.fixture(autouse=True)
async def abort_wires() -> AsyncIterator[None]:
    yield
    await Wire.abort_all()


def somewhere() -> str:
    """An address that nobody else comes from."""
    number = next(numbers)
    return f"203.0.{number // 250}.{number % 250}"


async def opened(server: Server, account: Account, address: str | None = None) -> Wire:
    """A socket that was let in."""
    wire = await Wire.opened(server, account.access, **{"X-Forwarded-For": address or somewhere()})
    await wire.until("welcome")
    return wire


# -- Handshakes ----------------------------------------------------------------------------------------------------


async def test_handshakes_that_never_end_hold_up_nobody(server: Server, others: Others, memory: Memory) -> None:
    descriptors = memory.descriptors
    slow = [await Wire.to(server) for _ in range(300)]
    for wire in slow:
        wire.send(b"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n")
    for number in range(20):  # a header a byte at a time
        for wire in slow:
            wire.send(b"X"[number:] or b"y")
        await others.are_served()
    for wire in slow:
        wire.abort()
    # They are given back, however busy the machine is: each look serves others as well, which takes its time.
    async with asyncio.timeout(4 * TIMEOUT):
        while memory.descriptors > descriptors + SOME:
            await others.are_served()


@pytest.fixture
def nginx(server: Server, tmp_path: Path) -> Iterator[int]:
    """The port of an nginx in front of the server, as ``docs/deploy`` has it, but in more of a hurry."""
    require("nginx")
    program = shutil.which("nginx") or "/usr/sbin/nginx"
    port = free_port()
    text = (DEPLOY / "nginx.conf").read_text().replace("listen 8080;", f"listen 127.0.0.1:{port};")
    assert "client_header_timeout 10s;" in text
    (tmp_path / "nginx.conf").write_text(text.replace("client_header_timeout 10s;", "client_header_timeout 2s;"))
    (tmp_path / "nodes.conf").write_text(f"upstream mana {{ server 127.0.0.1:{server.port}; }}")
    command = [program, "-e", str(tmp_path / "error.log"), "-p", str(tmp_path), "-c", str(tmp_path / "nginx.conf")]
    running = subprocess.Popen([*command, "-g", "daemon off;"])
    try:
        deadline = time.monotonic() + TIMEOUT
        while True:
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            assert running.poll() is None, (tmp_path / "error.log").read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
        yield port
    finally:
        running.terminate()
        running.wait(TIMEOUT)


async def test_behind_nginx_no_node_hears_of_handshakes_that_never_end(
    server: Server, others: Others, memory: Memory, nginx: int
) -> None:
    descriptors = memory.descriptors
    slow = [await asyncio.open_connection("127.0.0.1", nginx) for _ in range(100)]
    for _, writer in slow:
        writer.write(b"GET /ws HTTP/1.1\r\nHost: x\r\n")
    await others.are_served()
    assert memory.descriptors <= descriptors + SOME
    async with asyncio.timeout(4 * TIMEOUT):
        for reader, _ in slow:  # nginx gives up on each of them by itself
            with contextlib.suppress(ConnectionError):
                await reader.read()
    for _, writer in slow:
        writer.transport.abort()
    await others.are_served()


async def test_who_says_nothing_after_the_handshake_is_sent_away(
    server: Server, others: Others, memory: Memory
) -> None:
    address = somewhere()
    silent = [await Wire.opened(server, None, **{"X-Forwarded-For": address}) for _ in range(200)]
    await others.are_served()
    for wire in silent:
        assert (await wire.until("error"))["code"] == "unauthenticated"
        assert await wire.until_closed() == 4001


async def test_too_many_connections_are_told_when_to_come_again(
    server: Server, mallory: Account, others: Others, memory: Memory
) -> None:
    address = somewhere()
    wires = [await Wire.opened(server, "nonsense", **{"X-Forwarded-For": address}) for _ in range(500)]
    await others.are_served()
    answers = [await wire.until("error") for wire in wires]
    refused = [answer for answer in answers if answer["code"] == "rate_limited"]
    assert len(refused) >= 50
    assert all(answer["retry_after"] > 0 for answer in refused)
    assert {answer["code"] for answer in answers} == {"rate_limited", "unauthenticated"}
    assert {await wire.until_closed() for wire in wires} == {4001, 4029}
    elsewhere = await opened(server, mallory)
    elsewhere.abort()


# -- Frames --------------------------------------------------------------------------------------------------------


async def test_a_flood_is_told_to_slow_down_and_closed_whether_it_listens_or_not(
    server: Server, mallory: Account, others: Others, memory: Memory
) -> None:
    wire = await opened(server, mallory)
    while await wire.pushed(frame(b'{"type":"ping"}') * 1000):
        await others.are_served()  # it never stops by itself, and answers no close
    assert wire.close_code == 4029
    refused = [one for one in wire.frames if one["type"] == "error"]
    assert {one["code"] for one in refused} == {"rate_limited"}
    assert all(one["retry_after"] > 0 for one in refused[:-1])
    assert len([one for one in wire.frames if one["type"] == "pong"]) >= 200


async def test_a_flood_of_the_largest_frames_costs_no_more(
    server: Server, mallory: Account, others: Others, memory: Memory
) -> None:
    wire = await opened(server, mallory)
    large = frame(b'{"type":"ping","x":"' + b"x" * 65_000 + b'"}')
    while await wire.pushed(large * 16) and wire.close_code is None:
        await asyncio.sleep(0)
    await others.are_served()
    assert wire.close_code == 4029


async def test_what_comes_while_a_frame_waits_for_the_database_waits_outside(
    server: Server, mallory: Account, others: Others, memory: Memory
) -> None:
    room = mallory.room()
    wire = await opened(server, mallory)
    large = frame(b'{"type":"ping","x":"' + b"x" * 65_000 + b'"}')
    with contextlib.closing(sqlite3.connect(server.database_url.removeprefix("sqlite:///"))) as busy:
        busy.isolation_level = None
        busy.execute("BEGIN IMMEDIATE")
        wire.send(frame(json.dumps({"type": "leave", "room_id": room, "ack_id": "slow"}).encode()))
        taken = 0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):  # until the server takes no more: then the connection stands still
                while await wire.pushed(large * 4):
                    taken += 4 * len(large)
        busy.execute("COMMIT")
    assert taken < 2 * BOUND, "The server never stopped taking it in."
    assert (await wire.until("ack"))["ack_id"] == "slow"  # and goes on where it was
    await others.are_served()
    wire.abort()


# -- Sizes and pieces ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [200_000, 5 * MEGABYTE, 2**40, 2**63 - 1])
async def test_a_message_that_is_too_large_is_closed_with_1009(
    server: Server, mallory: Account, others: Others, memory: Memory, size: int
) -> None:
    wire = await opened(server, mallory)
    wire.send(header(size))
    await push(wire, b"x" * min(size, 8 * MEGABYTE))
    await wire.until_closed()
    # Where more comes than is read, the kernel's reset may overtake the code.
    assert was_closed_with(1009, server, wire) or (size > 8 * MEGABYTE and wire.close_code is None)
    await others.are_served()


async def test_a_message_in_the_smallest_pieces_is_put_together(
    server: Server, mallory: Account, others: Others, memory: Memory
) -> None:
    wire = await opened(server, mallory)
    for position in range(len(PING)):
        opcode = CONTINUATION if position else TEXT
        wire.send(frame(PING[position : position + 1], opcode=opcode, fin=position == len(PING) - 1))
        wire.send(frame(b"still here", opcode=0x9))  # a ping of WebSocket's own may come between
        await wire.pushed(b"")
    assert (await wire.until("pong"))["ack_id"] == "in pieces"
    wire.abort()


@pytest.mark.parametrize("piece", [1, 1000])
async def test_a_message_whose_pieces_never_end_is_closed_with_1009(
    server: Server, mallory: Account, others: Others, memory: Memory, piece: int
) -> None:
    wire = await opened(server, mallory)
    wire.send(frame(b"[", fin=False))
    pieces = frame(b"x" * piece, opcode=CONTINUATION, fin=False) * max(1, 20_000 // piece)
    while await wire.pushed(pieces) and wire.close_code is None:
        await asyncio.sleep(0)
    assert was_closed_with(1009, server, wire)
    await others.are_served()


async def test_a_message_of_pieces_with_nothing_in_them_is_closed_with_1009(
    server: Server, mallory: Account, others: Others, memory: Memory
) -> None:
    wire = await opened(server, mallory)
    wire.send(frame(PING[:10], fin=False))
    sent = 0
    while await wire.pushed(frame(opcode=CONTINUATION, fin=False) * 10_000):
        sent += 10_000
        assert sent < 10_000_000, "It takes them in for ever."
    assert was_closed_with(1009, server, wire)
    await others.are_served()


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(b"x", opcode=0x3), 1002),  # no such opcode
        (frame(PING, opcode=CONTINUATION), 1002),  # nothing to continue
        (frame(b"x" * 126, opcode=0x9), 1002),  # a ping that is too long
        (frame(b"\xff\xfe"), 1007),  # text that is no UTF-8
        (frame(PING, compressed=True), 1002),  # compression that was not agreed on
    ],
)
async def test_what_breaks_the_rules_of_websocket_is_closed_with_its_code(
    server: Server, mallory: Account, others: Others, sent: bytes, code: int
) -> None:
    wire = await opened(server, mallory)
    wire.send(sent)
    assert await wire.until_closed() == code
    await others.are_served()


# -- Compression ---------------------------------------------------------------------------------------------------


def deflated(size: int) -> bytes:
    """So many blanks as permessage-deflate packs them (RFC 7692), with the window that uvicorn asks for."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -12)
    packed = packer.compress(b" " * size) + packer.flush(zlib.Z_SYNC_FLUSH)
    return packed.removesuffix(b"\x00\x00\xff\xff")


async def test_compression_is_not_agreed_on(server: Server, mallory: Account, others: Others, memory: Memory) -> None:
    headers = {"X-Forwarded-For": somewhere(), "Sec-WebSocket-Extensions": "permessage-deflate"}
    wire = await Wire.opened(server, mallory.access, **headers)
    assert "sec-websocket-extensions" not in wire.answer.lower()
    await wire.until("welcome")
    wire.send(frame(deflated(100 * MEGABYTE), compressed=True))
    await wire.until_closed()
    assert was_closed_with(1002, server, wire)
    await others.are_served()


async def test_where_it_is_a_bomb_is_closed_with_1009_before_it_is_unpacked() -> None:
    with databases.fresh("sqlite") as url, serving(url, kind="uvicorn compressing", **LIMITS) as server:
        others, mallory = Others(server), Account(server)
        await others.connect()
        memory = Memory(server)
        memory.forget_peak()
        before = memory.now
        headers = {"X-Forwarded-For": somewhere(), "Sec-WebSocket-Extensions": "permessage-deflate"}
        for bomb in (deflated(200 * MEGABYTE), deflated(MEGABYTE)):
            wire = await Wire.opened(server, mallory.access, **headers)
            assert "permessage-deflate" in wire.answer
            wire.send(frame(bomb, compressed=True, opcode=BINARY))
            await wire.until_closed()
            assert was_closed_with(1009, server, wire)
            await others.are_served()
        assert memory.peak - before < BOUND
        await others.are_served()
        await others.disconnect()


def was_closed_with(code: int, server: Server, wire: Wire) -> bool:
    """Whether the server ended the connection with a code. Where uvicorn does that by itself it leaves unread what has
    come, and the kernel's reset may overtake the code."""
    if wire.close_code is None and server.kind.startswith("uvicorn"):
        return wire.ended.is_set()
    return wire.close_code == code


async def push(wire: Wire, data: bytes) -> None:
    """Sends as long as it is taken."""
    for start in range(0, len(data), 65536):
        if not await wire.pushed(data[start : start + 65536]):
            return
