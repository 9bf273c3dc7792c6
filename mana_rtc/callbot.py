"""A program that takes part in calls as a person's device does: over the WebSocket, at any node, with aiortc for media.

It comes back by itself: to its place in the call and its seat when the connection or the node broke, and with new
connections when the media server was lost. ``pip install "django-mana[bots]"``; ``demo_project/examples/play`` plays a
file.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec
import websockets
from aiortc.mediastreams import MediaStreamTrack

from mana_rtc.bot import Bot
from mana_rtc.sfu.backend import Joined, Offer, ParticipantInfo, SfuError, Source, TrackInfo, Wish

logger = logging.getLogger("mana.rtc.bot")

#: Seconds that an answer may take, and between attempts to connect or to join.
ANSWER_TIMEOUT = 8.0
PAUSES = (0.1, 0.3, 0.7, 1.5, 3.0)
#: Refusals after which the same is asked again.
TEMPORARY = frozenset(("unavailable", "rate_limited", "internal"))
#: Bytes of a frame from the server.
MAX_FRAME = 2**21

MakeTracks = Callable[[], dict[Source, MediaStreamTrack]]
OnTrack = Callable[[MediaStreamTrack, TrackInfo], None]
OnFrame = Callable[[dict[str, Any]], None]


class Refusal(SfuError):
    """The server answered with an ``error`` frame; ``code`` is the protocol's."""

    def __init__(self, frame: dict[str, Any]) -> None:
        self.code = str(frame.get("code"))
        super().__init__(f"{self.code}: {frame.get('error')}", full=self.code == "unavailable")


