"""One WebSocket after the other: opening it, noticing that it is dead, and when to come back."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
import websockets
from websockets.asyncio.client import ClientConnection

from mana.client.auth import expiry
from mana.client.errors import ClientError, Disconnected, Unauthenticated
from mana.client.rest import Rest
from mana.protocol import SUBPROTOCOL, CloseCode, ErrorCode

logger = logging.getLogger("mana.client")

FIRST_WAIT = 0.5  # seconds before the first reconnect, doubled each time
LONGEST_WAIT = 30.0
STABLE = 5.0  # seconds online after which the waits begin anew
OPEN_TIMEOUT = 15.0
HEARTBEAT = 20.0  # seconds between pings, and how long the answer may take
MAX_FRAME = 16 * 2**20  # bytes of a frame of the server: a batch of a sync
RENEW_EARLY = 60.0  # seconds before its expiry that a token is renewed, or a fifth of what it has left if that is less

Frame = dict[str, Any]


class Connection:
    """Keeps a socket open until ``run`` is cancelled, or the server ends it for good.

    ``on_frame`` gets each frame; ``on_lost`` is told when a socket that was open is gone. ``run`` raises
    ``Unauthenticated`` or ``Disconnected`` with why it is over.
    """

    def __init__(
        self,
        url: str,
        rest: Rest,
        *,
        ticket: Callable[[], Awaitable[str]] | None,
        on_frame: Callable[[Frame], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._url = url
        self._rest = rest
        self._ticket = ticket
        self._on_frame = on_frame
        self._on_lost = on_lost
        self._socket: ClientConnection | None = None
        self._outgoing: asyncio.Queue[Frame] = asyncio.Queue()
        self._notice: Frame = {}
        self._welcomed_at: float | None = None
        self._attempt = 0

    @property
    def is_open(self) -> bool:
        """Whether the server has said welcome."""
        return self._welcomed_at is not None

    def send(self, frame: Frame) -> bool:
        """Hands a frame to the open socket; False when there is none."""
        if not self.is_open:
            return False
        self._outgoing.put_nowait(frame)
        return True

    async def drop(self) -> None:
        """Gives up on this socket and comes back."""
        if self._socket is not None:
            await self._socket.close(CloseCode.NORMAL)

    async def run(self) -> None:
        """Connects, and reconnects with waits that double, jittered, and at least as long as the server asks for."""
        fresh = False
        while True:
            try:
                code = await self._once(fresh=fresh)
                tried_fresh, fresh = fresh, False
            except Unauthenticated:
                raise
            except (OSError, TimeoutError, websockets.WebSocketException, ClientError) as error:
                code, tried_fresh = None, fresh
                logger.debug("No connection: %s", error)
            if code == CloseCode.UNAUTHENTICATED:
                if tried_fresh:
                    raise Unauthenticated(str(self._notice.get("error", "the server refused the credentials")))
                fresh = True
                continue
            if code in (CloseCode.FORBIDDEN, CloseCode.SIGNED_OUT):
                raise Disconnected(str(self._notice.get("error", f"the server closed with {code}")))
            await asyncio.sleep(self._wait())

    def _wait(self) -> float:
        longest = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._attempt, 10))
        self._attempt += 1
        asked = float(self._notice.get("retry_after") or 0)
        return max(longest / 2 + longest / 2 * random.random(), asked)

    async def _once(self, *, fresh: bool) -> int | None:
        """One socket from beginning to end; its close code."""
        self._notice = {}
        url, headers = self._url, {}
        token = ""
        if self._ticket is not None:
            url += f"&ticket={await self._ticket()}"
        else:
            token = await self._rest.token(fresh=fresh)
            headers["Authorization"] = f"Bearer {token}"
        self._socket = await websockets.connect(
            url,
            additional_headers=headers,
            subprotocols=[websockets.Subprotocol(SUBPROTOCOL)],
            max_size=MAX_FRAME,
            open_timeout=OPEN_TIMEOUT,
            ping_interval=HEARTBEAT,
            ping_timeout=HEARTBEAT,
            close_timeout=2,
            proxy=None,
        )
        helpers = [asyncio.create_task(self._write(self._socket))]
        if token:
            helpers.append(asyncio.create_task(self._renew(token)))
        try:
            await self._read(self._socket)
        except websockets.ConnectionClosed:
            pass
        finally:
            for helper in helpers:
                helper.cancel()
            await asyncio.gather(*helpers, return_exceptions=True)
            self._lost()
            await self._socket.close()
        return self._socket.close_code

    async def _read(self, socket: ClientConnection) -> None:
        while True:
            waiting = None if self.is_open else OPEN_TIMEOUT
            data = await asyncio.wait_for(socket.recv(decode=False), waiting)
            frames = msgspec.json.decode(data)
            for frame in frames if isinstance(frames, list) else [frames]:
                if frame.get("type") == "welcome":
                    self._welcomed_at = time.monotonic()
                if frame.get("type") == "error" and frame.get("ack_id") is None:
                    # It explains the close that follows.
                    self._notice = frame
                self._on_frame(frame)

    async def _write(self, socket: ClientConnection) -> None:
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                frame = await self._outgoing.get()
                await socket.send(msgspec.json.encode(frame).decode())

    async def _renew(self, token: str) -> None:
        """Renews the session before its token expires."""
        while (left := expiry(token) - time.time()) < 10**8:
            await asyncio.sleep(max(left - min(RENEW_EARLY, left / 5), 1.0))
            try:
                token = await self._rest.token(fresh=True)
            except (Unauthenticated, Disconnected) as error:
                logger.debug("The token could not be renewed: %s", error)
                if self._notice.get("code") == ErrorCode.TOKEN_EXPIRED:
                    return
                continue
            self.send({"type": "auth", "token": token})

    def _lost(self) -> None:
        was_open = self._welcomed_at is not None
        if was_open and time.monotonic() - (self._welcomed_at or 0) >= STABLE:
            self._attempt = 0
        self._welcomed_at = None
        while not self._outgoing.empty():
            self._outgoing.get_nowait()
        if was_open:
            self._on_lost()
