"""The client: what an application holds on to."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from mana.client.auth import Credentials
from mana.client.connection import Connection
from mana.client.dispatch import Dispatcher, Event, Events, Handler
from mana.client.errors import ClientError, Disconnected, Refused
from mana.client.outbox import Outbox
from mana.client.rest import Rest
from mana.client.state import MemoryState, State
from mana.client.timeline import Gap, Timeline

logger = logging.getLogger("mana.client")

REQUEST_TIMEOUT = 15.0  # seconds for an answer, and for the connection that it needs
SYNC_LIMIT = 200  # events of one batch
GAP_WAIT = 0.5  # seconds that an event waits for its predecessor before that is fetched
RETRY = 1.0  # seconds until a sync that failed is tried again

_ANSWERS = {
    "sync_request": "message_sync",
    "history": "history",
    "ping": "pong",
    "get_prekey_bundle": "get_prekey_bundle",
    "ice_servers": "ice_servers",
}


class ManaClient:
    """A connection that lasts: ``async with ManaClient("https://chat.example.com", Account("bot", "...")) as client``.

    ``url`` is the site's; ``device_id`` names this device, and ``state`` remembers its place in the order of events and
    what was not acked. Handlers (``on``) and iterators (``events``) get each sequenced event once and in order, over
    reconnects; what is not sequenced (typing, presence) comes when it comes. An event counts as handled, and the
    cursor moves, when its handlers have returned.
    """

    def __init__(
        self,
        url: str,
        credentials: Credentials,
        *,
        device_id: str | None = None,
        state: State | None = None,
        ticket: Callable[[], Awaitable[str]] | None = None,
        api: str = "/api/",
        ws: str = "/ws",
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https"):
            raise ValueError("the url is that of the site: http:// or https://")
        self.device_id = device_id or f"python-{uuid4().hex[:12]}"
        self.state: State = state or MemoryState()
        self.rest = Rest(f"{parts.scheme}://{parts.netloc}{api}", credentials)
        #: The last ``welcome`` frame: who we are, limits, features.
        self.welcome: dict[str, Any] = {}
        scheme = "wss" if parts.scheme == "https" else "ws"
        query = urlencode({"device_id": self.device_id})
        self._connection = Connection(
            f"{scheme}://{parts.netloc}{ws}?{query}",
            self.rest,
            ticket=ticket,
            on_frame=self._receive,
            on_lost=self._lost,
        )
        self._outbox = Outbox(self.state, self._connection.send)
        self._requests: dict[str, tuple[str, asyncio.Future[Event]]] = {}
        self._dispatcher = Dispatcher(self._handled)
        self._timeline = Timeline(self._dispatcher.put)
        self._tasks: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None
        self._welcomed_once = asyncio.Event()
        self._synced = asyncio.Event()
        self._sync_task: asyncio.Task[None] | None = None
        self._gap_task: asyncio.Task[None] | None = None

    # -- Life --------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> ManaClient:
        await self.start()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    async def start(self, *, timeout: float | None = 30.0) -> None:
        """Connects, and stays connected until ``close``. Returns once the server has said welcome.

        Raises ``Unauthenticated``, ``Disconnected``, or ``TimeoutError``; with ``timeout=None`` it waits for ever.
        """
        if self._runner is None:
            self._outbox.adopt()
            self._dispatcher.start()
            self._runner = asyncio.create_task(self._run(), name="mana-client")
        try:
            await self._until(self._welcomed_once, timeout)
        except BaseException:
            await self.close()
            raise

    async def online(self, *, timeout: float | None = None) -> None:
        """Waits until the connection stands and everything missed has come by sync. Raises what ``start`` raises."""
        await self._until(self._synced, timeout)

    async def _until(self, event: asyncio.Event, timeout: float | None) -> None:
        assert self._runner is not None, "call start() first"
        waiting = asyncio.ensure_future(event.wait())
        try:
            async with asyncio.timeout(timeout):
                await asyncio.wait({waiting, self._runner}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if self._runner.done():
            await self._runner

    async def closed(self) -> None:
        """Waits until the client is closed for good. Raises why, unless it was ``close``."""
        assert self._runner is not None, "call start() first"
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.shield(self._runner)

    async def close(self) -> None:
        """Disconnects. What was not acked stays in ``state``."""
        tasks = [task for task in (self._runner, self._sync_task, self._gap_task, *self._tasks) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._dispatcher.stop()
        self._fail_requests()
        self._outbox.abandon(Disconnected("the client was closed"))
        await self.rest.aclose()

    async def drop(self) -> None:
        """Closes the socket and lets the client come back, as after a lost connection."""
        await self._connection.drop()

    @property
    def is_online(self) -> bool:
        """Whether the connection stands and the sync is through."""
        return self._synced.is_set()

    @property
    def user_id(self) -> str:
        """The user's id; empty before the first ``welcome``."""
        return str(self.welcome.get("user_id", ""))

    # -- Events ------------------------------------------------------------------------------------------------------

    def on(self, kind: str, handler: Handler) -> Callable[[], None]:
        """Calls ``handler(frame)``, plain or async, for frames of a type (``*``: of all); call the result to stop.

        Handlers run one after the other. A handler must not wait for an event that comes later: start a task.
        """
        return self._dispatcher.on(kind, handler)

    def events(self, *kinds: str) -> Events:
        """Frames of these types (none named: all) from now on, for ``async for``; the next comes when the body has
        handled one. Call it before ``start`` to miss nothing, and ``close`` it when you leave early.
        """
        return Events(self._dispatcher, kinds)

    # -- Requests ----------------------------------------------------------------------------------------------------

    async def send(self, payload: Any, *, room_id: str | None = None, to: str | None = None, **fields: Any) -> Event:
        """Sends a message to a room or a user; the ack, which has ``message_id``, ``sequence`` and ``index``.

        It is sent until there is an answer, over lost connections, and stored once. ``fields`` are ``reply_to``,
        ``mentions``, ``attachments``, ``ack_id``. Raises ``Refused``.
        """
        where = {"room_id": room_id} if room_id is not None else {"to": to}
        return await self.deliver("message", payload=payload, **where, **fields)

    async def deliver(self, kind: str, /, *, ack_id: str | None = None, **fields: Any) -> Event:
        """``send`` for frames of any type that the server takes once per ``ack_id``."""
        frame = {"type": kind, "ack_id": ack_id or uuid4().hex, **fields}
        return await asyncio.shield(self._outbox.add(frame))

    async def request(self, kind: str, /, *, timeout: float = REQUEST_TIMEOUT, **fields: Any) -> Event:
        """Sends a frame and gives its answer. Waits for the connection; does not repeat.

        Raises ``Refused``, ``Disconnected`` or ``TimeoutError``.
        """
        async with asyncio.timeout(timeout):
            while not self._connection.is_open:
                await self.online()
                await asyncio.sleep(0)
            return await self._ask(kind, fields)

    async def _ask(self, kind: str, fields: dict[str, Any]) -> Event:
        ack_id = fields.pop("ack_id", None) or uuid4().hex
        future: asyncio.Future[Event] = asyncio.get_running_loop().create_future()
        self._requests[ack_id] = _ANSWERS.get(kind, "ack"), future
        try:
            if not self._connection.send({"type": kind, "ack_id": ack_id, **fields}):
                raise Disconnected("there is no connection")
            return await future
        finally:
            self._requests.pop(ack_id, None)

    def signal(self, kind: str, /, **fields: Any) -> bool:
        """Sends a frame that needs no answer; False when there is no connection."""
        return self._connection.send({"type": kind, **fields})

    # -- What the socket brings --------------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            await self._connection.run()
        finally:
            self._synced.clear()
            self._fail_requests()

    def _receive(self, frame: Event) -> None:
        kind = frame.get("type", "")
        ack_id = frame.get("ack_id")
        if kind == "welcome":
            self._welcomed(frame)
        elif kind == "error" and ack_id is not None:
            self._refused(Refused.from_frame(frame), ack_id)
        elif kind == "ack":
            self._acked(frame)
        elif ack_id in self._requests and self._requests[ack_id][0] == kind:
            self._answer(ack_id, frame)
        elif "sequence" in frame and "id" in frame:
            self._settle_own(frame)
            if self._dispatcher.is_full:
                self._timeline.hold()  # too slow: the rest comes by sync, as fast as it is handled
                self._background(self._connection.drop())
            gap = self._timeline.push(frame)
            if gap is not None and (self._gap_task is None or self._gap_task.done()):
                self._gap_task = asyncio.create_task(self._repair())
        else:
            self._dispatcher.put(frame)

    def _welcomed(self, frame: Event) -> None:
        self.welcome = frame
        latest = frame["latest_sequence"]
        if self._timeline.cursor is None and self.state.cursor is not None:
            self._timeline.start(self.state.cursor)
        if self._timeline.cursor is None or self._timeline.cursor > latest:
            # A new device begins now; and a server whose history is shorter than ours was restored from a backup.
            self._timeline.start(latest)
            self._handled(latest)
        self._timeline.hold()
        self._dispatcher.put(frame)
        self._welcomed_once.set()
        self._outbox.online(frame["limits"].get("max_in_flight"))
        if self._sync_task is not None:
            self._sync_task.cancel()
        self._sync_task = asyncio.create_task(self._sync())

    def _background(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _acked(self, frame: Event) -> None:
        if frame.get("index") is not None and frame.get("message_id"):
            self._timeline.own(frame["message_id"], frame["room_id"], frame["index"])
        if not self._outbox.acked(frame):
            self._answer(frame["ack_id"], frame)

    def _refused(self, error: Refused, ack_id: str) -> None:
        if not self._outbox.refused(error, ack_id) and ack_id in self._requests:
            future = self._requests[ack_id][1]
            if not future.done():
                future.set_exception(error)

    def _answer(self, ack_id: str, frame: Event) -> None:
        if ack_id in self._requests and not self._requests[ack_id][1].done():
            self._requests[ack_id][1].set_result(frame)

    def _settle_own(self, event: Event) -> None:
        """An own message comes back by sync before its ack: that is as good as one."""
        ack_id = event.get("ack_id")
        if ack_id is not None and ack_id in self._outbox and event.get("from") == self.user_id:
            names = ("sequence", "index", "room_id", "timestamp", "ack_id")
            ack = {name: event.get(name) for name in names}
            self._outbox.acked({"type": "ack", "message_id": event["id"], "duplicate": True, **ack})

    def _lost(self) -> None:
        self._synced.clear()
        self._outbox.offline()
        self._fail_requests()

    def _fail_requests(self) -> None:
        for _, future in self._requests.values():
            if not future.done():
                future.set_exception(Disconnected("the connection was lost"))

    def _handled(self, cursor: int) -> None:
        if self.state.cursor is None or cursor != self.state.cursor:
            self.state.cursor = cursor
            self.state.save()

    # -- Sync --------------------------------------------------------------------------------------------------------

    async def _sync(self) -> None:
        """Fetches everything after the cursor, then goes on live."""
        while True:
            try:
                frame = await self._ask("sync_request", {"cursor": self._timeline.cursor, "limit": SYNC_LIMIT})
            except Disconnected:
                return
            except Refused as error:
                await asyncio.sleep(error.retry_after or RETRY)
                continue
            before = self._timeline.cursor or 0
            self._batch(frame["messages"], frame["cursor"])
            await self._dispatcher.room()
            more = frame["has_more"] and (self._timeline.cursor or 0) > before
            if not more and self._timeline.release():
                self._synced.set()
                return

    def _batch(self, events: list[Event], cursor: int | None = None) -> None:
        for event in events:
            self._settle_own(event)
        self._timeline.batch(events, cursor)
        if cursor is not None:
            self._dispatcher.reach(cursor)

    async def _repair(self) -> None:
        """Fetches what is missing in a room, if it does not come by itself."""
        await asyncio.sleep(GAP_WAIT)
        while (gap := self._timeline.gap()) is not None:
            try:
                found = await self._missing(gap)
            except Disconnected:
                return
            except ClientError as error:
                logger.debug("A gap could not be filled: %s", error)
                found = []
            if found:
                self._batch(found)
            self._timeline.give_up(gap)

    async def _missing(self, gap: Gap) -> list[Event]:
        after, found = gap.after, list[Event]()
        while after + 1 < gap.before:
            frame = await self._ask("history", {"room_id": gap.room_id, "after": after, "limit": SYNC_LIMIT})
            page = [event for event in frame["messages"] if event["index"] < gap.before]
            found += page
            if not page or not frame["has_more"]:
                break
            after = page[-1]["index"]
        return found
