"""A WebSocket client that does what no library would: half a handshake, half a message, more than it may."""

from __future__ import annotations

import asyncio
import base64
import os
from typing import Any, ClassVar

import msgspec

from tests.support.client import TIMEOUT
from tests.support.server import Server

CONTINUATION, TEXT, BINARY, CLOSE = 0x0, 0x1, 0x2, 0x8
#: Opcodes of frames that say something of the connection.
CONTROL = 0x8
#: The bit of frames that are compressed; what they say is not looked at.
COMPRESSED = 0x40


def frame(payload: bytes = b"", *, opcode: int = TEXT, fin: bool = True, compressed: bool = False) -> bytes:
    """A frame (RFC 6455 section 5.2), masked with zeros."""
    return header(len(payload), opcode=opcode, fin=fin, compressed=compressed) + payload


def header(size: int, *, opcode: int = TEXT, fin: bool = True, compressed: bool = False) -> bytes:
    """The beginning of a frame of ``size`` bytes, whether they follow or not."""
    first = (0x80 if fin else 0) | (0x40 if compressed else 0) | opcode
    if size < 126:
        length = bytes((0x80 | size,))
    elif size < 65536:
        length = b"\xfe" + size.to_bytes(2, "big")
    else:
        length = b"\xff" + size.to_bytes(8, "big")
    return bytes((first,)) + length + bytes(4)


class Wire(asyncio.Protocol):
    """A connection. ``frames`` are those that came from the server, decoded; ``close_code`` what it closed with.

    What comes is read at once: the server may reset the connection right after it.
    """

    #: Those that were made, for ``abort_all``.
    made: ClassVar[list[Wire]] = []

    def __init__(self) -> None:
        self.answer = ""
        self.frames: list[dict[str, Any]] = []
        self.close_code: int | None = None
        self.ended = asyncio.Event()
        self._data = bytearray()
        self._news = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()
        self.made.append(self)

    # -- Opening and ending ------------------------------------------------------------------------------------------

    @classmethod
    async def to(cls, server: Server) -> Wire:
        """A connection on which nothing was said yet."""
        _, wire = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", server.port)
        return wire

    @classmethod
    async def opened(cls, server: Server, token: str | None, **headers: str) -> Wire:
        """A connection after the handshake."""
        wire = await cls.to(server)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        wire.send(request(server, headers))
        async with asyncio.timeout(TIMEOUT):
            while not wire.answer:
                await wire._something()
        assert wire.answer.startswith("HTTP/1.1 101"), wire.answer
        return wire

    def abort(self) -> None:
        """Is gone."""
        self._transport.abort()

    @classmethod
    async def abort_all(cls) -> None:
        """Leaves none behind."""
        for wire in cls.made:
            wire.abort()
            await wire.ended.wait()
        cls.made.clear()

    # -- Sending -----------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Gives bytes to the kernel, as it takes them."""
        self._transport.write(data)

    async def pushed(self, data: bytes) -> bool:
        """Sends, and waits until the kernel has nearly all of it; whether the server is still there."""
        self._transport.write(data)
        await self._writable.wait()
        return not self.ended.is_set()

    # -- Reading -----------------------------------------------------------------------------------------------------

    async def until(self, type: str) -> dict[str, Any]:
        """The next frame of a type."""
        async with asyncio.timeout(TIMEOUT):
            while True:
                while self.frames:
                    if (found := self.frames.pop(0))["type"] == type:
                        return found
                assert not self.ended.is_set(), f"closed with {self.close_code} while {type} was waited for"
                await self._something()

    async def until_closed(self) -> int | None:
        """Reads until the server closes; the code, if it gave one."""
        async with asyncio.timeout(TIMEOUT):
            while self.close_code is None and not self.ended.is_set():
                await self._something()
        return self.close_code

    async def until_the_end(self) -> int | None:
        """Reads until the connection is cut, and never answers the server's close; the code, if it gave one."""
        async with asyncio.timeout(4 * TIMEOUT):
            await self.ended.wait()
        return self.close_code

    async def _something(self) -> None:
        self._news.clear()
        await self._news.wait()

    # -- asyncio.Protocol --------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()
        self._writable.set()
        self._news.set()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def data_received(self, data: bytes) -> None:
        self._data += data
        if not self.answer and b"\r\n\r\n" in self._data:
            answer, _, rest = self._data.partition(b"\r\n\r\n")
            self.answer, self._data = answer.decode(), rest
        while self.answer and self._take_frame():
            pass
        self._news.set()

    def _take_frame(self) -> bool:
        """Takes a frame from what has come; whether it was there."""
        if len(self._data) < 2:
            return False
        first, size = self._data[0], self._data[1] & 0x7F
        start = 2
        if size > 125:
            start += 2 if size == 126 else 8
            size = int.from_bytes(self._data[2:start], "big")
        if len(self._data) < start + size:
            return False
        payload = bytes(self._data[start : start + size])
        del self._data[: start + size]
        if first & 0x0F == CLOSE:
            self.close_code = int.from_bytes(payload[:2], "big")
        elif not first & (CONTROL | COMPRESSED):
            found = msgspec.json.decode(payload)
            self.frames += found if isinstance(found, list) else [found]
        return True


def request(server: Server, headers: dict[str, str]) -> bytes:
    """A handshake."""
    lines = {
        "Host": f"127.0.0.1:{server.port}",
        "Upgrade": "websocket",
        "Connection": "Upgrade",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Version": "13",
        **headers,
    }
    return "\r\n".join(["GET /ws HTTP/1.1", *(f"{name}: {value}" for name, value in lines.items()), "", ""]).encode()
