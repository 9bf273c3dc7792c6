"""A UDP socket of the mux: reads in batches, sends in batches, knows who is behind which remote address."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Any, Protocol

from mana_rtc.transport import sendmmsg

if TYPE_CHECKING:
    from mana_rtc.transport.peer import PeerTransport

logger = logging.getLogger("mana.rtc")

#: Datagrams that are read before other work gets its turn, and bytes of one.
READ_BATCH = 64
READ_SIZE = 2048
#: Bytes that the kernel is asked to keep for us in each direction; it may give less.
SOCKET_BUFFER = 4 * 1024 * 1024
#: Datagrams that wait for the end of the batch.
SEND_BATCH = sendmmsg.BATCH

Address = tuple[str, int]
#: Called with (endpoint, remote address, datagram, now) for what is not from a known address, and for all STUN.
Unrouted = Callable[["UdpEndpoint", Address, bytes, float], None]


class UdpPath:
    """A remote address at one of our sockets (see ``mana_rtc.transport.ice.Path``)."""

    __slots__ = ("_to", "address", "endpoint", "last_seen", "peer")

    def __init__(self, endpoint: UdpEndpoint, address: Address, peer: PeerTransport) -> None:
        self.endpoint = endpoint
        self.address = address
        self.peer = peer
        self.last_seen = float("-inf")
        self._to = sendmmsg.packed_address(endpoint.family, address) if endpoint.batches else address

    def send(self, data: bytes) -> None:
        """Queues a datagram for the end of the batch that is being read, or of this turn of the loop."""
        endpoint = self.endpoint
        if not endpoint.outgoing.add(data, self._to):
            endpoint.dropped += 1
        elif not endpoint.in_batch or endpoint.outgoing.waiting >= SEND_BATCH:
            endpoint.queued()

    def close(self) -> None:
        """Forgets who is there."""
        if self.endpoint.routes.get(self.address) is self:
            del self.endpoint.routes[self.address]


class Outgoing(Protocol):
    """Where datagrams wait to be sent together."""

    @property
    def waiting(self) -> int:
        """Datagrams that wait."""

    def add(self, data: bytes, address: Any) -> bool:
        """Takes one; whether it can be sent at all."""

    def flush(self) -> int:
        """Sends them; how many were lost."""


class OneByOne:
    """Sends with a system call for each datagram, where there is none for many (see ``sendmmsg.BatchSender``)."""

    def __init__(self, to_send: socket.socket) -> None:
        self._socket = to_send
        self._datagrams: list[tuple[bytes, Address]] = []

    @property
    def waiting(self) -> int:
        """Datagrams that wait."""
        return len(self._datagrams)

    def add(self, data: bytes, address: Address) -> bool:
        """Takes a datagram."""
        self._datagrams.append((data, address))
        return True

    def flush(self) -> int:
        """Sends what waits, in order. How many the kernel had no room for or refused."""
        datagrams, self._datagrams = self._datagrams, []
        lost = 0
        for position, (data, to) in enumerate(datagrams):
            try:
                self._socket.sendto(data, to)
            except BlockingIOError:
                return lost + len(datagrams) - position
            except OSError:
                lost += 1
        return lost


class UdpEndpoint:
    """One socket, bound to one local address."""

    def __init__(self, loop: asyncio.AbstractEventLoop, local: Address, unrouted: Unrouted) -> None:
        self._loop = loop
        self._unrouted = unrouted
        self.family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        self._socket = socket.socket(self.family, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            if self.family == socket.AF_INET6:
                self._socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
                self._socket.setsockopt(socket.SOL_SOCKET, option, SOCKET_BUFFER)
            self._socket.bind(local)
        except OSError:
            self._socket.close()
            raise
        self.local: Address = self._socket.getsockname()[:2]
        self.batches = sendmmsg.available()
        self.outgoing: Outgoing = (
            sendmmsg.BatchSender(self._socket.fileno(), self.family) if self.batches else OneByOne(self._socket)
        )
        self.routes: dict[Address, UdpPath] = {}
        self.dropped = 0
        self.failures = 0
        self.closed = False
        #: Whether a batch is being read, at whose end what waits is sent.
        self.in_batch = False
        self._scheduled = False
        loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        receive, routes, now = self._socket.recvfrom, self.routes, monotonic()
        self.in_batch = True
        for _ in range(READ_BATCH):
            try:
                data, address = receive(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:
                continue  # an ICMP error of something sent before
            if not data:
                continue
            try:
                path = routes.get(address)
                if path is not None and data[0] > 3:
                    path.peer.receive(path, data, now)
                else:
                    self._unrouted(self, address, data, now)
            except Exception:
                # One peer's datagram may not end the media of all others, whatever it found.
                self.failures += 1
                logger.exception("A datagram could not be handled.")
        self.in_batch = False
        if self.outgoing.waiting:
            self._flush()

    def queued(self) -> None:
        """Something waits that no end of a batch sends, or there is no room for more."""
        if self.outgoing.waiting >= SEND_BATCH:
            self._flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        if not self.closed:
            self.dropped += self.outgoing.flush()

    def path(self, address: Address, peer: PeerTransport) -> UdpPath:
        """The way to an address, which from now on is this peer's."""
        path = self.routes.get(address)
        if path is None or path.peer is not peer:
            path = self.routes[address] = UdpPath(self, address, peer)
        return path

    def close(self) -> None:
        """Closes the socket."""
        self._flush()
        self.closed = True
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self.routes.clear()
