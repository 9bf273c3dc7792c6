"""A UDP socket of the mux: reads in batches, sends in batches, knows who is behind which remote address."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING

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
SEND_BATCH = 64

Address = tuple[str, int]
#: Called with (endpoint, remote address, datagram, now) for what is not from a known address, and for all STUN.
Unrouted = Callable[["UdpEndpoint", Address, bytes, float], None]


class UdpPath:
    """A remote address at one of our sockets (see ``mana_rtc.transport.ice.Path``)."""

    __slots__ = ("_packed", "address", "endpoint", "last_seen", "peer")

    def __init__(self, endpoint: UdpEndpoint, address: Address, peer: PeerTransport) -> None:
        self.endpoint = endpoint
        self.address = address
        self.peer = peer
        self.last_seen = float("-inf")
        self._packed = sendmmsg.packed_address(endpoint.family, address) if endpoint.batches else b""

    def send(self, data: bytes) -> None:
        """Queues a datagram for the end of the batch."""
        self.endpoint.queue(data, self._packed or self.address)

    def close(self) -> None:
        """Forgets who is there."""
        if self.endpoint.routes.get(self.address) is self:
            del self.endpoint.routes[self.address]


class UdpEndpoint:
    """One socket, bound to one local address."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, local: Address, unrouted: Unrouted, *, accelerated: bool
    ) -> None:
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
        self.batches = accelerated and sendmmsg.available()
        self._batch = sendmmsg.BatchSender(self._socket.fileno()) if self.batches else None
        self.routes: dict[Address, UdpPath] = {}
        self.dropped = 0
        self.failures = 0
        self._outgoing: list[tuple[bytes, bytes | Address]] = []
        self._in_batch = False
        self._scheduled = False
        loop.add_reader(self._socket.fileno(), self._readable)

    def _readable(self) -> None:
        receive, routes, now = self._socket.recvfrom, self.routes, monotonic()
        self._in_batch = True
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
        self._in_batch = False
        if self._outgoing:
            self._flush()

    def queue(self, data: bytes, to: bytes | Address) -> None:
        """Sends at the end of the batch that is being read, or of this turn of the loop."""
        self._outgoing.append((data, to))
        if len(self._outgoing) >= SEND_BATCH:
            self._flush()
        elif not self._in_batch and not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        outgoing, self._outgoing = self._outgoing, []
        if self._batch is not None:
            self.dropped += len(outgoing) - self._batch.send(outgoing)  # type: ignore[arg-type]
            return
        send = self._socket.sendto
        for position, (data, to) in enumerate(outgoing):
            try:
                send(data, to)
            except BlockingIOError:
                self.dropped += len(outgoing) - position
                return
            except OSError:
                self.dropped += 1

    def path(self, address: Address, peer: PeerTransport) -> UdpPath:
        """The way to an address, which from now on is this peer's."""
        path = self.routes.get(address)
        if path is None or path.peer is not peer:
            path = self.routes[address] = UdpPath(self, address, peer)
        return path

    def close(self) -> None:
        """Closes the socket."""
        if self._outgoing:
            self._flush()
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        self.routes.clear()
