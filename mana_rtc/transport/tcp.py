"""ICE over TCP (RFC 6544, passive candidates): datagrams in frames of RFC 4571, for networks that let no UDP through.

A connection must begin with an authentic check within seconds; until then it belongs to nobody, and there is room for
few of those.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, cast

from mana_rtc.media.rtp import MAX_DATAGRAM

if TYPE_CHECKING:
    from mana_rtc.transport.peer import PeerTransport

logger = logging.getLogger("mana.rtc")

#: Seconds for the first authentic check, and connections that may be waiting for it.
PROOF_TIMEOUT = 5.0
MAX_UNPROVEN = 64
#: Bytes that may wait for a peer that reads too slowly; what comes beyond is lost, as it would be over UDP.
WRITE_LIMIT = 256 * 1024


class TcpPath(asyncio.Protocol):
    """A connection (see ``mana_rtc.transport.ice.Path``)."""

    def __init__(self, endpoint: TcpEndpoint) -> None:
        self._endpoint = endpoint
        self._buffer = bytearray()
        self._closed = False
        self._transport: asyncio.Transport | None = None
        self._proof_timer: asyncio.TimerHandle | None = None
        self.address: tuple[str, int] = ("0.0.0.0", 0)  # noqa: S104  not known before it is connected
        self.peer: PeerTransport | None = None
        self.last_seen = float("-inf")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Waits for a check."""
        self._transport = cast("asyncio.Transport", transport)
        self.address = transport.get_extra_info("peername")[:2]
        self._endpoint.admit(self)
        self._proof_timer = self._endpoint.loop.call_later(PROOF_TIMEOUT, self._give_up)

    def _give_up(self) -> None:
        if self.peer is None:
            self.close()

    def data_received(self, data: bytes) -> None:
        """Takes frames out of the stream."""
        if self._closed:
            return
        buffer = self._buffer
        buffer += data
        now = monotonic()
        offset = 0
        while len(buffer) - offset >= 2:
            length = buffer[offset] << 8 | buffer[offset + 1]
            if length > MAX_DATAGRAM:
                self.close()
                return
            if len(buffer) - offset - 2 < length:
                break
            frame = bytes(buffer[offset + 2 : offset + 2 + length])
            offset += 2 + length
            if frame and not self._handle(frame, now):
                self.close()
                return
        del buffer[:offset]

    def _handle(self, frame: bytes, now: float) -> bool:
        try:
            if frame[0] <= 3:
                self._endpoint.stun(self, frame, now)
            elif self.peer is not None:
                self.peer.receive(self, frame, now)
        except Exception:
            logger.exception("A frame could not be handled.")
            return False
        return self.peer is not None

    def bind(self, peer: PeerTransport) -> None:
        """The connection proved to be this peer's."""
        if self.peer is None:
            self.peer = peer
            self._endpoint.proven(self)
            if self._proof_timer is not None:
                self._proof_timer.cancel()

    def send(self, data: bytes) -> None:
        """Sends a frame, unless too much waits already."""
        transport = self._transport
        if transport is None or transport.is_closing() or transport.get_write_buffer_size() > WRITE_LIMIT:
            return
        transport.write(len(data).to_bytes(2) + data)

    def close(self) -> None:
        """Closes the connection. What it sent and was not read yet is forgotten."""
        self._closed = True
        self._buffer.clear()
        if self._proof_timer is not None:
            self._proof_timer.cancel()
        if self._transport is not None:
            if self._transport.get_write_buffer_size():
                self._transport.abort()  # a peer that reads nothing must not keep it open
            else:
                self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self.close()
        self._endpoint.gone(self)


class TcpEndpoint:
    """The listening sockets. ``stun`` is called with (path, frame, now) for what begins like STUN."""

    def __init__(self, loop: asyncio.AbstractEventLoop, stun: Callable[[TcpPath, bytes, float], None]) -> None:
        self.loop = loop
        self.stun = stun
        self.paths: set[TcpPath] = set()
        self._unproven: dict[TcpPath, None] = {}
        self._servers: list[asyncio.Server] = []

    async def listen(self, host: str, port: int) -> int:
        """Listens at an address; the port, chosen by the system where 0 was given."""
        server = await self.loop.create_server(lambda: TcpPath(self), host, port)
        self._servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def admit(self, path: TcpPath) -> None:
        """A new connection that has proved nothing. Of too many the oldest goes: an honest one proves itself soon."""
        if len(self._unproven) >= MAX_UNPROVEN:
            oldest = next(iter(self._unproven))
            self.gone(oldest)
            oldest.close()
        self._unproven[path] = None
        self.paths.add(path)

    def proven(self, path: TcpPath) -> None:
        """It belongs to somebody."""
        self._unproven.pop(path, None)

    def gone(self, path: TcpPath) -> None:
        """It was closed."""
        self._unproven.pop(path, None)
        self.paths.discard(path)

    def close(self) -> None:
        """Closes all."""
        for server in self._servers:
            server.close()
        self._servers.clear()
        for path in list(self.paths):
            path.close()