class CallBot:
    """``urls``: WebSocket addresses of nodes, tried in turn. ``token``: gives a JWT whenever it connects.

    ``make_tracks`` gives what it publishes, anew each time it joins: aiortc ends tracks with their connection.
    ``on_track`` is called with each track that begins to come, ``on_frame`` with every frame.
    """

    def __init__(
        self,
        urls: Sequence[str],
        token: Callable[[], str | Awaitable[str]],
        *,
        make_tracks: MakeTracks = dict,
        on_track: OnTrack | None = None,
        on_frame: OnFrame | None = None,
        device_id: str = "",
    ) -> None:
        self._urls = list(urls)
        self._token = token
        self._make_tracks = make_tracks
        self._on_track = on_track
        self._on_frame = on_frame
        self._device_id = device_id
        self._numbers = itertools.count(1)
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._connection: Any = None
        self._connected = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._entering: asyncio.Task[None] | None = None
        self._seat: _Seat | None = None
        self._connections = 0
        self.welcome: dict[str, Any] = {}
        self._returning: asyncio.Task[None] | None = None
        #: The call that it began or answered, until that is over for it; ``over`` is set then.
        self.call_id = ""
        self.over = asyncio.Event()
        #: The room whose call it is in, or gets into.
        self.room = ""
        #: How often it got in with new connections.
        self.joins = 0
        #: Set while it is in the call.
        self.inside = asyncio.Event()

    @property
    def tracks(self) -> dict[str, MediaStreamTrack]:
        """The tracks that come, by their id in the call."""
        return self._seat.bot.tracks if self._seat is not None else {}

    @property
    def participant(self) -> str:
        """Its id in the call."""
        return self._seat.bot.info.id if self._seat is not None else ""

    # -- Life ---------------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> CallBot:
        self._running = asyncio.get_running_loop().create_task(self._run(), name="mana-call-bot")
        async with asyncio.timeout(ANSWER_TIMEOUT):
            await self._connected.wait()
        return self

    async def __aexit__(self, *exception: object) -> None:
        for task in (self._running, self._returning, self._entering):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await self._drop_seat()
        if self._connection is not None:
            await self._connection.close()

    async def _run(self) -> None:
        for attempt in itertools.count():
            query = urlencode({"device_id": self._device_id} if self._device_id else {})
            url = self._urls[attempt % len(self._urls)]
            try:
                made = self._token()
                token = made if isinstance(made, str) else await made
                async with websockets.connect(
                    f"{url}?{query}" if query else url,
                    additional_headers={"Authorization": f"Bearer {token}"},
                    max_size=MAX_FRAME,
                    open_timeout=ANSWER_TIMEOUT,
                ) as connection:
                    self._connection = connection
                    async for text in connection:
                        frames = json.loads(text)
                        for frame in frames if isinstance(frames, list) else [frames]:
                            self._take(frame)
            except (OSError, TimeoutError, websockets.WebSocketException) as error:
                logger.info("The bot is not connected: %r", error)
            except Exception as error:  # whatever it was: the next try may do better
                logger.warning("The bot is not connected: %r", error)
            self._connected.clear()
            for future in self._waiting.values():
                if not future.done():
                    future.set_exception(SfuError("The connection broke.", full=True))
            await asyncio.sleep(random.uniform(0.5, 1.0) * PAUSES[min(attempt, 2)])

    # -- Frames -------------------------------------------------------------------------------------------------------

    async def request(self, kind: str, **frame: Any) -> dict[str, Any]:
        """Sends a frame; its ``ack``. Raises ``Refusal``, and ``SfuError`` without an answer."""
        ack_id = f"bot-{id(self):x}-{next(self._numbers)}"
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[ack_id] = answered
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                await self._connected.wait()
                await self._connection.send(json.dumps({"type": kind, "ack_id": ack_id, **frame}))
                ack = await answered
        except (TimeoutError, websockets.WebSocketException) as error:
            raise SfuError(f"No answer: {error!r}", full=True) from error
        finally:
            del self._waiting[ack_id]
        if kind in ("call_start", "call_accept"):
            self.call_id = ack["call_id"]
            self.over.clear()
        elif kind == "call_end" and "to" not in frame and frame.get("call_id", self.call_id) == self.call_id:
            await self._ended()
        return ack

    async def exchange(self, kind: str, answer: str, **frame: Any) -> dict[str, Any]:
        """Sends a frame and waits for its ``ack`` and a frame of the type ``answer``, which is returned."""
        answered: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()
        self._waiting[answer] = answered
        try:
            await self.request(kind, **frame)
            async with asyncio.timeout(ANSWER_TIMEOUT):
                return await answered
        except TimeoutError as error:
            raise SfuError(f"No {answer}.", full=True) from error
        finally:
            self._waiting.pop(answer, None)

    def _take(self, frame: dict[str, Any]) -> None:
        kind, payload = frame.get("type"), frame.get("payload")
        if kind == "welcome":
            self.welcome = frame
            self._connections += 1
            self._connected.set()
            if self._connections > 1:
                self._come_back()
        elif kind == "call_end" and frame.get("call_id") == self.call_id:
            self._come_back(over=True)
        # Of "ready" frames only the answer to joining names the participant.
        is_answer = kind != "ready" or (isinstance(payload, dict) and "participant" in payload)
        waiting = self._waiting.get(str(frame.get("ack_id") or kind)) if is_answer else None
        if waiting is not None and not waiting.done():
            if kind == "error":
                waiting.set_exception(Refusal(frame))
            else:
                waiting.set_result(frame)
        if self.room and frame.get("room_id") == self.room:
            self._take_of_call(frame, payload if isinstance(payload, dict) else {})
        if self._on_frame is not None:
            self._on_frame(frame)

    def _take_of_call(self, frame: dict[str, Any], payload: dict[str, Any]) -> None:
        if frame["type"] == "ready" and "participant" in payload and not payload["resumed"]:
            self._seat = _Seat(self, self.room, payload)  # at once: an offer may follow in the same turn
        elif frame["type"] == "ready" and "lost" in payload:
            self._enter(again=False)
        elif self._seat is not None:
            self._seat.take(frame)

    # -- The call -----------------------------------------------------------------------------------------------------

    async def join(self, room: str) -> None:
        """Gets into the media of a room's call, and stays there. Waits until it is in, however long that takes."""
        self.room = room
        self._enter(again=False)
        await self.inside.wait()

    async def leave(self) -> None:
        """Leaves it. A call that was answered is hung up with ``call_end``."""
        room, self.room = self.room, ""
        if self._entering is not None:
            self._entering.cancel()
        if self._seat is not None:
            with contextlib.suppress(SfuError):
                await self.request("ready", room_id=room, payload=False)
        await self._drop_seat()

    async def subscribe(self, wishes: dict[str, Wish]) -> None:
        """Wishes about tracks, by id."""
        await self.request("subscribe", room_id=self.room, payload={"tracks": msgspec.to_builtins(wishes)})

    def _come_back(self, *, over: bool = False) -> None:
        if self._returning is not None:
            self._returning.cancel()
        coming = self._ended() if over else self._return()
        self._returning = asyncio.get_running_loop().create_task(coming, name="mana-call-bot-return")

    async def _return(self) -> None:
        """By a new session: first to its place in the call, whose lease runs out else, then to its seat."""
        for attempt in itertools.count():
            if not self.call_id:
                break
            try:
                await self.request("call_accept", call_id=self.call_id)
                break
            except SfuError as error:
                logger.info("The bot is not back in its call: %s", error)
                if isinstance(error, Refusal) and error.code not in TEMPORARY:  # it has ended, or goes on without us
                    await self._ended()
                    return
            await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
        if self.room:
            self._enter(again=True)

    async def _ended(self) -> None:
        self.call_id = self.room = ""
        self.over.set()
        self.inside.clear()
        if self._entering is not None:
            self._entering.cancel()
        await self._drop_seat()

    def _enter(self, *, again: bool) -> None:
        if self._entering is not None:
            self._entering.cancel()
        self._entering = asyncio.get_running_loop().create_task(self._get_in(again), name="mana-call-bot-enter")

    async def _get_in(self, again: bool) -> None:
        if again and self._seat is not None:
            try:
                await self.exchange("ready", "ready", room_id=self.room, payload={"resume": self._seat.token})
                return
            except SfuError as error:
                logger.info("The bot's seat is gone: %s", error)
        for attempt in itertools.count():
            self.inside.clear()
            await self._drop_seat()
            try:
                await self.exchange("ready", "ready", room_id=self.room)
                seat = self._seat
                if seat is None:  # lost again in the same moment
                    continue
                await seat.bot.join()
                tracks = self._make_tracks()
                if tracks:
                    await seat.bot.publish(tracks)
            except SfuError as error:
                logger.info("The bot is not in the call yet: %s", error)
                await asyncio.sleep(PAUSES[min(attempt, len(PAUSES) - 1)])
                continue
            self.joins += 1
            self.inside.set()
            return

    async def _drop_seat(self) -> None:
        seat, self._seat = self._seat, None
        if seat is not None:
            await seat.close()

    def came(self, track: MediaStreamTrack, info: TrackInfo) -> None:
        """A track begins to come."""
        if self._on_track is not None:
            self._on_track(track, info)


