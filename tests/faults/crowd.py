"""Thousands of clients that cost next to nothing: they connect, sync, note what comes, and come back when cut off."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import os
import random
from collections.abc import Callable, Sequence
from urllib.parse import SplitResult, urlsplit

from tests.support.client import Account

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
#: Seconds after which a client that was cut off tries again: anywhere in between.
BACK = (0.0, 1.0)
#: Seconds that a connection has to be welcomed.
PATIENCE = 60.0
PAGE = 500
#: Seconds between looks at whether all are where they should be.
LOOKS = 0.02


class Face:
    """One of the crowd: a device of an account."""

    def __init__(self, crowd: Crowd, account: Account, device: str, urls: Sequence[str]) -> None:
        self.cursor = 0
        #: Sequences of the messages that it took up, in the order of their coming.
        self.taken: list[int] = []
        self.synced = False
        self._crowd = crowd
        self._account = account
        self._device = device
        self._urls = itertools.cycle(urls)
        self._kept: list[tuple[int, bool]] = []
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Goes."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                await self._serve(urlsplit(next(self._urls)))
            except (OSError, EOFError, asyncio.IncompleteReadError, TimeoutError):
                pass
            finally:
                self._is(synced=False)
            self._crowd.falls += 1
            await asyncio.sleep(random.uniform(*BACK))

    async def _serve(self, url: SplitResult) -> None:
        host, port = url.hostname, url.port
        reader, writer = await asyncio.open_connection(host, port, limit=2**21)
        try:
            async with asyncio.timeout(PATIENCE):
                writer.write(
                    (
                        f"GET /ws?device_id={self._device} HTTP/1.1\r\nHost: {host}:{port}\r\n"
                        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\n"
                        f"Authorization: Bearer {self._account.access}\r\nSec-WebSocket-Protocol: mana.v1\r\n\r\n"
                    ).encode()
                )
                head = await reader.readuntil(b"\r\n\r\n")
                if not head.startswith(b"HTTP/1.1 101"):
                    raise OSError(head[:100])
                await self._take(writer, await _message(reader, writer))
            while True:
                await self._take(writer, await _message(reader, writer))
        finally:
            writer.transport.abort()

    async def _take(self, writer: asyncio.StreamWriter, text: bytes) -> None:
        frames = json.loads(text)
        for frame in frames if isinstance(frames, list) else [frames]:
            match frame["type"]:
                case "welcome":
                    self._kept = []
                    self._ask(writer)
                case "message_sync":
                    for event in frame["messages"]:
                        self._handle(event["sequence"], event["type"] == "message")
                    self.cursor = max(self.cursor, frame["cursor"])
                    if frame["has_more"]:
                        self._ask(writer)
                    else:
                        for sequence, is_message in self._kept:
                            self._handle(sequence, is_message)
                        self._is(synced=True)
                case "message" | "room":
                    if self.synced:
                        self._handle(frame["sequence"], frame["type"] == "message")
                    else:
                        self._kept.append((frame["sequence"], frame["type"] == "message"))
                case "error":
                    self._crowd.refusals[frame["code"]] = self._crowd.refusals.get(frame["code"], 0) + 1
                    if frame.get("ack_id"):
                        await asyncio.sleep(frame.get("retry_after") or 0.5)
                        self._ask(writer)

    def _ask(self, writer: asyncio.StreamWriter) -> None:
        asked = {"type": "sync_request", "cursor": self.cursor, "limit": PAGE, "ack_id": "sync"}
        writer.write(_frame(TEXT, json.dumps(asked).encode()))

    def _handle(self, sequence: int, is_message: bool) -> None:
        if sequence <= self.cursor:
            return
        self.cursor = sequence
        if is_message:
            self.taken.append(sequence)
        self._crowd.changed.set()

    def _is(self, *, synced: bool) -> None:
        self._crowd.synced += synced - self.synced
        self.synced = synced
        self._crowd.changed.set()


class Crowd:
    """All of them. ``synced`` says how many are in and up to date, ``falls`` how often one was cut off or kept out."""

    def __init__(self, accounts: Sequence[Account], size: int, urls: Sequence[str]) -> None:
        self.synced = 0
        self.falls = 0
        self.refusals: dict[str, int] = {}
        self.changed = asyncio.Event()
        self.faces = [
            Face(self, accounts[n % len(accounts)], f"face-{n}", [*urls[n % len(urls) :], *urls[: n % len(urls)]])
            for n in range(size)
        ]

    async def until_all_are_in(self, seconds: float) -> None:
        """Waits until everybody is connected and has synced."""
        await self._until(lambda: self.synced == len(self.faces), seconds)

    async def until_all_are_at(self, sequence: int, seconds: float) -> None:
        """Waits until everybody has come to an event."""
        await self._until(lambda: all(face.cursor >= sequence for face in self.faces), seconds)

    async def stop(self) -> None:
        """All go."""
        await asyncio.gather(*(face.stop() for face in self.faces))

    async def _until(self, condition: Callable[[], bool], seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                while not condition():
                    self.changed.clear()
                    await self.changed.wait()
                    await asyncio.sleep(LOOKS)  # thousands change together
        except TimeoutError:
            cursors = sorted(face.cursor for face in self.faces)
            raise AssertionError(
                f"{self.synced} of {len(self.faces)} are in, at {cursors[0]} to {cursors[-1]}; refused {self.refusals}"
            ) from None


async def _message(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
    while True:
        first, second = await reader.readexactly(2)
        opcode, size = first & 0x0F, second & 0x7F
        if size == 126:
            size = int.from_bytes(await reader.readexactly(2), "big")
        elif size == 127:
            size = int.from_bytes(await reader.readexactly(8), "big")
        payload = await reader.readexactly(size)
        if opcode == TEXT:
            return payload
        if opcode == PING:
            writer.write(_frame(PONG, payload))
        elif opcode == CLOSE:
            writer.write(_frame(CLOSE, payload))
            await writer.drain()
            raise EOFError


def _frame(opcode: int, payload: bytes) -> bytes:
    size = len(payload)
    assert size < 65536
    head = bytes((0x80 | opcode, 0x80 | size)) if size < 126 else bytes((0x80 | opcode, 0x80 | 126)) + size.to_bytes(2)
    return head + b"\0\0\0\0" + payload  # a mask of zeros: it costs the server as much as any other
