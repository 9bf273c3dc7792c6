"""One socket: who it is, what it may send, and the bounded queue of what it has not yet been sent."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

from mana.conf import settings
from mana.protocol import CloseCode, ErrorCode, ErrorFrame, ServerFrame, encode
from mana.realtime import tasks, tracing, transport
from mana.realtime.counters import counters
from mana.realtime.identity import Identity
from mana.realtime.limits import TokenBucket

if TYPE_CHECKING:
    from mana.realtime.hub import Hub
    from mana.realtime.tick import Tick
    from mana.realtime.tracing import ConnectionTrace

#: Seconds that a peer who does not read has to take what is under way, and then the reason of the close.
WRITE_TIMEOUT = 2.0
REASON_TIMEOUT = 3.0
#: Bytes of frames that one array holds before another begins. WebSocket libraries refuse more than 1 MiB by default.
ARRAY_BYTES = 128 * 1024


class Session:
    """A connected and authenticated client.

    ``send`` queues a frame; the hub calls ``flush`` once per turn of the event loop. Frames leave in order. While the
    transport does not take more, at most ``SESSION_BUFFER_BYTES`` wait; past that the session is closed with 4008.
    """

    __slots__ = (
        "_backlog",
        "_closing",
        "_direct",
        "_outbox",
        "_queued",
        "_send",
        "_settled",
        "_task",
        "arrays",
        "bucket",
        "close_code",
        "device_id",
        "dirty",
        "expiry",
        "hub",
        "id",
        "identity",
        "in_flight",
        "latecomings",
        "named_device",
        "patience",
        "rooms",
        "trace",
    )

    def __init__(
        self, hub: Hub, identity: Identity, device_id: str | None, send: transport.Send, *, arrays: bool
    ) -> None:
        self.id = secrets.token_urlsafe(12)
        self.hub = hub
        self.identity = identity
        #: The device as the client named it; ``device_id`` is always there.
        self.named_device = device_id
        self.device_id = device_id or secrets.token_urlsafe(12)
        self.arrays = arrays
        self.bucket = TokenBucket(settings.RATE_LIMIT_PER_SECOND, settings.RATE_LIMIT_BURST, hub.loop.time())
        #: Refused frames take from it; empty, the session is a flood.
        self.patience = TokenBucket(settings.RATE_LIMIT_PER_SECOND, settings.FLOOD_TOLERANCE, hub.loop.time())
        self.in_flight = 0
        self.rooms: set[str] = set()
        #: Memberships that changed while the subscriptions were read: room -> whether the user is in it. ``None`` once
        #: the hub has let the session in; before, nothing is sent, so that the welcome comes first.
        self.latecomings: dict[str, bool] | None = {}
        self.expiry: asyncio.TimerHandle | None = None
        self.dirty = False
        #: What we closed the socket with, if it was us.
        self.close_code: int | None = None
        self.trace: ConnectionTrace | None = None
        self._send = send
        self._backlog = transport.backlog(send)
        self._direct = transport.direct(send)
        self._outbox: list[str | Tick] = []
        self._queued = 0
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._settled: asyncio.Future[None] | None = None

    @property
    def user_id(self) -> str:
        """The user's id on the wire."""
        return self.identity.user_id

    @property
    def username(self) -> str:
        """The user's name when the session was opened."""
        return self.identity.username

    @property
    def closing(self) -> bool:
        """Whether the socket is closed or about to be; what the client still sends is ignored."""
        return self._closing

    # -- Messages on their way to the database -----------------------------------------------------------------------

    def answered(self) -> None:
        """One message in flight was acked or refused."""
        self.in_flight -= 1
        if self._settled is not None and not self._settled.done():
            self._settled.set_result(None)

    async def until_in_flight(self, limit: int) -> None:
        """Waits until at most ``limit`` messages of this session wait for their commit."""
        while self.in_flight > limit:
            self._settled = self.hub.loop.create_future()
            await self._settled

    @property
    def waiting_bytes(self) -> int:
        """What was sent and the peer has not yet taken."""
        return self._queued + (self._backlog() if self._backlog is not None else 0)

    # -- Sending -----------------------------------------------------------------------------------------------------

    def send(self, frame: ServerFrame) -> None:
        """Queues a frame for this session."""
        if not self._closing:
            text = encode(frame).decode()
            counters.frames_out[type(frame)] += 1
            counters.bytes_out += len(text)
            self.enqueue(text, len(text))

    def enqueue(self, item: str | Tick, size: int) -> None:
        """Queues an encoded frame, or a room's frames of one tick; ``size`` is in characters."""
        if self._closing:
            return
        self._outbox.append(item)
        if not self.dirty:
            self.dirty = True
            self.hub.schedule_flush(self)
        if self._task is not None:
            self._queued += size
            if self._queued > settings.SESSION_BUFFER_BYTES:
                self.hub.count_slow()
                self.close(CloseCode.TOO_SLOW, ErrorCode.TOO_SLOW)

    def flush(self) -> None:
        """Hands what waits to the server, if it takes it without waiting; else leaves it to a task."""
        self.dirty = False
        if self.latecomings is None:
            self._hand_over()

    def _hand_over(self) -> None:
        if self._task is not None or not self._outbox:
            return
        if self._direct is not None:
            self._write_directly(self._direct)
        else:
            self._send_through_server()
        if self._backlog is not None and self._backlog() > settings.SESSION_BUFFER_BYTES and not self._closing:
            self.hub.count_slow()
            self.close(CloseCode.TOO_SLOW, ErrorCode.TOO_SLOW)

    def _write_directly(self, write: Callable[[bytes], None]) -> None:
        try:
            if len(self._outbox) == 1 and not isinstance(tick := self._outbox[0], str):
                self._outbox = []
                for frame in tick.packed(self):
                    write(frame)
            else:
                for text in self._take():
                    write(transport.text_frame(text))
        except transport.Gone:
            self._abandon()

    def _send_through_server(self) -> None:
        texts = self._take()
        for position, text in enumerate(texts):
            try:
                suspended = tasks.start(self._send({"type": "websocket.send", "text": text}))
            except Exception:  # the server's ways to say that the peer is gone
                self._abandon()
                return
            if suspended is not None:
                rest = texts[position + 1 :]
                self._queued = sum(map(len, rest))
                self._task = self.hub.loop.create_task(self._write(suspended, rest))
                return

    def close(self, code: int, reason: ErrorCode | None = None, **details: Any) -> None:
        """Sends what waits, an error frame with ``reason``, and closes the socket with ``code``."""
        if self._closing:
            return
        if reason is ErrorCode.TOO_SLOW:
            self._outbox.clear()  # it comes back by sync
            self._queued = 0
        if reason is not None:
            self.send(error_frame(reason, **details))
        self._closing = True
        self.close_code = int(code)
        self._hand_over()
        self.hub.in_background(self._close(code))

    async def _write(self, suspended: Awaitable[None], texts: list[str]) -> None:
        """Finishes a send that waits for the peer, then everything that queued behind it."""
        try:
            await suspended
            while texts or (texts := self._take()):
                for text in texts:
                    await self._send({"type": "websocket.send", "text": text})
                    self._queued = max(0, self._queued - len(text))
                texts = []
        except Exception:
            self._abandon()
        finally:
            self._task = None
            self._queued = 0
            if self._outbox and not self._closing:
                self.flush()

    async def _close(self, code: int) -> None:
        if self._task is not None:
            # The peer may never read what it was sent; it does not get to hold the socket open by that.
            writing = self._task
            await asyncio.wait([writing], timeout=WRITE_TIMEOUT)
            writing.cancel()
            await asyncio.wait([writing])
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REASON_TIMEOUT):
                    for text in self._take():  # the reason, where the writing task did not get to it
                        await self._send({"type": "websocket.send", "text": text})
            await transport.close(self._send, code)
        except Exception:
            self._abandon()

    def _abandon(self) -> None:
        """The socket is gone: the consumer's receive loop will say so."""
        self._closing = True
        self._outbox.clear()
        self._queued = 0

    def _take(self) -> list[str]:
        """Everything that waits, as WebSocket messages, and an empty queue."""
        outbox, self._outbox = self._outbox, []
        if len(outbox) == 1:
            item = outbox[0]
            if isinstance(item, str):
                return [item]
            return item.texts(self)
        frames: list[str] = []
        ticks: list[Tick] = []
        for item in outbox:
            if isinstance(item, str):
                frames.append(item)
            else:
                ticks.append(item)
        if len(ticks) == 1:
            frames += ticks[0].frames(self)
        elif ticks:
            frames += self._merged(ticks)
        return arrays(frames) if self.arrays else frames

    def _merged(self, ticks: list[Tick]) -> list[str]:
        """Ticks of several rooms in the one order of all events, so that a client's cursor is always true.

        What has no sequence stays where it is among the events of its room.
        """
        merged: list[tuple[int, str]] = []
        newest = 0
        for tick in ticks:
            pairs = tick.sequenced_frames(self)
            place = next((sequence for sequence, _ in pairs if sequence), newest + 1) - 1
            for sequence, frame in pairs:
                place = sequence or place
                merged.append((place, frame))
            newest = max(newest, place)
        merged.sort(key=lambda pair: pair[0])
        return [frame for _, frame in merged]


def arrays(frames: list[str]) -> list[str]:
    """Frames joined to JSON arrays of about ``ARRAY_BYTES``; a single frame stays an object."""
    if len(frames) == 1:
        return frames
    texts: list[str] = []
    batch: list[str] = []
    size = 0
    for frame in frames:
        if batch and size + len(frame) > ARRAY_BYTES:
            texts.append(_array(batch))
            batch, size = [], 0
        batch.append(frame)
        size += len(frame) + 1
    if batch:
        texts.append(_array(batch))
    return texts


def _array(frames: list[str]) -> str:
    return frames[0] if len(frames) == 1 else f"[{','.join(frames)}]"


def error_frame(
    code: ErrorCode,
    detail: str = "",
    *,
    retry_after: float | None = None,
    ack_id: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> ErrorFrame:
    """An ``error`` frame; without ``detail`` with the code's own text."""
    from mana.protocol import TEXTS

    counters.errors[code] += 1
    if tracing.tracer is not None:
        tracing.tracer.refusing(code)
    return ErrorFrame(code=code, error=detail or TEXTS[code], retry_after=retry_after, ack_id=ack_id, details=details)
