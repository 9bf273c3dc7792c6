"""A client as the protocol wants one: it reconnects, sends again what was not acked, and syncs by cursor."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import websockets

from tests.faults.history import ClientHistory
from tests.support.client import Account

WINDOW = 20  # messages that may wait for their ack
PAGE = 50
SYNC = "sync"  # as the ack_id of what asks for what was missed


class PersistentClient:
    """Stays connected until ``stop``, whatever happens to the server, and keeps a ``history`` of it."""

    def __init__(
        self, account: Account, rooms: Sequence[str], *, arrays: bool, urls: Sequence[str] = (), padding: int = 0
    ) -> None:
        self.history = ClientHistory(account.id)
        #: Close codes of its connections, 1006 for one that broke, and the reasons that the server gave before.
        self.closes: Counter[int] = Counter()
        self.reasons: Counter[str] = Counter()
        #: Seconds that live events took to arrive, at the most.
        self.slowest = 0.0
        self.acks = 0
        self.cursor = 0
        self.connections = 0
        self._account = account
        self._rooms = itertools.cycle(rooms)
        self._padding = "x" * padding
        self._urls = itertools.cycle(urls or [account.server.ws])
        self._subprotocols: Any = ["mana.v1"] if arrays else None
        self._unacked: dict[str, str] = {}  # ack_id -> room
        self._reads = asyncio.Event()
        self._reads.set()
        self._measures = True
        self._socket: websockets.ClientConnection | None = None
        self._syncing = False
        self._pause = 0.05
        self._waiting: set[asyncio.Task[None]] = set()
        self._kept: list[dict[str, Any]] = []
        self._changed = asyncio.Event()
        self._task = asyncio.create_task(self._run())
        self._task.add_done_callback(lambda task: self._changed.set())

    def __repr__(self) -> str:
        return (
            f"<client {self.history.user_id}: {len(self._unacked)} unacked, at {self.cursor}, syncing: {self._syncing},"
            f" connected: {self._socket is not None}, {dict(self.reasons)}, {dict(self.closes)}>"
        )

    # -- Writing --------------------------------------------------------------------------------------------------

    async def send(self, text: str) -> None:
        """Sends a message, connected or not, once there is room in the window."""
        await self.until(lambda: len(self._unacked) < WINDOW)
        self._unacked[text] = next(self._rooms)
        self.history.sent[text] = text + self._padding
        await self._write_message(text)

    async def until(self, condition: Any) -> None:
        """Waits for something that a frame changes."""
        while not condition():
            if self._task.done():
                self._task.result()
            self._changed.clear()
            await self._changed.wait()

    async def until_acked(self, count: int) -> None:
        """Waits until so many more of its messages are acked."""
        goal = self.acks + count
        await self.until(lambda: self.acks >= goal)

    @property
    def is_all_acked(self) -> bool:
        """Whether nothing waits for its ack."""
        return not self._unacked

    async def until_at(self, sequence: int) -> None:
        """Waits until it has handled everything up to an event."""
        await self.until(lambda: self.cursor >= sequence)

    def pause_reading(self) -> None:
        """Takes nothing from its socket any more, and soon the kernel does neither.

        What it then reads late on that connection does not count as slow.
        """
        self._measures = False
        self._reads.clear()

    def resume_reading(self) -> None:
        """Reads on."""
        self._reads.set()

    def disconnect(self) -> None:
        """Has its connection break. It comes back by itself."""
        if self._socket is not None:
            self._socket.transport.abort()

    def forget_delays(self) -> None:
        """Measures ``slowest`` anew."""
        self.slowest = 0.0

    async def stop(self) -> None:
        """Closes the connection."""
        tasks = [self._task, *self._waiting]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _write(self, type: str, **frame: Any) -> None:
        if self._socket is not None:
            with contextlib.suppress(websockets.ConnectionClosed):  # it is sent again after the next welcome
                await self._socket.send(json.dumps({"type": type, **frame}))

    async def _write_message(self, ack_id: str) -> None:
        await self._write("message", room_id=self._unacked[ack_id], payload=self.history.sent[ack_id], ack_id=ack_id)

    # -- Reading --------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            try:
                async with websockets.connect(
                    next(self._urls),
                    additional_headers={"Authorization": f"Bearer {self._account.access}"},
                    subprotocols=self._subprotocols,
                    max_size=2**21,
                    compression=None,
                ) as socket:
                    await self._serve(socket)
            except (OSError, websockets.InvalidHandshake, websockets.ConnectionClosed, EOFError):
                pass
            self._socket = None
            await asyncio.sleep(self._pause)
            self._pause = 0.05

    async def _serve(self, socket: websockets.ClientConnection) -> None:
        self.history.live.append([])
        self._kept = []
        try:
            async for text in socket:
                await self._reads.wait()
                frames = json.loads(text)
                for frame in frames if isinstance(frames, list) else [frames]:
                    await self._take(socket, frame)
                self._changed.set()
        finally:
            if socket.close_code is not None:  # else it is the test that ends it
                self.closes[socket.close_code] += 1

    async def _take(self, socket: websockets.ClientConnection, frame: dict[str, Any]) -> None:
        match frame["type"]:
            case "welcome":
                self.connections += 1
                self._measures = True
                self._socket, self._syncing = socket, True
                await self._sync()
                for ack_id in list(self._unacked):
                    await self._write_message(ack_id)
            case "message_sync":
                for event in frame["messages"]:
                    self._handle(event)
                self.cursor = frame["cursor"]
                if frame["has_more"]:
                    await self._sync()
                else:
                    self._syncing = False
                    for event in self._kept:
                        self._handle(event)
            case "ack" if frame["ack_id"] != SYNC:
                self.history.acked.setdefault(frame["ack_id"], []).append(frame)
                self.acks += self._unacked.pop(frame["ack_id"], None) is not None
            case "error":
                # Refused for now: the same again, a little later.
                assert frame["code"] in ("unavailable", "rate_limited", "going_away", "too_slow"), frame
                self.reasons[frame["code"]] += 1
                if "ack_id" not in frame:
                    self._pause = frame.get("retry_after") or self._pause  # the connection is about to end
                else:
                    self._later(socket, frame["ack_id"], frame.get("retry_after") or 0.1)
            case "message" | "room":
                self.history.live[-1].append(frame["sequence"])
                if self._syncing:
                    self._kept.append(frame)
                else:
                    self._handle(frame)
                    if self._measures:
                        sent_at = datetime.fromisoformat(frame["timestamp"])
                        self.slowest = max(self.slowest, (datetime.now(UTC) - sent_at).total_seconds())

    async def _sync(self) -> None:
        await self._write("sync_request", cursor=self.cursor, limit=PAGE, ack_id=SYNC)

    def _later(self, socket: websockets.ClientConnection, ack_id: str, seconds: float) -> None:
        """Sends a refused request again, if it is still this connection's by then."""

        async def again() -> None:
            await asyncio.sleep(seconds)
            if socket is not self._socket:
                return
            if ack_id == SYNC:
                await self._sync()
            elif ack_id in self._unacked:
                await self._write_message(ack_id)

        task = asyncio.create_task(again())
        self._waiting.add(task)
        task.add_done_callback(self._waiting.discard)

    def _handle(self, event: dict[str, Any]) -> None:
        """Takes up an event, unless it was taken up before."""
        if event["sequence"] <= self.cursor:
            return
        self.cursor = event["sequence"]
        if event["type"] == "message":
            # What the check needs of it: a long run brings millions.
            self.history.handled.append({"sequence": event["sequence"], "payload": sys.intern(event["payload"])})
