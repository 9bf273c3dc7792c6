"""A session of Janus' over its WebSocket: requests with their answers, and the events of handles.

https://janus.conf.meetecho.com/docs/rest.html describes the messages, which are the same over every transport.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from typing import Any

import websockets

from mana.realtime import tasks
from mana_rtc.sfu.backend import SfuError

logger = logging.getLogger("mana.rtc.janus")

SUBPROTOCOL = websockets.Subprotocol("janus-protocol")
PLUGIN = "janus.plugin.videoroom"
TIMEOUT = 5.0
#: Seconds between keep-alives: Janus ends a session that is silent for 60.
KEEPALIVE = 20.0
#: Seconds between pings of the connection, and that one may stay unanswered.
PING = 1.5
MAX_MESSAGE = 2**20

OnEvent = Callable[[dict[str, Any], dict[str, Any] | None], None]


class Handle:
    """An attachment to the plugin. ``on_event`` is called with the plugin's data and the ``jsep``, if there is one, and
    with ``{"hangup": reason}`` when its peer connection is over.
    """

    def __init__(self, connection: Connection, number: int, on_event: OnEvent) -> None:
        self._connection = connection
        self.number = number
        self.on_event = on_event

    async def request(self, jsep: dict[str, Any] | None = None, **body: Any) -> tuple[dict[str, Any], Any]:
        """The plugin's data in answer to a request, and its ``jsep``. Raises ``SfuError``."""
        message: dict[str, Any] = {"janus": "message", "handle_id": self.number, "body": body}
        if jsep is not None:
            message["jsep"] = jsep
        answer = await self._connection.request(message)
        data = answer.get("plugindata", {}).get("data", {})
        if "error" in data:
            raise JanusError(int(data.get("error_code", 0)), str(data["error"]))
        return data, answer.get("jsep")

    async def trickle(self, candidate: Any) -> None:
        """A candidate of the client's."""
        await self._connection.request({"janus": "trickle", "handle_id": self.number, "candidate": candidate})

    async def detach(self) -> None:
        """Ends it, and its peer connection. Never raises."""
        self._connection.handles.pop(self.number, None)
        try:
            await self._connection.request({"janus": "detach", "handle_id": self.number})
        except SfuError as error:
            logger.info("A handle was not given back: %s", error)


class JanusError(SfuError):
    """Janus refused something; ``code`` is its own."""

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        super().__init__(f"Janus: {text} ({code})")


class Connection:
    """One WebSocket and the session on it. ``on_lost`` is called once when it is over, not by ``close``."""

    def __init__(self, url: str, *, api_secret: str, on_lost: Callable[[], None]) -> None:
        self._url = url
        self._secret = api_secret
        self._on_lost = on_lost
        self._socket: Any = None
        self._session = 0
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._content_with_ack: set[str] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.handles: dict[int, Handle] = {}
        self.is_open = False

    async def open(self) -> None:
        """Connects and makes the session. Raises ``SfuError``."""
        try:
            self._socket = await websockets.connect(
                self._url,
                subprotocols=[SUBPROTOCOL],
                max_size=MAX_MESSAGE,
                open_timeout=TIMEOUT,
                ping_interval=PING,
                ping_timeout=PING,
            )
        except (OSError, TimeoutError, websockets.WebSocketException) as error:
            raise SfuError(f"Janus can't be reached: {error}", full=True) from error
        self.is_open = True
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._read(), name="mana-janus-read")]
        self._session = int((await self.request({"janus": "create"}))["data"]["id"])
        self._tasks.append(loop.create_task(self._keep_alive(), name="mana-janus-keepalive"))

    async def close(self) -> None:
        """Ends the session with all its handles."""
        was_open, self.is_open = self.is_open, False
        if was_open:
            try:
                await self._send({"janus": "destroy", "transaction": secrets.token_hex(8)})
            except (OSError, websockets.WebSocketException) as error:
                logger.info("The session with Janus was not ended: %s", error)
        await tasks.end(self._tasks)
        if self._socket is not None:
            await self._socket.close()

    async def attach(self, on_event: OnEvent) -> Handle:
        """A new handle."""
        answer = await self.request({"janus": "attach", "plugin": PLUGIN})
        handle = Handle(self, int(answer["data"]["id"]), on_event)
        self.handles[handle.number] = handle
        return handle

    async def request(self, message: dict[str, Any]) -> dict[str, Any]:
        """Sends a request; its answer, the event if it is an asynchronous one. Raises ``SfuError``."""
        if not self.is_open:
            raise SfuError("Janus is not connected.", full=True)
        transaction = secrets.token_hex(8)
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[transaction] = answered
        if message["janus"] in ("trickle", "keepalive"):
            self._content_with_ack.add(transaction)
        try:
            async with asyncio.timeout(TIMEOUT):
                await self._send({**message, "transaction": transaction})
                answer = await answered
        except (TimeoutError, OSError, websockets.WebSocketException) as error:
            raise SfuError("Janus does not answer.", full=True) from error
        finally:
            del self._waiting[transaction]
            self._content_with_ack.discard(transaction)
        if answer["janus"] == "error":
            raise JanusError(int(answer["error"].get("code", 0)), str(answer["error"].get("reason")))
        return answer

    async def _send(self, message: dict[str, Any]) -> None:
        if self._session:
            message["session_id"] = self._session
        if self._secret:
            message["apisecret"] = self._secret
        await self._socket.send(json.dumps(message))

    async def _keep_alive(self) -> None:
        while self.is_open:
            await asyncio.sleep(KEEPALIVE)
            if not self.is_open:
                return
            try:
                await self.request({"janus": "keepalive"})
            except SfuError as error:
                logger.warning("The session with Janus could not be kept alive: %s", error)

    async def _read(self) -> None:
        try:
            async for text in self._socket:
                try:
                    self._take(json.loads(text))
                except Exception:
                    logger.exception("A message of Janus' could not be handled.")
        except websockets.WebSocketException as error:
            logger.info("The connection to Janus broke: %s", error)
        finally:
            if self.is_open:
                self.is_open = False
                for answered in self._waiting.values():
                    if not answered.done():
                        answered.set_exception(SfuError("The connection to Janus broke.", full=True))
                self._on_lost()

    def _take(self, message: dict[str, Any]) -> None:
        kind = message.get("janus")
        transaction = str(message.get("transaction"))
        waiting = self._waiting.get(transaction)
        if waiting is not None:
            # "ack" says that a request was understood, and what it led to follows; for these two nothing does.
            if (kind != "ack" or transaction in self._content_with_ack) and not waiting.done():
                waiting.set_result(message)
            return
        handle = self.handles.get(int(message.get("sender", 0)))
        if kind == "event" and handle is not None:
            handle.on_event(message.get("plugindata", {}).get("data", {}), message.get("jsep"))
        elif kind == "hangup" and handle is not None:
            handle.on_event({"hangup": str(message.get("reason", ""))}, None)
        elif kind == "timeout":  # the session is over, and everything with it
            self._socket.transport.abort()
