"""A network between browsers and server, as bad as a test wants it: a UDP proxy in a thread.

The server announces the proxy's address. Every client gets a socket of its own towards the server, so that the server
sees clients apart. What passes can be lost at random, delayed, and squeezed through a link of a given rate with a
queue of bounded length, in each direction.
"""

from __future__ import annotations

import asyncio
import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.server import free_port


@dataclass
class Link:
    """One direction. ``rate`` in bits per second (0: no limit), ``delay`` and ``queue`` in seconds, ``loss`` a share.

    Only datagrams of media are lost at random (``loss``): what happens to handshakes is a matter of their own tests.
    """

    loss: float = 0.0
    rate: float = 0.0
    delay: float = 0.0
    queue: float = 0.3
    media: int = 0
    lost: int = 0
    squeezed_out: int = 0
    busy_until: float = 0.0

    def passes(self, size: int, now: float, is_media: bool, chance: random.Random) -> float | None:
        """When a datagram comes out, or ``None`` if it is lost."""
        if is_media:
            self.media += 1
            if self.loss and chance.random() < self.loss:
                self.lost += 1
                return None
        out = now
        if self.rate:
            start = max(now, self.busy_until)
            if start - now > self.queue:
                self.squeezed_out += 1
                return None
            self.busy_until = out = start + (size + 28) * 8 / self.rate
        return out + self.delay


class Network:
    """The proxy, between ``start`` and ``stop``. ``up`` leads to the server, ``down`` from it."""

    def __init__(self, seed: int = 1) -> None:
        self.server_port = free_port()
        self.port = free_port()
        self.up = Link()
        self.down = Link()
        self._chance = random.Random(seed)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="network", daemon=True)
        self._ready = threading.Event()
        self._clients: dict[tuple[str, int], asyncio.DatagramTransport] = {}

    def start(self) -> Network:
        """Begins to carry."""
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def stop(self) -> None:
        """Ends it."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        front: asyncio.DatagramTransport
        front, _ = self._loop.run_until_complete(
            self._loop.create_datagram_endpoint(
                lambda: _Side(self._from_client), local_addr=("127.0.0.1", self.port), family=socket.AF_INET
            )
        )
        self._front = front
        self._ready.set()
        self._loop.run_forever()
        front.close()
        for transport in self._clients.values():
            transport.close()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    def _from_client(self, data: bytes, address: tuple[str, int]) -> None:
        transport = self._clients.get(address)
        if transport is None:
            self._loop.create_task(self._open(data, address))
            return
        self._carry(self.up, data, transport.sendto, None)

    async def _open(self, data: bytes, address: tuple[str, int]) -> None:
        if address in self._clients:
            return
        transport, _ = await self._loop.create_datagram_endpoint(
            lambda: _Side(lambda back, _: self._carry(self.down, back, self._front.sendto, address)),
            remote_addr=("127.0.0.1", self.server_port),
        )
        self._clients[address] = transport
        self._carry(self.up, data, transport.sendto, None)

    def _carry(self, link: Link, data: bytes, send: Callable[..., None], address: tuple[str, int] | None) -> None:
        now = self._loop.time()
        is_media = len(data) > 1 and 127 < data[0] < 192 and not 192 <= data[1] <= 223
        out = link.passes(len(data), now, is_media, self._chance)
        if out is None:
            return
        if out <= now:
            send(data, address)
        else:
            self._loop.call_at(out, send, data, address)


class _Side(asyncio.DatagramProtocol):
    def __init__(self, received: Callable[[bytes, tuple[str, int]], None]) -> None:
        self._received = received

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self._received(data, addr)

    def error_received(self, exc: Exception) -> None:
        """The other side is not there yet, or any more."""