class _Seat:
    """A stay in the call: the ``SfuBackend`` that aiortc's half is used with, made of frames."""

    def __init__(self, owner: CallBot, room: str, payload: dict[str, Any]) -> None:
        self._owner = owner
        self.token = str(payload["resume"])
        self._found = msgspec.convert({key: payload[key] for key in ("participants", "tracks")}, Joined)
        self._infos = {track.id: track for track in self._found.tracks}
        me = ParticipantInfo(id=payload["participant"], user_id="", username="")
        self.bot = Bot(self, room, me, on_track=self._came)
        self._early: list[dict[str, Any]] = []

    def take(self, frame: dict[str, Any]) -> None:
        """A frame of the room."""
        if frame["type"] == "track_added":
            info = msgspec.convert(frame["payload"], TrackInfo)
            self._infos[info.id] = info
        elif frame["type"] == "sfu_offer":
            payload = frame["payload"]
            self.bot.handle(
                Offer(
                    room=self.bot.room,
                    to=[self.bot.info.id],
                    sdp=frame["sdp"],
                    number=payload["number"],
                    tracks=payload["tracks"],
                )
            )

    def _came(self, track: MediaStreamTrack, track_id: str) -> None:
        info = self._infos.get(track_id)
        if info is not None:
            self._owner.came(track, info)

    async def close(self) -> None:
        """Ends the connections, not the seat."""
        await self.bot.leave()

    # -- SfuBackend ---------------------------------------------------------------------------------------------------

    async def join(self, room: str, participant: ParticipantInfo) -> Joined:
        """What was found."""
        return self._found

    async def resume(self, room: str, participant: str) -> Joined:
        """What was found."""
        return self._found

    async def publish(self, room: str, participant: str, sdp: str, sources: dict[str, Source]) -> str:
        """See ``SfuBackend``."""
        frame = await self._owner.exchange(
            "sfu_offer", "sfu_answer", room_id=room, sdp=sdp, payload={"sources": sources}
        )
        return str(frame["sdp"])

    async def ready(self, room: str, participant: str) -> None:
        """The server took joining for that."""

    async def answer(self, room: str, participant: str, sdp: str, number: int) -> None:
        """See ``SfuBackend``."""
        await self._owner.request("sfu_answer", room_id=room, sdp=sdp, payload={"number": number})

    async def subscribe(self, room: str, participant: str, wishes: dict[str, Wish]) -> None:
        """See ``SfuBackend``."""
        await self._owner.subscribe(wishes)

    async def restart(self, room: str, participant: str) -> None:
        """See ``SfuBackend``."""
        await self._owner.request("ice_restart", room_id=room)

    async def leave(self, room: str, participant: str, reason: str = "left") -> None:
        """``CallBot.leave`` tells the server."""

    async def statistics(self, room: str) -> dict[str, Any]:
        """The server tells nobody."""
        return {}
